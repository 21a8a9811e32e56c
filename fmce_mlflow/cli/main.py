"""The command line: the group of commands, and errors as messages."""

from __future__ import annotations

import errno
import importlib
import io
import os
import signal
import sys
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from types import TracebackType
from typing import Any

import click

from fmce_mlflow.cli.command import Command
from fmce_mlflow.errors import FmceError
from fmce_mlflow.safety.credentials import hide_credentials, without_credentials
from fmce_mlflow.safety.interrupts import Terminated, stoppable
from fmce_mlflow.version import __version__
from fmce_mlflow.wording import did_you_mean

COMMANDS: Mapping[str, tuple[str, str]] = {
    "train-backbone": (
        "backbone:train_backbone_command",
        "Train one backbone and log its feature maps, losses and convergence at every snapshot",
    ),
    "build-fmcs": (
        "backbone:build_fmcs_command",
        "Train backbones, then label their feature maps: an FMCS-dataset",
    ),
    "train-fmce-net": (
        "predictor:train_fmce_net_command",
        "Train FMCE-Net on an FMCS-dataset, score it on what it has not seen, and log it",
    ),
    "tune-fmce-net": (
        "tuning:tune_fmce_net_command",
        "Search for the hyperparameters of the set net with Optuna; fit the best to all groups and log it",
    ),
    "calibrate": (
        "calibrate:calibrate_command",
        "Calibrate a predictor to the architecture of a model, by recorded runs of it, and tie it to the model",
    ),
    "evaluate": (
        "evaluate:evaluate_command",
        "Say how mature the training of a model's functional modules is, and log it",
    ),
    "promote": (
        "promote:promote_command",
        "Promote a registered version to an alias or a stage if its evaluation meets what is required",
    ),
    "gate": (
        "gate:gate_command",
        "Evaluate each version of a registered model that was not evaluated yet, and decide on it by a policy",
    ),
    "main": (
        "demo:main_command",
        "Go through everything once, on the digits that come with scikit-learn, in a few minutes",
    ),
    "show": (
        "show:show_command",
        "Write one page on which a person looks at feature maps, over snapshots, modules and images",
    ),
    "overview": (
        "overview:overview_command",
        "Write one page of the registry: every version with its scores, its verdict and which module lags",
    ),
    "status": (
        "status:status_command",
        "Say how far a training has come: its snapshots, T so far, which modules have settled, and what is left",
    ),
    "list-backbones": ("backbone:list_backbones_command", "Names that --backbone takes"),
    "list-modules": (
        "backbone:list_modules_command",
        "Functional modules of a backbone or a model; the default one is marked with a star",
    ),
    "list-data": ("backbone:list_data_command", "Names that --dataset takes"),
    "sync": (
        "sync:sync_command",
        "Upload what a training left on disk because its server did not take it, and close the run",
    ),
}
"""Where commands are, and the first sentence of their help: `fmce --help` loads none of them."""


class Commands(Mapping[str, click.Command]):
    """The commands by name, each loaded when it is asked for."""

    def __getitem__(self, name: str) -> click.Command:
        module, _, attribute = COMMANDS[name][0].partition(":")
        command: click.Command = getattr(importlib.import_module(f"fmce_mlflow.cli.{module}"), attribute)
        return command

    def __iter__(self) -> Iterator[str]:
        return iter(COMMANDS)

    def __len__(self) -> int:
        return len(COMMANDS)


class Group(click.Group):
    """A group whose errors suggest the near command, and whose failures are messages, never tracebacks."""

    command_class = Command

    def resolve_command(self, ctx: click.Context, args: list[str]) -> Any:
        """Find the command, or name the near ones."""
        name = args[0]
        if not name.startswith("-") and self.get_command(ctx, name) is None:
            ctx.fail(f"There is no command {name!r}." + did_you_mean(name, self.commands))
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands without loading them."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, f"{COMMANDS[name][1]}.") for name in sorted(self.commands)])

    def main(self, *args: Any, **kwargs: Any) -> Any:
        """Write what the terminal has no character for as ``?``, also in helps and usage errors."""
        for stream in (sys.stdout, sys.stderr):
            if isinstance(stream, io.TextIOWrapper):
                stream.reconfigure(errors="replace")
        return super().main(*args, **kwargs)

    def invoke(self, ctx: click.Context) -> Any:
        """Run a command; a user's mistake becomes one message and an exit code, and SIGTERM closes its runs."""
        with friendly_errors(), stoppable():
            return super().invoke(ctx)


@contextmanager
def friendly_errors() -> Iterator[None]:
    """Turn what can go wrong outside this program into a message and an exit code."""
    try:
        yield
    except FmceError as error:
        _fail(str(error), error.exit_code)
    except OSError as error:
        _fail_of_mlflow(error)  # a request's error is an OSError too
        full = (errno.ENOSPC, errno.EACCES, errno.EROFS, errno.EDQUOT, errno.EPERM, errno.EFBIG)
        if error.errno not in full and error.filename is None:
            raise
        _fail(f"{error.strerror}: {error.filename or 'while writing'!s:.300}. Make room or choose another folder; "
              "what was logged stays readable.")  # fmt: skip
    except KeyboardInterrupt as error:
        usual = signal.SIGTERM if isinstance(error, Terminated) else signal.SIGINT
        _fail("Stopped.", 128 + (error.args[0] if error.args else usual))
    except Exception as error:
        _fail_of_mlflow(error)
        sys.excepthook = _without_secrets  # a fault of this program; its traceback may quote a URI
        raise


def _without_secrets(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """Print a traceback as Python does, credentials left out."""
    sys.stderr.write(hide_credentials("".join(traceback.format_exception(kind, error, trace))))


def _fail_of_mlflow(error: Exception) -> None:
    """Fail with what MLflow, or the library with which it reaches its server, complains of; ignore other errors."""
    if type(error).__module__.startswith(("mlflow.", "sqlalchemy.", "requests.", "urllib3.")):
        where = without_credentials(os.environ.get("MLFLOW_TRACKING_URI", "its default store"))
        _fail(f"MLflow at {where} says: {error}")


def _fail(message: str, code: int = 1) -> None:
    click.echo(f"Error: {hide_credentials(message)}", err=True)
    sys.exit(code)


@click.group(
    cls=Group, commands=Commands(), context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100}
)
@click.version_option(__version__, prog_name="fmce")
@click.option("--tracking-uri", envvar="MLFLOW_TRACKING_URI", help="MLflow's tracking URI; its own default otherwise.")
@click.option(
    "--experiment", envvar="MLFLOW_EXPERIMENT_NAME", default="fmce", show_default=True, help="MLflow experiment."
)
@click.pass_context
def main(ctx: click.Context, tracking_uri: str | None, experiment: str) -> None:
    """Feature Map Convergence Evaluation for MLflow: how mature is the training of one module of a vision model?"""
    # Threads of OpenMP that wait by spinning train fifty times slower when another job shares the cores.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    # A bar per model and two lines per run hide what is said, by processes that are begun too.
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")
    ctx.obj = {"tracking_uri": tracking_uri, "experiment": experiment}


if __name__ == "__main__":
    main()
