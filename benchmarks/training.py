"""Steps of a beta-VAE on images of 64 x 64, 64 at a time."""

from __future__ import annotations

import copy
import logging
import time
from collections.abc import Callable, Mapping

import torch
from torch import nn

from benchmarks.data import ITEMS, disent_loader, in_memory, squares
from benchmarks.peers import declare_operators
from benchmarks.row import Row, Timed
from unbraid.losses.gaussian import bernoulli_nll
from unbraid.methods.latent.vae import BetaVAE
from unbraid.training.build import build
from unbraid.training.fit import fit
from unbraid.training.progress import Silent

BATCH, LATENTS, BETA, RATE = 64, 10, 4.0, 1e-4
WARM, STEPS = 5, 60


class Clock(Silent):
    """Times the steps after the first few, which pay for the set-up."""

    def __init__(self) -> None:
        self._at: dict[int, float] = {}

    def advance(self, done: int, terms: Mapping[str, float] | None = None) -> None:
        """Remember when each step was done."""
        self._at[done] = time.perf_counter()

    @property
    def seconds(self) -> float:
        """What a step took on average, once warm."""
        return (self._at[WARM + STEPS] - self._at[WARM]) / STEPS


def beta_vae_row() -> Row:
    """A step of our loop; of disent's framework under Lightning, with disent's network on both sides."""
    declare_operators()
    from disent.model.ae import DecoderConv64, EncoderConv64

    shape = (1, 64, 64)
    torch.manual_seed(0)
    nets = EncoderConv64(shape, LATENTS, 2), DecoderConv64(shape, LATENTS)
    data = in_memory()
    seen = data.take(torch.arange(256))["x"]

    def error(encoder: nn.Module, decoder: nn.Module) -> float:
        """What the means of the code leave unexplained of some images, in nats."""
        with torch.no_grad():
            return float(bernoulli_nll(decoder(encoder(seen)[:, :LATENTS]), seen).mean())

    def ours() -> Timed:
        config = BetaVAE.Config(latents=LATENTS, batch=BATCH, steps=WARM + STEPS, beta=BETA)
        method, clock = build(BetaVAE, config, data.fields), Clock()
        method.encoder, method.decoder = (copy.deepcopy(net.model) for net in nets)
        fit(method, data, progress=clock)
        return Timed(error(method.encoder, method.decoder), clock.seconds)

    def peer() -> Timed:
        encoder, decoder = copy.deepcopy(nets)
        seconds = _lightning(encoder, decoder)
        return Timed(error(encoder.model, decoder.model), seconds)

    def check(ours: float, peer: float) -> None:
        start = error(*(net.model for net in nets))
        assert max(ours, peer) < 0.9 * start, f"{ours} and {peer} nats from {start}: not learned"
        assert abs(ours - peer) < 0.1 * peer, f"{ours} and {peer} nats: not the same training"

    return Row("beta_vae_step", 1.3, ours, peer, check)


def _lightning(encoder: nn.Module, decoder: nn.Module) -> float:
    """Seconds of a step of disent's beta-VAE."""
    import lightning
    from disent.dataset.data import ArrayGroundTruthData
    from disent.frameworks.vae import BetaVae
    from disent.model import AutoEncoder

    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    adam = {"optimizer": "adam", "optimizer_kwargs": {"lr": RATE}}
    options = BetaVae.cfg(**adam, recon_loss="bce", loss_reduction="mean_sum", beta=BETA)
    framework, clock = BetaVae(AutoEncoder(encoder, decoder), options), Clock()
    loader = disent_loader(ArrayGroundTruthData(squares(), ("image",), (ITEMS,)), BATCH, shuffle=True)
    tell: Callable[..., None] = lambda trainer, *_: clock.advance(trainer.global_step)  # noqa: E731
    trainer = lightning.Trainer(
        max_steps=WARM + STEPS,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        callbacks=[lightning.pytorch.callbacks.LambdaCallback(on_train_batch_end=tell)],
    )
    trainer.fit(framework, loader)
    return clock.seconds


ROWS = {"beta_vae_step": beta_vae_row}
