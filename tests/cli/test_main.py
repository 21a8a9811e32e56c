from __future__ import annotations

import errno
import fcntl
import json
import os
import pty
import re
import runpy
import shlex
import struct
import sys
import termios
import threading
from contextlib import suppress
from functools import partial
from pathlib import Path

import click
import mlflow
import numpy as np
import pytest
import torch
import yaml
from click.testing import CliRunner
from mlflow import MlflowClient
from PIL import Image
from tqdm import tqdm

from fmce_mlflow.backbone.train import train_backbone
from fmce_mlflow.cli.main import Group, main
from fmce_mlflow.errors import ConfigError, DataError
from fmce_mlflow.method.images.preprocessing import Preprocessing
from fmce_mlflow.runs.run import Run
from fmce_mlflow.safety.reading import seal
from tests.conftest import fast_options, new_run
from tests.helpers.nets import tiny

ROOT = Path(__file__).parents[2]
TINY = (
    "--backbone tests.helpers.nets:tiny --modules stage --image-size 8 --train-size 96 --validation-size 40 "
    "--probe-size 16 "
    "--epochs 3 --snapshots-per-epoch 2 --batch-size 16 --lr 0.1 --levels 3 --threshold 1e-9 --cpu "
    "--model-format pickle --optimizer sgd --schedule constant --warmup-epochs 0"
).split()
ENTRY_POINTS = yaml.safe_load((ROOT / "MLproject").read_text())["entry_points"]
TRAINING_COMMANDS = [name for name in main.commands if not name.startswith(("list-", "show"))]


