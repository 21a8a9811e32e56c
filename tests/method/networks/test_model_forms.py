from __future__ import annotations

from collections import OrderedDict

import mlflow
import numpy as np
import pytest
import torch
import torch.distributed
from mlflow.models import infer_signature
from torch import nn
from torchvision import models
from torchvision.models.feature_extraction import create_feature_extractor
from torchvision.ops import FeaturePyramidNetwork

from fmce_mlflow.errors import BackboneError, CaptureError
from fmce_mlflow.method.networks.call_order import in_order
from fmce_mlflow.method.networks.capture import capture
from fmce_mlflow.method.networks.find_modules import default_module, list_modules, resolve_modules
from fmce_mlflow.method.networks.model_forms import bare_name, load_exported, named_modules, probing, run, unwrap


class Net(nn.Module):
    """Has what export treats in its own way: batch norm, dropout, a module called twice, one never called, a dict."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.stem = nn.Conv2d(3, 8, 3, padding=1)
        self.norm = nn.BatchNorm2d(8)
        self.relu = nn.ReLU(inplace=True)
        self.block = nn.Sequential(nn.Conv2d(8, 8, 3, stride=2, padding=1), nn.Dropout2d(0.5))
        self.neck = FeaturePyramidNetwork([8, 8], 4)
        self.spare = nn.Conv2d(1, 1, 1)
        self.fc = nn.Linear(8, 5)
        for buffer in (self.norm.running_mean, self.norm.running_var):
            buffer.uniform_(0.5, 1.5)

    def forward(self, x):
        first = self.relu(self.norm(self.stem(x)))
        second = self.relu(self.block(first))
        levels = self.neck(OrderedDict(high=first, low=second))
        return self.fc(torch.cat([level.mean((2, 3)) for level in levels.values()], dim=1))


def photos(n=4, size=16):
    return torch.randn(n, 3, size, size, generator=torch.Generator().manual_seed(1))


def maps_of(model, modules, x, **options):
    with capture(model, modules, **options) as forward:
        return forward(x)[1]


def same_maps(model, reference, modules, x):
    got, expected = maps_of(model, modules, x), maps_of(reference, modules, x)
    assert list(got) == list(expected)
    for name in got:
        torch.testing.assert_close(got[name], expected[name])


# MLflow models


@pytest.fixture(scope="module")
def log_model(tmp_path_factory):
    """A function that logs a model with MLflow and returns its URI and the folder it is downloaded to."""
    folder = tmp_path_factory.mktemp("mlflow")
    before = mlflow.get_tracking_uri()
    mlflow.set_tracking_uri(f"sqlite:///{folder}/mlflow.db")
    experiment = mlflow.create_experiment("models", artifact_location=(folder / "artifacts").as_uri())

    def log(model, x, serialization_format="pt2"):
        with mlflow.start_run(experiment_id=experiment), torch.no_grad():
            signature = infer_signature(x.numpy(), model(x).numpy())
            logged = mlflow.pytorch.log_model(
                model, name="model", input_example=x.numpy(), signature=signature, pip_requirements=["torch"],
                serialization_format=serialization_format,
            )  # fmt: skip
        return logged.model_uri, mlflow.artifacts.download_artifacts(logged.model_uri)

    yield log
    mlflow.set_tracking_uri(before)


@pytest.fixture(scope="module")
def logged(log_model):
    net = Net().eval()
    uri, folder = log_model(net, photos(2))
    return net, uri, folder


@pytest.mark.parametrize("n", [1, 2, 7])
def test_maps_of_an_exported_model_equal_those_of_the_eager_one(logged, n):
    net, _, folder = logged
    exported = load_exported(folder)
    same_maps(exported, net, ["stem", "norm", "relu", "block", "block.0", "block.1"], photos(n))


def test_an_exported_backbone_of_torchvision(log_model):
    torch.manual_seed(0)
    net = models.shufflenet_v2_x0_5(weights=None, num_classes=5).eval()
    _, folder = log_model(net, photos(2, 32))
    exported, x = load_exported(folder), photos(3, 32)
    assert default_module(exported, x) == default_module(net, x) == "conv5"
    same_maps(exported, net, ["conv1", "stage2", "stage3.0.branch2", "conv5"], x)
    assert set(list_modules(exported)) == set(list_modules(net))


def test_gradients_flow_through_an_exported_model(logged):
    net, _, folder = logged
    found = []
    for model in (net, load_exported(folder)):
        with capture(model, ["norm", "block.0"], grad=True) as forward:
            output, maps = forward(photos(3))
            found.append(torch.autograd.grad(output[:, 2].sum(), list(maps.values())))
    for eager, exported in zip(*found, strict=True):
        assert eager.abs().sum() > 0
        torch.testing.assert_close(exported, eager)


def test_the_parts_of_a_dict_are_numbered_as_they_are_computed(logged):
    net, _, folder = logged
    x = photos(2)
    eager, exported = maps_of(net, ["neck"], x), maps_of(load_exported(folder), ["neck"], x)
    assert list(eager) == ["neck.high", "neck.low"] and list(exported) == ["neck.0", "neck.1"]
    torch.testing.assert_close(exported["neck.0"], eager["neck.low"])  # a pyramid is built from its low end
    torch.testing.assert_close(exported["neck.1"], eager["neck.high"])


def test_modules_that_were_not_called_stay_so(logged):
    net, _, folder = logged
    for model in (net, load_exported(folder)):
        with pytest.raises(CaptureError, match="'spare' was not called"):
            maps_of(model, ["spare"], photos(2))


def test_the_file_itself_may_be_named(logged):
    net, _, folder = logged
    same_maps(load_exported(f"{folder}/data/model.pt2"), net, ["block"], photos(2))


def test_the_flat_graph_of_mlflow_is_refused(logged):
    _, uri, _ = logged
    flat = mlflow.pytorch.load_model(uri)
    with pytest.raises(CaptureError, match=r"flat exported graph.*download_artifacts.*load_exported"):
        maps_of(flat, ["block"], photos(2))
    with pytest.raises(CaptureError, match="The model's inner is a flat exported graph"):
        maps_of(nn.Sequential(OrderedDict(inner=flat)), ["inner"], photos(2))


def test_other_shapes_than_the_exported_one(logged, log_model):
    net, _, folder = logged
    exported = load_exported(folder)
    for call in (lambda: maps_of(exported, ["block"], photos(2, 32)), lambda: default_module(exported, photos(2, 32))):
        with pytest.raises(CaptureError, match=r"shape\[2\] to be equal to 16, but got 32.*shape it was exported with"):
            call()
    _, single = log_model(net, photos(1))
    same_maps(load_exported(single), net, ["block"], photos(1))
    with pytest.raises(CaptureError, match=r"to be equal to 1, but got 5.*at least two images"):
        maps_of(load_exported(single), ["block"], photos(5))


def test_other_errors_of_an_exported_model_are_its_own(logged):
    _, _, folder = logged
    with pytest.raises(RuntimeError, match="double"):
        maps_of(load_exported(folder), ["block"], photos(2).double())


def test_a_pickled_model_is_the_eager_one(log_model):
    net = Net().eval()
    uri, folder = log_model(net, photos(2), serialization_format="pickle")
    same_maps(mlflow.pytorch.load_model(uri), net, ["norm", "neck"], photos(3))
    with pytest.raises(BackboneError, match=r"pickle.*mlflow\.pytorch\.load_model"):
        load_exported(folder)


@pytest.mark.parametrize(
    "layer", [nn.BatchNorm2d(3), nn.Dropout(0.5), nn.Dropout2d(0.5)], ids=lambda m: type(m).__name__
)
def test_a_model_exported_in_training_mode_is_refused(layer, tmp_path):
    net = nn.Sequential(OrderedDict(first=layer, conv=nn.Conv2d(3, 2, 1)))
    program = torch.export.export(net.train(), (photos(2),))
    torch.export.save(program, tmp_path / "model.pt2")
    with pytest.raises(CaptureError, match=r"The model's first was exported in training mode.*model\.eval\(\)"):
        maps_of(load_exported(tmp_path / "model.pt2"), ["conv"], photos(2))


def test_batch_norm_without_statistics_does_not_care_for_the_mode(tmp_path):
    net = nn.Sequential(nn.BatchNorm2d(3, track_running_stats=False), nn.Conv2d(3, 2, 1))
    torch.export.save(torch.export.export(net, (photos(2),)), tmp_path / "model.pt2")
    same_maps(load_exported(tmp_path / "model.pt2"), net, ["0", "1"], photos(2))


def test_files_that_are_no_archive(tmp_path):
    with pytest.raises(BackboneError, match=r"No exported model at .*data/model\.pt2"):
        load_exported(tmp_path)
    (tmp_path / "model.pt2").write_bytes(b"not an archive")
    with pytest.raises(
        BackboneError, match=r"model\.pt2 cannot be read as a torch\.export archive.*log the model again"
    ):
        load_exported(tmp_path / "model.pt2")


class Twice(nn.Module):
    """Calls one part with two sizes: ``torch.export`` makes two graphs of it."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.stem = nn.Conv2d(3, 4, 1)
        self.head = nn.Sequential(nn.Conv2d(4, 4, 3, padding=1), nn.Hardswish(), Scaled())

    def forward(self, x):
        x = self.stem(x)
        return self.head(x).mean((2, 3)) + self.head(nn.functional.avg_pool2d(x, 2)).mean((2, 3))


