from __future__ import annotations

import copy
import math

import pytest
import torch
import torch.nn.utils as hooks
from torch import Tensor, nn
from torch.nn.utils import parametrizations
from torchvision.models import mobilenet_v3_small, resnet18, shufflenet_v2_x0_5
from torchvision.ops import FrozenBatchNorm2d

from fmce_mlflow.errors import BackboneError
from fmce_mlflow.method.evidence.weights import WEIGHT_FIGURES, weight_evidence
from fmce_mlflow.method.networks.fresh_weights import reinitialised


def exported(network: nn.Module, size: int = 32) -> nn.Module:
    return torch.export.unflatten(torch.export.export(network.eval(), (torch.zeros(2, 3, size, size),)))


def small(width: int = 16, *, norms: bool = True, classes: int = 10) -> nn.Sequential:
    layers: list[nn.Module] = []
    for ins, outs in ((3, width), (width, width), (width, width)):
        layers += [nn.Conv2d(ins, outs, 3, padding=1), nn.BatchNorm2d(outs) if norms else nn.Identity(), nn.ReLU()]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(width, classes))


def test_every_figure_is_a_number_or_unknown_and_the_network_stays_as_it_was(seeded):
    network = seeded(resnet18)
    before, state = copy.deepcopy(network.state_dict()), torch.get_rng_state()
    found = weight_evidence(network, "layer2")
    assert tuple(found.figures) == WEIGHT_FIGURES and 20 <= len(WEIGHT_FIGURES) <= 35
    assert all(type(value) is float and not math.isinf(value) for value in found.figures.values())
    assert repr(found) == repr(weight_evidence(network, "layer2")) and torch.equal(state, torch.get_rng_state())
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items()) and network.training


@pytest.mark.parametrize("name", ["2", "9"], ids=["activation", "pool"])
def test_a_module_without_weights_cannot_be_judged(name):
    found = weight_evidence(small(), name)
    assert found.untouched is None and not found.said and all(map(math.isnan, found.figures.values()))


def test_a_module_that_is_not_there_is_named():
    with pytest.raises(BackboneError, match="no module 'layer9'"):
        weight_evidence(resnet18(), "layer9")


BUILT = [shufflenet_v2_x0_5, mobilenet_v3_small]


@pytest.mark.parametrize("build", BUILT)
def test_an_exported_network_says_what_the_eager_one_says(build, seeded):
    network = seeded(build)
    name = next(name for name in ("stage3", "features") if hasattr(network, name))
    assert weight_evidence(exported(network, 64), name).figures == pytest.approx(
        weight_evidence(network, name).figures, nan_ok=True
    )


@pytest.mark.parametrize("build", BUILT)
def test_as_the_library_builds_it_nothing_contradicts_that_it_is_untrained(build, seeded):
    network = seeded(build, 1)
    for each in (network, reinitialised(network, seed=2)):
        found = weight_evidence(each, "")
        assert found.untouched == 1 and "Its BatchNorm layers have seen no batch." in found.said


def test_settled_statistics_change_words_and_nothing_else(seeded):
    network = seeded(small)
    before = weight_evidence(network, "")
    network.train()(torch.rand(8, 3, 8, 8))
    after = weight_evidence(network, "")
    assert before.said[0].startswith("Its BatchNorm") and after.said == before.said[1:]
    assert after.untouched == before.untouched == 1 and after.figures == pytest.approx(before.figures, nan_ok=True)


INITIAL = {
    "fan out": lambda w: nn.init.kaiming_normal_(w, mode="fan_out"),
    "uniform": lambda w: nn.init.kaiming_uniform_(w, a=5**0.5),
    "xavier": nn.init.xavier_uniform_,
    "orthogonal": nn.init.orthogonal_,
    "truncated": lambda w: nn.init.trunc_normal_(w, std=0.02, a=-0.04, b=0.04),
    "normal": lambda w: nn.init.normal_(w, std=0.02),
    "zeros": nn.init.zeros_,
    "identity": lambda w: nn.init.dirac_(w) if w.dim() > 2 else nn.init.eye_(w),
}


@pytest.mark.parametrize("shape", [(8, 8), (10, 512), (96, 96, 3, 3), (512, 64, 1, 1), (192, 1, 5, 5)], ids=str)
@pytest.mark.parametrize("how", INITIAL)
def test_a_draw_of_any_kind_is_known_as_one(how, shape):
    torch.manual_seed(0)
    layer = nn.Module()
    layer.weight = nn.Parameter(torch.empty(shape))
    INITIAL[how](layer.weight)
    assert weight_evidence(layer, "").untouched == 1


