"""Evidence beside the maps of a recording: what is written at each snapshot, and that it costs a training nothing."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from fmce_mlflow.errors import ArtifactError, IntegrityError
from fmce_mlflow.method.evidence.groups import NAMES, UNTOUCHED
from fmce_mlflow.method.fmce_net.statistics import FEATURES
from fmce_mlflow.method.networks.architecture import architecture
from fmce_mlflow.recording.record import Record
from fmce_mlflow.runs.evidence_file import ARCHITECTURE_TAG, INDEX, ROOT, EvidenceReader
from tests.conftest import new_run
from tests.helpers.recordings import PROBE
from tests.recording.test_loop import loop, recorded
from tests.recording.test_recorder import net

EPOCHS = 4


def test_each_snapshot_has_evidence_of_each_module_and_the_losses_are_those_without(client):
    plain, watched, said = net(), net(), []
    torch.manual_seed(2)  # dropout draws
    with recorded(client, model=watched, evidence=True, said=said) as recorder:
        losses = loop(watched, recorder, EPOCHS)
    torch.manual_seed(2)
    assert losses == loop(plain, epochs=EPOCHS)
    assert not [line for line in said if "evidence" in line], said
    reader = EvidenceReader(client, recorder.run.id)
    assert sorted(reader.files) == list(range(EPOCHS + 1))
    first, last = reader.read(0), reader.read(EPOCHS)
    assert first.modules == ("stem", "frozen")
    for one in (first, last):
        assert one.features.shape[1:] == (FEATURES,) and np.isfinite(one.features).all()
        assert one.of("stem").sum() == one.of("frozen").sum() >= 1 and not one.of("head").any()
        assert np.isfinite(one.references).all()
    moved = [one.evidence[one.of("stem")][:, NAMES.index(UNTOUCHED)] for one in (first, last)]
    assert (moved[0] == 1).all() and (moved[1] < 1).all()
    loss = [one.evidence[0, NAMES.index("label loss")] for one in (first, last)]
    assert loss[1] < loss[0]  # the probe has labels, and the network learned
    assert client.get_run(recorder.run.id).data.tags[ARCHITECTURE_TAG] == architecture(net())


def test_without_the_option_there_is_no_evidence(client):
    with recorded(client) as recorder:
        loop(recorder.model, recorder, 2)
    assert ROOT not in [file.path for file in client.list_artifacts(recorder.run.id)]
    assert EvidenceReader(client, recorder.run.id).files == {}


def test_a_recording_that_goes_on_has_the_evidence_of_each_snapshot_once(client):
    run_id, model = new_run(client), net()
    with pytest.raises(RuntimeError, match="stopped"), recorded(client, run_id, model, evidence=True) as recorder:
        loop(model, recorder, 2)
        raise RuntimeError("stopped")
    with recorded(client, run_id, model) as recorder:  # the option is the recording's, and need not be said again
        loop(model, recorder, 4, first=2)
    reader = EvidenceReader(client, run_id)
    assert sorted(reader.files) == list(range(5))
    assert [reader.read(snapshot).snapshot for snapshot in reader.files] == list(reader.files)
    assert len(client.list_artifacts(run_id, ROOT)) == 6  # and the index


def test_a_network_that_fails_under_it_is_trained_and_recorded_all_the_same(client):
    class Moody(torch.nn.Module):
        """Takes the ten probe images, and no part of them."""

        def __init__(self):
            super().__init__()
            self.inner = net()
            self.stem, self.frozen = self.inner.stem, self.inner.frozen

        def forward(self, x):
            if not self.training and len(x) not in (2, 10):
                raise KeyError("the cat ate it")
            return self.inner(x)

    model, said = Moody(), []
    with recorded(client, model=model, modules=("stem",), evidence=True, said=said) as recorder:
        loop(model, recorder, 3)
    assert recorder.snapshots == 4
    assert len([line for line in said if "the cat ate it" in line]) == 1, said


def test_a_probe_that_the_model_is_not_called_with_alone_gives_none_and_says_so(client):
    said: list[str] = []
    with recorded(client, evidence=True, said=said, forward=lambda model, batch: model(batch)) as recorder:
        loop(recorder.model, recorder, 2)
    assert recorder.snapshots == 3 and EvidenceReader(client, recorder.run.id).files == {}
    assert len([line for line in said if "no evidence" in line and "function of its own" in line]) == 1


def test_labels_that_do_not_fit_the_output_are_left_out(client):
    said: list[str] = []
    with recorded(client, evidence=True, said=said, labels=[7] * len(PROBE)) as recorder:
        loop(recorder.model, recorder, 1)
    one = EvidenceReader(client, recorder.run.id).read(1)
    assert np.isnan(one.evidence[:, NAMES.index("label loss")]).all()
    assert any("labels up to 7 do not fit the model's 3 outputs" in line for line in said)


def test_what_was_changed_afterwards_is_refused(client):
    with recorded(client, evidence=True) as recorder:
        loop(recorder.model, recorder, 1)
    folder = Path(client.get_run(recorder.run.id).info.artifact_uri.removeprefix("file://"), ROOT)
    file = folder / "snapshot_00001.safetensors"
    data = bytearray(file.read_bytes())
    data[-1] ^= 1
    file.write_bytes(bytes(data))
    reader = EvidenceReader(client, recorder.run.id)
    assert reader.read(0).snapshot == 0
    with pytest.raises(IntegrityError):
        reader.read(1)
    file.unlink()
    with pytest.raises(ArtifactError, match="is missing"):
        reader.read(1)
    (folder / "index.json").write_text('{"format_version": 1, "files": {}}')
    with pytest.raises(IntegrityError, match=INDEX):
        EvidenceReader(client, recorder.run.id)


def test_a_record_without_evidence_of_an_earlier_release_is_read():
    text = Record(evidence={3: "a" * 64}).to_json()
    assert Record.from_json(text).evidence == {3: "a" * 64}
    assert Record.from_json(text.replace('"evidence"', '"other"')).evidence == {}


def test_evidence_waits_for_a_server_with_the_maps(server, impatient):
    from mlflow import MlflowClient

    client = MlflowClient(server)
    experiment = client.get_experiment_by_name("evidence") or client.get_experiment(
        client.create_experiment("evidence")
    )
    run_id = client.create_run(experiment.experiment_id).info.run_id
    with recorded(client, run_id, evidence=True) as recorder:
        loop(recorder.model, recorder, 2)
    reader = EvidenceReader(client, run_id)
    assert [reader.read(snapshot).snapshot for snapshot in sorted(reader.files)] == [0, 1, 2]
