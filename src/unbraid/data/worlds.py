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
}
