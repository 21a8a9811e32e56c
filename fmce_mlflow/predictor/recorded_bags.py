"""Bags of recorded runs, with their labels and evidence, for a predictor that is calibrated to their architecture."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from mlflow.exceptions import MlflowException
from numpy.typing import NDArray

from fmce_mlflow.errors import RunError
from fmce_mlflow.fmcs_dataset.label import build_fmcs_dataset
from fmce_mlflow.method.convergence.config import ConvergenceConfig, Signal
from fmce_mlflow.method.evidence.groups import NAMES
from fmce_mlflow.method.fitting.bags import Bags, collect_bags
from fmce_mlflow.method.fitting.config import BagConfig
from fmce_mlflow.method.fmce_net.set_net import SetNet
from fmce_mlflow.method.fmce_net.statistics import FEATURES
from fmce_mlflow.predictor.flavor import Predictor
from fmce_mlflow.predictor.fmcs_source import artifact_reader
from fmce_mlflow.predictor.same_network import check_modules, check_run
from fmce_mlflow.runs.evidence_file import EvidenceReader
from fmce_mlflow.runs.torch_models import TorchModel

if TYPE_CHECKING:
    from mlflow import MlflowClient

BAGS_PER_MAP = 2
_CONSTANTS: dict[str, Any] = {
    "smoothing": float, "window": int, "threshold": float, "aggregation": str, "rule": str, "spacing": str,
}  # fmt: skip


@dataclass(frozen=True, slots=True, eq=False)
class RecordedBags:
    """Bags of runs, and what was left out of them."""

    bags: Bags
    notes: tuple[str, ...]


def labelling(client: MlflowClient, predictor: Predictor, levels: int) -> tuple[ConvergenceConfig, Signal]:
    """How the snapshots were labelled that a predictor was fitted to, as its info or its FMCS-dataset's run says."""
    params = dict(predictor.info.get("params", {}))
    if not _CONSTANTS.keys() <= params.keys():
        try:
            params |= client.get_run(str(predictor.info.get("fmcs_run"))).data.params
        except MlflowException:  # it was fitted on another server
            params |= {"spacing": "loss"}
    signal: Signal = "val" if params.get("signal") == "val" else "drift" if params.get("signal") == "drift" else "train"
    known = {name: kind(params[name]) for name, kind in _CONSTANTS.items() if name in params}
    return ConvergenceConfig(levels=levels, **known), signal


def recorded_bags(
    client: MlflowClient, run_ids: Sequence[str], model: TorchModel, predictor: Predictor, modules: Sequence[str] = ()
) -> RecordedBags:
    """The bags of runs of a model's architecture, labelled as those that a predictor was fitted to.

    Args:
        client: MLflow client.
        run_ids: Of the runs.
        model: Whose modules are to be scored.
        predictor: With a set net; one without evidence gets maps as they are.
        modules: Names or globs; all that were recorded where empty.

    Raises:
        RunError: If a run is not there, not converged, or of another architecture, module or preprocessing.
        ArtifactError: If what it recorded cannot be read.
    """
    net = predictor.net
    assert isinstance(net, SetNet)
    config, signal = labelling(client, predictor, net.config.levels)
    made = build_fmcs_dataset(client, run_ids, config=config, signal=signal, unconverged="keep", modules=modules)
    table = made.table[made.table["fmcs"].notna()].reset_index(drop=True)
    runs = [client.get_run(run_id) for run_id in dict.fromkeys(run_ids)]
    notes: list[str] = []
    for run in runs:
        check_run(client, run, model, table, made.unlabelled, notes)
    check_modules(table, runs, model)
    bag_size = str(predictor.info.get("params", {}).get("bag_size", ""))
    drawn = BagConfig(
        bag_size=int(bag_size) if bag_size.isdecimal() and int(bag_size) >= 2 else 64, bags_per_map=BAGS_PER_MAP
    )
    parts = []
    for run in runs:
        run_id = run.info.run_id
        rows = table[table["run_id"] == run_id].reset_index(drop=True)
        reader = EvidenceReader(client, run_id) if net.wants_evidence else None
        if reader is not None and reader.files:
            parts.append(_of_evidence(rows, reader))
            continue
        if reader is not None:
            notes.append(
                f"Run {run_id} was recorded without evidence, so the predictor is calibrated to its maps as they are: "
                "what weights, outputs and settled BatchNorm statistics say of it is lost. Record runs with "
                "`--evidence true`, or record(…, evidence=True)."
            )
        found = collect_bags(rows, artifact_reader(client), drawn)
        parts.append(found if not net.wants_reference else _with_references(found))
    return RecordedBags(joined(parts), tuple(notes))


def joined(parts: Iterable[Bags]) -> Bags:
    """Bags of several tables as those of one; evidence and references that a part lacks are NaN."""
    parts = list(parts)
    starts = np.cumsum([0, *(len(part.table) for part in parts)])
    evidence = [
        np.full((len(part.row), len(NAMES)), np.nan, np.float32) if part.evidence is None else part.evidence
        for part in parts
    ]
    nothing = np.full((1, FEATURES), np.nan, np.float32)
    references = [part.references or (nothing, np.zeros(len(part.row), np.int64)) for part in parts]
    groups = np.cumsum([0, *(len(values) for values, _ in references)])
    return Bags(
        pd.concat([part.table for part in parts], ignore_index=True),
        np.concatenate([part.row + start for part, start in zip(parts, starts, strict=False)]),
        np.concatenate([part.test_images for part in parts]),
        np.concatenate([np.asarray(part.features) for part in parts]),
        np.concatenate([part.scalars for part in parts]),
        np.concatenate(evidence),
        (
            np.concatenate([values for values, _ in references]),
            np.concatenate([group + start for (_, group), start in zip(references, groups, strict=False)]),
        ),
    )


def _of_evidence(table: pd.DataFrame, reader: EvidenceReader) -> Bags:
    """The bags that a run recorded, of the snapshots and modules of its labelled rows."""
    rows: list[NDArray[np.int64]] = []
    features, evidence, group = [], [], []
    references: dict[str, NDArray[np.float32]] = {}
    for snapshot in sorted(set(table["snapshot"].tolist()) & reader.files.keys()):
        part, known = table[table["snapshot"] == snapshot], reader.read(snapshot)
        for at, module in zip(part.index, part["module"], strict=True):
            chosen = known.of(module)
            if not chosen.any():
                continue
            references.setdefault(module, known.references[known.modules.index(module)])
            rows.append(np.full(int(chosen.sum()), at, np.int64))
            group.append(np.full(int(chosen.sum()), list(references).index(module), np.int64))
            features.append(known.features[chosen])
            evidence.append(known.evidence[chosen])
    if not rows:
        raise RunError(f"Run {table['run_id'].iloc[0]} has evidence of no labelled snapshot. Record it again.")
    row = np.concatenate(rows)
    return Bags(
        table, row, np.zeros(len(row), bool), np.concatenate(features), np.zeros((len(row), 2), np.float32),
        np.concatenate(evidence), (np.stack(list(references.values())), np.concatenate(group)),
    )  # fmt: skip


def _with_references(bags: Bags) -> Bags:
    return Bags(bags.table, bags.row, bags.test_images, bags.features, bags.scalars, bags.evidence, bags.untrained())
