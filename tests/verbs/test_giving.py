import sys
import types

import pytest
from torch import nn

from unbraid.core.errors import ConfigError
from unbraid.data.digits import digits
from unbraid.data.wrapped import in_roles
from unbraid.methods.robust.tent import Tent
from unbraid.verbs.giving import _is_pipeline, _pretrained, hand_over


def broken(fields):
    raise ValueError("no such layer")


def plain(fields):
    return nn.Sequential(nn.Flatten(), nn.Linear(256, fields["label"].classes))


@pytest.fixture(scope="module")
def data():
    return in_roles(digits(), ["x", "label"], {})


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("nothing", "got 'nothing'; give the folder of a finished run"),
        ("os:nothing", "package.module:function, got module 'os' has no attribute"),
        ("no_such_package:make", "No module named"),
        ("os:getcwd", "takes the fields of the data and returns a module, got TypeError"),
        ("giving_made:broken", "ValueError: no such layer"),
        ("builtins:len", "a function that returns a module, got int"),
    ],
)
def test_a_source_that_gives_no_network_is_one_line(data, source, said, monkeypatch):
    monkeypatch.setitem(sys.modules, "giving_made", types.SimpleNamespace(broken=broken))
    with pytest.raises(ConfigError, match=said):
        hand_over(Tent, {"classifier": source}, data, 0)


def test_a_function_is_called_with_the_fields_and_its_network_is_taken(data, monkeypatch):
    monkeypatch.setitem(sys.modules, "giving_made", types.SimpleNamespace(plain=plain))
    found = hand_over(Tent, {"classifier": "giving_made:plain"}, data, 0)
    assert found.networks["classifier"][1].out_features == 10
    assert found.sources["classifier"]["source"] == "giving_made:plain"


@pytest.fixture
def pipeline(tmp_path):
    """A folder with a tiny unconditional pipeline."""
    diffusers = pytest.importorskip("diffusers")
    blocks = {"down_block_types": ("DownBlock2D",), "up_block_types": ("UpBlock2D",), "block_out_channels": (4,)}
    more = {"sample_size": 8, "in_channels": 1, "out_channels": 1, "layers_per_block": 1, "norm_num_groups": 2}
    net = diffusers.UNet2DModel(**blocks, **more, add_attention=False)
    diffusers.DDPMPipeline(net, diffusers.DDPMScheduler(10)).save_pretrained(tmp_path)
    return tmp_path


def test_a_folder_with_a_pipeline_of_diffusers_gives_its_denoiser(pipeline):
    from unbraid.data.made.grain import Grain
    from unbraid.methods.latent.diti import DiTi

    grain = Grain(rows=4, size=8)
    one, again = (hand_over(DiTi, {"denoiser": f"hf:{pipeline}"}, grain, 0) for _ in range(2))
    assert len(one.networks["denoiser"].noise) == 10
    assert one.sources == again.sources
    assert len(one.sources["denoiser"]["hash"]) == 16


@pytest.mark.parametrize(
    ("file", "said"),
    [
        ("model_index.json", "a pipeline of a UNet2DModel"),
        ("unet/diffusion_pytorch_model.safetensors", "with safetensors"),
    ],
)
def test_a_pipeline_that_cannot_be_used_is_one_line(pipeline, file, said):
    from unbraid.data.made.grain import Grain
    from unbraid.methods.latent.diti import DiTi

    broken = pipeline / file
    if broken.suffix == ".json":
        broken.write_text(broken.read_text().replace("UNet2DModel", "UNet2DConditionModel"))
    else:
        broken.rename(broken.with_suffix(".gone"))
    with pytest.raises(ConfigError, match=said) as found:
        hand_over(DiTi, {"denoiser": f"hf:{pipeline}"}, Grain(rows=4, size=8), 0)
    assert "\n" not in str(found.value)


def test_a_folder_without_a_pipeline_is_left_to_transformers(tmp_path):
    pytest.importorskip("transformers")
    assert not _is_pipeline(str(tmp_path))
    with pytest.raises(ConfigError, match="a model of transformers"):
        _pretrained(str(tmp_path))