@pytest.fixture(autouse=True)
def own_folder(own_mlflow, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def fmce(client):
    """Runs a command in this process on the test's own store; an exception that escapes fails the test."""

    def run(*args, **more):
        words = ["--tracking-uri", client.tracking_uri, "--experiment", "tests", *args]
        result = CliRunner().invoke(main, words, prog_name="fmce", **more)
        assert result.exception is None or isinstance(result.exception, SystemExit), result.exc_info
        assert "Traceback" not in result.output
        return result

    return run


def runs_of(client: MlflowClient):
    return client.search_runs(
        [client.get_experiment_by_name("tests").experiment_id], order_by=["attributes.start_time"]
    )


# The command line and MLproject


def test_every_command_that_makes_runs_is_an_entry_point():
    assert [name.replace("_", "-") for name in ENTRY_POINTS] == TRAINING_COMMANDS


@pytest.mark.parametrize("name", ENTRY_POINTS)
def test_entry_point_parameters_are_the_options_of_its_command(name):
    command, entry = main.commands[name.replace("_", "-")], ENTRY_POINTS[name]
    options = {one.name: one for one in command.params}
    assert list(entry["parameters"]) == list(options)
    context = click.Context(command)
    for key, declared in entry["parameters"].items():
        option = options[key]
        default = option.type_cast_value(context, option.get_default(context))
        value = str(declared["default"])
        given = ((value,) if value else ()) if option.multiple else value
        assert option.type_cast_value(context, given) == default, key
        assert option.opts == [f"--{key.replace('_', '-')}" if isinstance(option, click.Option) else key]
    assert set(declared) == {"type", "default"}


@pytest.mark.parametrize("name", ENTRY_POINTS)
def test_entry_point_passes_each_parameter_to_its_script(name):
    words = ENTRY_POINTS[name]["command"].split()
    assert words[:3] == ["python", "-m", f"entrypoints.{name}"]
    options = {one.name: one.opts[0] for one in main.commands[name.replace("_", "-")].params if one.opts[0][0] == "-"}
    expected = [f"{options.get(key, '')} {{{key}}}".strip() for key in ENTRY_POINTS[name]["parameters"]]
    assert " ".join(words[3:]) == " ".join(expected)
    assert (ROOT / "entrypoints" / f"{name}.py").is_file()


def test_an_entry_point_script_calls_its_command(client, monkeypatch, capsys):
    """As `mlflow run` calls it: empty values, flags with true or false, the run in the environment."""
    words = "--modules '' --register-as '' --resume '' --download false --cpu true --map-size auto --batch-size 0"
    monkeypatch.setattr(sys, "argv", ["train_backbone", *shlex.split(words)])
    monkeypatch.setenv("MLFLOW_TRACKING_URI", client.tracking_uri)
    monkeypatch.setenv("MLFLOW_RUN_ID", new_run(client))
    with pytest.raises(SystemExit) as ended:
        runpy.run_path(str(ROOT / "entrypoints" / "train_backbone.py"), run_name="__main__")
    assert ended.value.code == 2 and capsys.readouterr().err == "Error: batch-size must be at least 1, got 0\n"


# What it does


def test_train_backbone_says_what_it_does_in_plain_lines(fmce, client):
    result = fmce("train-backbone", *TINY)
    assert result.exit_code == 0, result.output
    assert "\r" not in result.output
    assert "96 training, 40 validation and 16 probe images" in result.output
    assert re.search(r"Will write 0\.\d MiB of feature maps in 7 snapshots", result.output)
    for snapshot in range(7):
        assert f"snapshot {snapshot}/6, epoch {snapshot / 2:.2f}, training loss " in result.output
    assert re.search(r"images/s, \d+:\d\d left", result.output)
    assert f"mlflow ui --backend-store-uri {client.tracking_uri}" in result.output
    (run,) = runs_of(client)
    assert run.info.status == "FINISHED" and run.data.tags["fmce.role"] == "backbone"
    assert run.info.run_id in result.output


def test_build_fmcs_trains_each_seed_as_a_nested_run(fmce, client):
    result = fmce("build-fmcs", *TINY, "--seeds", "0,1", "--unconverged", "keep", "--workers", "1")
    assert result.exit_code == 0, result.output
    parent, *children = runs_of(client)
    assert parent.data.tags["fmce.role"] == "fmcs_dataset" and parent.info.status == "FINISHED"
    assert [run.data.tags["mlflow.parentRunId"] for run in children] == [parent.info.run_id] * 2
    assert [run.data.tags["fmce.role"] for run in children] == ["backbone"] * 2
    assert [run.data.params["seed"] for run in children] == ["0", "1"]
    assert parent.data.metrics["fmcs_dataset/rows"] == 14
    assert parent.inputs.dataset_inputs[0].dataset.name == "fmcs_dataset"
    assert "Backbone 2 of 2" in result.output and "FMCS-dataset" in result.output

    sources = ",".join(run.info.run_id for run in children)
    again = fmce(
        "build-fmcs", "--source-runs", sources, "--levels", "2", "--threshold", "0.14", "--unconverged", "keep"
    )
    assert again.exit_code == 0, again.output
    rebuilt = runs_of(client)[-1]
    assert rebuilt.data.params["source_runs_used"] == sources and rebuilt.data.params["levels"] == "2"
    assert len(runs_of(client)) == 4, "no backbone is trained where source runs are named"


def test_the_run_that_mlflow_made_is_used(fmce, client, monkeypatch):
    run_id = new_run(client)
    monkeypatch.setenv("MLFLOW_RUN_ID", run_id)
    assert fmce("train-backbone", *TINY, "--epochs", "1", "--unknown").exit_code == 2
    result = fmce("train-backbone", *TINY)
    assert result.exit_code == 0, result.output
    (run,) = runs_of(client)
    assert run.info.run_id == run_id and run.data.tags["fmce.role"] == "backbone"


def test_an_experiment_is_made_where_it_is_missing(client):
    CliRunner().invoke(main, ["--tracking-uri", client.tracking_uri, "--experiment", "new", "train-backbone", *TINY])
    assert len(client.search_runs([client.get_experiment_by_name("new").experiment_id])) == 1


def test_a_progress_bar_where_there_is_a_terminal(client, monkeypatch):
    words = ["--tracking-uri", client.tracking_uri, "train-backbone", *TINY]
    controller, terminal = pty.openpty()
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 160, 0, 0))
    seen = []

    def read():
        with suppress(OSError):  # the other side is closed
            while chunk := os.read(controller, 65536):
                seen.append(chunk)

    reader = threading.Thread(target=read)
    reader.start()
    with os.fdopen(terminal, "w") as shown:
        monkeypatch.setattr(sys, "stdout", shown)
        monkeypatch.setattr(sys, "stderr", shown)
        monkeypatch.setattr("fmce_mlflow.backbone.train.tqdm", partial(tqdm, mininterval=0))  # drawn at each step
        main([*words, "--epochs", "6", "--snapshots-per-epoch", "1"], prog_name="fmce", standalone_mode=False)
    reader.join()
    os.close(controller)
    text = b"".join(seen).decode()
    assert re.search(r"\r.*tests\.helpers\.nets:tiny on digits, seed 0: +\d+%\|", text)
    assert re.search(r"img/s.*loss=\d", text)
    assert "snapshot 1/6, epoch" not in text


