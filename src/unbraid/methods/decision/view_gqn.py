"""A scene representation from views whose camera poses are given, as in generative query networks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from unbraid.core.card import Card, told
from unbraid.core.errors import ConfigError
from unbraid.core.fields import Batch, Fields
from unbraid.core.method import At, Stage, Terms, Update
from unbraid.core.parts import Parts, PartSpec
from unbraid.losses.gaussian import kl, sample
from unbraid.losses.preferred import pixel_energy
from unbraid.methods.decision.viewing import QUICK, Mode, Viewer, ViewOptions
from unbraid.ops.pose import NUMBERS, moved


class ViewGQN(Viewer["ViewGQN.Config"]):
    """A code of the object from a view and its camera pose, decoded at any pose that is asked for.

    Of two views of one instance: infer q(s | o_i, pose_i), draw from it, decode o_i at pose_i and o_j at pose_j.
    Descend KL(q(s | o_i, pose_i) || N(0, I)) and both mean squared errors, each weighed by its multiplier.

    The pose is told, never inferred: to act, the camera must know where it stands, and views are compared by pixels.
    Eslami et al. sum over several views and draw recurrently; here is one view, and one draw.
    """

    card = Card(
        name="view-gqn",
        title="Neural Scene Representation and Rendering",
        paper="doi:10.1126/science.aar6170",
        year=2018,
        modality=("image",),
        needs=("x", "pose", "instance"),
        summary="A code of an object from a view with known camera pose, decoded at any other pose.",
        example="objects:turn=90",
        tiny="objects:instances=5,views=4,unseen=1,size=16",
    )
    presets = {
        "tiny": {"features": (4, 4), "batch": 4, "steps": 4, "candidates": 5, "motions": 2},
        "quick": QUICK,
    }
    constraints = ("reconstruction", "motion")

    @dataclass(frozen=True)
    class Config(ViewOptions):
        """Options of the baseline with given poses.

        Attributes:
            shape: Numbers of the code.
        """

        shape: int = told(16, by="ours")

        def __post_init__(self) -> None:
            super().__post_init__()
            if self.shape < 1:
                raise ConfigError("a whole number above 0", got=str(self.shape), where="shape")

    def __init__(self, config: ViewGQN.Config, fields: Fields) -> None:
        super().__init__(config, fields)
        self.encoder, self.decoder = self.networks(config.shape, config.shape + NUMBERS, given=NUMBERS)

    def parts(self) -> tuple[PartSpec, ...]:
        return (
            PartSpec("pose", "vec", (NUMBERS,), carries=("pose",), free_of=("instance",)),
            PartSpec("shape", "vec", (self.config.shape,), carries=("instance",), free_of=("pose",)),
        )

    def stages(self) -> Sequence[Stage]:
        return [self.fitted(Update("fit", self.loss, lambda: [self], self.config.optim, after=self.tighten))]

    def loss(self, batch: Batch, at: At) -> Terms:
        """What everything descends, on pairs (B, 2) of views."""
        x, pose = batch["x"], batch["pose"]
        mu, logvar = self.encoder(x[:, 0], pose[:, 0])
        s = sample(mu, logvar, at.randn(mu.shape))
        errors = {
            name: (self.drawn(s, pose[:, view]) - x[:, view]).square().flatten(1).mean(1)
            for view, name in enumerate(self.constraints)
        }
        return {**self.weighed(errors, at), "kl_shape": kl(mu, logvar).sum(1)}

    def drawn(self, shape: Float[Tensor, "n s"], pose: Float[Tensor, "n 7"]) -> Float[Tensor, "n c h w"]:
        """Views of codes from poses."""
        view: Tensor = self.decoder(torch.cat([pose, shape], 1))
        return view

    def encode(self, batch: Batch) -> Parts:
        return Parts(pose=batch["pose"], shape=self.encoder(batch["x"], batch["pose"])[0])

    def decode(self, parts: Parts) -> Float[Tensor, "batch c h w"]:
        return self.drawn(parts["shape"], parts["pose"])

    # ---------------------------------------------------------------------------------------------------------- acting

    def imagined(self, here: Batch, motion: Float[Tensor, "n 7"]) -> Float[Tensor, "n c h w"]:
        pose = here["pose"]
        return self.drawn(self.encoder(here["x"], pose)[0], moved(pose, motion))

    def far(self, here: Batch, goal: Float[Tensor, "n c h w"]) -> Float[Tensor, " n"]:
        """The root mean square of how far the pixels are from the preferred ones."""
        apart: Tensor = (here["x"] - goal).square().flatten(1).mean(1).sqrt()
        return apart

    def free_energy(
        self, here: Batch, goal: Float[Tensor, "n c h w"], motions: Float[Tensor, "n m 7"], mode: Mode
    ) -> Float[Tensor, "n m"]:
        pose, shape = here["pose"], self.encoder(here["x"], here["pose"])[0]
        there = moved(pose[:, None].expand_as(motions), motions)
        codes = torch.cat([there, shape[:, None].expand(-1, motions.shape[1], -1)], -1)
        return pixel_energy(lambda z: self.drawn(z[:, NUMBERS:], z[:, :NUMBERS]), codes, goal)
