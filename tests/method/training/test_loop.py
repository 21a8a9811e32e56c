from __future__ import annotations

import copy
import json
import math
import os
import socket
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F

from fmce_mlflow.errors import CaptureError, ConfigError, NonFiniteLossError
from fmce_mlflow.method.training.config import TrainingConfig
from fmce_mlflow.method.training.loop import make_accelerator, train
from fmce_mlflow.method.training.state import load_weights
from fmce_mlflow.method.training.steps import epoch_order, learning_rate, snapshot_steps, steps_per_epoch
from tests.conftest import FAST_TRAINING as FAST
from tests.conftest import new_run
from tests.helpers import nets
from tests.helpers.watched import watched


def trained(data, config=FAST, factory=nets.tiny, modules=("stage",), **more):
    """All snapshots, and the network."""
    with torch.random.fork_rng():
        torch.manual_seed(config.seed)
        model = factory()
    return list(watched(model, data, config, modules, **more)), model


def same(a, b):
    """Whether two snapshots agree bit for bit in all that is not a time."""
    assert (a.index, a.epoch, a.train_loss, a.val_loss, a.val_accuracy, a.clipped) == (
        b.index, b.epoch, b.train_loss, b.val_loss, b.val_accuracy, b.clipped,
    )  # fmt: skip
    assert all(torch.equal(a.maps[m], b.maps[m]) for m in a.maps | b.maps)
    for part in ("model", "optimizer"):
        left, right = getattr(a.state, part), getattr(b.state, part)
        assert left.keys() == right.keys() and all(torch.equal(left[k], right[k]) for k in left)
    return True


def inputs(data, images, indices):
    return torch.stack([data.preprocessing(images[int(i)][0]) for i in indices])


def with_weights(snapshot, factory=nets.tiny):
    model = factory()
    model.load_state_dict(snapshot.state.model)
    return model


def test_every_wrong_option_is_named_at_once():
    with pytest.raises(ConfigError) as raised:
        TrainingConfig(
            epochs=0, snapshots_per_epoch=0, batch_size=-1, gradient_accumulation=0, optimizer="adam", lr=math.nan,
            momentum=1.0, weight_decay=-1.0, schedule="step", warmup_epochs=-2.0, label_smoothing=math.nan,
            augmentation="cutmix", precision="fp8", seed=-1, num_workers=-3,
        )  # fmt: skip
    names = (
        "epochs", "snapshots-per-epoch", "batch-size", "gradient-accumulation", "optimizer", "lr", "momentum",
        "weight-decay", "schedule", "warmup-epochs", "label-smoothing", "augmentation", "precision", "seed",
        "num-workers",
    )  # fmt: skip
    assert sorted(problem.split()[0] for problem in raised.value.problems) == sorted(names)


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"batch_size": 10, "gradient_accumulation": 4}, "multiple of gradient-accumulation"),
        ({"epochs": 2, "warmup_epochs": 2.5}, "must not exceed epochs"),
        ({"lr": math.inf}, "lr must be a number above 0"),
        ({"seed": 2**63}, "seed must be below"),
    ],
)
def test_options_that_do_not_go_together(options, text):
    with pytest.raises(ConfigError, match=text):
        TrainingConfig(**options)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, [0.4] * 8),
        ({"warmup_epochs": 1.0}, [0.1, 0.2, 0.3, 0.4, 0.4, 0.4, 0.4, 0.4]),
        # cos(πk/8) for k = 0 … 7
        ({"schedule": "cosine"}, [0.4, 0.384776, 0.341421, 0.276537, 0.2, 0.123463, 0.058579, 0.015224]),
        ({"schedule": "cosine", "warmup_epochs": 1.0}, [0.1, 0.2, 0.3, 0.4, 0.4, 0.341421, 0.2, 0.058579]),
        ({"schedule": "cosine", "warmup_epochs": 2.0}, [0.05 * k for k in range(1, 9)]),
    ],
)
def test_learning_rates_of_two_epochs_of_four_steps(options, expected):
    config = replace(FAST, epochs=2, lr=0.4, **options)
    assert [learning_rate(config, step, 4) for step in range(8)] == pytest.approx(expected, abs=1e-6)


