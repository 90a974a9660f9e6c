"""A training step of a TopK autoencoder of activations as wide as GPT-2's."""

from __future__ import annotations

import time
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.peers import declare_operators
from benchmarks.row import Row, Timed
from unbraid.core.fields import Field, Fields
from unbraid.core.method import At, Clip, Optim
from unbraid.methods.inside.dictionaries.sae import SAE
from unbraid.training.build import build
from unbraid.training.stepper import Stepper

DIM, WIDTH, K, TOKENS, STEPS, RATE = 768, 16_384, 32, 2048, 2, 2e-4
OURS = {"encoder.weight": "encoder", "encoder.bias": "bias", "decoder.weight": "decoder", "b_dec": "centre"}


def topk_sae_row() -> Row:
    """Loss, gradients, clipping, Adam and decoder rows of length one: ours, and dictionary-learning's trainer."""
    declare_operators()
    from dictionary_learning.trainers.top_k import TopKTrainer

    generator = torch.Generator().manual_seed(0)
    batches = [torch.randn(TOKENS, DIM, generator=generator) for _ in range(STEPS + 1)]
    theirs = TopKTrainer(STEPS + 1, DIM, WIDTH, K, layer=0, lm_name="", lr=RATE, warmup_steps=0, seed=0, device="cpu")
    theirs.ae.b_dec.data = batches[0].mean(0)
    theirs.auxk_alpha = 0.0  # no feature is dead yet, so this only spares it the look
    config = SAE.Config(kind="topk", width=WIDTH, k=K, steps=STEPS + 1, optim=Optim(lr=RATE, clip=Clip("norm", 1.0)))
    ours = build(SAE, config, Fields(x=Field((DIM,))), given={"subject": nn.Identity()})
    ours.load_tensors({**ours.tensors(), **_as_ours(theirs.ae)})
    gradients = _gradients(ours, batches[0]), _gradients_of(theirs, batches[0])
    stepper, done = Stepper(ours, ours.stages()[0], seed=0, steps=STEPS + 1), {"ours": 0, "peer": 0}

    def our_step(step: int) -> None:
        x = batches[step % len(batches)]
        stepper.step({"x": x, "index": torch.arange(TOKENS)}, done["ours"])
        done["ours"] += 1

    def peer_step(step: int) -> None:
        theirs.update(done["peer"] + 1, batches[step % len(batches)])  # its step 0 sets a bias that ours has, too
        done["peer"] += 1

    def timed(one: Any, result: Any) -> Timed:
        one(0)
        start = time.perf_counter()
        for step in range(1, STEPS + 1):
            one(step)
        return Timed(result(), (time.perf_counter() - start) / STEPS)

    def check(mine: dict[str, Tensor], other: dict[str, Tensor]) -> None:
        for name, gradient in gradients[1].items():
            torch.testing.assert_close(gradients[0][name], gradient, rtol=1e-3, atol=1e-6)
        for name, weight in other.items():
            torch.testing.assert_close(mine[name], weight, rtol=1e-3, atol=2e-5)

    return Row(
        "topk_sae",
        3.0,
        lambda: timed(our_step, lambda: {f"dictionary.{n}": p.detach().clone() for n, p in _named(ours)}),
        lambda: timed(peer_step, lambda: _as_ours(theirs.ae)),
        check,
    )


def _named(method: SAE) -> list[tuple[str, nn.Parameter]]:
    return list(method.dictionary.named_parameters())


def _as_ours(theirs: nn.Module) -> dict[str, Tensor]:
    """The peer's weights under our names; its decoder has a column for each feature, ours a row."""
    found = {f"dictionary.{OURS[name]}": p.detach().clone() for name, p in theirs.named_parameters()}
    return {**found, "dictionary.decoder": found["dictionary.decoder"].T.contiguous()}


def _gradients(method: SAE, x: Tensor) -> dict[str, Tensor]:
    total = method.loss({"x": x}, At())["reconstruction"]
    assert isinstance(total, Tensor)
    names, parameters = zip(*_named(method), strict=True)
    found = torch.autograd.grad(total.mean(), parameters)
    return {f"dictionary.{name}": g for name, g in zip(names, found, strict=True)}


def _gradients_of(trainer: Any, x: Tensor) -> dict[str, Tensor]:
    """The peer's gradients as its update projects them."""
    from dictionary_learning.trainers.trainer import remove_gradient_parallel_to_decoder_directions

    trainer.loss(x, step=0).backward()
    decoder = trainer.ae.decoder.weight
    decoder.grad = remove_gradient_parallel_to_decoder_directions(decoder, decoder.grad, DIM, WIDTH)
    found = {f"dictionary.{OURS[n]}": p.grad.clone() for n, p in trainer.ae.named_parameters()}
    trainer.optimizer.zero_grad()
    return {**found, "dictionary.decoder": found["dictionary.decoder"].T.contiguous()}


ROWS = {"topk_sae": topk_sae_row}
