import torch

from unbraid.losses.ranking import bpr


def test_bpr_is_minus_the_log_of_the_preference():
    positive, negative = torch.tensor([2.0, -1.0, 0.0]), torch.tensor([0.5, 3.0, 200.0])
    torch.testing.assert_close(bpr(positive, negative), -torch.nn.functional.logsigmoid(positive - negative))
    assert torch.isfinite(bpr(positive, negative)).all()
