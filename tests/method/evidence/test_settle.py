from __future__ import annotations

import copy
import math

import pytest
import timm
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.models import mobilenet_v3_small, resnet18, shufflenet_v2_x0_5
from torchvision.ops import FrozenBatchNorm2d

from fmce_mlflow.errors import ModelError
from fmce_mlflow.method.evidence.settle import GAP_FIGURES, gap, said, settled
from fmce_mlflow.method.networks.capture import capture
from fmce_mlflow.method.networks.model_forms import unflattened
from tests.helpers.nets import plain, tiny


def images(n: int = 12, size: int = 8) -> Tensor:
    return torch.rand(n, 3, size, size, generator=torch.Generator().manual_seed(0))


def by_training_mode(network: nn.Module, batches: list[Tensor]) -> nn.Module:
    """BatchNorm's own cumulative average."""
    made = copy.deepcopy(network).eval()
    for module in made.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.reset_running_stats()
            module.momentum = None
            module.train()
    with torch.no_grad():
        for batch in batches:
            made(batch)
    return made.eval()


def same_outputs(one: nn.Module, other: nn.Module, x: Tensor, tolerance: float = 1e-4) -> None:
    with torch.no_grad():
        torch.testing.assert_close(one(x), other(x), rtol=tolerance, atol=tolerance)


REAL = {
    "resnet18": lambda: resnet18(num_classes=5),
    "shufflenet_v2": lambda: shufflenet_v2_x0_5(num_classes=5),
    "mobilenet_v3": lambda: mobilenet_v3_small(num_classes=5),
    "lcnet": lambda: timm.create_model("lcnet_050", num_classes=5),
}


@pytest.mark.parametrize("name", REAL)
def test_a_network_is_settled_as_its_own_training_mode_would(name, seeded):
    network, x = seeded(REAL[name]).eval(), images(8, 64)
    same_outputs(settled(network, [x]), by_training_mode(network, [x]), x, 1e-3)


@pytest.mark.parametrize("name", ["tiny", *(pytest.param(name, marks=pytest.mark.slow) for name in REAL)])
def test_an_exported_network_is_settled_as_the_eager_one(name, seeded):
    network, x = seeded(REAL.get(name, tiny)).eval(), images(8, 64 if name in REAL else 8)
    program = torch.export.export(network, (x[:2],), dynamic_shapes=({0: torch.export.Dim.DYNAMIC},))
    for form in (program, program.run_decompositions()) if name == "tiny" else (program,):
        exported = unflattened(form)
        before = copy.deepcopy(exported.state_dict())
        same_outputs(settled(exported, [x]), settled(network, [x]), x, 1e-3)
        assert all(torch.equal(value, before[key]) for key, value in exported.state_dict().items())


@pytest.mark.parametrize("name", REAL)
def test_settled_maps_do_not_depend_on_what_the_statistics_were(name, seeded):
    network, x = seeded(REAL[name]).eval(), images(8, 64)
    made = settled(network, [x])
    same_outputs(settled(made, [x]), made, x, 0)
    network.train()
    with torch.no_grad():
        for step in range(3):
            network(x + step)
    same_outputs(settled(network, [x]), made, x, 0)


def test_the_given_network_and_the_random_state_are_untouched():
    network = tiny().train()
    network.stage.eval()
    before = copy.deepcopy(network.state_dict())
    flags, state = [module.training for module in network.modules()], torch.get_rng_state()
    made = settled(network, [images()])
    assert [module.training for module in network.modules()] == flags
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    assert torch.equal(torch.get_rng_state(), state)
    assert not any(module.training for module in made.modules()) and made.norm.momentum == network.norm.momentum
    assert made.norm.num_batches_tracked == 0
    assert all(torch.equal(value, before[name]) for name, value in made.named_parameters())


def test_batches_are_pooled_by_their_images():
    """With the variance between batches, which the average of training mode leaves out."""
    network, x = nn.Sequential(nn.BatchNorm2d(3, affine=False)), images()
    x[:2] += 5
    whole = settled(network, [x])[0]
    torch.testing.assert_close(whole.running_mean, x.mean((0, 2, 3)))
    torch.testing.assert_close(whole.running_var, x.var((0, 2, 3)))
    for parts in (x.split([2, 9, 1]), x.split(1)):
        pooled = settled(network, parts)[0]
        torch.testing.assert_close(pooled.state_dict(), whole.state_dict())


def test_dropout_and_stochastic_depth_stay_off():
    network = nn.Sequential(nn.Dropout(0.9), nn.BatchNorm2d(3)).train()
    torch.testing.assert_close(settled(network, [images()])[1].running_mean, images().mean((0, 2, 3)))


def test_a_fixed_batch_is_filled_up_with_images_from_the_beginning():
    sizes = []

    class Fixed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.norm = nn.BatchNorm2d(3)

        def forward(self, x: Tensor) -> Tensor:
            sizes.append(len(x))
            return self.norm(x)

    x = images(5)
    made = settled(Fixed(), [x], fixed_batch=4)
    assert sizes == [4, 4]
    torch.testing.assert_close(made.norm.running_mean, torch.cat([x, x[:3]]).mean((0, 2, 3)))


def test_without_running_statistics_there_is_nothing_to_settle():
    assert settled(plain(), [images()]) is None
    assert settled(nn.Sequential(nn.BatchNorm2d(3, track_running_stats=False)), [images()]) is None
    assert settled(nn.Sequential(nn.Conv2d(3, 4, 1), FrozenBatchNorm2d(4)), [images()]) is None
    assert settled(nn.InstanceNorm2d(3, track_running_stats=True), [images()]) is None
    assert settled(tiny(), []) is None


