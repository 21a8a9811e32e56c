from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from fmce_mlflow.backbone import resume as checkpoint
from fmce_mlflow.backbone.resume import Checkpoint
from fmce_mlflow.errors import ArtifactError, IntegrityError, RunError
from fmce_mlflow.method.training.config import TrainingConfig
from fmce_mlflow.method.training.state import TrainingState
from fmce_mlflow.recording.record import Record
from fmce_mlflow.runs import checkpoint_slots
from fmce_mlflow.runs.checkpoint_slots import SLOTS, TAG
from fmce_mlflow.runs.feature_index import Entry
from fmce_mlflow.runs.run import Run
from tests.conftest import new_run
from tests.helpers import nets
from tests.helpers.watched import watched


def sample(snapshot=3, seed=0):
    g = torch.Generator().manual_seed(seed)
    state = TrainingState(
        snapshot,
        {
            "conv.weight": torch.randn(4, 3, 3, 3, generator=g).to(memory_format=torch.channels_last),
            "half": torch.randn(5, generator=g).bfloat16(),
            "norm.num_batches_tracked": torch.tensor(7),
            "mask": torch.tensor([True, False]),
            "nothing": torch.zeros(0, 3),
        },
        {"0.momentum_buffer": torch.randn(4, 3, 3, 3, generator=g), "0.step": torch.tensor(3.0)},
        {"scale": 65536.0, "_growth_tracker": 2.0},
    )
    record = Record(
        [{"train_loss": 2.3}, {"train_loss": 1 / 3, "drift/layer4": 0.1}],
        [0.0, 0.5],
        {("layer4", s): Entry("layer4", s, (1, 2, 3, 4), "float16", 99, "a" * 64, s) for s in range(2)},
    )
    rng = np.random.default_rng(seed)
    saliency = {"layer4": rng.integers(0, 255, (snapshot + 1, 2, 3, 4), dtype=np.uint8)}
    record.grams, record.saliency = {"layer4": rng.normal(size=(4, 4))}, saliency
    return Checkpoint(state, record)


def equal(a, b):
    assert a.state.snapshot == b.state.snapshot and a.state.scaler == b.state.scaler and a.record == b.record
    for left, right in ((a.state.model, b.state.model), (a.state.optimizer, b.state.optimizer)):
        assert left.keys() == right.keys()
        assert all(left[k].dtype == right[k].dtype and torch.equal(left[k], right[k]) for k in left)
    for left, right in ((a.record.grams, b.record.grams), (a.record.saliency, b.record.saliency)):
        assert left.keys() == right.keys()
        assert all(left[k].dtype == right[k].dtype and (left[k] == right[k]).all() for k in left)
    return True


def slot(tmp_path, run_id, n):
    return tmp_path / "artifacts" / run_id / "artifacts" / "checkpoint" / SLOTS[n]


def test_what_is_packed_is_unpacked():
    assert equal(Checkpoint.unpack(sample().pack()), sample())


def test_losses_keep_every_bit_and_what_is_missing_stays_missing():
    record = Record.from_json(sample().record.to_json())
    assert [one["train_loss"] for one in record.metrics] == [2.3, 1 / 3]
    assert [one["drift/layer4"] for one in record.metrics if "drift/layer4" in one] == [0.1]


def test_tied_weights_go_through_and_training_goes_on(data):
    config = TrainingConfig(epochs=2, snapshots_per_epoch=1, batch_size=32, cpu=True)
    snapshots = list(watched(nets.Tied(), data, config, ["stage"]))
    state = snapshots[1].state
    assert torch.equal(state.model["first.weight"], state.model["second.weight"])
    read = Checkpoint.unpack(Checkpoint(state, Record()).pack()).state
    (rest,) = watched(nets.Tied(), data, config, ["stage"], resume=read)
    assert rest.train_loss == snapshots[2].train_loss
    assert all(torch.equal(rest.state.model[k], v) for k, v in snapshots[2].state.model.items())


