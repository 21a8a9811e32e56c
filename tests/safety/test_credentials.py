"""Passwords and tokens: whatever they are like, and wherever a text with them would go."""

from __future__ import annotations

import logging
import sqlite3
import subprocess
import sys
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlparse

import mlflow
import pytest
from click.testing import CliRunner
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException

from fmce_mlflow.cli import runs as cli_runs
from fmce_mlflow.cli.main import main
from fmce_mlflow.errors import ConfigError, ModelError, PredictorError
from fmce_mlflow.evaluation.findings import ModelFacts
from fmce_mlflow.evaluation.log import log_findings
from fmce_mlflow.evaluation.options import EvaluationImages
from fmce_mlflow.evaluation.trained_on import chosen_images
from fmce_mlflow.fmcs_dataset.page import dataset_page
from fmce_mlflow.predictor.find import find_predictor
from fmce_mlflow.runs.run import Run
from fmce_mlflow.runs.torch_models import load_torch_model
from fmce_mlflow.runs.uploads.spool import Spool
from fmce_mlflow.safety import credentials
from fmce_mlflow.safety.credentials import enters, hide_credentials, without_credentials
from fmce_mlflow.safety.retry import short
from fmce_mlflow.tuning.storage import open_storage, shown, storage_errors
from fmce_mlflow.tuning.trials import counted_trials
from fmce_mlflow.tuning.worker import run_trials
from tests.conftest import new_run
from tests.helpers import reports
from tests.helpers.evaluations import PREPROCESSING, log_model, pixels, seeded_tiny, tracked
from tests.helpers.studies import Scripted
from tests.helpers.study_tools import begin, children

# Every secret has its two halves: what cuts a password in two leaves one of them behind.
LEFT, RIGHT = "s3cr", "t0kn"
PASSWORDS = [f"{LEFT}{between}{RIGHT}" for between in ("", *"/#?'@ :\"&=,;\\%[é", "%2F", "%40", "@/", " @", "/:")]
ADDRESSES = ("postgresql://me:{}@db.example/mlflow", "http://me:{}@host:5000", "https://me:{}@host/a/b?x=1")
FIELDS = (
    "password", "access_token", "sig", "token", "sslpassword", "PWD", "api_key", "X-Amz-Signature",
    "X-Amz-Security-Token", "AWSAccessKeyId", "SharedAccessSignature", "sas", "client_secret", "pass%77ord",
)  # fmt: skip
URIS = [address.format(password) for address in ADDRESSES for password in PASSWORDS]
URIS += [
    f"http://{LEFT}{RIGHT}@host/x",
    f"mysql+pymysql://me#x:{LEFT}{RIGHT}@host/db",
    f"ftp://me:{LEFT}/{RIGHT}@host/x",
]
URIS += [f"https://host/x?v=1&{field}={LEFT}{RIGHT}&y=2" for field in FIELDS]
URIS += [f"postgresql://host/db?user=me&password={LEFT}{between}{RIGHT}" for between in "/#?'@;"]
URIS += [f"https://host/x#access_token={LEFT}{RIGHT}", f"mssql+pyodbc:///?odbc_connect=UID%3Dme%3BPWD%3D{LEFT}{RIGHT}"]
STORAGES = [uri for uri in URIS if f"://{LEFT}" not in uri]  # whose user is shown
TEXTS = (
    "{}", "connection to {} failed", "Failed to parse: '{}'.", '("{}")', "a\n{}\nask me@mail.example",
    "{}, and {} too", "see http://localhost:5000 or {}: no answer",
)  # fmt: skip


def leaks(*texts: object) -> list[str]:
    """Those that have a half of a secret in them."""
    return [str(text) for text in texts if LEFT in str(text) or RIGHT in str(text)]


@pytest.fixture
def unknown(monkeypatch):
    """No URI has entered this process."""
    monkeypatch.setattr(credentials, "_entered", {})
    monkeypatch.setattr(credentials, "_parts", set())


@pytest.mark.parametrize("uri", URIS)
def test_a_uri_is_shown_without_its_secrets_alone_and_in_any_text(uri, unknown):
    assert not leaks(without_credentials(uri))
    assert not leaks(shown(uri)) or uri not in STORAGES
    assert without_credentials(without_credentials(uri)) == without_credentials(uri)
    for text in TEXTS:
        hidden = hide_credentials(text.format(uri, uri))
        assert not leaks(hidden) and hide_credentials(hidden) == hidden, hidden


@pytest.mark.parametrize(
    "uri",
    [
        f"postgresql://host/db?password={LEFT} {RIGHT}",
        f"mysql://me {LEFT}:{RIGHT}@host/db",
        f"http://{LEFT} {RIGHT}@host",
    ],
)
def test_what_no_rule_finds_in_a_text_is_known_once_it_has_entered(uri, unknown):
    """A blank ends a URI, so only who has seen it whole knows where it ends."""
    assert enters(uri) == uri
    for text in TEXTS:
        assert not leaks(hide_credentials(text.format(uri, uri)))


