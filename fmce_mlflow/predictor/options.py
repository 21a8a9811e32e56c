"""What decides an FMCE-Net run."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator

from fmce_mlflow.method.fitting.config import BagConfig, CalibrationConfig, FitConfig, Protocol
from fmce_mlflow.method.fmce_net.config import Kind, OutlineOptions, SetConfig
from fmce_mlflow.safety.options import Names, Numbers, Option, Options, Registered, split

Tie = Literal["model", "version", "none"]
BUNDLED = "bundled"
TAG = "fmce.predictor"
"""Names the predictor that is calibrated to a registered model, to a version of it, or to a logged model."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NetOptions(Options):
    """Everything that decides an FMCE-Net run."""

    fmcs_run: Annotated[str, Option("Run with the FMCS-dataset; empty: the latest that finished.")] = ""
    kind: Annotated[Kind, Option("Kind of FMCE-Net.", name="net")] = "set"
    protocols: Annotated[
        tuple[Protocol, ...],
        BeforeValidator(split),
        Option("Held out for scoring: images, run, architecture, dataset, with commas.", name="protocol"),
    ] = ("run",)
    cross_validate: Annotated[bool, Option("Hold out each group in turn, not one only.")] = False
    baselines: Annotated[bool, Option("Fit and score the baselines too.")] = True
    register_as: Annotated[Registered, Option("Register the net under this name.", none="")] = None
    bags: BagConfig = field(default_factory=BagConfig)
    net: SetConfig = field(default_factory=SetConfig)
    outline: OutlineOptions = field(default_factory=OutlineOptions)
    fit: FitConfig = field(default_factory=FitConfig)

    def problems(self, fine: Callable[..., bool]) -> Iterator[str]:
        """What bounds do not say."""
        if fine("protocols") and not self.protocols:
            yield "protocol is empty; name at least one"

    def shape(self) -> dict[str, Any]:
        """The fields of the net's config besides those that follow from the maps."""
        return {"set": self.net, "outline": self.outline}[self.kind].to_dict()

    def flat(self) -> dict[str, str]:
        """As MLflow parameters."""
        parts = {f"bags.{k}": v for k, v in asdict(self.bags).items()}
        parts |= {f"net.{k}": v for k, v in self.shape().items() if k != "levels"}
        parts |= {f"fit.{k}": v for k, v in asdict(self.fit).items()}
        top = {"kind": self.kind, "protocols": ",".join(self.protocols), "cross_validate": self.cross_validate}
        return {k: str(v) for k, v in {**top, **parts}.items()}


@dataclass(frozen=True, slots=True, kw_only=True)
class CalibrationOptions(Options):
    """Everything that decides a calibration, beside the trainings that it makes."""

    model: Annotated[
        str, Option("Model URI: models:/NAME/VERSION, models:/NAME@ALIAS, models:/m-…, runs:/ID/PATH, or a folder.")
    ] = ""
    source_runs: Annotated[
        Names, Option("Recorded runs of the same architecture (ids, commas) instead of training it anew.")
    ] = ()
    seeds: Annotated[
        Numbers,
        Option("Train once with each of these, from fresh weights.", must="whole numbers with commas between them"),
    ] = (0,)
    predictor: Annotated[
        str | None, Option("FMCE-Net to begin with, a model URI; empty: the bundled one.", none="")
    ] = None
    tie: Annotated[
        Tie, Option("Whose evaluations use it by themselves: those of the registered model, of this version, of none.")
    ] = "model"
    register_as: Annotated[
        Registered, Option("Register it under this name; empty: the model's with -predictor after it.", none="")
    ] = None
    fit: CalibrationConfig = field(default_factory=CalibrationConfig)

    def problems(self, fine: Callable[..., bool]) -> Iterator[str]:
        """What bounds do not say."""
        if fine("model") and not self.model:
            yield "model is empty; name one, as in --model models:/NAME/1"
        if fine("seeds") and not self.seeds and not self.source_runs:
            yield "seeds is empty; name at least one"
