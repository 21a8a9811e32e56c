"""What decides which runs are in an FMCS-dataset."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from fmce_mlflow.backbone.options import WorkersOption
from fmce_mlflow.safety.options import Names, Numbers, Option, Options

Unconverged = Literal["drop", "keep"]


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceOptions(Options):
    """The backbone runs of an FMCS-dataset."""

    seeds: Annotated[
        Numbers, Option("Train each backbone once with each of these.", must="whole numbers with commas between them")
    ] = (0, 1, 2, 3)
    source_runs: Annotated[Names, Option("Build from these backbone runs (ids, commas) instead of training.")] = ()
    workers: WorkersOption = None
    unconverged: Annotated[
        Unconverged, Option("Runs that have not converged: leave them out, or keep them without a label.")
    ] = "drop"