def test_lists_of_names(fmce):
    assert {"resnet50", "shufflenet_v2_x1_0"} <= set(fmce("list-backbones").output.split())
    assert fmce("list-data").output.splitlines()[0].split()[0] == "digits"
    modules = fmce("list-modules", "--backbone", "tests.helpers.nets:tiny").output.splitlines()
    assert modules == ["stem", "norm", "act", "drop", "stage *", "stage.0", "stage.1", "pool", "flat", "head"]


@pytest.mark.parametrize("kind", ["pickle", "pt2"])
def test_modules_of_a_logged_model_are_listed_by_its_uri(fmce, client, kind, tmp_path):
    net, folder = tiny(num_classes=3).eval(), tmp_path / "model"
    example = np.zeros((1, 3, 16, 16), np.float32)
    mlflow.pytorch.save_model(net, folder, serialization_format=kind, input_example=example, pip_requirements=[])
    listed = fmce("list-modules", "--model", str(folder)).output.splitlines()
    assert "stage *" in listed and {"stem", "head"} <= set(listed)


def test_a_model_that_lists_its_modules_says_which_size_it_lacks(fmce, tmp_path):
    net = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.Flatten(), torch.nn.Linear(4 * 36, 2))
    folder = tmp_path / "model"
    mlflow.pytorch.save_model(net, folder, serialization_format="pickle", pip_requirements=[])
    result = fmce("list-modules", "--model", str(folder))
    assert result.exit_code == 0 and result.stdout.splitlines() == ["0", "1", "2"]
    assert "--image-size" in result.stderr
    assert "0 *" in fmce("list-modules", "--model", str(folder), "--image-size", "8").output


# Mistakes


def test_all_wrong_options_are_told_at_once(fmce, client):
    words = (
        "train-backbone --epochs many --batch-size 0 --momentum 2 --levels 1 --dataset mnits --backbone resnt18 "
        "--image-size large --keep some --download maybe --probe-sise 3 stray"
    )
    result = fmce(*words.split())
    assert result.exit_code == 2
    expected = [
        "'--epochs': 'many' is not a valid integer", "batch-size must be at least 1, got 0",
        "momentum must be in [0, 1), got 2.0", "levels must be at least 2, got 1",
        "dataset 'mnits' is unknown. Did you mean mnist", "backbone 'resnt18' is unknown. Did you mean resnet18",
        "`fmce list-backbones`", "'large' is not a valid integer, nor auto", "'some' is not one of 'all', 'markers'",
        "'maybe' is not a valid boolean", "no option --probe-sise. Did you mean --probe-size",
        "Unexpected argument 'stray'",
    ]  # fmt: skip
    for text in expected:
        assert text in result.output
    assert "11 options cannot be used" in result.output
    assert runs_of(client) == []


def test_wrong_options_of_every_job_are_told_at_once(fmce, client):
    words = "build-fmcs --seeds 0,x,-1 --backbone resnet18,resnt18 --dataset digits,minst --unconverged maybe"
    result = fmce(*words.split())
    assert result.exit_code == 2
    for text in ("got 'x'", "seed must not be negative", "'resnt18' is unknown", "'minst' is unknown", "'maybe'"):
        assert result.output.count(text) == 1, result.output
    for empty in ("--seeds", "--backbone", "--dataset"):
        assert f"{empty[2:]} is empty" in fmce("build-fmcs", empty, "").output
    assert runs_of(client) == []