class Scaled(nn.Module):
    def forward(self, x):
        return x / x.shape[-1]


def test_both_calls_of_a_module_are_seen_in_an_export(tmp_path):
    net = Twice().eval()
    torch.export.save(torch.export.export(net, (photos(2),)), tmp_path / "model.pt2")
    made = load_exported(tmp_path / "model.pt2")
    assert "head@1" in dict(made.named_modules()) and list_modules(made) == list_modules(net)
    torch.testing.assert_close(made(photos(3)[:2]), net(photos(3)[:2]))
    same_maps(made, net, ["head", "head.0", "head.2"], photos(2))
    assert list(maps_of(made, ["head.0"], photos(2))) == ["head.0.0", "head.0.1"]
    assert default_module(made, photos(2)) == default_module(net, photos(2)) == "head"


def test_a_module_whose_name_has_an_at_sign_is_no_second_call():
    net = nn.ModuleDict({"a": nn.Conv2d(3, 2, 1), "a@1": nn.Conv2d(3, 2, 1)})
    assert list(named_modules(net)) == ["a", "a@1"]


# TorchScript and torch.fx


class Parts(nn.Module):
    """A part under no_grad, and one under autocast."""

    def __init__(self):
        super().__init__()
        self.first, self.middle, self.last = nn.Conv2d(3, 4, 3), nn.Conv2d(4, 4, 3), nn.Linear(4, 2)

    def forward(self, x):
        with torch.no_grad():
            x = (x - x.mean()).relu()
        x = self.first(x).relu()
        with torch.autocast("cpu", dtype=torch.bfloat16):
            x = self.middle(x).relu()
        return self.last(x.float().mean((2, 3)))


