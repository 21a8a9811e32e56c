"""What decides a demonstration."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, fields
from typing import Annotated

from fmce_mlflow.backbone.options import BackboneOptions, WorkersOption
from fmce_mlflow.errors import ConfigError
from fmce_mlflow.method.fitting.config import BagConfig, FitConfig
from fmce_mlflow.method.fmce_net.config import SetConfig
from fmce_mlflow.method.images.config import unknown_dataset
from fmce_mlflow.method.training.config import TrainingConfig
from fmce_mlflow.predictor.options import NetOptions
from fmce_mlflow.promotion.options import PromotionOptions, Requirements
from fmce_mlflow.promotion.rules import DEFAULT, parse_requirements
from fmce_mlflow.safety.options import Numbers, Option, Options, reads, registered_name


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoOptions(Options):
    """What every demonstration has: the runs that FMCE-Net learns from, the one it judges, and what is done with it."""

    seeds: Annotated[
        Numbers,
        Option("Seeds of the backbones that FMCE-Net learns from.", must="whole numbers with commas between them"),
    ] = (0, 1, 2)
    seed: Annotated[int, Option("Seed of the backbone whose snapshots are evaluated; FMCE-Net does not see it.")] = 3
    register_as: Annotated[str, reads(registered_name), Option("Name of the registered model.")] = "fmce-demo"
    workers: WorkersOption = None
    alias: Annotated[str, Option("What the mature version is promoted to.")] = "champion"
    require: Annotated[Requirements, Option("What a promotion requires; several with commas.")] = field(
        default_factory=lambda: parse_requirements([DEFAULT])
    )

    def problems(self, fine: Callable[..., bool]) -> Iterator[str]:
        """What does not go together, and what a promotion would refuse."""
        if fine("seeds") and len(self.seeds) < 2:
            yield "seeds must be at least two: FMCE-Net is scored on a run that it has not seen"
        if fine("seeds", "seed") and self.seed in self.seeds:
            yield f"seed {self.seed} is among the seeds that FMCE-Net learns from; choose another"
        if fine("register_as") and not self.register_as:
            yield "register-as is empty; name the registered model"
        given = {name: getattr(self, name) for name in ("alias", "require") if fine(name)}
        try:
            PromotionOptions(model="name/1", **{"alias": "any", **given})
        except ConfigError as error:
            yield from error.problems


@dataclass(frozen=True, slots=True, kw_only=True)
class StoryOptions(DemoOptions):
    """A demonstration of any backbone and any FMCE-Net; the backbone's own seed is ignored."""

    backbone: BackboneOptions
    net: NetOptions


@dataclass(frozen=True, slots=True, kw_only=True)
class ShortStory(DemoOptions):
    """A short one, of the digits or of other images, for two CPU cores: smaller probe, fewer passes, a smaller net."""

    dataset: Annotated[str, Option("Your own images, folder:PATH, or a data set that is in data/ already.")] = "digits"
    epochs: Annotated[int, Option("Passes of each backbone over the training images.", ge=1)] = 6
    cpu: Annotated[bool, Option("Stay on the CPU even if there is a GPU.")] = False

    def problems(self, fine: Callable[..., bool]) -> Iterator[str]:
        """What bounds do not say."""
        if fine("dataset") and (problem := unknown_dataset(self.dataset)):
            yield problem
        yield from DemoOptions.problems(self, fine)

    def story(self) -> StoryOptions:
        """All that it decides."""
        training = TrainingConfig(epochs=self.epochs, snapshots_per_epoch=4, cpu=self.cpu)
        net = NetOptions(
            bags=BagConfig(bag_size=32, bags_per_map=4),
            net=SetConfig(members=2),
            fit=FitConfig(epochs=80, patience=20, folds=3),
        )
        shared = {one.name: getattr(self, one.name) for one in fields(DemoOptions)}
        backbone = BackboneOptions(dataset=self.dataset, probe_size=128, training=training)
        return StoryOptions(backbone=backbone, net=net, **shared)
