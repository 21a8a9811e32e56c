"""`fmce gate` as a user calls it, on registries of tiny networks."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import mlflow
import pytest
import yaml
from click.testing import CliRunner

from fmce_mlflow.cli.main import main
from fmce_mlflow.gate.policy import POLICY
from fmce_mlflow.promotion.options import Target
from fmce_mlflow.promotion.registry import holders, model_id_of
from tests.helpers.evaluations import pixels, write_files
from tests.helpers.forks import Forked
from tests.helpers.progress import ended
from tests.helpers.registries import call_gate, end_of, experiment_of, new_predictor, new_version, written

ROOT = Path(__file__).parents[2]
CHAMPION = Target("alias", "champion")
POLICY_TEXT = "alias: champion\nrequire: [fmcs_predicted>=0.1, val_accuracy>=0.5]\nnot_worse_by: 0.1\n"


@pytest.fixture(autouse=True)
def own_mlflow(monkeypatch):
    before = mlflow.get_tracking_uri()
    for name in ("MLFLOW_RUN_ID", "MLFLOW_EXPERIMENT_NAME", "MLFLOW_TRACKING_URI"):
        monkeypatch.delenv(name, raising=False)
    yield
    mlflow.set_tracking_uri(before)


class Place:
    """A store with a predictor, images and a policy."""

    def __init__(self, client, folder):
        self.client, self.folder = client, folder
        self.predictor = new_predictor(client)
        write_files(folder / "photos", pixels(8))
        (folder / "gate.yaml").write_text(POLICY_TEXT)

    def words(self, *words, model="digits"):
        which = ["--model", model] if model else ["--all"]
        chosen = [] if "--predictor" in words or "tied" in words else ["--predictor", self.predictor]
        chosen += [] if "--dataset" in words else ["--dataset", f"folder:{self.folder}/photos"]
        return [*which, *chosen, "--saliency", "false", *(word for word in words if word != "tied")]

    def gate(self, *words, model="digits", code=0):
        result = CliRunner().invoke(
            main, ["--tracking-uri", self.client.tracking_uri, "--experiment", "tests", "gate",
                   *self.words(*words, model=model)], prog_name="fmce",
        )  # fmt: skip
        assert result.exception is None or isinstance(result.exception, SystemExit), result.exc_info
        assert result.exit_code == code and "Traceback" not in result.output, result.output
        return result.output

    def by_policy(self, *words, **more):
        return self.gate("--policy", str(self.folder / "gate.yaml"), *words, **more)

    def runs(self, role):
        return self.client.search_runs([experiment_of(self.client)], f"tags.`fmce.role` = '{role}'")

    def tags(self, version, name="digits"):
        return self.client.get_model_version(name, version).tags

    def spoil(self, version, name="digits"):
        """Delete the files of a version's model; where they were, and where they are now."""
        model = self.client.get_logged_model(model_id_of(self.client.get_model_version(name, version)))
        path = Path(model.artifact_location.removeprefix("file://"))
        return path, path.rename(self.folder / f"away-{version}")


@pytest.fixture
def place(client, tmp_path):
    return Place(client, tmp_path)


def test_without_a_policy_versions_are_evaluated_once_and_tagged(place):
    for seed in range(2):
        new_version(place.client, "digits", seed)
    said = place.gate()
    assert "digits: 2 versions to evaluate." in said and "digits: 2 of 2 versions evaluated.\n" in said
    evaluations = {one.data.tags["fmce.model_uri"]: one for one in place.runs("evaluation")}
    for version in ("1", "2"):
        tags, run = place.tags(version), evaluations[f"models:/digits/{version}"]
        assert tags["fmce.evaluation_run"] == run.info.run_id and run.info.status == "FINISHED"
        assert float(tags["fmce.fmcs"]) == pytest.approx(run.data.metrics["fmcs_predicted"], abs=1e-5)
        assert float(tags["fmce.low"]) <= float(tags["fmce.fmcs"]) <= float(tags["fmce.high"])
        assert tags["fmce.verdict"] == "probably not mature" and tags["fmce.evaluated_by"] == place.predictor
        assert tags["fmce.images"] == run.data.tags["fmce.images"] and tags["fmce.evaluated_at"].endswith("+00:00")
        assert f"FMCS {float(tags['fmce.fmcs']):.2f}, 90% interval" in said
    assert [one.info.status for one in place.runs("gate")] == ["FINISHED"] and len(evaluations) == 2
    before = written(place.client)
    assert place.gate() == "digits: 2 of 2 versions evaluated.\n"
    assert written(place.client) == before


