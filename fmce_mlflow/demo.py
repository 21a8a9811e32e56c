"""The whole story in one run: FMCS-dataset, FMCE-Net, two versions evaluated, one promoted and one refused."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import pandas as pd
from mlflow.entities import Metric, Param, RunTag
from torch.utils.data import Subset

from fmce_mlflow.backbone.images import load_options_images
from fmce_mlflow.backbone.options import BackboneOptions
from fmce_mlflow.backbone.train import BackboneResult, train_backbone
from fmce_mlflow.errors import ConfigError, PromotionRefused, RunError
from fmce_mlflow.evaluation.nested import nested_evaluations
from fmce_mlflow.evaluation.options import EvaluationConfig
from fmce_mlflow.fmcs_dataset.build import build_fmcs
from fmce_mlflow.image_dataset.plugin import from_images
from fmce_mlflow.method.fitting.config import BagConfig, FitConfig
from fmce_mlflow.method.fmce_net.config import SetConfig
from fmce_mlflow.method.training.config import TrainingConfig
from fmce_mlflow.predictor.options import NetOptions
from fmce_mlflow.predictor.train import train_fmce_net
from fmce_mlflow.promotion.options import PromotionOptions
from fmce_mlflow.promotion.promote import promote
from fmce_mlflow.promotion.rules import DEFAULT, Requirement, parse_requirements
from fmce_mlflow.runs.logged_models import register
from fmce_mlflow.runs.run import Run, set_role

if TYPE_CHECKING:
    from mlflow import MlflowClient

    from fmce_mlflow.method.images.split import ImageData

SUMMARY = "summary.json"
PARTS = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class StoryOptions:
    """What the story is told of.

    Attributes:
        backbone: How every backbone run of it is trained; its seed is left out of account.
        seeds: Seeds of the runs that FMCE-Net learns from.
        seed: Seed of the run whose snapshots are evaluated; FMCE-Net does not see it.
        net: How FMCE-Net is trained.
        register_as: Name of the registered model.
        alias: What the mature version is promoted to.
        require: What a promotion requires.

    Raises:
        ConfigError: Names every value that cannot be used.
    """

    backbone: BackboneOptions
    seeds: tuple[int, ...] = (0, 1, 2)
    seed: int = 3
    net: NetOptions
    register_as: str = "fmce-demo"
    alias: str = "champion"
    require: tuple[Requirement, ...]

    def __post_init__(self) -> None:
        problems = []
        if len(self.seeds) < 2:
            problems.append("seeds must be at least two: FMCE-Net is scored on a run that it has not seen")
        if self.seed in self.seeds:
            problems.append(f"seed {self.seed} is among the seeds that FMCE-Net learns from; choose another")
        if not self.register_as:
            problems.append("register-as is empty; name the registered model")
        try:
            PromotionOptions(model="name/1", alias=self.alias, require=self.require)
        except ConfigError as error:
            problems += error.problems
        if problems:
            raise ConfigError(problems)


def short_story(
    *,
    epochs: int = 6,
    seeds: tuple[int, ...] = (0, 1, 2),
    seed: int = 3,
    register_as: str = "fmce-demo",
    alias: str = "champion",
    require: tuple[Requirement, ...] | None = None,
    cpu: bool = False,
) -> StoryOptions:
    """The story on the bundled digits, short enough for two CPU cores: smaller probe, fewer passes, a smaller net.

    Raises:
        ConfigError: Names every value that cannot be used.
    """
    problems: list[str] = []
    values: dict[str, Any] = {"seeds": seeds, "seed": seed, "register_as": register_as, "alias": alias}
    try:
        training = TrainingConfig(epochs=epochs, snapshots_per_epoch=4, cpu=cpu)
        values["backbone"] = BackboneOptions(probe_size=128, training=training)
    except ConfigError as error:
        problems += error.problems
        values["backbone"] = BackboneOptions()
    try:
        options = StoryOptions(
            net=NetOptions(
                bags=BagConfig(bag_size=32, bags_per_map=4),
                net=SetConfig(members=2),
                fit=FitConfig(epochs=80, patience=20, folds=3),
            ),
            require=parse_requirements([DEFAULT]) if require is None else require,
            **values,
        )
    except ConfigError as error:
        problems += error.problems
    if problems:
        raise ConfigError(problems)
    return options


@dataclass(frozen=True, slots=True)
class Chapter:
    """A registered version and what became of it.

    Attributes:
        version: Its number.
        snapshot: The snapshot of its run that it is.
        measured: FMCS by the losses of its run.
        predicted: FMCS by FMCE-Net.
        accuracy: On the held-out images, at that snapshot.
        evaluation_run: The run with its figures.
        decision: ``promoted`` or ``refused``.
    """

    version: str
    snapshot: int
    measured: float
    predicted: float
    accuracy: float
    evaluation_run: str
    decision: str


@dataclass(frozen=True, slots=True)
class StoryResult:
    """How the story ended.

    Attributes:
        run_id: The run that has all others below it.
        predictor: FMCE-Net's URI.
        early: The version from early in the training.
        final: The trained version.
        seconds: Wall time by part.
    """

    run_id: str
    predictor: str
    early: Chapter
    final: Chapter
    seconds: dict[str, float]


def tell_story(
    client: MlflowClient,
    run_id: str,
    options: StoryOptions,
    *,
    say: Callable[[str], None] = print,
    data: ImageData | None = None,
) -> StoryResult:
    """Go through everything the suite is for, each step a run nested below one.

    Args:
        client: MLflow client.
        run_id: The run below which all others are; the caller closes it.
        options: What to do.
        say: Prints a line for the user.
        data: The images, if they are at hand.

    Returns:
        The two versions and what became of them.

    Raises:
        RunError: If the trained version is refused or the early one promoted.
        FmceError: For every mistake that a user can make.
    """
    return _Story(client, run_id, options, say, data or load_options_images(options.backbone)).tell()


class _Story:
    def __init__(
        self,
        client: MlflowClient,
        run_id: str,
        options: StoryOptions,
        say: Callable[[str], None],
        data: ImageData,
    ) -> None:
        self.client, self.run_id, self.options, self.say, self.data = client, run_id, options, say, data
        self.experiment = client.get_run(run_id).info.experiment_id
        self.seconds: dict[str, float] = {}

    def tell(self) -> StoryResult:
        options = self.options
        self._begin()
        seeds = ", ".join(map(str, options.seeds))
        with self._part("FMCS-dataset", f"train {len(options.seeds)} backbones, seeds {seeds}, and label their maps"):
            fmcs_run = self._build_fmcs()
        with self._part("FMCE-Net", "learn to predict FMCS from feature maps"):
            predictor = self._train_net(fmcs_run)
        with self._part("Model", f"train another backbone, seed {options.seed}, and register two of its snapshots"):
            trained, early, final = self._train_model()
        with self._part("Evaluation", "predict the FMCS of both versions on images that nothing was trained on"):
            runs = self._evaluate(predictor, [early, final])
        with self._part("Promotion", "promote the mature version, refuse the immature one"):
            decisions = {
                final[0]: self._promote(final[0], runs[final[0]], compare=False),
                early[0]: self._promote(early[0], runs[early[0]], compare=True),
            }
        chapters = [self._chapter(trained.run_id, one, runs[one[0]], decisions[one[0]]) for one in (early, final)]
        result = StoryResult(self.run_id, predictor, chapters[0], chapters[1], self.seconds)
        self._end(result)
        if (result.early.decision, result.final.decision) != ("refused", "promoted"):
            raise RunError(
                f"The early version was {result.early.decision} and the trained one {result.final.decision}, instead "
                "of refused and promoted: FMCE-Net did not learn enough of so little. Try more --epochs or --seeds."
            )
        return result

    def _begin(self) -> None:
        options = self.options
        set_role(self.client, self.run_id, "main")
        before = self.client.get_run(self.run_id).data
        params = {
            "backbone": options.backbone.backbone,
            "dataset": options.backbone.dataset,
            "epochs": str(options.backbone.training.epochs),
            "seeds": ",".join(map(str, options.seeds)),
            "seed": str(options.seed),
            "register_as": options.register_as,
            "alias": options.alias,
            "require": ", ".join(map(str, options.require)),
        }
        tags = [] if "mlflow.project.entryPoint" in before.tags else [RunTag("mlflow.runName", "fmce main")]
        self.client.log_batch(
            self.run_id, params=[Param(k, v) for k, v in params.items() if k not in before.params], tags=tags
        )

    @contextmanager
    def _part(self, name: str, text: str) -> Iterator[None]:
        self.say(f"\n{len(self.seconds) + 1} of {PARTS}  {name}: {text}")
        started = time.monotonic()
        yield
        self.seconds[name] = time.monotonic() - started
        self.say(f"{name} took {self.seconds[name]:.0f} s.")

    @contextmanager
    def _run(self, name: str) -> Iterator[str]:
        """A nested run; closed, unless what works in it has done so."""
        run = self.client.create_run(self.experiment, run_name=name, tags={"mlflow.parentRunId": self.run_id})
        run_id = str(run.info.run_id)
        try:
            yield run_id
        except BaseException as error:
            killed = isinstance(error, KeyboardInterrupt)
            self.client.set_terminated(run_id, "KILLED" if killed else "FAILED")
            raise
        self.client.set_terminated(run_id, "FINISHED")

    def _backbone(self, seed: int, **more: Any) -> BackboneOptions:
        backbone = self.options.backbone
        return replace(backbone, training=replace(backbone.training, seed=seed), **more)

    def _build_fmcs(self) -> str:
        jobs = [self._backbone(seed) for seed in self.options.seeds]
        with self._run("fmcs_dataset") as run_id:
            found = build_fmcs(Run(self.client, run_id, self.say), jobs, {jobs[0].dataset: self.data})
        self.say(f"FMCS-dataset {run_id}: {len(found.table)} rows of {found.table['run_id'].nunique()} runs.")
        return run_id

    def _train_net(self, fmcs_run: str) -> str:
        with self._run("fmce_net") as run_id:
            run = Run(self.client, run_id, self.say)
            return train_fmce_net(run, replace(self.options.net, fmcs_run=fmcs_run)).model_uri

    def _train_model(self) -> tuple[BackboneResult, tuple[str, int], tuple[str, int]]:
        """The run, and version and snapshot of the two models that are registered."""
        options = self._backbone(self.options.seed, log_checkpoints=True)
        with self._run("model") as run_id:
            result = train_backbone(Run(self.client, run_id, self.say), options, data=self.data)
        markers = result.convergence.markers
        if markers is None:
            raise RunError(f"The run of seed {self.options.seed} cannot be labelled: {result.convergence.verdict()}")
        outputs = self.client.get_run(run_id).outputs
        logged = {output.step: output.model_id for output in (outputs.model_outputs if outputs else [])}
        versions = []
        for snapshot in (markers[1], options.training.snapshots):
            version = register(self.client, run_id, logged[snapshot], self.options.register_as)
            versions.append((version, snapshot))
            text = f"Snapshot {snapshot} of {options.training.snapshots}, seed {self.options.seed}."
            self.client.update_model_version(self.options.register_as, version, description=text)
            self.say(f"Snapshot {snapshot} is version {version} of {self.options.register_as}.")
        return result, versions[0], versions[1]

    def _evaluate(self, predictor: str, versions: list[tuple[str, int]]) -> dict[str, str]:
        """The evaluation run of each version."""
        held_out, name = self.data.validation, f"{self.data.name}-held-out"
        places = range(len(self.data.probe), len(held_out))  # FMCE-Net has seen maps of the probe images
        images = from_images(Subset(held_out, places), name=name)  # type: ignore[arg-type]  # an ImageSet is a Dataset
        self.say(f"{len(places)} images: neither backbone nor FMCE-Net has seen them.")
        run = Run(self.client, self.run_id, self.say)
        evaluate = nested_evaluations(run, images, EvaluationConfig(predictor=predictor))
        return {version: evaluate(f"models:/{self.options.register_as}/{version}") for version, _ in versions}

    def _promote(self, version: str, evaluation_run: str, *, compare: bool) -> str:
        options = PromotionOptions(
            model=f"models:/{self.options.register_as}/{version}",
            alias=self.options.alias,
            require=self.options.require,
            evaluation_run=evaluation_run,
            compare_to=self.options.alias if compare else "",
        )
        with self._run("promotion") as run_id:
            try:
                promote(Run(self.client, run_id, self.say), options)
            except PromotionRefused:
                self.say(f"Version {version} is refused.")
                return "refused"
        self.say(f"Version {version} is promoted to {options.target}.")
        return "promoted"

    def _chapter(self, source_run: str, version: tuple[str, int], evaluation_run: str, decision: str) -> Chapter:
        number, snapshot = version
        history = {m.step: m.value for m in self.client.get_metric_history(source_run, "val_accuracy")}
        metrics = self.client.get_run(evaluation_run).data.metrics
        return Chapter(
            version=number,
            snapshot=snapshot,
            measured=metrics.get("fmcs_measured", float("nan")),
            predicted=metrics["fmcs_predicted"],
            accuracy=history[snapshot],
            evaluation_run=evaluation_run,
            decision=decision,
        )

    def _end(self, result: StoryResult) -> None:
        """The summary, in the run and for the user."""
        rows = [result.early, result.final]
        table = pd.DataFrame(
            {
                "version": [row.version for row in rows],
                "snapshot": [row.snapshot for row in rows],
                "FMCS measured": [round(row.measured, 3) for row in rows],
                "FMCS predicted": [round(row.predicted, 3) for row in rows],
                "accuracy": [round(row.accuracy, 3) for row in rows],
                "decision": [row.decision for row in rows],
            }
        )
        self.client.log_table(self.run_id, table.assign(evaluation_run=[row.evaluation_run for row in rows]), SUMMARY)
        took = [Metric(f"seconds/{k.lower()}", v, 0, 0) for k, v in self.seconds.items()]
        self.client.log_batch(self.run_id, metrics=took)
        text = table.to_string(index=False)
        self.say(f"\nModel {self.options.register_as}, required: {', '.join(map(str, self.options.require))}\n{text}")
        self.say(f"\nAll in {sum(self.seconds.values()):.0f} s. Evaluate any other version with this FMCE-Net:")
        self.say(f"  fmce evaluate --model models:/NAME/VERSION --predictor {result.predictor}")