def test_a_part_of_a_password_that_a_driver_takes_for_the_host_is_known_too(unknown):
    enters(f"postgresql://me:x@{RIGHT}@db.example/mlflow")
    assert not leaks(hide_credentials(f'could not translate host name "{RIGHT}@db.example" to address'))


@pytest.mark.parametrize(
    "text",
    [
        "Expected is a database's URL, sqlite:///file.db or postgresql://user:password@host/database.",
        "postgresql://me:***@host/db",
        "http://localhost:5000/#/models/digits@champion",
        "See http://mlflow:5000, or mail me@mail.example: http://[::1]:5000/a@b.",
        "models:/digits@champion, s3://bucket/a@b, sqlite:////a/b@c.db, sqlite:///C:/a@b.db, git@github.com:a/b",
        "https://host/x?v=1&user=me#top and POST /api?page=2",
        "token_grid=(7, 7), class tokens, a password, signature of 3 inputs; sigma=1, author=me, keys=2",
        "", "://", "a://", "mailto:me@host",
    ],
)  # fmt: skip
def test_what_is_no_secret_stays_whole(text):
    assert hide_credentials(text) == text


@pytest.mark.parametrize(
    ("text", "hidden"),
    [
        (f"url: /api?token={LEFT}&x=1 (Caused by", "url: /api?token=***&x=1 (Caused by"),
        (f"host=db password={LEFT} port=5432", "host=db password=*** port=5432"),
        (f"password='{LEFT} {RIGHT}' port=5432", "password=*** port=5432"),
        (f"{{'access_token': '{LEFT}', 'x': 1}}", "{'access_token': ***, 'x': 1}"),
        (f"(mlflow, api_key={LEFT}).", "(mlflow, api_key=***)."),
    ],
)
def test_assignments_outside_of_uris_are_hidden(text, hidden):
    assert hide_credentials(text) == hidden


# --- all forms into all places


def told(uri: str) -> str:
    """What another package says of a URI."""
    return f"connection to {uri} failed"


def stored(client: MlflowClient) -> str:
    """All that a store on this machine holds, as text."""
    path = Path(client.tracking_uri.removeprefix("sqlite:///"))
    with closing(sqlite3.connect(path)) as store:
        rows = "\n".join(store.iterdump())
    artifacts = Path(urlparse(client.get_experiment_by_name("tests").artifact_location).path)
    files = [*path.parent.rglob("*"), *artifacts.parent.rglob("*")]
    kept = [file.read_bytes().decode(errors="replace") for file in files if file.is_file()]
    return "\n".join([rows, *kept])


def test_runs_keep_no_secret(client):
    """Names, tags and parameters, of a run, of one below it, and of one that the command line opens."""
    experiment = client.get_experiment_by_name("tests").experiment_id
    run = Run(client, new_run(client))
    run.set_tags({f"tag{i}": told(uri) for i, uri in enumerate(URIS)})
    run.log_params({f"param{i}": uri for i, uri in enumerate(URIS)})
    for uri in URIS[::10]:
        Run.create(client, experiment, role="evaluation", name=uri, tags={"why": told(uri)})
        run.nested(told(uri), role="evaluation", tags={"why": uri})
    assert not leaks(*stored(client).splitlines())
    assert len(run.fetch().data.params) == len(URIS)


def test_what_waits_on_disk_has_no_secret(tmp_path):
    for i, uri in enumerate(URIS):
        Spool(tmp_path / str(i), "0123", uri).release()
        assert not leaks((tmp_path / str(i) / "run.json").read_text())


def test_descriptions_and_reports_have_no_secret(client):
    run = Run(client, new_run(client))
    for part in (URIS[::3], URIS[1::3], URIS[2::3]):
        findings = replace(
            reports.several(),
            images=reports.some_images(256, names=["a.png"] * 256),
            saliency=None,
            model=ModelFacts(part[0], part[1]),
            choices=tuple(f"The images are of {uri}; name others in `source`." for uri in part),
            warnings=tuple(f"The run is not on {uri}; there is no fmcs_measured." for uri in part),
        )
        page = log_findings(run, findings)["fmce_report"].content
        assert "there is no fmcs_measured" in page and not leaks(*page.splitlines())
        note = run.fetch().data.tags["mlflow.note.content"]
        assert "there is no fmcs_measured" in note and not leaks(*note.splitlines())
    assert not leaks(*stored(client).splitlines())


def test_the_page_of_a_dataset_has_no_secret():
    left_out = {f"run{i}": told(uri) for i, uri in enumerate(URIS)}
    page = dataset_page(reports.table(2, 3)[0], {}, run_id="0", left_out=left_out, unlabelled=left_out)
    assert "connection to" in page and not leaks(*page.splitlines())