def train(network: nn.Module, steps: int, optimizer: torch.optim.Optimizer) -> None:
    images = torch.rand(64, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    labels = (images.mean((2, 3)).argmax(1) * 3 + (images[:, 0, :4].mean((1, 2)) > 0.5)) % 10
    for _ in range(steps):
        optimizer.zero_grad()
        nn.functional.cross_entropy(network(images), labels).backward()
        optimizer.step()


@pytest.mark.parametrize("norms", [True, False])
def test_a_few_steps_of_training_show(norms, seeded):
    network = seeded(lambda: small(32, norms=norms))
    train(network, 30, torch.optim.Adam(network.parameters(), 3e-3))
    assert weight_evidence(network, "").untouched < 0.5


@pytest.mark.parametrize("frozen", [False, True])
def test_norm_layers_are_known_by_their_numbers_however_they_are_kept(frozen):
    norm = FrozenBatchNorm2d(16) if frozen else nn.GroupNorm(4, 16)
    assert weight_evidence(norm, "").untouched == 1
    with torch.no_grad():
        norm.weight.copy_(torch.rand(16))
    found = weight_evidence(norm, "")
    assert found.untouched == 0.5 and found.figures["gain_constant"] == 0 < found.figures["gain_spread"]


@pytest.mark.filterwarnings("ignore:.*weight_norm:FutureWarning")
@pytest.mark.parametrize(
    "wrap",
    [hooks.weight_norm, hooks.spectral_norm, parametrizations.weight_norm, parametrizations.spectral_norm],
    ids=["weight hook", "spectral hook", "weight", "spectral"],
)
def test_of_a_computed_weight_what_it_is_computed_from_is_judged(wrap):
    torch.manual_seed(0)
    layer = wrap(nn.Conv2d(16, 16, 3))
    assert weight_evidence(layer, "").untouched == 1
    with torch.no_grad():
        for name, value in layer.named_parameters():
            if "weight" in name and value.numel() == 16 * 16 * 9:
                value[:, :4] += 0.2
    assert weight_evidence(layer, "").untouched == 0.5


def test_the_largest_part_that_was_never_trained_is_named_where_the_rest_was():
    def stage() -> nn.Module:
        return nn.Sequential(nn.Conv2d(8, 8, 3, padding=1), nn.BatchNorm2d(8), nn.Conv2d(8, 8, 3), nn.BatchNorm2d(8))

    network = nn.Sequential(*(stage() for _ in range(4)))
    assert weight_evidence(network, "").part == "" and weight_evidence(network, "").untouched == 1
    for parameter in network.parameters():
        parameter.data += 0.02 * torch.randn_like(parameter)
    assert weight_evidence(network, "").part == ""
    network[2] = stage()
    found = weight_evidence(network, "")
    assert found.part == "2" and "Its part 2 was never trained." in found.said
    assert weight_evidence(network, "2").part == "" == weight_evidence(network, "3").part
    network[2][3].weight.data.uniform_()
    assert weight_evidence(network, "2").part == "0"  # and the other two; the first is named


def test_weights_that_are_not_finite_are_said():
    network = small()
    network[0].weight.data[0, 0, 0, 0] = float("nan")
    found = weight_evidence(network, "0")
    assert found.untouched == 0.5 and "Some of its weights are not finite." in found.said


def glu(weight: Tensor) -> Tensor:
    """Gates that begin almost closed, as timm's gMixer has them."""
    nn.init.normal_(weight[: len(weight) // 2], std=0.02)
    return nn.init.normal_(weight[len(weight) // 2 :], std=1e-6)


def with_accident(weight: Tensor) -> Tensor:
    """PyTorch's trunc_normal_ leaves one entry of 17 million at its far bound."""
    nn.init.normal_(weight, std=0.02)[0, 0] = 2
    return weight


@pytest.mark.parametrize("how", [glu, with_accident])
def test_odd_initialisations_are_no_training(how):
    layer = nn.Linear(64, 128, bias=False)
    with torch.no_grad():
        how(layer.weight)
    assert weight_evidence(layer, "").untouched == 1


@pytest.mark.parametrize(
    "layer", [nn.Linear(64, 64, bias=False), nn.Conv2d(16, 32, 3, bias=False)], ids=["linear", "conv"]
)
def test_of_a_uniform_draw_the_smallest_step_shows(layer):
    torch.manual_seed(0)
    layer.reset_parameters()
    assert weight_evidence(layer, "").untouched == 1
    with torch.no_grad():
        layer.weight -= 1e-5 * torch.randn_like(layer.weight)
    assert weight_evidence(layer, "").untouched == 0


def test_weights_rounded_to_a_short_format_are_still_a_draw():
    torch.manual_seed(0)
    network = small().bfloat16()
    assert weight_evidence(network, "").untouched == weight_evidence(network.float(), "").untouched == 1


def test_the_report_says_how_many_of_each_kind_have_moved(seeded):
    network = seeded(lambda: small(32))
    said = weight_evidence(network, "").said
    assert "Its 3 norm layers still stand at 1 and 0." in said
    assert "Its 4 weight matrices could be a random draw." in said
    assert said[-1].startswith("Spectral alpha ")
    train(network, 20, torch.optim.Adam(network.parameters(), 3e-3))
    assert "None of its 3 norm layers still stands at 1 and 0." in weight_evidence(network, "").said
    assert weight_evidence(network, "1").said == ("Its norm layer no longer stands at 1 and 0.",)


@pytest.mark.parametrize("name", ["test_vit", "test_nfnet", "lcnet_035", "mobilenetv3_small_050", "levit_128s"])
def test_as_timm_builds_it_nothing_contradicts_that_it_is_untrained(name):
    timm = pytest.importorskip("timm")
    torch.manual_seed(0)
    network = timm.create_model(name)
    assert all(weight_evidence(network, part).untouched in (1, None) for part, _ in network.named_children())


class Tokens(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.pos_embed = nn.Parameter(torch.arange(64.0).view(1, 8, 8))
        self.scale = nn.Parameter(torch.tensor(2.0))

    def forward(self, x: Tensor) -> Tensor:
        return x


def test_what_an_initialisation_may_leave_at_anything_is_not_judged():
    assert weight_evidence(Tokens(), "").untouched is None
