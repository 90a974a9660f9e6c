"""Log odds and cross-entropy of one logit and of several."""

from __future__ import annotations

import torch

from unbraid.losses.odds import class_of, cross_entropy, log_odds


def test_log_odds_and_cross_entropy_of_one_logit_and_of_several() -> None:
    logits = torch.randn(5, 4, dtype=torch.float64)
    p = logits.softmax(1)
    torch.testing.assert_close(log_odds(logits), (p / (1 - p)).log())
    assert torch.equal(log_odds(logits[:, :1]), logits[:, :1])
    labels = torch.tensor([0, 1, 1, 0, 1])
    q = logits[:, 0].sigmoid()
    torch.testing.assert_close(cross_entropy(logits[:, :1], labels), -torch.where(labels == 1, q, 1 - q).log())
    torch.testing.assert_close(cross_entropy(logits, labels), -p[torch.arange(5), labels].log())
    assert torch.equal(class_of(logits), p.argmax(1))
    assert torch.equal(class_of(logits[:, :1]), (q > 0.5).long())
