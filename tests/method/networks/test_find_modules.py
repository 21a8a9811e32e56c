from __future__ import annotations

from collections import OrderedDict
from fnmatch import fnmatchcase

import pytest
import timm
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torchvision import models
from torchvision.models.detection import fasterrcnn_resnet50_fpn, ssdlite320_mobilenet_v3_large
from torchvision.models.segmentation import lraspp_mobilenet_v3_large

from fmce_mlflow.errors import BackboneError, CaptureError
from fmce_mlflow.method.networks.capture import capture
from fmce_mlflow.method.networks.find_modules import default_module, earlier_modules, list_modules, resolve_modules
from tests.helpers import form_nets as nets

X = torch.zeros(2, 3, 8, 8)


def conv(channels_in=3, channels=4, stride=1):
    return nn.Conv2d(channels_in, channels, 3, stride, 1)


def net():
    """Two blocks of two layers, then a head."""
    return nn.Sequential(
        OrderedDict(
            stem=conv(),
            block1=nn.Sequential(OrderedDict(conv=conv(4), relu=nn.ReLU())),
            block2=nn.Sequential(OrderedDict(conv=conv(4, 6, 2), relu=nn.ReLU())),
            pool=nn.AdaptiveAvgPool2d(1),
            flat=nn.Flatten(),
            fc=nn.Linear(6, 10),
        )
    )


class Heads(nn.Module):
    """Gives a dict of maps."""

    def __init__(self):
        super().__init__()
        self.a, self.b = conv(), conv()

    def forward(self, x):
        return {"a": self.a(x), "b": self.b(x)}


def traces(model):
    return [(len(module._forward_hooks), module.training) for module in model.modules()]


# names and globs


def test_modules_are_listed_parents_first():
    assert list_modules(net())[:5] == ["stem", "block1", "block1.conv", "block1.relu", "block2"]
    assert list_modules(nn.DataParallel(net())) == list_modules(net())


@pytest.mark.parametrize(
    ("wanted", "names"),
    [
        ([], ["block2"]),
        (["block1.conv", "stem"], ["block1.conv", "stem"]),
        (["stem", "stem"], ["stem"]),
        (["*"], ["stem", "block1", "block2", "pool"]),  # neither flat nor fc has a map
        (["block*"], ["block1", "block2"]),
        (["block*.conv"], ["block1.conv", "block2.conv"]),
        (["*.relu", "stem"], ["block1.relu", "block2.relu", "stem"]),
        (["block1.*"], ["block1.conv", "block1.relu"]),
        (["block1**"], ["block1", "block1.conv", "block1.relu"]),
        (["**.conv"], ["block1.conv", "block2.conv"]),
        (["**conv"], ["block1.conv", "block2.conv"]),
        (["b*2", "block2", "block1"], ["block2", "block1"]),
    ],
)
def test_names_and_globs(wanted, names):
    assert list(resolve_modules(net(), wanted, example=X)) == names


def test_a_glob_takes_modules_that_give_several_maps():
    model = nn.Sequential(OrderedDict(stem=conv(channels=3), heads=Heads()))
    model.forward = lambda x: model.heads(model.stem(x))["a"].mean((2, 3))
    assert resolve_modules(model, ["*"], example=X) == ("stem", "heads")
    assert resolve_modules(model, ["heads.b", "heads.a"], example=X) == ("heads.b", "heads.a")


LEVEL = st.text("ab1", min_size=1, max_size=3)


@settings(deadline=None)
@given(st.lists(st.lists(LEVEL, min_size=1, max_size=3).map(".".join), min_size=1, max_size=8), st.data())
def test_a_star_stays_within_its_level(names, data):
    model = nn.Module()
    for name in names:
        parent = model
        for part in name.split("."):
            if part not in parent._modules:
                parent.add_module(part, nn.Identity())
            parent = parent.get_submodule(part)
    every = list_modules(model)
    model.forward = lambda x: [module(x) for module in model.modules() if module is not model][-1]
    parts = data.draw(st.sampled_from(every)).split(".")
    parts[data.draw(st.integers(0, len(parts) - 1))] = data.draw(st.sampled_from(["*", "a*", "*1", "a*b"]))
    expected = [
        name for name in every if name.count(".") == len(parts) - 1 and all(map(fnmatchcase, name.split("."), parts))
    ]
    if expected:
        assert list(resolve_modules(model, [".".join(parts)], example=X)) == expected
    else:
        with pytest.raises(BackboneError, match="fits no module"):
            resolve_modules(model, [".".join(parts)], example=X)