@pytest.mark.parametrize(
    ("words", "code", "expected"),
    [
        ("bild-fmcs", 2, ["no command 'bild-fmcs'", "build-fmcs"]),
        ("train-backbone --epochs", 2, ["--epochs", "requires an argument"]),
        ("train-backbone --dataset mnist", 1, ["mnist was not found: ", "/data/MNIST/raw lacks", "--download"]),
        ("train-backbone --dataset folder:gone", 1, ["There is no folder", "gone", "class folders"]),
        ("train-backbone --probe-size 5000", 1, ["probe of 5,000 images is too large", "--probe-size to 898 or less"]),
        ("train-backbone --modules conv6", 1, ["no module 'conv6'", "Did you mean conv5", "fmce list-modules"]),
        ("train-backbone --backbone timm:resnt18", 1, ["timm:resnet18", "fmce list-backbones"]),
        ("train-backbone --backbone tests.helpers.nets:tyni", 1, ["tests.helpers.nets", "tyni"]),
        ("train-backbone --resume 0123456789abcdef0123456789abcdef", 1, ["0123456789abcdef0123456789abcdef"]),
        ("build-fmcs --source-runs 0123456789abcdef0123456789abcdef", 1, ["There is no run", "fmce.role"]),
        ("list-modules --backbone resnt18", 1, ["Did you mean resnet18"]),
    ],
)
def test_a_mistake_gets_one_message_and_an_exit_code(fmce, words, code, expected):
    result = fmce(*words.split())
    assert result.exit_code == code
    for text in expected:
        assert text in result.output


@pytest.mark.parametrize("name", ["org/model", "a:b", "..", "../x", ".", "  ", "m" * 257])
def test_a_name_that_the_registry_does_not_take_is_told_at_once(fmce, client, name):
    for command in ("train-backbone", "build-fmcs", "train-fmce-net", "tune-fmce-net", "main"):
        words = ["--register-as", name, "--epochs", "0"]
        result = fmce(command, *words)
        assert result.exit_code == 2 and "register-as must be a name" in result.output and "epochs" in result.output
    assert runs_of(client) == []


def test_a_run_that_only_its_name_keeps_from_ending_ends_under_another(fmce, client):
    """As one of an earlier release, which did not look at the name before the end."""
    run_id = client.create_run(client.get_experiment_by_name("tests").experiment_id).info.run_id
    options = fast_options(training={"epochs": 1})

    def stop(line):
        if "snapshot 2/2" in line:
            raise KeyboardInterrupt

    run = Run(client, run_id, stop)
    with pytest.raises(KeyboardInterrupt):
        train_backbone(run, options)
    data = run.log_json({**options.to_dict(), "register_as": "org/model"}, "options.json")
    run.set_tags(seal("options.json", data))
    told = fmce("train-backbone", "--resume", run_id)
    assert told.exit_code == 2 and "got 'org/model', in run" in told.output and "--resume" in told.output
    done = fmce("train-backbone", "--resume", run_id, "--register-as", "model")
    assert done.exit_code == 0, done.output
    assert client.get_run(run_id).info.status == "FINISHED"
    assert [version.run_id for version in client.search_model_versions("name = 'model'")] == [run_id]


@pytest.mark.parametrize("size", [10**6, 10**20])
def test_images_that_no_memory_holds_are_told(fmce, size):
    result = fmce("train-backbone", "--image-size", str(size))
    assert result.exit_code == 2 and "8 to 8,192" in result.output
    with pytest.raises(ConfigError, match="from 8 to 8,192, got"):
        Preprocessing(size, 8, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))


@pytest.mark.parametrize(
    "words",
    ["evaluate --model gone --dataset folder:~no-such-user/x", "train-backbone --dataset folder:~no-such-user/x",
     "train-backbone --dataset mnist --data-root ~no-such-user/x", f"train-backbone --dataset folder:/x/{'y' * 5000}",
     f"train-backbone --dataset mnist --data-root /x/{'y' * 5000}"],
)  # fmt: skip
def test_a_folder_that_cannot_be_is_told(fmce, words):
    assert fmce(*words.split()).exit_code == 1