def test_the_slots_take_turns_and_the_tag_names_the_last(client, tmp_path):
    run_id = new_run(client)
    assert checkpoint.load(Run(client, run_id)) is None
    for snapshot in range(4):
        checkpoint.save(client, run_id, sample(snapshot, seed=snapshot))
        pointer = json.loads(client.get_run(run_id).data.tags[TAG])
        assert (pointer["slot"], pointer["snapshot"]) == (SLOTS[snapshot % 2], snapshot)
        assert equal(checkpoint.load(Run(client, run_id)), sample(snapshot, seed=snapshot))
    assert sorted(p.name for p in slot(tmp_path, run_id, 0).parent.iterdir()) == sorted(SLOTS)


def test_a_kill_between_upload_and_tag_leaves_the_older_one(client, tmp_path):
    run_id = new_run(client)
    checkpoint.save(client, run_id, sample(4))
    slot(tmp_path, run_id, 1).write_bytes(sample(5).pack()[:1000])  # half of the next one, and no tag
    assert checkpoint.load(Run(client, run_id)).state.snapshot == 4
    checkpoint.save(client, run_id, sample(5, seed=1))
    assert equal(checkpoint.load(Run(client, run_id)), sample(5, seed=1))


@pytest.mark.parametrize(
    "damage", [lambda data: data[:-1], lambda data: data[:-9] + b"\1" + data[-8:], lambda data: b""]
)
def test_a_damaged_slot_is_told(client, tmp_path, damage):
    run_id = new_run(client)
    checkpoint.save(client, run_id, sample(2))
    path = slot(tmp_path, run_id, 0)
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(IntegrityError, match=f"checkpoint/slot_0.safetensors of run {run_id}"):
        checkpoint.load(Run(client, run_id))


def test_a_slot_that_is_gone_is_told(client, tmp_path):
    run_id = new_run(client)
    checkpoint.save(client, run_id, sample(2))
    slot(tmp_path, run_id, 0).unlink()
    with pytest.raises(ArtifactError, match=r"slot_0.safetensors of run \w+ is missing"):
        checkpoint.load(Run(client, run_id))


@pytest.mark.parametrize(
    "tag",
    ["", "slot_0.safetensors", "[]", "{}", '{"slot": "slot_0.safetensors"}']
    + [
        json.dumps({"slot": name, "sha256": "a" * 64})
        for name in ("../options.json", "/etc/passwd", "slot_2.safetensors")
    ],
)
def test_a_tag_that_was_tampered_with_is_refused(client, tag):
    run_id = new_run(client, **{TAG: tag})
    with pytest.raises(RunError, match=TAG):
        checkpoint.load(Run(client, run_id))


def rewritten(**header):
    """The sample's bytes with other words in their header."""
    data = sample().pack()
    size = int.from_bytes(data[:8], "little")
    record = json.loads(data[8 : 8 + size])
    record["__metadata__"] |= header
    text = json.dumps(record).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text + data[8 + size :]


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"", "cannot be read"),
        (bytes(200), "cannot be read"),
        (rewritten(format_version="2"), "format version 2; this release reads 1"),
        (rewritten(record="{}"), "cannot be read"),
        (rewritten(record="[1]"), "cannot be read"),
        (rewritten(snapshot="three"), "cannot be read"),
        (rewritten(scaler="{"), "cannot be read"),
    ],
)
def test_bytes_that_are_no_checkpoint(data, text):
    with pytest.raises(ArtifactError, match=text):
        Checkpoint.unpack(data)


def test_removing_leaves_nothing_and_can_be_done_again(client, tmp_path):
    run_id = new_run(client)
    for snapshot in range(2):
        checkpoint.save(client, run_id, sample(snapshot))
    for _ in range(2):
        checkpoint_slots.remove(Run(client, run_id))
        assert TAG not in client.get_run(run_id).data.tags and client.list_artifacts(run_id) == []
    assert checkpoint.load(Run(client, run_id)) is None


def test_the_state_of_one_run_is_not_touched_by_what_is_read(client):
    run_id = new_run(client)
    checkpoint.save(client, run_id, sample(0))
    first = checkpoint.load(Run(client, run_id))
    first.state.model["conv.weight"].zero_()
    checkpoint.save(client, run_id, sample(2, seed=9))  # the same slot again
    assert (first.state.model["conv.weight"] == 0).all()
    assert equal(checkpoint.load(Run(client, run_id)), sample(2, seed=9))