class Mixed(nn.Module):
    """A frozen BatchNorm, one of vectors, one that is never called, one that is called on two levels."""

    def __init__(self) -> None:
        super().__init__()
        self.frozen, self.spare, self.shared = FrozenBatchNorm2d(3), nn.BatchNorm2d(3), nn.BatchNorm2d(3)
        self.vectors = nn.BatchNorm1d(3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.frozen(x)
        low = self.shared(F.avg_pool2d(x, 2) + 4)
        return self.vectors((self.shared(x) + low.mean()).mean((2, 3)))


def test_only_layers_that_are_called_are_settled():
    made, x = settled(Mixed(), [images()]), images()
    assert (made.frozen.running_mean == 0).all() and (made.spare.running_mean == 0).all()
    assert (made.spare.running_var == 1).all() and (made.vectors.running_var != 1).all()
    mean, low = x.mean((0, 2, 3)), F.avg_pool2d(x, 2)
    torch.testing.assert_close(made.shared.running_mean, mean + 2)
    torch.testing.assert_close(made.shared.running_var, (x.var((0, 2, 3)) + low.var((0, 2, 3))) / 2)


class Pooled(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.BatchNorm2d(3), nn.BatchNorm2d(3)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.first(x).mean((2, 3), keepdim=True))


def test_one_value_per_channel_has_no_variance():
    """Training mode raises here."""
    made = settled(Pooled(), [images(1)])
    assert (made.first.running_mean != 0).all()
    assert (made.last.running_mean == 0).all() and (made.last.running_var == 1).all()
    several = settled(Pooled(), images().split(1))
    assert (several.last.running_var != 1).all()


def test_a_part_that_was_exported_under_no_grad_is_settled_too():
    class Frozen(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.backbone, self.head = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)), nn.Conv2d(4, 2, 1)

        def forward(self, x: Tensor) -> Tensor:
            with torch.no_grad():
                x = self.backbone(x)
            return self.head(x)

    network, x = Frozen().eval(), images()
    exported = unflattened(torch.export.export(network, (x,)))
    same_outputs(settled(exported, [x]), settled(network, [x]), x)
    assert (network.backbone[1].running_var == 1).all()


def test_half_precision_double_and_inference_mode():
    network, x = tiny(), images()
    made = settled(network, [x])
    double = settled(copy.deepcopy(network).double(), [x])
    torch.testing.assert_close(double.norm.running_var.float(), made.norm.running_var)
    half = settled(copy.deepcopy(network).bfloat16(), [x])
    torch.testing.assert_close(half.norm.running_var.float(), made.norm.running_var, rtol=0.05, atol=0.01)
    with torch.inference_mode():
        same = settled(network, [x])
    torch.testing.assert_close(same.norm.running_var, made.norm.running_var)


def test_lists_of_images_of_several_sizes_and_a_call():
    network = nn.BatchNorm2d(3)
    pictures = [torch.rand(3, 4, 5), torch.rand(3, 8, 2)]
    made = settled(network, [pictures], call=lambda net, batch: [net(one[None]) for one in batch])
    torch.testing.assert_close(made.running_mean, torch.stack([one.mean((1, 2)) for one in pictures]).mean(0))


def test_a_network_that_takes_other_images_says_so():
    with pytest.raises(ModelError, match="cannot take these images"):
        settled(tiny(), [torch.zeros(2, 5, 8, 8)])


def maps_of(network: nn.Module, name: str, x: Tensor) -> Tensor:
    with capture(network, [name]) as forward:
        return forward(x)[1][name]


def test_the_gap_closes_where_statistics_are_those_of_the_images(seeded):
    network, x = seeded(REAL["mobilenet_v3"]).eval(), images(16, 64)
    name = "features.8"
    made = settled(network, [x])
    open_gap = gap(maps_of(network, name, x), maps_of(made, name, x))
    closed = gap(maps_of(made, name, x), maps_of(settled(made, [x]), name, x))
    assert tuple(open_gap) == GAP_FIGURES and said(open_gap)
    assert said(closed) is None and all(abs(value) < 1e-3 for value in closed.values())


def test_each_figure_of_the_gap_has_its_own_meaning():
    x = torch.randn(32, 8, 2, 2, generator=torch.Generator().manual_seed(0))
    scaled = gap(x, 4 * x)
    assert scaled["gap size"] == pytest.approx(math.log(4)) and scaled["gap turn"] == pytest.approx(0, abs=1e-6)
    shifted = gap(x + 3, x)
    assert shifted["gap drift"] < 1e-6 and shifted["gap means"] == pytest.approx(math.log(4), rel=0.1)
    assert shifted["gap turn"] > 0.3
    other = gap(x, x.flip(0))
    assert other["gap drift"] > 0.5 and other["gap deviations"] == pytest.approx(0, abs=1e-6)


def test_the_gap_of_maps_that_are_no_numbers_is_not_known():
    x = torch.ones(4, 2, 2, 2)
    for raw in (x * math.nan, x * math.inf):
        assert all(math.isnan(value) for value in gap(raw, x).values()) and said(gap(raw, x)) is None
    assert all(math.isnan(value) for value in gap(x[:1], x[:1]).values())
    assert all(value == 0 for value in gap(x * 0, x * 0).values())
    assert all(math.isfinite(value) for value in gap(x * 0, x).values())
