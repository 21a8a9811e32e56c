"""The whole story in one run: FMCS-dataset, FMCE-Net, two versions evaluated, one promoted and one refused."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Any

import pandas as pd
from torch.utils.data import Subset

from fmce_mlflow.backbone.options import BackboneOptions
from fmce_mlflow.backbone.side_by_side import Ended, Job, Trainings, nested
from fmce_mlflow.demo.options import StoryOptions
from fmce_mlflow.errors import NonFiniteLossError, PromotionRefused, RunError
from fmce_mlflow.evaluation.evaluate import nested_evaluations
from fmce_mlflow.evaluation.options import EvaluationConfig
from fmce_mlflow.fmcs_dataset.build import build_fmcs
from fmce_mlflow.image_dataset.plugin import from_images
from fmce_mlflow.method.images.split import load_images
from fmce_mlflow.predictor.train import train_fmce_net
from fmce_mlflow.promotion.options import PromotionOptions
from fmce_mlflow.promotion.promote import promote
from fmce_mlflow.runs.logged_models import check_name, register
from fmce_mlflow.runs.run import Run

if TYPE_CHECKING:
    from mlflow import MlflowClient

    from fmce_mlflow.method.images.split import ImageData

SUMMARY = "summary.json"
PARTS = 5


@dataclass(frozen=True, slots=True)
class Registered:
    """A snapshot that became a registered version."""

    version: str
    snapshot: int
    source_run: str


@dataclass(frozen=True, slots=True)
class Chapter:
    """A registered version and what became of it."""

    version: str
    snapshot: int
    measured: float  # FMCS by the losses of its run
    predicted: float  # FMCS by FMCE-Net
    accuracy: float  # on the held-out images
    evaluation_run: str
    decision: str  # `promoted` or `refused`


@dataclass(frozen=True, slots=True)
class StoryResult:
    """How the story ended: the run that has all others below it, FMCE-Net's URI, both versions, wall time by part."""

    run_id: str
    predictor: str
    early: Chapter
    final: Chapter
    seconds: dict[str, float]


def tell_story(
    run: Run, options: StoryOptions, *, data: ImageData | None = None, trainings: Trainings | None = None
) -> StoryResult:
    """Go through everything the suite is for, each step a run nested below one.

    Args:
        run: The run below which all others are; the caller closes it.
        options: What to do.
        data: The images, if they are loaded already.
        trainings: Where backbones are trained; here, one after another, where it is not given. Side by side, the one
            that is judged is trained along with those that FMCE-Net learns from.

    Raises:
        RunError: If the trained version is refused or the early one promoted.
        FmceError: For every mistake that a user can make.
    """
    data = data or load_images(options.backbone)
    _begin(run, options)
    check_name(run.client, options.register_as)
    seconds: dict[str, float] = {}
    part = partial(_part, run, seconds)
    seeds = ", ".join(map(str, options.seeds))
    with part("FMCS-dataset", f"train {len(options.seeds)} backbones, seeds {seeds}, and label their maps"):
        fmcs_run, model = _build_fmcs(run, options, data, trainings or Trainings())
    with (
        part("FMCE-Net", "learn to predict FMCS from feature maps"),
        run.nested("fmce_net", role="fmce_net").closing() as below,
    ):
        predictor = train_fmce_net(below, replace(options.net, fmcs_run=fmcs_run)).model_uri
    with part("Model", f"train another backbone, seed {options.seed}, and register two of its snapshots"):
        early, final = _train_model(run, options, model)
    with part("Evaluation", "predict the FMCS of both versions on images that nothing was trained on"):
        evaluation_of_early, evaluation_of_final = _evaluate(run, options, data, predictor, (early, final))
    with part("Promotion", "promote the mature version, refuse the immature one"):
        final_decision = _promote(run, options, final.version, evaluation_of_final, compare_to="")
        early_decision = _promote(run, options, early.version, evaluation_of_early, compare_to=options.alias)
    result = StoryResult(
        run_id=run.id,
        predictor=predictor,
        early=_chapter(run.client, early, evaluation_of_early, early_decision),
        final=_chapter(run.client, final, evaluation_of_final, final_decision),
        seconds=seconds,
    )
    _summarise(run, options, result)
    if (early_decision, final_decision) != ("refused", "promoted"):
        raise RunError(
            f"The early version was {early_decision} and the trained one {final_decision}, instead of refused and "
            "promoted: FMCE-Net did not learn enough from so little. Try more --epochs or --seeds."
        )
    return result


def _begin(run: Run, options: StoryOptions) -> None:
    run.set_role("main")
    if "mlflow.project.entryPoint" not in run.fetch().data.tags:
        run.set_tags({"mlflow.runName": "fmce main"})
    run.log_params(
        {
            "backbone": options.backbone.backbone,
            "dataset": options.backbone.dataset,
            "epochs": options.backbone.training.epochs,
            "seeds": ",".join(map(str, options.seeds)),
            "seed": options.seed,
            "register_as": options.register_as,
            "alias": options.alias,
            "require": ", ".join(map(str, options.require)),
        }
    )