def test_warm_up_of_half_a_step_does_not_overshoot():
    config = replace(FAST, lr=0.4, warmup_epochs=0.5)
    assert learning_rate(config, 0, 1) == 0.4


@given(steps=st.integers(1, 500), snapshots=st.integers(1, 60))
def test_snapshot_steps_increase_evenly_and_end_with_the_epoch(steps, snapshots):
    if snapshots > steps:
        with pytest.raises(ConfigError, match="smaller batch-size or fewer snapshots"):
            snapshot_steps(steps, snapshots)
        return
    at = snapshot_steps(steps, snapshots)
    gaps = np.diff([0, *at])
    assert len(at) == snapshots and at[-1] == steps and gaps.min() >= 1 and gaps.max() - gaps.min() <= 2


def test_orders_are_permutations_of_their_own():
    orders = [epoch_order(50, seed, epoch) for seed in (0, 1) for epoch in (0, 1)]
    assert all(sorted(order) == list(range(50)) for order in orders)
    assert len({tuple(order) for order in orders}) == 4
    assert (steps_per_epoch(100, 30), steps_per_epoch(5, 30)) == (3, 1)


@pytest.mark.parametrize("precision", ["no", "bf16"])
def test_the_same_seed_gives_the_same_bits_and_another_does_not(data, precision):
    config = replace(FAST, precision=precision, augmentation="crop-flip")
    (first, a), (second, b) = trained(data, config), trained(data, config)
    assert all(same(x, y) for x, y in zip(first, second, strict=True))
    assert all(torch.equal(x, y) for x, y in zip(a.state_dict().values(), b.state_dict().values(), strict=True))
    assert [s.index for s in first] == [0, 1, 2, 3, 4] and [s.epoch for s in first] == [0, 0.5, 1, 1.5, 2]
    other, _ = trained(data, replace(config, seed=1))
    assert all(x.train_loss != y.train_loss for x, y in zip(first, other, strict=True))


@pytest.mark.parametrize("augmentation", ["none", "trivial"])
def test_global_random_state_is_left_alone_at_every_yield(data, augmentation):
    model = nets.tiny()
    before, numpy_before = torch.get_rng_state(), np.random.get_state()[1].copy()
    for _ in watched(model, data, replace(FAST, augmentation=augmentation, num_workers=1), ["stage"]):
        assert torch.equal(torch.get_rng_state(), before)
        assert (np.random.get_state()[1] == numpy_before).all()
        torch.manual_seed(7)  # what the caller draws does not reach the training either
        before = torch.get_rng_state()


def test_what_the_caller_draws_does_not_change_the_training(data):
    undisturbed, _ = trained(data)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = nets.tiny()
        disturbed = []
        for snapshot in watched(model, data, FAST, ["stage"]):
            torch.manual_seed(snapshot.index + 5)
            disturbed.append(snapshot)
    assert all(same(x, y) for x, y in zip(undisturbed, disturbed, strict=True))


@pytest.mark.parametrize(
    "options",
    [
        {"momentum": 0.9},
        {"momentum": 0.0, "augmentation": "trivial", "gradient_accumulation": 2},
        {"optimizer": "adamw", "lr": 0.01, "schedule": "cosine", "warmup_epochs": 0.5, "augmentation": "crop-flip"},
        {"precision": "bf16", "label_smoothing": 0.1},
    ],
)
def test_resuming_at_any_snapshot_equals_the_undisturbed_run(data, options):
    config = replace(FAST, **options)
    whole, final = trained(data, config)
    for start in range(config.snapshots + 1):
        rest, model = trained(data, replace(config), resume=copy.deepcopy(whole[start].state))
        assert [s.index for s in rest] == list(range(start + 1, config.snapshots + 1))
        assert all(same(x, y) for x, y in zip(whole[start + 1 :], rest, strict=True))
        for x, y in zip(final.state_dict().values(), model.state_dict().values(), strict=True):
            assert torch.equal(x, y)


def test_gradient_accumulation_equals_the_full_batch(data):
    whole, _ = trained(data, FAST, nets.plain)
    parts, _ = trained(data, replace(FAST, gradient_accumulation=4), nets.plain)
    for x, y in zip(whole, parts, strict=True):
        assert y.train_loss == pytest.approx(x.train_loss, rel=1e-5)
        for name, value in x.state.model.items():
            torch.testing.assert_close(y.state.model[name], value, rtol=1e-4, atol=1e-6)


