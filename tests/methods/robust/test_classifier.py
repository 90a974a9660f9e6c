import pytest
import torch
from torch.nn import functional

from unbraid.core.config import override
from unbraid.core.errors import ConfigError, DataError
from unbraid.core.fields import Field, Fields
from unbraid.core.method import At
from unbraid.data.wrapped import in_roles
from unbraid.methods.robust.classifier import Classifier
from unbraid.testing import check_method
from unbraid.testing.made import tiny_images, tiny_vectors
from unbraid.training.fit import fit

FIELDS = Fields(x=Field((12,)), label=Field((), "int64", classes=3))


@pytest.mark.parametrize("data", [tiny_vectors(), tiny_images(channels=3)], ids=["vectors", "images"])
def test_contract(data):
    check_method(Classifier, in_roles(data, ["label"], {}))


def test_the_loss_is_the_cross_entropy_of_what_it_predicts():
    method = Classifier(Classifier.Config(), FIELDS).eval()
    batch = {"x": torch.rand(5, 12), "label": torch.tensor([0, 1, 2, 0, 1])}
    logits = method.predict(batch).logits
    assert torch.equal(method(batch["x"]), logits)
    picked = -logits.log_softmax(1).gather(1, batch["label"][:, None])[:, 0]
    torch.testing.assert_close(method.loss(batch, At())["label"], picked)
    torch.testing.assert_close(
        functional.linear(method.encode(batch)["embedding"], *method.net.head[0].parameters()), logits
    )


def test_it_learns_what_can_be_learnt():
    data = in_roles(tiny_images(), ["label"], {})
    method = Classifier(override(Classifier.Config(), {"width": 8, "batch": 16, "epochs": 20.0}), data.fields)
    fit(method, data, seed=0)
    found = method.examine(data).numbers
    assert found["accuracy"] > 0.95
    assert found["worst group"] <= found["mean of groups"]


def test_what_does_not_fit_is_said_in_one_line():
    with pytest.raises(DataError, match="label"):
        Classifier(Classifier.Config(), Fields(x=Field((12,))))
    with pytest.raises(ConfigError, match="embedding"):
        override(Classifier.Config(), {"embedding": 0})
