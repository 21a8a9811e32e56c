"""The command line: parse, call, print."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click

from fmce_mlflow import __version__
from fmce_mlflow.cli.demo import main_command
from fmce_mlflow.cli.evaluate import evaluate_command
from fmce_mlflow.cli.options import (
    Command,
    all_of,
    backbone_options,
    parse_backbone_options,
    parse_jobs,
    parse_upload_options,
    split,
    upload_options,
)
from fmce_mlflow.cli.predictor import train_fmce_net_command
from fmce_mlflow.cli.promote import promote_command
from fmce_mlflow.cli.runs import is_main_process, make_client, open_run, say, say_where
from fmce_mlflow.cli.sync import sync_command
from fmce_mlflow.cli.tuning import tune_fmce_net_command
from fmce_mlflow.errors import BackboneError, CaptureError, ConfigError, ConvergenceError, DataError, FmceError
from fmce_mlflow.runs.run import Run
from fmce_mlflow.safety.credentials import hide_credentials, without_credentials
from fmce_mlflow.safety.interrupts import Terminated
from fmce_mlflow.wording import did_you_mean

if TYPE_CHECKING:
    from fmce_mlflow.backbone.options import BackboneOptions
    from fmce_mlflow.method.images.split import ImageData


class Group(click.Group):
    """A group whose errors suggest the near command, and whose failures are messages, never tracebacks."""

    command_class = Command

    def resolve_command(self, ctx: click.Context, args: list[str]) -> Any:
        """Find the command, or name the near ones."""
        name = args[0]
        if not name.startswith("-") and self.get_command(ctx, name) is None:
            ctx.fail(f"There is no command {name!r}." + did_you_mean(name, self.commands))
        return super().resolve_command(ctx, args)

    def invoke(self, ctx: click.Context) -> Any:
        """Run a command; a user's mistake becomes one message and an exit code."""
        with friendly_errors():
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
        if error.errno not in (errno.ENOSPC, errno.EACCES, errno.EROFS, errno.EDQUOT, errno.EPERM, errno.EFBIG):
            raise
        _fail(f"{error.strerror}: {error.filename or 'while writing'}. Make room or choose another folder; "
              "what was logged stays readable.")  # fmt: skip
    except KeyboardInterrupt as error:
        _fail("Stopped.", 143 if isinstance(error, Terminated) else 130)
    except Exception as error:
        _fail_of_mlflow(error)
        raise


def _fail_of_mlflow(error: Exception) -> None:
    """Tell what MLflow, or what it reaches its server with, complains of; other errors are left alone."""
    if type(error).__module__.startswith(("mlflow.", "sqlalchemy.", "requests.", "urllib3.")):
        where = without_credentials(os.environ.get("MLFLOW_TRACKING_URI", "its default store"))
        _fail(f"MLflow at {where} says: {error}")


def _fail(message: str, code: int = 1) -> None:
    click.echo(f"Error: {hide_credentials(message)}", err=True)
    sys.exit(code)