def test_channels_last_is_the_same_training(data):
    plain, _ = trained(data, FAST, nets.normed)
    last, model = trained(data, replace(FAST, channels_last=True), nets.normed)  # no dropout: its draws follow memory
    for x, y in zip(plain, last, strict=True):
        assert y.train_loss == pytest.approx(x.train_loss, rel=1e-4)
        torch.testing.assert_close(y.maps["stage"].float(), x.maps["stage"].float(), rtol=5e-3, atol=2e-3)
        values = (*y.state.model.values(), *y.state.optimizer.values(), *y.maps.values())
        assert all(value.is_contiguous() for value in values)
    assert all(p.is_contiguous() for p in model.parameters())


def test_channels_last_goes_on_where_it_was(data):
    config = replace(FAST, channels_last=True)
    whole, _ = trained(data, config)
    resumed, _ = trained(data, config, resume=whole[2].state)
    for x, y in zip(whole[3:], resumed, strict=True):
        assert same(x, y)


@pytest.mark.parametrize("how", ["view", "as_strided"])
def test_a_network_that_cannot_take_channels_last_is_told(data, how):
    with pytest.raises(ConfigError, match="channels-last"):
        trained(data, replace(FAST, channels_last=True), lambda: nets.Reads(how))


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_three_steps_equal_plain_torch(data, optimizer):
    config = replace(
        FAST, epochs=1, snapshots_per_epoch=3, batch_size=32, optimizer=optimizer, lr=0.02, momentum=0.8,
        weight_decay=0.01, schedule="cosine", label_smoothing=0.1, seed=3,
    )  # fmt: skip
    snapshots, _ = trained(data, config, nets.normed)
    model = with_weights(snapshots[0], nets.normed).train()
    reference = (
        torch.optim.SGD(model.parameters(), lr=0.02, momentum=0.8, weight_decay=0.01)
        if optimizer == "sgd"
        else torch.optim.AdamW(model.parameters(), lr=0.02, weight_decay=0.01)
    )
    order = np.random.default_rng([3, 0]).permutation(len(data.train))
    for step in range(3):
        chosen = order[32 * step : 32 * step + 32]
        reference.param_groups[0]["lr"] = 0.02 * (1 + math.cos(math.pi * step / 3)) / 2
        loss = F.cross_entropy(
            model(inputs(data, data.train, chosen)), torch.tensor(data.train.labels[chosen]), label_smoothing=0.1
        )
        reference.zero_grad()
        loss.backward()
        reference.step()
        assert snapshots[step + 1].train_loss == pytest.approx(loss.item(), rel=1e-6)
        for name, value in model.state_dict().items():
            torch.testing.assert_close(snapshots[step + 1].state.model[name], value, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize(("batch_size", "accumulation", "forward"), [(16, 1, 16), (48, 3, 16), (1000, 1, 96)])
def test_the_first_loss_is_the_training_mode_loss_of_the_untrained_network(data, batch_size, accumulation, forward):
    config = replace(FAST, epochs=1, snapshots_per_epoch=1, batch_size=batch_size, gradient_accumulation=accumulation)
    (first, *_), _ = trained(data, config, nets.normed)
    model = with_weights(first, nets.normed).train()
    order = np.random.default_rng([0, 0]).permutation(len(data.train))
    losses = [
        F.cross_entropy(model(inputs(data, data.train, part)), torch.tensor(data.train.labels[part])).item()
        for part in order.reshape(-1, forward)
    ]
    assert first.train_loss == pytest.approx(np.mean(losses), rel=1e-6)
    assert first.state.model["stage.1.num_batches_tracked"] == 0  # a look, not a step


def test_a_loss_that_is_not_finite_names_its_snapshot(data):
    seen = []
    with pytest.raises(NonFiniteLossError, match=r"loss of snapshot 1 is (nan|inf)") as raised:
        for snapshot in watched(nets.tiny(), data, replace(FAST, lr=1e30), ["stage"]):
            seen.append(snapshot.index)
    assert seen == [0] and raised.value.snapshot == 1


def test_maps_and_validation_equal_a_plain_forward_in_eval_mode(data):
    modules = ("stem", "norm", "stage")
    snapshots, _ = trained(data, modules=modules, probe_batch=7)
    images = inputs(data, data.validation, range(40))
    labels = torch.tensor(data.validation.labels)
    for snapshot in snapshots:
        model = with_weights(snapshot).eval()
        with torch.no_grad():
            output = model(images)
            maps = {"stem": model.stem(images)}
            maps["norm"] = model.norm(maps["stem"])
            maps["stage"] = model.stage(maps["norm"].relu())
        assert list(snapshot.maps) == list(modules)
        for name, value in maps.items():
            assert snapshot.maps[name].dtype == torch.float16 and snapshot.maps[name].shape == value[:16].shape
            torch.testing.assert_close(snapshot.maps[name].float(), value[:16], rtol=1e-3, atol=1e-4)
        assert snapshot.val_loss == pytest.approx(F.cross_entropy(output, labels).item(), rel=1e-5)
        assert snapshot.val_accuracy == (output.argmax(1) == labels).double().mean().item()


def test_training_learns_and_leaves_modes_as_they_are(data):
    model = nets.tiny()
    model.eval()
    model.drop.train()
    snapshots = watched(model, data, replace(FAST, epochs=6), ["stage"])
    first = next(snapshots)
    assert not model.training and model.drop.training  # snapshot 0 only looks
    rest = list(snapshots)
    assert all(module.training for module in model.modules())  # a step has put the network into training mode
    assert rest[-1].train_loss < 0.7 * first.train_loss and rest[-1].val_accuracy > 0.4
    assert rest[-1].images_per_second > 0 and first.images_per_second == 0


def test_values_beyond_float16_are_cut_and_counted(data):
    def loud():
        model = nets.tiny()
        nn.init.constant_(model.stage[0].weight, 0)
        model.stage[0].bias.data = torch.linspace(-2e5, 2e5, 16)
        return model

    (first, *_), _ = trained(data, FAST, loud)
    over = int((torch.linspace(-2e5, 2e5, 16) > 65504).sum())
    assert first.clipped == {"stage": over * 16 * 16}  # 16 images of 4×4 positions
    assert first.maps["stage"].max() == 65504 and torch.isfinite(first.maps["stage"]).all()


def test_bfloat16_maps_between_the_largest_of_both_types_are_cut_too(data):
    def loud():
        model = nets.tiny()
        nn.init.constant_(model.stage[0].weight, 0)
        nn.init.constant_(model.stage[0].bias, 65536)
        nn.init.zeros_(model.head.weight)
        return model

    (first, *_), _ = trained(data, replace(FAST, precision="bf16"), loud)
    assert first.clipped == {"stage": 16 * 16 * 16} and (first.maps["stage"] == 65504).all()


def test_bfloat16_on_the_cpu_is_near_float32(data):
    exact, _ = trained(data, FAST, nets.normed)
    mixed, _ = trained(data, replace(FAST, precision="bf16"), nets.normed)
    assert exact[-1].train_loss != mixed[-1].train_loss
    assert mixed[-1].train_loss == pytest.approx(exact[-1].train_loss, rel=0.05)
    assert all(value.dtype == torch.float32 for k, value in mixed[-1].state.model.items() if "tracked" not in k)


def test_a_precision_that_the_device_lacks_is_a_message():
    with pytest.raises(ConfigError, match="precision 'fp16' is not available on device 'cpu'"):
        make_accelerator(replace(FAST, precision="fp16"))


def test_batches_that_cannot_be_shared_out(data):
    config = replace(FAST, batch_size=200, gradient_accumulation=25, snapshots_per_epoch=1)
    with pytest.raises(ConfigError, match=r"batch of 96 images cannot be shared evenly by 1 processes × 25"):
        next(train(nets.tiny(), data, config))


def test_a_module_without_a_map_is_an_error(data):
    with pytest.raises(CaptureError, match="head"):
        next(watched(nets.tiny(), data, FAST, ["head"]))


SCRIPT = """
import json, sys
from dataclasses import replace
from pathlib import Path
import torch
from mlflow import MlflowClient
from fmce_mlflow.method.images.split import load_images
from fmce_mlflow.backbone.train import train_backbone
from fmce_mlflow.method.training.loop import make_accelerator
from fmce_mlflow.runs.run import Run
from tests.helpers import nets
from tests.helpers.watched import watched
from tests.conftest import FAST_TRAINING, fast_options

options = replace(fast_options(backbone="tests.helpers.nets:plain"), training=FAST_TRAINING)
data = load_images(options)
torch.manual_seed(0)
accelerator = make_accelerator(options.training)
snapshots = list(watched(nets.plain(), data, options.training, ["stage"], accelerator=accelerator))
if accelerator.is_main_process:
    torch.save([s.maps["stage"] for s in snapshots], Path(sys.argv[1], "maps.pt"))
    record = [[s.train_loss, s.val_loss] for s in snapshots]
    Path(sys.argv[1], "losses.json").write_text(json.dumps([accelerator.num_processes, record]))
result = train_backbone(Run(MlflowClient(sys.argv[2]), sys.argv[3]), options, data=data)
Path(sys.argv[1], f"result{accelerator.process_index}").write_text(repr(result.convergence.losses.tolist()))
"""


@pytest.mark.slow
def test_two_processes_equal_one(client, data, tmp_path):
    (tmp_path / "script.py").write_text(SCRIPT)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    run_id = new_run(client)
    done = subprocess.run(
        [
            sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--master-addr", "127.0.0.1",
            "--master-port", str(port), str(tmp_path / "script.py"), str(tmp_path), client.tracking_uri, run_id,
        ],
        cwd=Path(__file__).parents[3], env={**os.environ, "PYTHONPATH": "."}, capture_output=True,
        text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    processes, losses = json.loads((tmp_path / "losses.json").read_text())
    alone, _ = trained(data, FAST, nets.plain)
    assert processes == 2
    np.testing.assert_allclose(losses, [[s.train_loss, s.val_loss] for s in alone], rtol=1e-4)
    for together, snapshot in zip(torch.load(tmp_path / "maps.pt"), alone, strict=True):
        torch.testing.assert_close(together, snapshot.maps["stage"], rtol=2e-3, atol=1e-3)
    # the run as a whole: logged once, by the first process, and known to both
    assert (tmp_path / "result0").read_text() == (tmp_path / "result1").read_text()
    assert [m.step for m in client.get_metric_history(run_id, "train_loss")] == list(range(5))
    assert client.get_run(run_id).info.status == "FINISHED"


def test_weights_from_a_file_keep_the_versions_of_modules():
    """MNASNet refuses a state dict that has lost them."""
    from torchvision.models import mnasnet0_5

    net = mnasnet0_5(num_classes=2)
    weights = {name: torch.zeros_like(value) for name, value in net.state_dict().items()}
    load_weights(net, weights)
    assert all(not value.any() for value in net.state_dict().values())


# --- trainings that stop early, or freeze parts ----------------------------------------------------------------------


def test_a_training_that_is_stopped_is_the_beginning_of_the_whole_one_and_leaves_its_memory_in_order(data):
    config = replace(FAST, channels_last=True)
    whole, _ = trained(data, config, nets.normed)
    with torch.random.fork_rng():
        torch.manual_seed(config.seed)
        model = nets.normed()
    snapshots = watched(model, data, config, ["stage"])
    assert all(same(next(snapshots), whole[index]) for index in range(3))
    snapshots.close()
    assert all(p.is_contiguous() for p in model.parameters())


def test_what_was_frozen_is_frozen_again_once_the_optimizer_has_its_state(data):
    """The optimizer's state is by position among all parameters, those that no longer train too."""

    def hold(network):
        network.stem.weight.requires_grad_(False)
        network.stem.weight.grad = None

    def seeded():
        with torch.random.fork_rng():
            torch.manual_seed(FAST.seed)
            return nets.tiny()

    config = replace(FAST, optimizer="adamw")
    model, whole = seeded(), []
    for snapshot in watched(model, data, config, ["stage"]):
        whole.append(snapshot)
        if snapshot.index == 2:
            hold(model)
    again = seeded()
    rest = list(
        watched(again, data, config, ["stage"], resume=copy.deepcopy(whole[2].state), begin=lambda: hold(again))
    )
    assert len(rest) == 2 and all(map(same, rest, whole[3:]))
    assert torch.equal(whole[4].state.model["stem.weight"], whole[2].state.model["stem.weight"])