def test_names_that_fit_nothing():
    with pytest.raises(
        BackboneError, match=r"no module 'block3'\. Did you mean block2 or block1 or .*`fmce list-modules`"
    ):
        resolve_modules(net(), ["block3"], example=X)
    with pytest.raises(BackboneError, match=r"'layer\*' fits no module\. `fmce list-modules`"):
        resolve_modules(net(), ["layer*"], example=X)
    with pytest.raises(BackboneError, match=r"'f\*' fits flat, fc, which give no feature map"):
        resolve_modules(net(), ["stem", "f*"], example=X)
    with pytest.raises(CaptureError, match=r"'fc' is no feature map.*float32 of shape \(2, 10\)"):
        resolve_modules(net(), ["stem", "fc"], example=X)


# the default


def test_the_default_is_the_last_stage_that_is_more_than_a_passage():
    tail = [nn.MaxPool2d(2), nn.Dropout2d(), nn.Identity(), nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(24, 10)]
    assert default_module(nn.Sequential(net()[:3], *tail), X) == "0"
    assert default_module(nn.Sequential(conv(), nn.BatchNorm2d(4), nn.ReLU()), X) == "2"


def test_a_norm_of_poolformer_is_no_pooling():
    class PoolFormerGroupNorm(nn.GroupNorm):
        pass

    class PoolFormerPooling(nn.AvgPool2d):
        pass

    tail = [PoolFormerPooling(2), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 10)]
    assert default_module(nn.Sequential(conv(), PoolFormerGroupNorm(1, 4), *tail), X) == "1"


def test_maps_of_one_position_are_the_default_only_where_there_are_no_others():
    head = [nn.AdaptiveAvgPool2d(1), nn.Conv2d(4, 8, 1), nn.ReLU(), nn.Flatten()]
    squeezed = nn.Sequential(conv(), conv(4, 4, 2), *head)
    assert default_module(squeezed, X) == "1"
    assert default_module(squeezed, X[..., :1, :1]) == "4"


def test_outputs_of_several_tensors_and_of_other_rows_are_not_the_default():
    class Regions(nn.Module):
        def forward(self, x):
            return x.repeat(3, 1, 1, 1)

    model = nn.Sequential(OrderedDict(stem=conv(channels=3), heads=Heads(), regions=Regions(), tail=nn.Linear(4, 5)))
    model.forward = lambda x: (model.tail(model.heads(model.stem(x))["b"].mean((2, 3))), model.regions(x))
    assert default_module(model, X) == "heads.b"


def test_a_model_without_feature_maps():
    with pytest.raises(CaptureError, match=r"No module of this Sequential.*\(2, 3, 8, 8\)"):
        default_module(nn.Sequential(nn.Flatten(), nn.Linear(192, 10)), X)
    with pytest.raises(CaptureError, match="No module of this Conv2d"):
        default_module(conv(), X)


@pytest.mark.parametrize("where", ["backbone", "part.inner"])
def test_a_family_of_torchvision_inside_another_model(where):
    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            parent, _, name = where.rpartition(".")
            holder = self
            if parent:
                self.part = nn.Module()
                self.part.forward = lambda x: self.part.inner(x)
                holder = self.part
            holder.add_module(name, models.resnet18(weights=None))
            self.head = nn.Sequential(nn.Unflatten(1, (10, 10, 10)), nn.Conv2d(10, 2, 1))

        def forward(self, x):
            return self.head(self.part(x) if "." in where else self.backbone(x))

    assert default_module(Model(), torch.zeros(2, 3, 32, 32)) == f"{where}.layer4"