@click.group(cls=Group, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
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
    ctx.obj = {"tracking_uri": tracking_uri, "experiment": experiment}


@main.command("train-backbone", check=all_of(parse_backbone_options, parse_upload_options))
@backbone_options
@upload_options
@click.option("--seed", type=int, default=0, show_default=True, help="Weights, order, augmentation and dropout.")
@click.option("--resume", metavar="RUN_ID", default="", help="Go on with a killed run from its last complete snapshot.")
@click.pass_context
def train_backbone_command(ctx: click.Context, /, resume: str, **values: Any) -> None:
    """Train one backbone and log its feature maps, losses and convergence at every snapshot.

    \b
    Examples:
      fmce train-backbone
      fmce train-backbone --backbone resnet18 --dataset mnist --download --epochs 3
      fmce train-backbone --backbone timm:resnet18d --modules layer2,layer4
      fmce train-backbone --resume 3f2a…
    """
    options = parse_backbone_options(values)
    client = make_client(ctx)
    from fmce_mlflow.backbone.resume import stored_options
    from fmce_mlflow.backbone.train import train_backbone

    if resume:
        stored = stored_options(Run(client, resume))
        _refuse_changes(options, stored)
        options = stored
    data = _rehearse([options])[options.dataset]
    run_id = resume or open_run(client, ctx, cpu=options.training.cpu)
    result = train_backbone(Run(client, run_id, say), options, data=data, uploads=parse_upload_options(values))
    if is_main_process():
        say(f"Run {result.run_id}: accuracy {result.val_accuracy:.1%}, model {result.model_uri}")
        say_where(client, run_id)
        if result.convergence.problem:
            raise ConvergenceError(f"Run {run_id} is complete, but cannot be labelled. {result.convergence.problem}")


@main.command("build-fmcs", check=all_of(parse_jobs, parse_upload_options))
@backbone_options
@upload_options
@click.option("--seeds", default="0,1,2,3", show_default=True, help="Train each backbone once with each of these.")
@click.option("--source-runs", default="", help="Build from these backbone runs (ids, commas) instead of training.")
@click.option(
    "--unconverged",
    type=click.Choice(["drop", "keep"]),
    default="drop",
    show_default=True,
    help="Runs that have not converged: leave them out, or keep them without a label.",
)
@click.pass_context
def build_fmcs_command(ctx: click.Context, /, source_runs: str, unconverged: Any, **values: Any) -> None:
    """Train backbones, then label their feature maps: an FMCS-dataset.

    --backbone and --dataset take several names with commas; each pair is trained with each seed.

    \b
    Examples:
      fmce build-fmcs
      fmce build-fmcs --backbone resnet18,shufflenet_v2_x0_5 --dataset digits,mnist --seeds 0,1
      fmce build-fmcs --source-runs 3f2a…,9b1c… --levels 4
    """
    jobs = parse_jobs(values)
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise ConfigError(
            "build-fmcs runs in one process. Train in many with train-backbone, then name the runs in --source-runs."
        )
    client = make_client(ctx)
    from fmce_mlflow.fmcs_dataset.build import build_fmcs
    from fmce_mlflow.fmcs_dataset.log import describe

    sources = split(source_runs)
    data = {} if sources else _rehearse(jobs)
    run_id = open_run(client, ctx, name="fmcs_dataset")
    dataset = build_fmcs(
        Run(client, run_id, say), jobs, data,
        source_runs=sources, unconverged=unconverged, uploads=parse_upload_options(values),
    )  # fmt: skip
    describe(dataset, say)
    say(f"FMCS-dataset {run_id}: {len(dataset.table)} rows of {dataset.table['run_id'].nunique()} runs.")
    say_where(client, run_id)


@main.command("list-backbones")
def list_backbones_command() -> None:
    """Names that --backbone takes."""
    from fmce_mlflow.method.networks.backbones import backbone_names

    for name in backbone_names():
        click.echo(name)


@main.command("list-modules")
@click.option("--backbone", default="shufflenet_v2_x0_5", show_default=True, help="The backbone.")
@click.option("--image-size", type=int, default=32, show_default=True, help="Input height and width.")
@click.option("--stem", type=click.Choice(["auto", "small", "stock"]), default="auto", show_default=True)
def list_modules_command(backbone: str, image_size: int, stem: Any) -> None:
    """Functional modules of a backbone; the default one is marked with a star."""
    import torch

    from fmce_mlflow.method.networks.backbones import build_backbone
    from fmce_mlflow.method.networks.find_modules import default_module, list_modules

    model = build_backbone(backbone, num_classes=10, image_size=image_size, stem=stem)
    default = default_module(model, torch.zeros(2, 3, image_size, image_size))
    for name in list_modules(model):
        click.echo(f"{name} *" if name == default else name)


@main.command("list-data")
def list_data_command() -> None:
    """Names that --dataset takes."""
    from fmce_mlflow.method.images.config import DATASETS

    width = max(map(len, DATASETS))
    for name, text in DATASETS.items():
        click.echo(f"{name:<{width}}  {text}")


def _rehearse(jobs: list[BackboneOptions]) -> dict[str, ImageData]:
    """Find the images and build each network once, before a run is made: what is missing is said now, all of it."""
    import torch

    from fmce_mlflow.backbone.images import load_options_images
    from fmce_mlflow.method.networks.backbones import build_backbone
    from fmce_mlflow.method.networks.find_modules import resolve_modules

    images: dict[str, ImageData] = {}
    problems: dict[str, FmceError] = {}
    for options in {(job.dataset, job.backbone): job for job in jobs}.values():
        try:
            if options.dataset not in images:
                images[options.dataset] = load_options_images(options)
            data = images[options.dataset]
            size = data.preprocessing.height
            with torch.random.fork_rng(devices=[]):
                model = build_backbone(
                    options.backbone, num_classes=len(data.classes), image_size=size, stem=options.stem
                )
            resolve_modules(model, options.modules, example=torch.zeros(2, 3, size, size))
        except (DataError, BackboneError, CaptureError) as error:
            problems[str(error)] = error
    if len(problems) == 1:
        raise next(iter(problems.values()))
    if problems:
        raise ConfigError(list(problems))
    return images


def _refuse_changes(given: BackboneOptions, stored: BackboneOptions) -> None:
    """A resumed run keeps its options: say which of the given ones differ from them and from the defaults."""
    from fmce_mlflow.backbone.options import BackboneOptions

    default, before = BackboneOptions().flat(), stored.flat()
    changed = [
        f"{name.replace('_', '-')} is {before[name]!r} in the run and cannot become {value!r}"
        for name, value in given.flat().items()
        if value not in (default[name], before[name])
    ]
    if changed:
        raise ConfigError(changed)


main.add_command(train_fmce_net_command)
main.add_command(tune_fmce_net_command)
main.add_command(evaluate_command)
main.add_command(promote_command)
main.add_command(main_command)
main.add_command(sync_command)


if __name__ == "__main__":
    main()
