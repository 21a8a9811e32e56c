"""Commands that train backbones and build FMCS-datasets, and the lists of names they take."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import click

from fmce_mlflow.backbone.options import BackboneOptions
from fmce_mlflow.backbone.side_by_side import Trainings, at_once, nested
from fmce_mlflow.cli.command import Command, both
from fmce_mlflow.cli.options import option, options_of
from fmce_mlflow.cli.runs import is_main_process, make_client, open_run, say, say_where, world_size
from fmce_mlflow.errors import (
    BackboneError,
    CaptureError,
    ConfigError,
    ConvergenceError,
    DataError,
    FmceError,
    noted,
    refuse,
)
from fmce_mlflow.fmcs_dataset.options import SourceOptions
from fmce_mlflow.method.networks.config import Stem
from fmce_mlflow.runs.run import Run
from fmce_mlflow.runs.uploads.options import UploadOptions
from fmce_mlflow.safety.imports import quick_imports
from fmce_mlflow.safety.options import build, split, whole_numbers
from fmce_mlflow.wording import did_you_mean

if TYPE_CHECKING:
    from torch import Tensor, nn

    from fmce_mlflow.method.images.split import ImageData
    from fmce_mlflow.method.networks.entry import Entry


def backbone_options(values: Mapping[str, Any]) -> BackboneOptions:
    """The options of a backbone run, its torchvision name looked up."""
    _, options = both(lambda: look_up(values["backbone"]), lambda: build(BackboneOptions, values))
    return options


def train_options(values: Mapping[str, Any]) -> tuple[BackboneOptions, UploadOptions]:
    """The options of `train-backbone`."""
    return both(lambda: backbone_options(values), lambda: build(UploadOptions, values))


def build_options(values: Mapping[str, Any]) -> tuple[list[BackboneOptions], tuple[SourceOptions, UploadOptions]]:
    """The options of `build-fmcs`: a job for each data set, backbone and seed, in this order."""
    rest = lambda: both(lambda: build(SourceOptions, values), lambda: build(UploadOptions, values))  # noqa: E731
    return both(lambda: _jobs(values), rest)


def _jobs(values: Mapping[str, Any]) -> list[BackboneOptions]:
    names = ("backbone", "dataset", "seeds")
    problems = [f"{name} is empty; name at least one" for name in names if not split(values[name])]
    seeds = [seed for seed in whole_numbers(values["seeds"]) if isinstance(seed, int)]
    jobs = []
    for dataset in split(values["dataset"]):
        for backbone in split(values["backbone"]):
            for seed in seeds or (0,):
                with noted(problems):
                    jobs.append(backbone_options({**values, "backbone": backbone, "dataset": dataset, "seed": seed}))
    refuse(problems)
    return jobs


def look_up(name: str) -> None:
    """Refuse an unknown torchvision name; others are known only once they are built."""
    with quick_imports():
        from torchvision import models

    if ":" not in name and name not in models.list_models():
        how = "`fmce list-backbones` prints all names."
        near = did_you_mean(name, models.list_models(module=models), how_to_list=how)
        raise ConfigError(f"backbone {name!r} is unknown.{near}")


@click.command("train-backbone", cls=Command, build=train_options)
@options_of(BackboneOptions, UploadOptions)
@option("resume", "", "Go on with a killed run from its last complete snapshot.", metavar="RUN_ID")
@click.pass_context
def train_backbone_command(ctx: click.Context, /, options: tuple[BackboneOptions, UploadOptions]) -> None:
    """Train one backbone and log its feature maps, losses and convergence at every snapshot.

    \b
    Examples:
      fmce train-backbone
      fmce train-backbone --backbone resnet18 --dataset mnist --download --epochs 3
      fmce train-backbone --backbone timm:resnet18d --modules layer2,layer4
      fmce train-backbone --resume 3f2a…
    """
    backbone, uploads = options
    resume = ctx.params["resume"]
    client = make_client(ctx)
    with quick_imports():
        from fmce_mlflow.backbone.resume import stored_options
        from fmce_mlflow.backbone.train import train_backbone

    if resume:
        stored = stored_options(Run(client, resume), **_for_the_end(backbone))
        _refuse_changes(backbone, stored)
        backbone = stored
    data = _rehearse([backbone])[backbone.dataset]
    run = Run(client, resume, say) if resume else open_run(client, ctx, cpu=backbone.training.cpu)
    result = train_backbone(run, backbone, data=data, uploads=uploads)
    if is_main_process():
        say(f"Run {result.run_id}: accuracy {result.val_accuracy:.1%}, model {result.model_uri}")
        say_where(run)
        if result.convergence.problem:
            raise ConvergenceError(f"Run {run.id} is complete, but cannot be labelled. {result.convergence.problem}")


@click.command("build-fmcs", cls=Command, build=build_options)
@options_of(BackboneOptions, UploadOptions, SourceOptions, without={"seed"})
@click.pass_context
def build_fmcs_command(
    ctx: click.Context, /, options: tuple[list[BackboneOptions], tuple[SourceOptions, UploadOptions]]
) -> None:
    """Train backbones, then label their feature maps: an FMCS-dataset.

    --backbone and --dataset take several names with commas; each pair is trained with each seed.

    \b
    Examples:
      fmce build-fmcs
      fmce build-fmcs --backbone resnet18,shufflenet_v2_x0_5 --dataset digits,mnist --seeds 0,1
      fmce build-fmcs --source-runs 3f2a…,9b1c… --levels 4
    """
    jobs, (sources, uploads) = options
    if world_size() > 1:
        raise ConfigError(
            "build-fmcs runs in one process. Train in many with train-backbone, then name the runs in --source-runs."
        )
    with Trainings(1 if sources.source_runs else at_once(jobs, sources.workers), say) as trainings:
        client = make_client(ctx)
        with quick_imports():
            from fmce_mlflow.fmcs_dataset.build import build_fmcs
            from fmce_mlflow.fmcs_dataset.log import describe

        data = {} if sources.source_runs else _rehearse(jobs)
        run = open_run(client, ctx, name="fmcs_dataset")
        trained = trainings.train(nested(run, jobs), data, uploads=uploads)
        dataset = build_fmcs(
            run, jobs, data, source_runs=sources.source_runs, unconverged=sources.unconverged, trained=trained
        )
    describe(dataset, say)
    say(f"FMCS-dataset {run.id}: {len(dataset.table)} rows of {dataset.table['run_id'].nunique()} runs.")
    say_where(run)


@click.command("list-backbones", cls=Command)
def list_backbones_command() -> None:
    """Names that --backbone takes."""
    from fmce_mlflow.method.networks.backbones import backbone_names

    for name in backbone_names():
        click.echo(name)


@click.command("list-modules", cls=Command)
@option("model", "", "Model URI in place of a backbone: the modules of a model that MLflow has.")
@options_of(BackboneOptions, only=("backbone", "stem"))
@option("image-size", 32, "Input height and width, where the model does not say.", int)
@click.pass_context
def list_modules_command(ctx: click.Context, /, model: str, backbone: str, image_size: int, stem: Stem) -> None:
    """Functional modules of a backbone or a model; the default one is marked with a star.

    \b
    Examples:
      fmce list-modules --backbone resnet50
      fmce list-modules --model models:/photos/2
    """
    import torch

    from fmce_mlflow.method.networks.backbones import build_backbone
    from fmce_mlflow.method.networks.entry import Entry
    from fmce_mlflow.method.networks.find_modules import list_modules
    from fmce_mlflow.runs.torch_models import load_torch_model

    entry, images = Entry(), torch.zeros(2, 3, image_size, image_size)
    if model:
        loaded = load_torch_model(model, make_client(ctx))
        network, entry = loaded.network, loaded.entry
        shape = [given or own for given, own in zip(loaded.input_shape or (), images.shape[1:], strict=False)]
        images = torch.zeros(loaded.fixed_batch or 2, *(shape or images.shape[1:]))
        images = images.byte() if loaded.takes_bytes else images
    else:
        network = build_backbone(backbone, num_classes=10, image_size=image_size, stem=stem)
    default, problem = _default_module(network, images, entry)
    for name in list_modules(network):
        click.echo(f"{name} *" if name == default else name)
    if problem:
        click.echo(problem, err=True)


def _default_module(network: nn.Module, images: Tensor, entry: Entry) -> tuple[str, str]:
    """The module that is evaluated where none is named, or why there is none."""
    from fmce_mlflow.method.networks.find_modules import default_module
    from fmce_mlflow.method.networks.forward import as_input

    images = as_input(network, images)
    try:
        with (entry if entry.name is None else entry.tried(network, images)).open(network):
            return default_module(network, images), ""
    except FmceError as error:
        return "", str(error)
    except Exception as error:  # what a network raises of images that it does not like
        size = "×".join(map(str, images.shape))
        return "", f"No default module: the model cannot take zeros of shape {size}. Try --image-size. ({error!s:.200})"


@click.command("list-data", cls=Command)
def list_data_command() -> None:
    """Names that --dataset takes."""
    from fmce_mlflow.method.images.config import DATASETS

    width = max(map(len, DATASETS))
    for name, text in DATASETS.items():
        click.echo(f"{name:<{width}}  {text}")


def _rehearse(jobs: list[BackboneOptions]) -> dict[str, ImageData]:
    """Find the images and build each network once, before a run is made: what is missing is said now, all of it."""
    import torch

    from fmce_mlflow.method.images.split import load_images
    from fmce_mlflow.method.networks.backbones import build_backbone
    from fmce_mlflow.method.networks.find_modules import resolve_modules

    images: dict[str, ImageData] = {}
    problems: dict[str, FmceError] = {}
    for options in {(job.dataset, job.backbone): job for job in jobs}.values():
        try:
            if options.dataset not in images:
                images[options.dataset] = load_images(options)
            data = images[options.dataset]
            size = data.preprocessing.height
            with torch.random.fork_rng(devices=[]):
                model = build_backbone(
                    options.backbone, num_classes=len(data.classes), image_size=size, stem=options.stem
                )
            example = torch.zeros(2, 3, size, size)
            resolve_modules(model, options.modules, example=example, token_grid=options.token_grid)
        except (DataError, BackboneError, CaptureError) as error:
            problems[str(error)] = error
    if len(problems) == 1:
        raise next(iter(problems.values()))
    if problems:
        raise ConfigError(list(problems))
    return images


def _for_the_end(given: BackboneOptions) -> dict[str, Any]:
    """Those of the given options that only the end of a run needs, which may have been what kept it from ending."""
    default, now = BackboneOptions().to_dict(), given.to_dict()
    return {name: now[name] for name in ("register_as", "model_format") if now[name] != default[name]}


def _refuse_changes(given: BackboneOptions, stored: BackboneOptions) -> None:
    """A resumed run keeps its options: say which of the given ones differ from them and from the defaults."""
    default, before = BackboneOptions().flat(), stored.flat()
    changed = [
        f"{name.replace('_', '-')} is {before[name]!r} in the run and cannot become {value!r}"
        for name, value in given.flat().items()
        if value not in (default[name], before[name])
    ]
    refuse(changed)