def test_a_family_that_is_not_run_to_its_last_stage_falls_back_to_the_rule():
    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.backbone = models.resnet18(weights=None)

        def forward(self, x):
            backbone = self.backbone
            return backbone.layer2(backbone.layer1(backbone.relu(backbone.bn1(backbone.conv1(x))))).mean((2, 3))

    assert default_module(Model(), X) == "backbone.layer2"


def test_a_family_that_is_not_run_at_all_does_not_count():
    model = nn.ModuleDict({"spare": models.squeezenet1_1(weights=None), "used": models.resnet18(weights=None)})
    model["tail"] = nn.Conv2d(10, 2, 1)
    model.forward = lambda x: model["tail"](model["used"](x).reshape(-1, 10, 10, 10))
    assert default_module(model, torch.zeros(2, 3, 64, 64)) == "used.layer4"


def exported(model, x):
    return torch.export.unflatten(torch.export.export(model.eval(), (x,)))


def test_an_exported_model_is_known_by_the_classes_it_was_made_of():
    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.backbone = models.ResNet(models.resnet.BasicBlock, [1, 1, 1, 1], num_classes=16)
            self.tail = nn.Sequential(nn.Unflatten(1, (1, 4, 4)), nn.Conv2d(1, 2, 1))

        def forward(self, x):
            return self.tail(self.backbone(x))

    assert default_module(exported(Model(), X), X) == "backbone.layer4"
    pooled = nn.Sequential(nn.Sequential(conv(), nn.ReLU()), nn.AdaptiveAvgPool2d(2), nn.Flatten())
    assert default_module(exported(pooled, X), X) == "0"


def test_of_two_families_neither_is_preferred():
    model = nn.ModuleDict({"a": models.squeezenet1_1(weights=None), "b": models.resnet18(weights=None)})
    model.forward = lambda x: model["a"](x) + model["b"](x)
    assert default_module(model, torch.zeros(2, 3, 64, 64)).startswith("b.layer4")


@pytest.mark.parametrize("wrapped", [nn.DataParallel, lambda model: torch.compile(model, backend="eager")])
def test_wrappers_do_not_hide_the_family(wrapped):
    model = wrapped(models.shufflenet_v2_x0_5(weights=None))
    assert default_module(model, torch.zeros(2, 3, 32, 32)) == "conv5"


def test_the_default_of_a_detector_and_of_a_segmentation_model_is_its_backbone():
    options = {"weights": None, "weights_backbone": None}
    x = torch.rand(2, 3, 64, 64)
    for model, first in (
        (fasterrcnn_resnet50_fpn(**options, min_size=64, max_size=64), "backbone.0"),
        (ssdlite320_mobilenet_v3_large(**options), "backbone.0"),
        (lraspp_mobilenet_v3_large(**options), "backbone.low"),
    ):
        assert default_module(model, x) == "backbone"
        with capture(model, ["backbone"]) as forward:
            assert next(iter(forward(x)[1])) == first


def test_modules_that_lie_earlier_than_the_last_stage():
    names = ["stem", "block1", "block1.relu", "block2.conv", "block2.relu", "block2"]
    assert earlier_modules(net(), names, example=X) == ("block2", ("stem", "block1", "block1.relu"))
    resnet = models.resnet18()
    names = ["bn1", "layer1", "layer4", "layer4.1", "layer4.0.bn2", "layer4.1.bn2"]
    found = earlier_modules(resnet, names, example=torch.zeros(2, 3, 32, 32))
    assert found == ("layer4", ("bn1", "layer1", "layer4.0.bn2"))
    exported = torch.export.unflatten(torch.export.export(resnet.eval(), (torch.zeros(2, 3, 32, 32),)))
    assert earlier_modules(exported, names, example=torch.zeros(2, 3, 32, 32)) == found


# outputs and queries are no features