def test_a_policy_moves_the_champion_and_is_kept_with_each_decision(place):
    for accuracy in (0.7, 0.9, 0.75, 0.4):
        new_version(place.client, "digits", val_accuracy=accuracy)
    said = place.by_policy(code=3)
    assert holders(place.client, "digits", CHAMPION) == ["2"]
    assert [place.tags(str(n))["fmce.promotion.decision"] for n in (1, 2, 3, 4)] == [
        *["promoted"] * 2,
        *["refused"] * 2,
    ]
    assert "val_accuracy no worse than 0.9 of version 2, alias champion, by more than 0.1: not met, it is 0.75" in said
    assert "which leaves it open: the figures decide" in said
    assert said.endswith(
        "digits: 4 of 4 versions evaluated; alias champion is version 2.\n"
        "  Version 4, the latest, is refused for alias champion.\n"
    )
    for run in place.runs("promotion"):
        path = place.client.download_artifacts(run.info.run_id, POLICY, str(place.folder))
        assert yaml.safe_load(Path(path).read_text())["not_worse_by"] == 0.1
        assert run.info.status == "FINISHED"
    before = written(place.client)
    place.by_policy(code=3)
    assert written(place.client) == before
    place.client.set_registered_model_alias("digits", "champion", "1")  # somebody takes it back
    place.by_policy(code=3)
    assert holders(place.client, "digits", CHAMPION) == ["1"]
    new_version(place.client, "digits", val_accuracy=0.7)
    place.by_policy()
    assert holders(place.client, "digits", CHAMPION) == ["5"]


def test_a_new_policy_decides_anew_on_versions_after_the_champion_alone(place):
    for accuracy in (0.9, 0.6):
        new_version(place.client, "digits", val_accuracy=accuracy)
    place.by_policy(code=3)
    (place.folder / "gate.yaml").write_text("alias: champion\nrequire: [val_accuracy>=0.5]")
    said = place.by_policy()
    assert holders(place.client, "digits", CHAMPION) == ["2"] and "versions to decide on" in said
    assert len(place.runs("evaluation")) == 2 and len(place.runs("promotion")) == 3


def test_what_cannot_be_evaluated_is_named_and_the_others_go_on(place):
    for _ in range(3):
        new_version(place.client, "digits", val_accuracy=0.9)
    was, now = place.spoil("1")
    (place.spoil("2")[1] / "MLmodel").write_text("flavors: {sklearn: {}}")
    broken = place.client.get_logged_model(model_id_of(place.client.get_model_version("digits", "2")))
    (place.folder / "away-2").rename(broken.artifact_location.removeprefix("file://"))
    said = place.by_policy(code=1)
    assert (
        "Version 1 is not evaluated: the files of models:/digits/1 are not in its store: was the model deleted?" in said
    )
    assert "Version 2 is not evaluated: models:/digits/2 is no PyTorch model: its MLflow flavors are sklearn" in said
    assert place.tags("1")["fmce.verdict"] == "not evaluated" and "fmce.fmcs" not in place.tags("1")
    assert holders(place.client, "digits", CHAMPION) == ["3"] and len(place.runs("evaluation")) == 1
    before = written(place.client)
    assert "Version 1 is not evaluated" in place.by_policy(code=1)
    assert written(place.client) == before
    now.rename(was)
    place.by_policy("--retry", code=1)
    assert "fmce.fmcs" in place.tags("1") and "fmce.problem" not in place.tags("1")
    assert holders(place.client, "digits", CHAMPION) == ["3"], "version 1 is older than the champion"


def test_another_predictor_or_other_images_are_another_evaluation(place):
    for accuracy in (0.9, 0.6):
        new_version(place.client, "digits", val_accuracy=accuracy)
    place.by_policy(code=3)
    first = place.tags("1")
    write_files(place.folder / "photos", pixels(8, seed=1))
    place.by_policy(code=3)
    other = new_predictor(place.client, 1)
    place.by_policy("--predictor", other, code=3)
    last = place.tags("1")
    assert len(place.runs("evaluation")) == 6 and holders(place.client, "digits", CHAMPION) == ["1"]
    assert last["fmce.images"] != first["fmce.images"] and last["fmce.evaluated_by"] == other
    assert len(place.runs("promotion")) == 4, "the champion was decided on once, the refused one each time"


def test_a_champion_of_another_predictor_is_evaluated_anew(place):
    for version in range(2):
        new_version(place.client, "digits", val_accuracy=0.9)
        place.client.set_model_version_tag(
            "digits", str(version + 1), "fmce.predictor", new_predictor(place.client, version)
        )
    said = place.by_policy("tied")
    assert "models:/digits/1 was evaluated on other images or by another predictor, or not at all" in said
    assert len(place.runs("evaluation")) == 3 and holders(place.client, "digits", CHAMPION) == ["2"]
    assert place.tags("1")["fmce.evaluated_by"] != place.tags("2")["fmce.evaluated_by"]


def test_a_champion_that_cannot_be_evaluated_is_told(place):
    for _ in range(2):
        new_version(place.client, "digits", val_accuracy=0.9)
    place.client.set_registered_model_alias("digits", "champion", "1")
    place.spoil("1")
    said = place.by_policy(code=1)
    assert "Version 2 is not decided on: models:/digits/1, with which it is to be compared, cannot be evaluated" in said
    assert place.tags("2")["fmce.promotion.decision"] == "not decided"
    before = written(place.client)
    place.by_policy(code=1)
    assert written(place.client) == before and holders(place.client, "digits", CHAMPION) == ["1"]