def test_modules_outside_a_part_under_no_grad_or_autocast_can_be_scored():
    torch.manual_seed(0)
    net, x = Parts().eval(), photos(2)
    exported = torch.export.unflatten(torch.export.export(net, (x,)))
    assert any(isinstance(module, torch.fx.GraphModule) for module in exported.modules())
    same_maps(exported, net, ["first"], x)
    assert default_module(exported, x) == "first" and resolve_modules(exported, ["first"], example=x) == ("first",)
    with pytest.raises(CaptureError, match="'middle' was not called"):
        maps_of(exported, ["middle"], x)
    with torch.no_grad():
        torch.testing.assert_close(exported(x), net(x), rtol=1e-2, atol=1e-2)


def test_a_part_that_torch_fx_traced_to_operators_alone_is_no_export():
    class Scale(nn.Module):
        def forward(self, x):
            return (x - 0.5) / 0.5

    net = nn.Sequential(torch.fx.symbolic_trace(Scale()), nn.Conv2d(3, 4, 3), nn.ReLU())
    assert maps_of(net, ["1"], photos(2))["1"].shape == (2, 4, 14, 14)


@pytest.mark.filterwarnings("ignore:.torch.jit:FutureWarning")
def test_torchscript_is_refused():
    traced = torch.jit.trace(nn.Sequential(nn.Conv2d(3, 2, 1)).eval(), photos(1))
    for model, where in ((traced, "The model is"), (nn.Sequential(OrderedDict(inner=traced)), "The model's inner is")):
        with pytest.raises(CaptureError, match=f"{where} TorchScript.*load_exported"):
            maps_of(model, ["0" if model is traced else "inner"], photos(1))
        with pytest.raises(CaptureError, match=f"{where} TorchScript.*load_exported"):
            default_module(model, photos(1))
        with pytest.raises(CaptureError, match=f"{where} TorchScript.*load_exported"):
            in_order(model, ["0" if model is traced else "inner"], example=photos(1))


def test_graphs_of_torch_fx_keep_their_modules():
    torch.manual_seed(0)
    net = models.resnet18(weights=None).eval()
    graph = create_feature_extractor(net, ["layer4"])
    same_maps(graph, net, ["layer1.0.conv1", "layer4.1.bn2"], photos(2, 32))


# wrappers


def test_data_parallel_is_unwrapped_and_names_may_carry_its_prefix():
    net, x = Net(), photos()
    wrapped = nn.DataParallel(net)
    same_maps(wrapped, net, ["block", "neck"], x)
    prefixed = maps_of(wrapped, ["module.block", "module.neck", "block"], x)
    assert list(prefixed) == ["module.block", "module.neck.high", "module.neck.low", "block"]
    assert torch.equal(prefixed["module.block"], prefixed["block"])
    assert unwrap(wrapped) is net and list_modules(wrapped) == list_modules(net)
    assert wrapped.training and net.training