def test_trials_keep_no_secret(client, tmp_path):
    """Neither the study's database, nor the trial's run, nor the lines of a worker."""
    script = tuple(RuntimeError(told(uri)) for uri in URIS)
    job, study = begin(client, f"sqlite:///{tmp_path / 'optuna.db'}", Scripted(script), len(URIS))
    lines: list[str] = []
    run_trials(job, client, say=lines.append)
    whys = [run.data.tags["fmce.trial_reason"] for run in children(client, study).values()]
    assert len(counted_trials(study.trials)) == len(whys) == len(lines) == len(URIS)
    with closing(sqlite3.connect(tmp_path / "optuna.db")) as store:
        assert not leaks(*whys, *lines, *store.iterdump())
    assert all("RuntimeError: connection to" in why for why in whys)


def test_messages_have_no_secret(client):
    """Of models and predictors that are not there, of a storage, and of what is tried again."""
    said: list[object] = []
    loads = {
        ModelError: (load_torch_model, lambda uri, client: chosen_images(client, uri, EvaluationImages())),
        PredictorError: (find_predictor,),
    }
    for uri in URIS:
        for error, load in ((error, load) for error, some in loads.items() for load in some):
            with pytest.raises(error) as missing:
                load(f"no{uri}", client)
            said.append(missing.value)
        said.append(short(OSError(told(uri))))
    for uri in STORAGES:
        with pytest.raises(ConfigError) as refused:
            open_storage(f"no{uri}", heartbeat=1, grace=2)
        said.append(refused.value)
    assert not leaks(*said)


@pytest.mark.parametrize("uri", [URIS[5], URIS[-1]])
def test_the_command_line_shows_no_secret(uri, monkeypatch, capsys, tmp_path):
    monkeypatch.chdir(tmp_path)
    cli_runs.say(told(uri))
    words = ["tune-fmce-net", "--storage", f"nosuch+{uri}", "--study-name", "x"]
    result = CliRunner().invoke(main, ["--tracking-uri", f"sqlite:///{tmp_path / 'x.db'}", *words], prog_name="fmce")
    assert result.exit_code == 2 and "postgresql://user:password@host/database" in result.output
    assert not leaks(result.output, capsys.readouterr().out)


@pytest.mark.parametrize("source", ["https://me:{}@host/images", "https://host/images.zip?sig={}"])
def test_the_source_of_images_is_logged_without_secrets(source):
    data = mlflow.data.from_images(pixels(), source=source.format(LEFT + RIGHT))
    assert "host/images" in data.source.to_json() and not leaks(data.source.to_json(), data.to_dict())


@pytest.mark.parametrize("password", [f"{LEFT}{between}{RIGHT}" for between in ("'@", "%2F", " ")])
def test_an_evaluation_on_a_server_with_a_password_leaves_it_nowhere(
    password, server, server_folder, caplog, monkeypatch
):
    """The run that trained the model is not there: descriptions, report and MLflow's log say so."""
    uri = server.replace("http://", f"http://me:{password}@")
    client = MlflowClient(uri)
    facts = {"preprocessing": PREPROCESSING, "modules": ["stage"], "source_run": "0" * 32, "snapshot": 1}
    monkeypatch.setattr(logging.getLogger("mlflow"), "propagate", True)
    config = {"modules": "stage", "saliency": False, "preprocessing": PREPROCESSING}
    with tracked(uri), mlflow.start_run() as active, caplog.at_level("INFO", "mlflow"):
        model = log_model(seeded_tiny(), metadata={"fmce": facts}).model_uri
        found = mlflow.models.evaluate(
            model, mlflow.data.from_images(pixels()), model_type="fmce", evaluators="fmce", evaluator_config=config
        )
        with pytest.raises(MlflowException) as refused:
            mlflow.models.evaluate(
                model, mlflow.data.from_images(pixels()), model_type="fmce", evaluators="fmce",
                evaluator_config={**config, "predictor": f"models:/none-at-{uri}/1"},
            )  # fmt: skip
    run = client.get_run(active.info.run_id)
    page = found.artifacts["fmce_report"].content
    expected = f"is not on {server}; there is no fmcs_measured"
    assert expected in caplog.text and expected in page
    assert "there is no fmcs_measured" in run.data.tags["mlflow.note.content"]
    assert not leaks(caplog.text, page, refused.value, run.data)
    with closing(sqlite3.connect(server_folder / "mlflow.db")) as store:
        assert not leaks(*store.iterdump())


def test_a_storage_that_stops_answering_is_named_without_its_secrets():
    from sqlalchemy.exc import OperationalError

    for uri in STORAGES:
        with pytest.raises(Exception) as caught, storage_errors(uri):
            raise OperationalError("select", {}, OSError(told(uri)))
        assert "stopped answering" in str(caught.value) and not leaks(caught.value)


def test_the_traceback_of_a_fault_of_this_program_has_no_secrets():
    script = (
        "from fmce_mlflow.cli.main import friendly_errors\n"
        "with friendly_errors():\n"
        "    raise RuntimeError('http://me:s3cret@server:5000 and postgresql://me:s3cret@db/x?password=s3cret')\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 1 and "Traceback" in done.stderr and "RuntimeError: http://" in done.stderr
    assert "server:5000" in done.stderr and "s3cret" not in done.stderr.split("RuntimeError:")[1], done.stderr