def test_what_a_killed_gate_left_is_finished(place):
    """As after a kill between the move and its record."""
    for accuracy in (0.7, 0.9):
        new_version(place.client, "digits", val_accuracy=accuracy)
    place.by_policy()
    undisturbed, runs = end_of(place.client), written(place.client)["runs"]
    promotion = place.tags("2")["fmce.promotion.run"]
    place.client.set_model_version_tag("digits", "2", "fmce.promotion.decision", "promoting")
    (gate,) = place.runs("gate")
    for run_id in (gate.info.run_id, promotion):
        place.client.update_run(run_id, "RUNNING")
    place.client.set_tag(promotion, "fmce.promotion.decision", "promoting")
    assert "holds alias champion already: that is recorded" in place.by_policy()
    assert end_of(place.client) == undisturbed
    again = written(place.client)["runs"]
    assert again[promotion] == runs[promotion] and again[gate.info.run_id][0] == "KILLED"
    place.client.delete_model_version_tag("digits", "2", "fmce.asked")  # and between the evaluation and its tags
    place.by_policy()
    assert end_of(place.client) == undisturbed and len(place.runs("evaluation")) == 2


def test_two_gates_at_once_take_turns(place):
    for accuracy in (0.7, 0.9):
        new_version(place.client, "digits", val_accuracy=accuracy)
    words = place.words("--policy", str(place.folder / "gate.yaml"))
    gates = [Forked(call_gate, place.client.tracking_uri, *words) for _ in range(2)]
    said = [ended(one)[0] for one in gates]
    assert [one.returncode for one in gates] == [0, 0], said
    assert len(place.runs("evaluation")) == len(place.runs("promotion")) == 2
    assert end_of(place.client)["tickets"] == [] and holders(place.client, "digits", CHAMPION) == ["2"]


def test_all_models_but_those_of_other_kinds(place):
    from fmce_mlflow.runs.logged_models import register

    new_version(place.client, "digits")
    new_version(place.client, "it's a model")
    model = place.client.get_logged_model(place.predictor.removeprefix("models:/"))
    register(place.client, model.source_run_id, model.model_id, "fmcs")
    said = place.gate(model=None)
    assert re.findall(r"^(.*): 1 of 1 version evaluated", said, re.MULTILINE) == ["digits", "it's a model"]
    assert place.client.get_model_version("fmcs", "1").tags == {}


@pytest.mark.parametrize(
    ("words", "code", "expected"),
    [
        ("", 2, "name one of model and all"),
        ("--model digits --all", 2, "name one of model and all"),
        ("--model models:/digits/1", 2, "as in --model digits"),
        ("--model digits --policy {}/away.yaml --batch-size 0", 2, "2 options cannot be used"),
        ("--model digits --policy {}/wrong.yaml", 2, "there is no key 'requires'. Did you mean require"),
        ("--model digits --policy {}/nobody.yaml", 2, "require asks for 'val_acuracy'.*Did you mean val_accuracy"),
        ("--model digit", 1, "no registered model 'digit'.*Did you mean digits"),
        ("--model digits --dataset folder:{}/away", 1, "There is no folder"),
        ("--model digits --predictor models:/away/1", 1, "The predictor 'models:/away/1' cannot be fetched"),
    ],
)
def test_a_mistake_is_told_and_nothing_is_written(client, tmp_path, words, code, expected):
    (tmp_path / "wrong.yaml").write_text("alias: champion\nrequires: [fmcs_predicted>=0.9]")
    (tmp_path / "nobody.yaml").write_text("alias: champion\nrequire: [val_acuracy>=0.9]")
    write_files(tmp_path / "photos", pixels(2))
    new_version(client, "digits", val_accuracy=0.9)
    words = words.format(tmp_path).split()
    words += [] if "--dataset" in words else ["--dataset", f"folder:{tmp_path}/photos"]
    before = end_of(client)
    result = CliRunner().invoke(main, ["--tracking-uri", client.tracking_uri, "--experiment", "tests", "gate", *words])
    assert isinstance(result.exception, SystemExit) and result.exit_code == code, result.output
    assert re.search(expected, result.stderr, re.DOTALL), result.stderr
    assert end_of(client) == before


def test_a_call_with_nothing_to_do_loads_no_torch(place):
    """In a process of its own, as cron calls it."""
    new_version(place.client, "digits")
    place.gate()
    code = (
        "import sys\nfrom fmce_mlflow.cli.main import main\ntry:\n    main(sys.argv[1:], prog_name='fmce')\n"
        "finally:\n    print('torch:', 'torch' in sys.modules)"
    )
    result = subprocess.run(
        [sys.executable, "-c", code, "gate", *place.words()], capture_output=True, text=True, cwd=ROOT,
        env={**os.environ, "MLFLOW_TRACKING_URI": place.client.tracking_uri, "MLFLOW_EXPERIMENT_NAME": "tests"},
    )  # fmt: skip
    assert result.stdout == "digits: 1 of 1 version evaluated.\ntorch: False\n", result.stderr