def test_distributed_data_parallel_is_unwrapped(tmp_path):
    torch.distributed.init_process_group("gloo", init_method=f"file://{tmp_path}/store", rank=0, world_size=1)
    try:
        net = Net()
        wrapped = nn.parallel.DistributedDataParallel(net)
        same_maps(wrapped, net, ["block", "neck"], photos())
        assert list(maps_of(wrapped, ["module.block"], photos())) == ["module.block"]
        assert unwrap(wrapped) is net
    finally:
        torch.distributed.destroy_process_group()


def test_a_child_that_is_called_module_is_no_wrapper():
    net = nn.Sequential(OrderedDict(module=nn.Sequential(nn.Conv2d(3, 2, 1))))
    assert list(maps_of(net, ["module.0"], photos())) == ["module.0"]
    assert bare_name("module.0") == "module.0"


@pytest.mark.parametrize("how", ["whole", "part", "in place", "part in place", "wrapped"])
def test_compiled_models_are_seen_inside(how):
    net, reference, x = Net(), Net(), photos()
    if how == "whole":
        model = torch.compile(net, backend="eager")
    elif how == "wrapped":
        model = nn.DataParallel(torch.compile(net, backend="eager"))
    else:
        model = net
    if how == "part":
        net.block = torch.compile(net.block, backend="eager")
    if how == "in place":
        net.compile(backend="eager")
    if how == "part in place":
        net.block.compile(backend="eager")
    with torch.no_grad():
        compiled = model.eval()(x)  # compiled before there are hooks
    torch.testing.assert_close(compiled, reference.eval()(x))
    same_maps(model, reference, ["norm", "block", "block.0", "neck"], x)
    assert list_modules(model) == list_modules(reference)
    with torch.no_grad():
        torch.testing.assert_close(model(x), compiled)
    for name in ("_orig_mod.block.0", "block._orig_mod.0"):
        torch.testing.assert_close(maps_of(model, [name], x)[name], maps_of(reference, ["block.0"], x)["block.0"])


def test_names_of_shared_modules_are_all_there():
    relu = nn.ReLU()
    assert list(named_modules(nn.Sequential(relu, nn.Sequential(relu)))) == ["0", "1", "1.0"]


# eval mode


class Backbone(nn.Module):
    """Keeps its batch norm in eval mode, as fine-tuning code does, and counts how often it is told."""

    def __init__(self):
        super().__init__()
        self.norm = nn.BatchNorm2d(3)
        self.told = []

    def train(self, mode=True):
        self.told.append(mode)
        super().train(mode)
        self.norm.eval()
        return self

    def forward(self, x):
        return self.norm(x)


def test_modules_with_a_train_of_their_own_are_told_and_keep_their_flags():
    net = nn.Sequential(Backbone(), nn.Dropout()).train()
    net[1].eval()
    net[0].told.clear()
    with probing(net):
        assert not any(module.training for module in net.modules())
    assert net[0].told == [False, True]
    assert [module.training for module in net.modules()] == [True, True, False, False]


class InPlace(nn.Module):
    """Changes its input: normalises, or cuts off below 0."""

    def __init__(self, how):
        super().__init__()
        self.how = how
        torch.manual_seed(0)
        self.conv, self.act = nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(inplace=True)

    def forward(self, x):
        images = x["image"] if isinstance(x, dict) else x[0] if isinstance(x, list) else x
        images = self.act(images) if self.how == "relu" else images.sub_(0.4).div_(0.2)
        return self.conv(images).mean((2, 3))


@pytest.mark.parametrize(
    "form", [lambda x: x, lambda x: [x, x], lambda x: {"image": x}], ids=["tensor", "list", "dict"]
)
@pytest.mark.parametrize("how", ["relu", "normalises"])
def test_a_network_that_changes_its_input_gets_the_images_in_every_pass(how, form):
    net, x = InPlace(how), photos()
    kept = x.clone()
    outputs = [run(net, form(x)) for _ in range(3)]
    assert torch.equal(x, kept) and all(torch.equal(output, outputs[0]) for output in outputs)


def test_run_returns_what_the_model_returns():
    np.testing.assert_array_equal(run(nn.Flatten(), torch.ones(2, 3, 4)), np.ones((2, 12)))
    with pytest.raises(RuntimeError, match="shapes cannot be multiplied"):
        run(nn.Linear(3, 2), torch.ones(2, 4))