@pytest.mark.parametrize("form", ["eager", "exported"])
@pytest.mark.parametrize(
    ("make", "size", "name"),
    [
        (nets.UNet, 16, "up"),
        (lambda: nets.UNet(16), 16, "up"),
        (lambda: nn.Sequential(nets.UNet(), nn.Sigmoid()), 16, "0.up"),
        (lambda: nn.Sequential(nets.UNet(), nn.Softmax(1), nn.Upsample(scale_factor=2)), 16, "0.up"),
        (lambda: nn.Sequential(nets.UNet(1), nn.ReLU()), 16, "0.up"),  # a depth
        (nets.Yolo, 32, "classes.1.0"),
        (nets.Detr, 32, "encoder"),
        (nets.DetrOfProjections, 32, "encoder"),
        (nets.Auxiliary, 16, "up"),
        (lambda: nets.Tokens(1, 100), 16, "norm"),
        (lambda: nn.Sequential(nets.block(3, 8), nets.block(8, 8)), 8, "1"),  # a network that gives features
        (lambda: nn.Sequential(nets.block(3, 8), nets.block(8, 8)).requires_grad_(False), 8, "1"),
        (nets.PartlyFrozen, 16, "stage"),
    ],
)
def test_outputs_of_a_network_are_no_feature_stage(make, size, name, form):
    torch.manual_seed(0)
    network, x = make().eval(), torch.rand(2, 3, size, size)
    assert default_module(exported(network, x) if form == "exported" else network, x).startswith(name)


def test_sums_and_gates_of_features_are_features():
    class Residual(nn.Module):
        def __init__(self, gate):
            super().__init__()
            self.stem, self.body, self.gate = conv(), conv(4), gate

        def forward(self, x):
            first = self.stem(x)
            return self.body(first) * self.body(first).sigmoid() if self.gate else first + self.body(first)

    class Whole(nn.Module):
        def __init__(self, gate):
            super().__init__()
            self.net = Residual(gate)

        def forward(self, x):
            return self.net(x)

    assert default_module(Whole(False), X) == "net"
    with pytest.raises(CaptureError, match="not clear"):  # logits times shares
        default_module(Whole(True), X)


def test_where_nothing_is_certain_modules_are_asked_for():
    with pytest.raises(CaptureError, match=r"not clear.*most of the network comes after patch.*`modules`.*token_grid"):
        default_module(nets.Tokens(40), X)
    with pytest.raises(CaptureError, match=r"not clear.*are outputs of the network.*`modules`.* are 0"):
        default_module(nn.Sequential(conv()), X)
    assert default_module(nets.Tokens(40), X, token_grid=(2, 2)) == "norm"
    assert resolve_modules(nets.Tokens(40), ["*"], example=X, token_grid=(2, 2)) == ("patch", "encoder", "norm")


@pytest.mark.parametrize("name", ["vit_tiny_patch16_224", "vit_base_patch16_siglip_224"])
def test_an_attention_pool_is_no_feature_stage(name):
    options = {"img_size": 32, "patch_size": 8, "embed_dim": 16, "depth": 1, "num_heads": 2, "num_classes": 5}
    network = timm.create_model(name, **options).eval()
    assert default_module(network, torch.rand(2, 3, 32, 32)) == "norm"


# what is left behind


@pytest.mark.parametrize("call", [default_module, lambda model, x: resolve_modules(model, ["**"], example=x)])
def test_the_model_is_left_as_it_was(call):
    model = net().train()
    model.block1.eval()
    before, state = traces(model), {key: value.clone() for key, value in model.state_dict().items()}
    call(model, X)
    model.fc = nn.Linear(7, 10)
    with pytest.raises(RuntimeError):
        call(model, X)
    assert traces(model) == before
    assert all(torch.equal(value, state[key]) for key, value in model.state_dict().items() if key[:2] != "fc")


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_the_example_takes_the_dtype_of_the_model(dtype):
    assert resolve_modules(net().to(dtype), ["block*"], example=X) == ("block1", "block2")
    assert default_module(nn.Sequential(nn.ReLU()), X) == "0"
