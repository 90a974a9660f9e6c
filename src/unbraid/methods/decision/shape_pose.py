"""Shape and pose of objects from views by a moving camera, for a camera that seeks a preferred view."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from unbraid.core.card import Card, told
from unbraid.core.errors import ConfigError
from unbraid.core.fields import Batch, Fields
from unbraid.core.method import At, Source, Stage, Terms, Update
from unbraid.core.outcome import Findings
from unbraid.core.parts import Parts, PartSpec
from unbraid.data.splits import part_of
from unbraid.data.viewpoints import Viewpoints
from unbraid.losses.gaussian import kl, sample
from unbraid.losses.preferred import pixel_energy, pose_energy
from unbraid.methods.decision.acting import known_world
from unbraid.methods.decision.viewing import QUICK, Mode, Viewer, ViewOptions, grid_of, variation
from unbraid.nets.mlp import mlp
from unbraid.ops.pose import NUMBERS, relative


class ShapePose(Viewer["ShapePose.Config"]):
    """A VAE with a part for the pose and one for the shape (Ferraro et al., 2022).

    Of two views o_i and o_j of one instance, and the motion a from the one to the other:

    1. Infer q(p|o) and q(s|o) of both, and draw from them; draw p_ij from p(p | p_i, a).
    2. Decode o_i from (s_i, p_i) and o_j from (s_j, p_j); with the shapes exchanged, o_i from (s_j, p_i) and o_j from
       (s_i, p_j); and o_j from (s_i, p_ij).
    3. Descend KL(q(p_j|o_j) || p(p | p_i, a)) + KL(q(s) || N(0, I)) + KL(q(p_i) || N(0, I)), both sides of the first
       one moving, and the mean squared errors of 2, each kind weighed by its multiplier.
    4. Multiply each multiplier by exp(eta times the average of what exceeds the tolerance).

    To reach the view o* of any instance: of many motions, make the one of least
    KL(N(mean, var of p after it) || N(p*, spread^2)), p* the mean of q(p|o*); or, of pixels, of least
    -E log p(o* | s, p after it).

    One model learns one category of objects: the category is which model it is.

    Source:
        The authors released no code; what the paper leaves open is ours, as the options say.
    """

    card = Card(
        number=16,
        name="shape-pose",
        title="Disentangling Shape and Pose for Object-Centric Deep Active Inference Models",
        paper="arXiv:2209.09097",
        year=2022,
        modality=("image",),
        needs=("x", "pose", "instance"),
        summary="Learns shape and pose by exchanging shapes between views, and moves a camera to a preferred view.",
        claim="Its parts are more separate than without the exchange, and it reaches preferred views better.",
        example="objects:turn=90",
        tiny="objects:instances=5,views=4,unseen=1,size=16",
    )
    aliases = {"shape-pose-unswapped": {"swap": False}, "view-vae": {"pose": 24, "shape": 0}}
    about = {
        "shape-pose-unswapped": "Shape and pose from views and motions alone, without exchanging shapes.",
        "view-vae": "A VAE of views with one entangled code, which motions of the camera change.",
    }
    presets = {
        "tiny": {"features": (4, 4), "hidden": (8,), "batch": 4, "steps": 4, "candidates": 5, "motions": 2},
        "quick": QUICK,
    }

    @dataclass(frozen=True)
    class Config(ViewOptions):
        """Options of shape and pose.

        Attributes:
            pose: Numbers of the part that moves.
            shape: Numbers of the part that stays; 0 for one entangled code.
            swap: Whether views are decoded from each other's shapes, too.
            hidden: Widths of the network that says what a motion does.
            act_on: What is compared with a preferred view: the pose, or the pixels.
            spread: Standard deviation of the preferred pose.
            draws: Draws of the pose after a motion, from which pixels are expected.
        """

        pose: int = told(8, by="second")
        shape: int = told(16, by="ours")
        swap: bool = told(True, by="paper")
        hidden: tuple[int, ...] = told((64, 128, 128), by="second")
        act_on: Mode = told("pose", by="ours")
        spread: float = told(0.1, by="ours")
        draws: int = told(1, by="ours")

        def __post_init__(self) -> None:
            super().__post_init__()
            if self.pose < 1 or self.shape < 0 or self.draws < 1 or not self.spread > 0:
                got = f"pose={self.pose}, shape={self.shape}, draws={self.draws}, spread={self.spread:g}"
                raise ConfigError("pose and draws of 1, shape of 0 or more, spread above 0", got=got)

    def __init__(self, config: ShapePose.Config, fields: Fields) -> None:
        self.swapped = config.swap and config.shape > 0
        self.constraints = ("reconstruction", "swap", "motion") if self.swapped else ("reconstruction", "motion")
        super().__init__(config, fields)
        latents = config.pose + config.shape
        self.encoder, self.decoder = self.networks(latents, latents)
        self.transition = mlp((config.pose + NUMBERS, *config.hidden, 2 * config.pose), nn.LeakyReLU)

    def parts(self) -> tuple[PartSpec, ...]:
        c = self.config
        if not c.shape:
            return (PartSpec("latents", "vec", (c.pose,), carries=("pose", "instance")),)
        return (
            PartSpec("pose", "vec", (c.pose,), carries=("pose",), free_of=("instance",)),
            PartSpec("shape", "vec", (c.shape,), carries=("instance",), free_of=("pose",)),
        )

    def stages(self) -> Sequence[Stage]:
        return [self.fitted(Update("fit", self.loss, lambda: [self], self.config.optim, after=self.tighten))]

    @property
    def mode(self) -> Mode:
        return self.config.act_on

    # -------------------------------------------------------------------------------------------------------- training

    def loss(self, batch: Batch, at: At) -> Terms:
        """What everything descends, on pairs (B, 2) of views."""
        x = batch["x"]
        motion = relative(batch["pose"][:, 0], batch["pose"][:, 1])
        mu, logvar = (t.reshape(len(x), 2, -1) for t in self.encoder(x.flatten(0, 1)))
        (p, s), (p_mu, s_mu), (p_logvar, s_logvar) = map(
            self.split, (sample(mu, logvar, at.randn(mu.shape)), mu, logvar)
        )
        after, after_logvar = self.moved(p[:, 0], motion)
        p_after = sample(after, after_logvar, at.randn(after.shape))
        codes = {
            "reconstruction": [(s[:, 0], p[:, 0], 0), (s[:, 1], p[:, 1], 1)],
            "swap": [(s[:, 1], p[:, 0], 0), (s[:, 0], p[:, 1], 1)],
            "motion": [(s[:, 0], p_after, 1)],
        }
        errors = {name: self._error(codes[name], x) for name in self.constraints}
        return {
            **self.weighed(errors, at),
            "consistency": kl(p_mu[:, 1], p_logvar[:, 1], after, after_logvar).sum(1),
            "kl_shape": kl(s_mu, s_logvar).sum(2).mean(1),
            "kl_pose": kl(p_mu[:, 0], p_logvar[:, 0]).sum(1),
        }

    def _error(self, codes: Sequence[tuple[Tensor, Tensor, int]], x: Float[Tensor, "b 2 c h w"]) -> Float[Tensor, " b"]:
        """The mean squared error of a pixel, where (shape, pose) are to give the view i or j."""
        code = torch.stack([torch.cat([pose, shape], 1) for shape, pose, _ in codes], 1)
        wanted = torch.stack([x[:, view] for *_, view in codes], 1)
        error: Tensor = (self.decoder(code.flatten(0, 1)) - wanted.flatten(0, 1)).square().flatten(1).mean(1)
        return error.reshape(len(x), len(codes)).mean(1)

    def split(
        self, latents: Float[Tensor, "*batch dim"]
    ) -> tuple[Float[Tensor, "*batch p"], Float[Tensor, "*batch s"]]:
        """Pose and shape of a code, of its mean or of its log variance."""
        return latents[..., : self.config.pose], latents[..., self.config.pose :]

    def moved(
        self, pose: Float[Tensor, "*batch p"], motion: Float[Tensor, "*batch 7"]
    ) -> tuple[Float[Tensor, "*batch p"], Float[Tensor, "*batch p"]]:
        """Mean and log variance of the pose after a motion."""
        mean, logvar = self.transition(torch.cat([pose, motion], -1)).chunk(2, -1)
        return mean, logvar

    # ----------------------------------------------------------------------------------------------------------- parts

    def _named(self, latents: Float[Tensor, "batch dim"]) -> Parts:
        pose, shape = self.split(latents)
        return Parts(pose=pose, shape=shape) if self.config.shape else Parts(latents=pose)

    def encode(self, batch: Batch) -> Parts:
        return self._named(self.encoder(batch["x"])[0])

    def posterior(self, batch: Batch) -> tuple[Parts, Parts]:
        """Means and log variances."""
        mu, logvar = self.encoder(batch["x"])
        return self._named(mu), self._named(logvar)

    def decode(self, parts: Parts) -> Float[Tensor, "batch c h w"]:
        view: Tensor = self.decoder(torch.cat([parts[spec.name] for spec in self.parts()], 1))
        return view

    # ---------------------------------------------------------------------------------------------------------- acting

    def imagined(self, here: Batch, motion: Float[Tensor, "n 7"]) -> Float[Tensor, "n c h w"]:
        pose, shape = self.split(self.encoder(here["x"])[0])
        view: Tensor = self.decoder(torch.cat([self.moved(pose, motion)[0], shape], 1))
        return view

    def far(self, here: Batch, goal: Float[Tensor, "n c h w"]) -> Float[Tensor, " n"]:
        """The root mean square of how far the pose, in the code, is from the preferred one."""
        (pose, _), (wanted, _) = (self.split(self.encoder(x)[0]) for x in (here["x"], goal))
        return (pose - wanted).square().mean(1).sqrt()

    def free_energy(
        self, here: Batch, goal: Float[Tensor, "n c h w"], motions: Float[Tensor, "n m 7"], mode: Mode
    ) -> Float[Tensor, "n m"]:
        pose, shape = (t[:, None].expand(-1, motions.shape[1], -1) for t in self.split(self.encoder(here["x"])[0]))
        mean, logvar = self.moved(pose, motions)
        if mode == "pose":
            wanted = self.split(self.encoder(goal)[0])[0]
            return pose_energy(mean, logvar, wanted[:, None].expand_as(mean), self.config.spread)
        chance = torch.Generator(mean.device).manual_seed(0)
        noise = torch.randn((self.config.draws, mean.shape[-1]), generator=chance, device=mean.device)
        drawn = [torch.cat([sample(mean, logvar, e.expand_as(mean)), shape], -1) for e in noise]
        return torch.stack([pixel_energy(self.decoder, codes, goal) for codes in drawn]).mean(0)

    # --------------------------------------------------------------------------------------------------------- judging

    def examine(self, data: Source) -> Findings:
        """On instances that were set aside: prediction of one motion, journeys, and what each part varies with."""
        found = super().examine(data)
        world = known_world(data)
        if not isinstance(world, Viewpoints) or not world.space.free:
            return found
        return Findings({**found.numbers, **self.varied(data, world)})

    @torch.no_grad()
    def varied(self, data: Source, world: Viewpoints) -> dict[str, float]:
        """How much more each part varies with what it should carry than with the other."""
        rows = part_of(data, "test") or data  # type: ignore[arg-type]
        instances = rows.take(torch.arange(len(rows)))["instance"].cpu()
        if (distinct := torch.unique(instances)).numel() < 2:
            return {}
        views = grid_of(world, distinct).to(self.multiplier.device)
        parts = self.encode({"x": views.flatten(0, 1)})
        codes = {name: variation(part.reshape(*views.shape[:2], -1)) for name, part in parts.items()}
        return {
            f"{name} varies with its own": (own / other if name != "shape" else other / own)
            for name, (own, other) in codes.items()
        }
