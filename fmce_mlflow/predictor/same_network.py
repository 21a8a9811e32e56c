"""Whether a recorded run is of the same network as a model, its modules and its preprocessing too."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import pandas as pd

from fmce_mlflow.errors import FmceError, RunError
from fmce_mlflow.method.images.preprocessing import as_preprocessing
from fmce_mlflow.method.networks.architecture import architecture
from fmce_mlflow.runs.descriptions import fetch_description
from fmce_mlflow.runs.evidence_file import ARCHITECTURE_TAG
from fmce_mlflow.runs.torch_models import TorchModel, TrainingFacts
from fmce_mlflow.wording import did_you_mean, some

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run


def check_run(
    client: MlflowClient,
    run: Run,
    model: TorchModel,
    table: pd.DataFrame,
    unlabelled: Mapping[str, str],
    notes: list[str],
) -> None:
    """Refuse a run that says nothing of a model's modules; ``notes`` gets what cannot be found out.

    Raises:
        RunError: It has no label, or is of another architecture or preprocessing.
    """
    run_id, tags = run.info.run_id, run.data.tags
    if not (table["run_id"] == run_id).any():
        why = unlabelled.get(run_id, "")
        raise RunError(
            f"Run {run_id} cannot calibrate a predictor: it has no label. {why} Train it longer, or name another run."
        )
    known = tags.get(ARCHITECTURE_TAG)
    if known is not None and known != architecture(model.network):
        raise RunError(
            f"Run {run_id} recorded another architecture than that of {model.uri}: names or shapes of the parameters "
            f"differ. Name runs of the same network, or leave source-runs out and train it anew on --dataset."
        )
    facts = _facts(client, run)
    if known is None:
        name = run.data.params.get("backbone") or (facts.backbone if facts else None)
        if name is None or model.facts.backbone is None or name != model.facts.backbone:
            raise RunError(
                f"Run {run_id} does not say which network it recorded, as runs of earlier releases do not, and its "
                f"name is {name or 'unknown'} where the model's is {model.facts.backbone or 'unknown'}. Record it "
                "again with this release."
            )
        notes.append(f"Run {run_id} does not say which network it recorded; its name, {name}, is that of the model.")
    _check_preprocessing(run, facts, model, notes)


def _check_preprocessing(run: Run, facts: TrainingFacts | None, model: TorchModel, notes: list[str]) -> None:
    own, other = model.facts.preprocessing, facts.preprocessing if facts else None
    run_id = run.info.run_id
    if own is not None and other is not None:
        try:
            mine, its = (as_preprocessing(value, input_shape=model.input_shape) for value in (own, other))
        except FmceError as error:
            raise RunError(f"The preprocessing of run {run_id} or of {model.uri} cannot be read: {error}") from None
        if mine != its:
            raise RunError(
                f"Run {run_id} prepared its images in another way than {model.uri}: {its}, and the model's is {mine}. "
                "Name runs with the same preprocessing, or leave source-runs out and train anew on --dataset."
            )
        return
    size = run.data.params.get("input_size", "")
    height, width = (model.input_shape or (None, None, None))[1:]
    if size and height and width and size != f"{height}x{width}":
        raise RunError(
            f"Run {run_id} recorded images of {size} pixels, and {model.uri} takes {height}x{width}. Name runs with "
            "the same preprocessing."
        )
    silent = model.uri if own is None else f"run {run_id}"
    notes.append(f"The preprocessing of {silent} is not known, so whether the run's is the model's was not looked at.")


def _facts(client: MlflowClient, run: Run) -> TrainingFacts | None:
    """What the metadata of a model that a run logged says; None where there is none."""
    for output in run.outputs.model_outputs if run.outputs else []:
        try:
            found = TrainingFacts.read(fetch_description(f"models:/{output.model_id}", client).metadata)
        except Exception:  # a model that was deleted says nothing
            continue
        if found.preprocessing is not None or found.backbone is not None:
            return found
    return None


def check_modules(table: pd.DataFrame, runs: Sequence[Run], model: TorchModel) -> None:
    """Refuse runs of different modules, and modules that the model has not, by a ``RunError``."""
    there = [name for name, _ in model.network.named_modules() if name]
    recorded = {run.info.run_id: set(table.loc[table["run_id"] == run.info.run_id, "module"]) for run in runs}
    first = next(iter(recorded))
    for run_id, modules in recorded.items():
        for name in sorted(modules):
            if not any(name == one or name.startswith(f"{one}.") for one in there):
                raise RunError(
                    f"Run {run_id} recorded {name}, and {model.uri} has no such module.{did_you_mean(name, there)}"
                )
        if modules != recorded[first]:
            raise RunError(
                f"Run {run_id} has labels of {some(sorted(modules))}, and run {first} of "
                f"{some(sorted(recorded[first]))}. Name the modules that all have, in --modules."
            )
