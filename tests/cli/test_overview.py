"""The commands `fmce overview` and `fmce status`: what they write, and what they say of mistakes."""

from __future__ import annotations

import pytest
from click.testing import CliRunner

from fmce_mlflow.cli.main import main
from tests.conftest import new_client, new_run
from tests.helpers.overviews import evaluate


@pytest.fixture
def client(tmp_path, _empty_store, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("MLFLOW_RUN_ID", "MLFLOW_EXPERIMENT_NAME", "MLFLOW_TRACKING_URI"):
        monkeypatch.delenv(name, raising=False)
    return new_client(tmp_path, _empty_store)


@pytest.fixture
def fmce(client):
    def run(*words):
        result = CliRunner().invoke(main, ["--tracking-uri", client.tracking_uri, *words], prog_name="fmce")
        assert result.exception is None or isinstance(result.exception, SystemExit), result.exc_info
        return result

    return run


def test_a_registry_becomes_a_file(fmce, client, tmp_path):
    client.create_registered_model("photos")
    for number in ("1", "2"):
        client.create_model_version("photos", f"/models/{number}")
    run_id = evaluate(client, "models:/photos/2", {"layer3": 0.97, "layer4": 0.62})
    result = fmce("overview", "--out", "page.html")
    size = (tmp_path / "page.html").stat().st_size
    assert result.output == (
        f"2 versions of 1 model, 1 of them evaluated.\nWrote page.html, {size / 1000:,.0f} kB. Open it in a browser.\n"
    )
    html = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert f"http://127.0.0.1:5000/#/experiments/1/runs/{run_id}" in html and "0.62" in html
    assert fmce("overview", "--ui", "https://mlflow.example/", "--model", "photos").exit_code == 0
    assert f"https://mlflow.example/#/experiments/1/runs/{run_id}" in (tmp_path / "overview.html").read_text()


@pytest.mark.parametrize(
    ("words", "code", "problem"),
    [
        (["overview", "--ui", "mlflow.example", "--out", "nowhere/a.html"], 2, "2 options cannot be used"),
        (["overview", "--model", "photos"], 1, "There is no registered model 'photos'"),
        (["status"], 2, "status needs the id of a run, as in fmce status RUN_ID"),
        (["status", "f00d", "--epochs", "0"], 2, "epochs must be above 0, got 0"),
        (["status", "f00d"], 1, "There is no run 'f00d'"),
    ],
)
def test_a_mistake_says_what_to_do(fmce, words, code, problem):
    result = fmce(*words)
    assert result.exit_code == code and problem in result.stderr


def test_a_training_is_told_in_words_and_with_its_curve(fmce, client):
    run_id = new_run(client, **{"fmce.role": "backbone"})
    assert fmce("status", run_id).output.startswith("No snapshot has arrived yet.\nSnapshots may wait on the disk")
    for step, loss in enumerate([2.0, 1.0, 0.5, 0.3, 0.29, 0.29, 0.29, 0.29]):
        for name, value in {"train_loss": loss, "epoch": float(step)}.items():
            client.log_metric(run_id, name, value, timestamp=1_790_000_000_000 + 60_000 * step, step=step)
    lines = fmce("status", run_id, "--epochs", "10").output.splitlines()
    assert lines[0].startswith("Cut off, or slow: 8 snapshots, the last after epoch 7 of 10")
    assert "  loss  2 █▄▂▁▁▁▁▁ 0.29" in lines
    assert fmce("status", new_run(client)).exit_code == 1