@contextmanager
def _part(run: Run, seconds: dict[str, float], name: str, text: str) -> Iterator[None]:
    """Say which part begins, and note how long it took."""
    run.say(f"\n{len(seconds) + 1} of {PARTS}  {name}: {text}")
    started = time.monotonic()
    yield
    seconds[name] = time.monotonic() - started
    run.say(f"{name} took {seconds[name]:.0f} s.")


def _backbone(options: StoryOptions, seed: int, **more: Any) -> BackboneOptions:
    backbone = options.backbone
    return replace(backbone, training=replace(backbone.training, seed=seed), **more)


def _build_fmcs(run: Run, options: StoryOptions, data: ImageData, trainings: Trainings) -> tuple[str, Iterator[Ended]]:
    """The run with the FMCS-dataset, and what comes of the training of the backbone that is judged."""
    backbones = [_backbone(options, seed) for seed in options.seeds]
    judged = Job(_backbone(options, options.seed, log_checkpoints=True), partial(run.nested, "model", role="backbone"))
    with run.nested("fmcs_dataset", role="fmcs_dataset").closing() as below:
        trained = trainings.train([*nested(below, backbones), judged], {data.name: data})
        found = build_fmcs(below, backbones, {}, trained=islice(trained, len(backbones)))
    run.say(f"FMCS-dataset {below.id}: {len(found.table)} rows of {found.table['run_id'].nunique()} runs.")
    return below.id, trained


def _train_model(run: Run, options: StoryOptions, trained: Iterator[Ended]) -> tuple[Registered, Registered]:
    """Register two snapshots of one more backbone: an early and the last."""
    below, result = (one := next(trained)).run, one.result
    if isinstance(result, NonFiniteLossError):
        raise result
    convergence, last = result.convergence, options.backbone.training.snapshots
    if convergence.markers is None:
        raise RunError(f"The run of seed {options.seed} cannot be labelled: {convergence.verdict()}")
    outputs = below.fetch().outputs
    logged = {output.step: output.model_id for output in (outputs.model_outputs if outputs else [])}

    def registered(snapshot: int) -> Registered:
        version = register(run.client, below.id, logged[snapshot], options.register_as)
        text = f"Snapshot {snapshot} of {last}, seed {options.seed}."
        run.client.update_model_version(options.register_as, version, description=text)
        run.say(f"Snapshot {snapshot} is version {version} of {options.register_as}.")
        return Registered(version, snapshot, below.id)

    return registered(convergence.markers[1]), registered(last)


def _evaluate(
    run: Run, options: StoryOptions, data: ImageData, predictor: str, models: Iterable[Registered]
) -> list[str]:
    """The evaluation run of each version."""
    places = range(len(data.probe), len(data.validation))  # FMCE-Net has seen maps of the probe images
    unseen: Any = Subset(data.validation, places)  # type: ignore[arg-type]  # an ImageSet is a Dataset
    images = from_images(unseen, name=f"{data.name}-held-out")
    run.say(f"{len(places)} images: neither backbone nor FMCE-Net has seen them.")
    evaluate = nested_evaluations(run, images, EvaluationConfig(predictor=predictor))
    return [evaluate(f"models:/{options.register_as}/{one.version}") for one in models]


def _promote(run: Run, options: StoryOptions, version: str, evaluation_run: str, *, compare_to: str) -> str:
    """``promoted`` or ``refused``."""
    chosen = PromotionOptions(
        model=f"models:/{options.register_as}/{version}",
        alias=options.alias,
        require=options.require,
        evaluation_run=evaluation_run,
        compare_to=compare_to,
    )
    try:
        with run.nested("promotion", role="promotion").closing(finishes=(PromotionRefused,)) as below:
            promote(below, chosen)
    except PromotionRefused:
        run.say(f"Version {version} is refused.")
        return "refused"
    run.say(f"Version {version} is promoted to {chosen.target}.")
    return "promoted"


def _chapter(client: MlflowClient, model: Registered, evaluation_run: str, decision: str) -> Chapter:
    accuracies = {m.step: m.value for m in client.get_metric_history(model.source_run, "val_accuracy")}
    metrics = client.get_run(evaluation_run).data.metrics
    return Chapter(
        version=model.version,
        snapshot=model.snapshot,
        measured=metrics.get("fmcs_measured", float("nan")),
        predicted=metrics["fmcs_predicted"],
        accuracy=accuracies[model.snapshot],
        evaluation_run=evaluation_run,
        decision=decision,
    )


def _summarise(run: Run, options: StoryOptions, result: StoryResult) -> None:
    """The summary, in the run and for the user."""
    chapters = pd.DataFrame([asdict(result.early), asdict(result.final)]).round(3)
    chapters = chapters.rename(columns={"measured": "FMCS measured", "predicted": "FMCS predicted"})
    table = chapters.drop(columns="evaluation_run")
    run.client.log_table(run.id, table.assign(evaluation_run=chapters["evaluation_run"]), SUMMARY)
    run.log_metrics({f"seconds/{name.lower()}": value for name, value in result.seconds.items()})
    required = ", ".join(map(str, options.require))
    run.say(f"\nModel {options.register_as}, required: {required}\n{table.to_string(index=False)}")
    run.say(f"\nAll in {sum(result.seconds.values()):.0f} s. Evaluate any other version with this FMCE-Net:")
    run.say(f"  fmce evaluate --model models:/NAME/VERSION --predictor {result.predictor}")
