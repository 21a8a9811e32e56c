"""How far weights moved from look to look, against NumPy."""

from __future__ import annotations

from collections import OrderedDict

import numpy as np
import pytest
import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from fmce_mlflow.method.networks.weight_change import WeightChange
from tests.helpers.nets import Tied


def net() -> nn.Sequential:
    torch.manual_seed(0)
    stage = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU())
    return nn.Sequential(OrderedDict(stage=stage, pool=nn.AvgPool2d(2), head=nn.Conv2d(4, 2, 1)))


def values(module: nn.Module) -> np.ndarray:
    return np.concatenate([p.detach().numpy().ravel().astype(np.float64) for p in module.parameters()])


def shaken(model: nn.Module, scale: float = 0.1) -> None:
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(scale * torch.randn(parameter.shape))


def test_it_is_the_norm_of_the_step_over_the_norm_before():
    model = net()
    change = WeightChange(model, ["stage", "stage.0", "head"])
    assert change.look() == {}
    for _ in range(3):
        before = {name: values(model.get_submodule(name)) for name in change.modules}
        shaken(model)
        found = change.look()
        for name, old in before.items():
            step = np.linalg.norm(values(model.get_submodule(name)) - old)
            assert found[name] == pytest.approx(step / np.linalg.norm(old), rel=1e-5)
        assert change.look() == dict.fromkeys(change.modules, 0.0)


def test_statistics_of_batch_norm_are_no_weights():
    model = net().train()
    change = WeightChange(model, ["stage", "stage.1"])
    change.look()
    model(torch.rand(4, 3, 8, 8))
    assert model.stage[1].num_batches_tracked == 1 and change.look() == {"stage": 0.0, "stage.1": 0.0}


def test_modules_inside_each_other_share_one_copy_and_so_do_two_names_of_a_weight():
    model = net()
    change = WeightChange(model, ["stage", "stage.0", "stage.1"])
    change.look()
    assert sorted(change._kept) == [f"stage.{name}" for name in ("0.bias", "0.weight", "1.bias", "1.weight")]
    tied = Tied()
    change = WeightChange(tied, ["first", "second"])
    change.look()
    assert len(change._kept) == 1
    shaken(tied.second)
    found = change.look()
    assert found["first"] == found["second"] > 0


def test_a_module_without_weights_moves_as_those_before_it():
    model, asked = net(), []

    def upstream():
        asked.append(1)
        return {"pool": ("stage.0.weight",), "stage.2": ()}

    change = WeightChange(model, ["pool", "stage.2", "stage"], upstream)
    assert change.look() == {} and asked == [1]
    shaken(model.head)
    assert change.look() == {"pool": 0.0, "stage.2": 0.0, "stage": 0.0}
    shaken(model.stage[0])
    found = change.look()
    assert found["pool"] > 0 and found["stage.2"] == 0 and asked == [1]
    assert "pool" not in WeightChange(model, ["pool"]).look()


def test_weights_that_began_as_zeros():
    model = nn.Conv2d(1, 1, 1, bias=False)
    nn.init.zeros_(model.weight)
    change = WeightChange(nn.Sequential(model), ["0"])
    change.look()
    assert change.look() == {"0": 0.0}
    shaken(model)
    assert change.look() == {"0": 1.0}


def test_another_process_knows_the_same_weights_again_and_no_others():
    model, last = net(), {}
    WeightChange(model, ["stage", "head"], last=last).look()
    shaken(model.head)
    assert WeightChange(model, ["stage", "head"], last=last).look() == {"stage": 0.0}


def test_another_process_recalls_the_weights_of_the_last_look_if_it_has_them():
    model, last = net(), {}
    WeightChange(model, ["stage", "stage.0", "head"], last=last).look()
    shaken(model.head)
    change = WeightChange(model, ["stage", "stage.0", "head"], last=last)
    change.recall()
    shaken(model)
    assert set(change.look()) == {"stage", "stage.0"}
    assert set(change.look()) == {"stage", "stage.0", "head"}


def test_after_it_forgot_only_what_stayed_is_known():
    model = net()
    change = WeightChange(model, ["stage", "head"])
    change.look()
    shaken(model.head)
    change.forget()
    assert change.look() == {"stage": 0.0}
    shaken(model.head)
    assert change.look()["head"] > 0


def test_what_is_not_finite_or_has_another_shape_is_not_known():
    model = net()
    change = WeightChange(model, ["stage", "head"])
    change.look()
    with torch.no_grad():
        model.stage[0].weight[0, 0, 0, 0] = float("nan")
    model.head = nn.Conv2d(4, 3, 1)
    assert change.look() == {}
    del model.head
    assert change.look() == {}


def test_a_look_within_inference_mode_is_no_end_of_it():
    model = net()
    change = WeightChange(model, ["stage"])
    with torch.inference_mode():
        change.look()
    shaken(model)
    assert change.look()["stage"] > 0


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16, torch.float16, torch.complex64])
def test_other_kinds_of_numbers(dtype):
    model = nn.Sequential(nn.Linear(8, 8, dtype=dtype))
    change = WeightChange(model, ["0"])
    change.look()
    assert change.look() == {"0": 0.0}
    with torch.no_grad():
        model[0].weight.mul_(1.5), model[0].bias.mul_(1.5)
    assert change.look()["0"] == pytest.approx(0.5, rel=0.01)


def test_an_averaged_copy_of_weights_that_stay_does_not_move():
    model = net()
    copy = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(0.99))
    copy.update_parameters(model)
    change = WeightChange(copy, ["module.stage", "module.head"])
    change.look()
    for _ in range(20):
        shaken(model.head)
        copy.update_parameters(model)
    found = change.look()
    assert found["module.stage"] == 0 and found["module.head"] > 0