def test_without_a_home_a_folder_for_what_waits_is_asked_for(fmce, monkeypatch):
    monkeypatch.delenv("FMCE_SPOOL", raising=False)
    monkeypatch.setenv("HOME", "nowhere")
    result = fmce("sync")
    assert result.exit_code == 2 and "--spool-folder" in result.output and "FMCE_SPOOL" in result.output


@pytest.mark.parametrize(
    "uri",
    ["http://[", "mysql://me:s3cr3t@127.0.0.1:1/db", "mssql://me:s3cr3t@127.0.0.1:1/db", "sqlite:////proc/x/m.db"],
)
def test_a_tracking_uri_that_cannot_be_used_is_one_message(uri):
    result = CliRunner().invoke(main, ["--tracking-uri", uri, "train-backbone", *TINY], prog_name="fmce")
    assert isinstance(result.exception, SystemExit), result.exc_info
    assert "Error: " in result.output and "s3cr3t" not in result.output


@pytest.mark.parametrize(("size", "code"), [("", 0), ("1", 0), ("x", 2), ("-1", 2)])
def test_a_world_size_that_is_none_is_told(fmce, monkeypatch, size, code):
    monkeypatch.setenv("WORLD_SIZE", size)
    result = fmce("build-fmcs", *TINY) if code else fmce("list-data")
    assert result.exit_code == code and ("WORLD_SIZE" in result.output) == bool(code)


def test_nobody_reads_what_a_training_says(client, monkeypatch, capsys):
    """`fmce train-backbone … | head -1`, but for its process, as in test_terminal.py."""
    words = ["--tracking-uri", client.tracking_uri, "--experiment", "tests", "train-backbone", *TINY]
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "w") as gone:
        monkeypatch.setattr(sys, "stdout", gone)
        main(words, prog_name="fmce", standalone_mode=False)
    assert capsys.readouterr().err.count("Nobody reads the output any more") == 1
    (run,) = runs_of(client)
    assert run.info.status == "FINISHED"


def test_what_is_missing_is_told_before_any_run_is_made_all_of_it(fmce, client):
    words = "build-fmcs --backbone resnet18,timm:resnt18 --dataset digits,cifar10 --modules layer5"
    result = fmce(*words.split())
    assert result.exit_code == 2
    for text in ("no module 'layer5'", "no model 'resnt18'", "cifar10 was not found"):
        assert text in result.output
    assert runs_of(client) == []


def test_an_empty_class_is_named(fmce, tmp_path):
    for name in ("cat", "dog"):
        (tmp_path / "photos" / name).mkdir(parents=True)
    for i in range(8):
        Image.new("RGB", (8, 8), (i, 0, 0)).save(tmp_path / "photos" / "cat" / f"{i}.png")
    result = fmce("train-backbone", "--dataset", "folder:photos")
    assert result.exit_code == 1 and "class folders without images: dog" in result.output


def test_more_levels_than_snapshots_before_convergence(fmce, client):
    result = fmce("train-backbone", *TINY, "--levels", "50", "--threshold", "5")
    assert result.exit_code == 1
    assert "50 levels need a convergence point at snapshot 49 or later" in result.output
    assert "--snapshots-per-epoch" in result.output
    (run,) = runs_of(client)
    assert run.info.status == "FINISHED" and "train_loss" in run.data.metrics, "what was trained is kept"


def test_a_diverging_run_is_closed_as_failed_with_what_it_had_logged(fmce, client):
    result = fmce("train-backbone", *TINY, "--lr", "1e30")
    assert result.exit_code == 1
    assert re.search(r"loss of snapshot 1 is (nan|inf)", result.output) and "smaller learning rate" in result.output
    (run,) = runs_of(client)
    assert run.info.status == "FAILED"
    assert [m.step for m in client.get_metric_history(run.info.run_id, "train_loss")] == [0]
    index = json.loads(Path(client.download_artifacts(run.info.run_id, "feature_maps/index.json")).read_text())
    assert [file["snapshot"] for file in index["files"]] == [0]


