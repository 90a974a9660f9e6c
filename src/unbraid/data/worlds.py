"""What can be opened by name: made worlds, and kinds of files that must be named, each with its options."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from unbraid.data.dataset import Dataset


@dataclass(frozen=True)
class Option:
    """How one option is read: its kind, its default, and the values it may take."""

    kind: type
    default: Any
    allowed: tuple[Any, ...] = ()
    help: str = ""


@dataclass(frozen=True)
class Made:
    """A data set that is made or bundled: where its maker is ("module:name"), what it is, and its options."""

    maker: str
    summary: str
    options: Mapping[str, Option]

    def open(self, **options: Any) -> Dataset:
        """The data set, its module loaded only now."""
        return _loaded(self.maker)(**options)


@dataclass(frozen=True)
class Kind:
    """A kind of files that must be named: `KIND:PATH,OPTION=VALUE`."""

    opener: str
    summary: str
    options: Mapping[str, Option]
    takes: tuple[str, ...] = ()  # of "factors" and "pattern", those that the opener knows, too

    def open(self, path: Path, **options: Any) -> Dataset:
        """The data set in these files."""
        return _loaded(self.opener)(path, **options)


def _loaded(where: str) -> Callable[..., Dataset]:
    module, _, name = where.partition(":")
    found: Callable[..., Dataset] = getattr(importlib.import_module(module), name)
    return found


_SPLIT = Option(str, "test", ("train", "test"))

_CAUSED = {
    "rows": Option(int, 4000, help="items"),
    "size": Option(int, None, (8, 16, 24, 32, 64), "height and width"),
    "seed": Option(int, 0, help="of the chance"),
}
_SEEN = {
    "instances": Option(int, 50, help="how many, the unseen ones included"),
    "views": Option(int, 60, help="of each"),
    "unseen": Option(int, 10, help="how many of the last instances are for testing"),
    "turn": Option(float, 180.0, help="how far the camera goes around either way, in degrees"),
}
_WINDOW = {
    "past": Option(int, 20, help="steps of a window up to the present one"),
    "future": Option(int, 20, help="steps after it"),
}

MADE: Mapping[str, Made] = {
    "sprites": Made(
        "unbraid.data.made.sprites:Sprites",
        "737,280 drawn shapes with the factors of dSprites: shape 3, scale 6, orientation 40 (circular; readable up to "
        "a shape's symmetry only), x 32, y 32",
        {
            "size": Option(int, 32, (16, 32, 64)),
            "colour": Option(bool, False, (True, False), "adds the circular factor hue 8"),
            "correlated": Option(float, 0.0, help="a number from 0 to below 1: how strongly x and scale go together"),
        },
    ),
    "scenes": Made(
        "unbraid.data.made.scenes:Scenes",
        "480,000 rendered rooms with the factors of Shapes3D: floor, wall and object hue 10 each (circular), scale 8, "
        "shape 4, orientation 15",
        {"size": Option(int, 32, (16, 32, 64))},
    ),
    "discs": Made(
        "unbraid.data.made.discs:Discs", "720 images of one disc, 16x16: x 6, y 6, radius 4, brightness 5", {}
    ),
    "grain": Made(
        "unbraid.data.made.grain:Grain",
        "four patches, each light or dark, which shows through much noise, and woven one way or the other, which "
        "little noise hides: shade_0 to shade_3 and weave_0 to weave_3, 2 each",
        {
            "rows": Option(int, 4000, help="items"),
            "size": Option(int, 16, (8, 16, 32)),
            "contrast": Option(float, 0.04, help="mean height of the chequer, up to 0.2"),
            "seed": Option(int, 0, help="of the chance"),
        },
    ),
    "specimens": Made(
        "unbraid.data.made.specimens:Specimens",
        "noisy images with the factor class 4, which is how many blobs there are, which way stripes run, or how fine a "
        "chequer is; and split",
        {
            "kind": Option(str, "blobs", ("blobs", "stripes", "chequers")),
            "rows": Option(int, 900, help="items, of which a ninth is for validation and two for the test"),
            "size": Option(int, 28, (16, 28, 32, 64)),
            "noise": Option(float, 0.15, help="standard deviation of the noise in each pixel"),
            "seed": Option(int, 0, help="of the items"),
        },
    ),
    "moving-sprites": Made(
        "unbraid.data.made.moving:MovingSprites",
        "12,288 clips of one thing that moves on dark grey: motion 4, appearance 12, x 16, y 16 (both circular)",
        {
            "frames": Option(int, 8, help="frames in a clip"),
            "size": Option(int, 32, (16, 32, 64)),
            "noise": Option(float, 0.1, help="standard deviation of the noise in every pixel"),
        },
    ),
    "ioi": Made(
        "unbraid.data.made.ioi:Sentences",
        "48,640 sentences of ten tokens, which end where one of two people named is to be named again: io 20, s 20, "
        "pos 2, verb 4, place 4, object 4",
        {
            "names": Option(int, 20, help="how many people there are, from 3 on"),
            "which": Option(bool, False, (True, False), "every sentence also with another question: question 2"),
            "places": Option(bool, False, (True, False), "adds the names by their place: first, second"),
        },
    ),
    "directions": Made(
        "unbraid.data.made.directions:Directions",
        "1,600 vectors, each the sum of one of 40 directions u and one of 40 shorter directions v",
        {
            "values": Option(int, 40, help="directions of each kind, from 2 on"),
            "width": Option(int, 32, help="numbers in a vector"),
            "ratio": Option(float, 1.3, help="how much longer u is than v"),
            "draw": Option(int, 0, help="which directions"),
        },
    ),
    "blobs": Made(
        "unbraid.data.made.directions:blobs",
        "20,000 vectors of 100 numbers around a mean and its opposite: cloud 2",
        {
            "width": Option(int, 100, help="numbers in a vector"),
            "distance": Option(float, 2.0, help="of either mean from the middle"),
            "items": Option(int, 20_000, help="vectors"),
            "draw": Option(int, 0, help="which vectors"),
        },
    ),
    "portraits": Made(
        "unbraid.data.made.portraits:Portraits",
        "rendered heads with 34 factors: identity 12, pose 3, expression 6, hair 3, skin, light 3, background 4, "
        "glasses and beard",
        {
            "rows": Option(int, 4000, help="items"),
            "size": Option(int, 32, (16, 32, 48, 64, 96, 128)),
            "studio": Option(bool, False, (True, False), "evenly lit, plain, and turned less"),
            "together": Option(str, "", help="factors that go together, as in glasses+beard"),
            "correlation": Option(float, 0.7, help="how strongly these do, from 0 to 1"),
            "seed": Option(int, 0, help="of the items"),
        },
    ),
    "coded-portraits": Made(
        "unbraid.data.made.coded:CodedPortraits",
        "the same heads, some factors of which follow from a code that a generator would make them from (`latent`): "
        "glasses, beard, smile, hair_tone and four more",
        {
            "rows": Option(int, 4000, help="items"),
            "size": Option(int, 32, (16, 32, 64, 128)),
            "width": Option(int, 64, help="numbers in a code"),
            "factors": Option(
                str,
                "glasses+beard+smile+hair_tone+yaw+hair_length+skin_tone+face_width",
                help="what a code tells of a head",
            ),
            "together": Option(str, "glasses+beard", help="factors that go together"),
            "correlation": Option(float, 0.7, help="how strongly these do, from 0 to below 1"),
            "seed": Option(int, 0, help="of the items"),
        },
    ),
    "traits": Made(
        "unbraid.data.made.traits:Traits",
        "vectors with traits that go together, each a curved function of 8 channels of its own: trait_0, trait_1, ...",
        {
            "rows": Option(int, 5000, help="items"),
            "width": Option(int, 64, help="numbers in a vector, 8 for each trait at least"),
            "traits": Option(int, 4, help="how many, from 2 on"),
            "correlation": Option(float, 0.75, help="a number from 0 to below 1: how strongly they go together"),
            "seed": Option(int, 0, help="of everything"),
        },
    ),
    "blocks": Made(
        "unbraid.data.made.blocks:Blocks",
        "vectors of 4 blocks of 8 numbers, made by a known generator from codes of which each block reads two: factors "
        "a0, b0, a1, b1, ...",
        {
            "rows": Option(int, 2000, help="items"),
            "blocks": Option(int, 4, help="how many"),
            "tall": Option(int, 8, help="numbers in a block"),
            "seed": Option(int, 0, help="of the codes"),
        },
    ),
    "digits": Made(
        "unbraid.data.digits:digits",
        "scikit-learn's 1,797 handwritten digits, with the factor digit",
        {
            "size": Option(int, 16, (8, 16, 32)),
            "split": Option(str, "all", ("all", "train", "test"), "a fifth is for testing"),
        },
    ),
    "coloured-digits": Made(
        "unbraid.data.made.coloured:coloured_digits",
        "the digits in red or green, of two classes, with which the colour goes in training and against which it goes "
        "in the test; factors class, colour, digit",
        {
            "split": _SPLIT,
            "bias": Option(float, 0.92, help="share of training images whose colour goes with the label"),
            "rho": Option(float, 0.3, help="the same in the test"),
            "noise": Option(float, 0.02, help="share of wrong labels in training"),
            "size": Option(int, 16, (8, 16, 32)),
            "seed": Option(int, 0),
        },
    ),
    "coloured-mnist": Made(
        "unbraid.data.made.coloured:coloured_mnist",
        "MNIST in red and green as published (10 or 20 % against the label in training, 90 % in the test), from its "
        "IDX files",
        {"split": _SPLIT, "folder": Option(str, "mnist below UNBRAID_DATA", help="where its files are")},
    ),
    "noisy-digits": Made(
        "unbraid.data.made.noisy:noisy_digits",
        "the digits with wrong labels among 0 to 4; factors digit, given and wrong",
        {
            "split": Option(str, "train", ("train", "test")),
            "rate": Option(float, 0.6, help="share of wrong labels"),
            "size": Option(int, 8, (8, 16, 32)),
            "seed": Option(int, 0),
        },
    ),
    "placed-digits": Made(
        "unbraid.data.made.placed:placed_digits",
        "the digits somewhere on a larger, noisy canvas; factors digit, row and column",
        {
            "split": Option(str, "train", ("train", "test")),
            "rows": Option(int, 600, help="digits for training"),
            "size": Option(int, 12, help="height and width"),
            "noise": Option(float, 0.3, help="standard deviation of the noise in every pixel"),
            "imbalance": Option(float, 1.0, help="how many times as many 0s as 9s there are in training"),
            "seed": Option(int, 0, help="of everything"),
        },
    ),
    "digit-flows": Made(
        "unbraid.data.made.digit_flows:digit_flows",
        "the digits in red, magnified, turned or of another hue in nine steps; factors digit, scale, angle, hue; a "
        "fifth of the digits is audited and not trained on",
        {
            "split": Option(str, "train", ("train", "test", "all")),
            "source": Option(str, "digits", ("digits", "mnist"), "MNIST as its IDX files"),
            "size": Option(int, 16, (8, 16, 32), "of scikit-learn's digits"),
            "folder": Option(str, "mnist below UNBRAID_DATA", help="where MNIST is"),
        },
    ),
    "vowels": Made(
        "unbraid.data.made.vowels:Vowels",
        "720 voices of 0.4 seconds made of a source and a filter: vowel 5, speaker 6, pitch 4, loudness 3, take 2",
        {
            "speakers": Option(int, 6, (2, 3, 4, 5, 6)),
            "pitches": Option(int, 4, (1, 2, 3, 4)),
            "levels": Option(int, 3, (1, 2, 3)),
            "takes": Option(int, 2, (1, 2, 3, 4)),
        },
    ),
    "radio": Made(
        "unbraid.data.made.radio:Radio",
        "packets of 802.15.4 transmitters, I and Q: device 54, of which 9 unknown, over channel 8 kinds; factors "
        "capture and split, too",
        {
            "devices": Option(int, 54, help="transmitters"),
            "unknown": Option(int, 9, help="of these, how many are never trained on"),
            "captures": Option(int, 9, help="stretches over one static channel, for each device"),
            "packets": Option(int, 10, help="in each stretch, and over each changing channel"),
            "samples": Option(int, 1280, help="of a packet; 160 are a symbol"),
            "snr": Option(float, 30.0, help="decibels"),
            "raw": Option(bool, False, (True, False), "leaves carrier, clock and phase as they came"),
            "seed": Option(int, 0, help="of everything"),
        },
    ),
    "placed": Made(
        "unbraid.data.made.placed_features:Placed",
        "maps of patch features: a content of each cell, and codes of its place, one linear and one of squares; the "
        "factor first 5 is the content of the first cell",
        {
            "rows": Option(int, 48, help="maps"),
            "width": Option(int, 32, help="numbers in a feature"),
            "side": Option(int, 8, help="cells along a side"),
            "kinds": Option(int, 5, help="contents"),
            "place": Option(float, 3.0, help="how strong the codes of place are"),
            "seed": Option(int, 0, help="of everything"),
        },
    ),
    "sines": Made(
        "unbraid.data.made.sines:Sines",
        "waves on a slope, recorded at two places, of which one adds an offset and more noise: amplitude, frequency 4, "
        "trend, phase 12 (circular), place 2",
        {
            "rows": Option(int, 4000, help="items"),
            "steps": Option(int, 32, help="of a series"),
            "offset": Option(float, 1.0, help="added to every value at the second place"),
            "noise": Option(float, 0.1, help="standard deviation at the first place; twice that at the second"),
            "phases": Option(int, 12, help="how many of the 12 there are"),
            "seed": Option(int, 0, help="of everything"),
        },
    ),
    "erp": Made(
        "unbraid.data.made.erp:Erp",
        "brain potentials of people who see neutral and positive pictures, three electrodes for each, in microvolts: "
        "reactivity 2, timing 2, age, sex 2, site 2; what they are without noise is known",
        {
            "people": Option(int, 300, help="how many"),
            "trials": Option(int, 40, help="of each condition"),
            "single": Option(
                bool, False, (True, False), "every pair of trials an item, in place of a person's averages"
            ),
            "noise": Option(float, 8.0, help="of a trial, in microvolts"),
            "blinks": Option(float, 0.03, help="share of trials with one"),
            "seed": Option(int, 0, help="of everything"),
        },
    ),
    "intents": Made(
        "unbraid.data.made.intents:Intents",
        "users who each have 2 intents, and take 8 items that serve them and 3 that are merely popular; 6 held out",
        {
            "users": Option(int, 500, help="a whole number"),
            "items": Option(int, 400, help="a whole number, 4 for each intent at least"),
            "intents": Option(int, 8, help="a whole number from 3 on"),
            "seed": Option(int, 0, help="which of the many worlds"),
        },
    ),
    "bars": Made(
        "unbraid.data.made.causes:Bars",
        "bars of a thickness that causes their intensity",
        _CAUSED,
    ),
    "pendulum": Made(
        "unbraid.data.made.causes:Pendulum", "a pendulum and a light cause length and position of a shadow", _CAUSED
    ),
    "flow": Made(
        "unbraid.data.made.causes:Flow", "a ball causes the level of water, level and hole the reach of a jet", _CAUSED
    ),
    "objects": Made(
        "unbraid.data.made.objects:Objects",
        "views of 50 flat things with a handle, from a camera that slides and turns over them and can be moved; "
        "factors instance, aspect, size, handle, angle, x, y, and split",
        {**_SEEN, "size": Option(int, 24, (16, 24, 32, 48, 64, 120)), "seed": Option(int, 0, help="of everything")},
    ),
    "solids": Made(
        "unbraid.data.made.objects:Solids",
        "rendered views of 50 ellipsoids with handle and knob, from a camera that goes around them and can be moved; "
        "factors instance, aspect, size, handle, hue, azimuth, elevation, distance, and split",
        {**_SEEN, "size": Option(int, 32, (16, 24, 32, 48, 64, 120)), "seed": Option(int, 0, help="of everything")},
    ),
    "hypercube": Made(
        "unbraid.data.made.hypercube:Hypercube",
        "all vectors of a few signs, whose views have known densities; factors are the parities of their first entries",
        {
            "d": Option(int, 6, help="signs, 2 to 12"),
            "repeat": Option(int, 1, help="how often each vector is there"),
        },
    ),
    "bandit": Made(
        "unbraid.data.made.decisions:bandit",
        "trajectories of one step: two arms that pay 1 with chance p and 1 - p, the better one pulled with chance p",
        {
            "p": Option(float, 0.1, help="a chance between 0 and 1"),
            "episodes": Option(int, 1000, help="how many"),
            "seed": Option(int, 0, help="of world and logged policy"),
        },
    ),
    "gamble-chain": Made(
        "unbraid.data.made.decisions:gamble_chain",
        "trajectories of a few steps, each worked (reward 1) or gambled (a large reward with a small chance, else -1)",
        {
            "length": Option(int, 5, help="steps"),
            "chance": Option(float, 0.1, help="of a gamble"),
            "win": Option(float, 5.0, help="reward of a gamble that was won"),
            "episodes": Option(int, 1000, help="how many"),
            "seed": Option(int, 0, help="of world and logged policy"),
        },
    ),
    "frozen-lake": Made(
        "unbraid.data.made.decisions:frozen_lake",
        "trajectories over a slippery 4x4 lake with holes, reward 1 at the goal; the best policy mixed with chance",
        {
            "straight": Option(float, 1 / 3, help="chance of a step where it should go"),
            "noise": Option(float, 0.5, help="share of actions that are drawn evenly"),
            "episodes": Option(int, 100, help="how many"),
            "horizon": Option(int, 100, help="most steps of an episode"),
            **_WINDOW,
            "seed": Option(int, 0, help="of world and logged policy"),
        },
    ),
}


KINDS: Mapping[str, Kind] = {
    "clips": Kind(
        "unbraid.data.readers.clips:open_clips",
        "a folder of frames for each clip, or an array (N, T, H, W) with channels last or before H",
        {
            "size": Option(int, None, help="height and width of frames; 64 for folders"),
            "frames": Option(int, 16, help="frames of a clip, taken evenly"),
        },
        ("factors", "pattern"),
    ),
    "celeba": Kind(
        "unbraid.data.readers.attributes:open_celeba",
        "the folder with img_align_celeba/, list_attr_celeba.txt and perhaps list_eval_partition.txt",
        {
            "size": Option(int, 64, help="height and width that images are brought to"),
            "crop": Option(int, 148, help="side of the middle square that is cut out first"),
        },
    ),
    "cub": Kind(
        "unbraid.data.readers.attributes:open_cub",
        "the folder CUB_200_2011 with images/, images.txt, bounding_boxes.txt and attributes/",
        {
            "size": Option(int, 64, help="height and width that images are brought to"),
            "crop": Option(bool, True, help="whether birds are cut out by their boxes"),
        },
    ),
    "medmnist": Kind(
        "unbraid.data.readers.medmnist:open_medmnist",
        "a file of MedMNIST, or a folder of them, which are put together; factors class, split and set",
        {
            "size": Option(int, None, help="height and width to bring images to"),
            "grey": Option(bool, False, (True, False), "takes colour away"),
            "only": Option(str, "*", help="files of a folder to take, such as bloodmnist+dermamnist"),
        },
    ),
    "waves": Kind(
        "unbraid.data.readers.waves:open_waves",
        "a folder of .wav or .flac files as waves of one rate and length",
        {
            "rate": Option(int, "the first file's", help="samples a second"),
            "seconds": Option(float, "the longest file's", help="of an item; the middle of longer files"),
            "only": Option(str, "*", help="names of the files to take, such as *_ann_*"),
            "without": Option(str, "none", help="names of the files to leave out"),
            "pattern": Option(str, "none", help="what the names tell, such as {digit}_{speaker}_{take}"),
        },
        takes=("factors", "pattern"),
    ),
    "iq": Kind(
        "unbraid.data.readers.iq:open_iq",
        "radio packets: .npy or .npz of complex numbers (N, T) or of two channels, or SigMF recordings",
        {
            "samples": Option(int, None, help="of a packet; arrays give all they have, recordings 1280"),
            "most": Option(int, None, help="packets cut from one annotation"),
        },
        takes=("factors",),
    ),
    "series": Kind(
        "unbraid.data.readers.series:open_series",
        "recordings cut into windows: a folder of .csv files, one .csv or .parquet file with a column id, a folder of "
        "`Inertial Signals`, or an .npz with x (N, T, C) or (N, C, T)",
        {
            "window": Option(int, None, help="steps; 128 of recordings, all of an array's where left out"),
            "step": Option(int, None, help="from one window to the next; half a window where left out"),
            "gaps": Option(str, "refuse", ("refuse", "hold", "drop"), "what to do about missing values"),
            "channels": Option(str, "all", help="those to keep, as in x+y+z"),
            "layout": Option(str, "auto", ("auto", "first", "last"), "where the channels of an array are"),
            "pattern": Option(str, "none", help="what the names of the files tell, such as {user}_{activity}_{take}"),
        },
        takes=("factors", "pattern"),
    ),
    "eeg": Kind(
        "unbraid.data.readers.eeg:open_eeg",
        "brain recordings (.edf, .bdf or .fif), one or a folder of them, cut about what their annotations name, with "
        "participants.tsv beside them; or epochs as .npz",
        {
            "tmin": Option(float, -0.248, help="first second of an epoch, from its event on"),
            "tmax": Option(float, 0.772, help="last second"),
            "points": Option(int, 256, help="samples that an epoch is brought to; 0 leaves all their own rate"),
            "channels": Option(str, "all EEG", help="such as Fz+Cz+Pz"),
            "events": Option(str, "all", help="annotations that are conditions, such as neutral+positive"),
            "baseline": Option(bool, True, (True, False), "whether the mean before the event is taken off"),
            "reject": Option(
                float, 0.0, help="microvolts from trough to peak above which an epoch is left out; 0 none"
            ),
            "single": Option(bool, False, (True, False), "every set of trials an item, in place of averages"),
            "only": Option(str, "*", help="names of the recordings to take, such as *_task-pictures_*"),
        },
        takes=("factors",),
    ),
    "interactions": Kind(
        "unbraid.data.readers.interactions:open_interactions",
        "who took what: a .csv, .parquet or MovieLens's .dat file with the columns user, item and perhaps rating and "
        "time, or the folder it is in",
        {
            "rating": Option(float, None, help="keeps what is rated so or higher"),
            "core": Option(int, 1, help="takes out users and items with fewer interactions, again and again"),
            "test": Option(float, 0.2, help="share of each user's interactions that is held out"),
            "split": Option(str, "random", ("random", "time")),
            "seed": Option(int, 0, help="which of the random ways to hold out"),
        },
    ),
    "trajectories": Kind(
        "unbraid.data.readers.trajectories:open_trajectories",
        "episodes as .npz (observations, actions, rewards and ends, flat or padded), .csv or .parquet",
        _WINDOW,
    ),
    "views": Kind(
        "unbraid.data.readers.views:open_views",
        "views of instances by a camera: an .npz file for each, with images (V, H, W, 3) and poses (V, 7), or a folder "
        "of them",
        {
            "size": Option(int, None, help="height and width to bring images to"),
            "order": Option(str, "wxyz", ("wxyz", "xyzw"), "of the numbers of a quaternion"),
            "test": Option(float, 0.2, help="share of the instances that is for testing"),
            "seed": Option(int, 0, help="which of the instances"),
        },
    ),
}