def test_build_fmcs_names_runs_that_diverged_and_fails_where_all_did(fmce, client):
    result = fmce("build-fmcs", *TINY, "--lr", "1e30", "--seeds", "0,1", "--workers", "1")
    assert result.exit_code == 1 and "Every backbone run failed" in result.output
    parent, *children = runs_of(client)
    assert parent.info.status == "FAILED" and [run.info.status for run in children] == ["FAILED"] * 2
    assert all(run.info.run_id in result.output for run in children)


def test_build_fmcs_fails_where_no_run_converged(fmce, client):
    result = fmce("build-fmcs", *TINY, "--seeds", "0")
    assert result.exit_code == 1 and "No run is left" in result.output and "--unconverged keep" in result.output
    assert [run.info.status for run in runs_of(client)] == ["FAILED", "FINISHED"]


def test_a_finished_run_is_not_resumed_nor_one_with_other_options(fmce, client):
    assert fmce("train-backbone", *TINY).exit_code == 0
    (run,) = runs_of(client)
    finished = fmce("train-backbone", "--resume", run.info.run_id)
    assert finished.exit_code == 1 and "is finished" in finished.output
    client.update_run(run.info.run_id, status="KILLED")
    changed = fmce("train-backbone", "--resume", run.info.run_id, "--lr", "0.7", "--epochs", "9")
    assert changed.exit_code == 2
    assert "lr is '0.1' in the run and cannot become '0.7'" in changed.output and "epochs is '3'" in changed.output


def test_build_fmcs_does_not_run_in_several_processes(fmce, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    result = fmce("build-fmcs")
    assert result.exit_code == 2 and "--source-runs" in result.output


def test_a_server_that_cannot_be_reached_is_named(monkeypatch):
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    words = ["--tracking-uri", "http://127.0.0.1:9", "build-fmcs", "--source-runs", "a" * 32]
    result = CliRunner().invoke(main, words)
    assert result.exit_code == 1 and "MLflow at http://127.0.0.1:9 says:" in result.output


@pytest.mark.parametrize(
    ("error", "code", "text"),
    [
        (
            OSError(errno.ENOSPC, "No space left on device", "/data/maps"),
            1,
            "No space left on device: /data/maps. Make",
        ),
        (PermissionError(errno.EACCES, "Permission denied", "/data"), 1, "Permission denied: /data."),
        (DataError("dog is empty"), 1, "dog is empty"),
        (KeyboardInterrupt(), 130, "Stopped."),
    ],
)
def test_what_goes_wrong_outside_becomes_a_message(error, code, text):
    group = Group("group")

    @group.command("fail")
    def fail():
        raise error

    result = CliRunner().invoke(group, ["fail"])
    assert result.exit_code == code and f"Error: {text}" in result.output


def test_a_defect_of_the_program_keeps_its_traceback():
    group = Group("group")

    @group.command("fail")
    def fail():
        raise ZeroDivisionError

    assert isinstance(CliRunner().invoke(group, ["fail"]).exception, ZeroDivisionError)


# Flags


@pytest.mark.parametrize(
    ("words", "expected"),
    [([], False), (["--cpu"], True), (["--cpu", "true"], True), (["--cpu", "false"], False), (["--cpu=false"], False)],
)
def test_flags_take_true_and_false_or_nothing(words, expected):
    command = main.commands["train-backbone"]
    assert command.make_context("train-backbone", [*words, "--epochs", "2"]).params["cpu"] is expected


def test_absent_values_can_be_written_out():
    command = main.commands["train-backbone"]
    params = command.make_context(
        "train-backbone", ["--image-size", "auto", "--map-size", "", "--train-size", "5"]
    ).params
    assert (params["image_size"], params["map_size"], params["train_size"]) == (None, None, 5)


def test_defaults_are_those_of_the_python_interface():
    from fmce_mlflow.backbone.options import BackboneOptions
    from fmce_mlflow.cli.backbone import backbone_options

    params = main.commands["train-backbone"].make_context("train-backbone", []).params
    assert backbone_options(params) == BackboneOptions()
    assert fast_options() != BackboneOptions()
