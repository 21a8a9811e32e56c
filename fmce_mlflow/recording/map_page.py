"""The page on which a person looks at what a run recorded."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from fmce_mlflow.errors import ArtifactError, FmceError, RunError
from fmce_mlflow.method.convergence.config import SIGNAL_NAMES
from fmce_mlflow.method.convergence.verdict import Convergence
from fmce_mlflow.method.maps.bounds import MOST_MODULES, Bounds, bounds, side_in_memory
from fmce_mlflow.method.maps.pictures import ModulePictures, module_pictures, pooled
from fmce_mlflow.recording.probe import NO_LABEL, UNNAMED
from fmce_mlflow.recording.probe_pictures import read_pictures
from fmce_mlflow.recording.progress import read_progress
from fmce_mlflow.recording.recorded import Recorded, read_recording
from fmce_mlflow.report.maps_page import MapsPage, Moment, ShownModule, averaged, maps_page
from fmce_mlflow.report.saliency_figure import spread
from fmce_mlflow.runs.feature_index import Index, matching
from fmce_mlflow.runs.feature_maps import FeatureMapReader
from fmce_mlflow.runs.recordings import RecordingTag, has_ended
from fmce_mlflow.runs.run import Run
from fmce_mlflow.safety.retry import passes
from fmce_mlflow.wording import counted, some

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run as Logged

PAGE = "plots/feature_maps.html"
FIGURES = {
    "epoch": ("epoch", "{:.3g}"),
    "train_loss": ("training loss", "{:.3g}"),
    "val_loss": ("validation loss", "{:.3g}"),
    "val_accuracy": ("validation accuracy", "{:.1%}"),
}
"""Metrics that the page shows of each snapshot, with their names there and how they are written."""


def log_page(run: Run, modules: Sequence[str] = ()) -> None:
    """Make the page of a run and log it; where that fails, say so: no page is worth the run that it shows."""
    try:
        html = run_page(run.client, run.id, modules)
    except Exception as error:
        if passes(error):
            raise
        run.say(f"note: {PAGE} cannot be made ({type(error).__name__}: {error!s:.200}).")
        return
    run.log_bytes(html.encode(), PAGE)


def run_page(client: MlflowClient, run_id: str, modules: Sequence[str] = ()) -> str:
    """The page of a run's feature maps, HTML to be written as UTF-8.

    Args:
        client: MLflow client.
        run_id: A run that recorded feature maps; it may still go on.
        modules: Which, names or globs; empty: all that there is room for.

    Raises:
        RunError: If the run recorded no maps, or none of such modules.
        ArtifactError: If a file of maps is missing or damaged.
    """
    reader, run = FeatureMapReader(client, run_id), client.get_run(run_id)
    wanted = matching(reader.index.modules, modules, run_id)
    chosen = spread(wanted, MOST_MODULES)
    notes = _deleted(run)
    try:
        photos, captions = read_pictures(client, run_id) or (None, [])
    except ArtifactError as error:
        photos, captions = None, []
        notes.append(str(error))
    there, choice = _choose(reader.index, chosen, run_id, images=len(captions))
    recorded = read_recording(client, run, chosen)
    shown, labels = [], np.zeros(0, np.int64)
    for module in chosen:
        pictures, labels = _pictures(reader, module, choice)
        shown.append(_module(reader.index, module, pictures, recorded, choice))
    loss, n = recorded.loss, choice.limits.images
    facts, verdict = _facts(run, reader.index, wanted, there), "" if loss is None or recorded.note else loss.verdict()
    if not has_ended(run.data.tags):
        progress = read_progress(client, run, recorded=recorded)
        facts["So far"] = f"{progress.where()} {progress.ahead()}".strip()
        verdict = f"{progress.converged()} {progress.settled()}".strip()
    page = MapsPage(
        title=_title(run),
        facts=facts,
        moments=[_moment(snapshot, recorded) for snapshot in choice.snapshots],
        modules=shown,
        captions=captions[:n] or _captions(labels),
        photos=None if photos is None else photos[:n],
        loss=loss,
        verdict=verdict,
        notes=[
            *notes,
            *([recorded.note] if recorded.note else []),
            *_own_labels(recorded, chosen),
            *left_out("module", len(chosen), len(wanted)),
            *left_out("snapshot", len(choice.snapshots), len(there)),
            *left_out("probe image", n, reader.index.probe.n),
            *averaged(shown),
        ],
    )
    return maps_page(page)


def left_out(what: str, shown: int, there: int) -> list[str]:
    """What the page says where it shows not all.

    Example:
        >>> left_out("module", 12, 40), left_out("probe image", 8, 256), left_out("snapshot", 9, 9)
        (['12 of 40 modules are shown, evenly chosen.'], ['The first 8 of 256 probe images are shown.'], [])
    """
    if shown >= there:
        return []
    text = f"{shown} of {counted(there, what)} are shown"
    return [f"The first {text}." if "image" in what else f"{text}, evenly chosen."]


@dataclass(frozen=True, slots=True)
class _Choice:
    """What is looked at."""

    snapshots: list[int]
    limits: Bounds


def _choose(index: Index, modules: Sequence[str], run_id: str, *, images: int) -> tuple[list[int], _Choice]:
    """The snapshots at which all of the modules were recorded, and what there is room for.

    ``images`` is how many pictures there are, 0 if that does not matter.

    Raises:
        RunError: If there is no such snapshot.
    """
    there = sorted(set.intersection(*(set(index.snapshots(module)) for module in modules)))
    if not there:
        raise RunError(
            f"Run {run_id} has no snapshot at which all of {some(modules)} were recorded. Choose fewer of them with "
            "--modules."
        )
    shapes = [index.entries[module, there[0]].shape for module in modules]
    n = min(shape[0] for shape in shapes)
    limits = bounds([shape[1:] for shape in shapes], len(there), min(n, images or n))
    return there, _Choice(spread(there, limits.snapshots), limits)


def _pictures(reader: FeatureMapReader, module: str, choice: _Choice) -> tuple[ModulePictures, NDArray[np.int64]]:
    """A module's pictures, and the labels of the images; one file is read at a time."""
    maps, labels, images = [], np.zeros(0, np.int64), choice.limits.images
    for snapshot in choice.snapshots:
        whole, labels = reader.read(module, snapshot)
        side = side_in_memory(whole.shape[1], len(choice.snapshots), images, choice.limits.side)
        maps.append(pooled(whole[:images], side).copy())
    return module_pictures(maps), labels[:images]


def _own_labels(recorded: Recorded, modules: Sequence[str]) -> list[str]:
    """What the page says of labels that are not the run's."""
    if recorded.note:
        return []
    if recorded.signal == "drift":
        return ["FMCS is each module's own here, by its feature drift."]
    if any(recorded.signals.story(module) for module in modules):
        return ["Modules whose weights did not move all the time have an FMCS of their own."]
    return []


def _module(index: Index, module: str, pictures: ModulePictures, recorded: Recorded, choice: _Choice) -> ShownModule:
    shape = index.entries[module, choice.snapshots[0]].shape[1:]
    scores, story = _scores(recorded, module, choice.snapshots), recorded.signals.story(module)
    frozen = recorded.frozen.get(module)
    state = f"its weights {story}" if story else ""
    state = state if frozen is None else f"frozen after snapshot {frozen}"
    drift = recorded.signals.drift.get(module)
    return ShownModule(module, shape, pictures, scores if any(scores) else (), drift, state)


def _scores(recorded: Recorded, module: str, snapshots: Sequence[int]) -> tuple[str, ...]:
    """A module's own labels as they are written, where they are others than the run's; else none."""
    signals = recorded.signals
    signal = next((one for one in SIGNAL_NAMES if one == recorded.signal), None)
    if recorded.note or signal is None or not (signal == "drift" or signals.story(module)):
        return ()
    try:
        labels = signals.labels(module, signal).fmcs
    except FmceError:
        return ()
    return tuple(
        "" if snapshot >= len(labels) or np.isnan(labels[snapshot]) else f"{labels[snapshot]:.2f}"
        for snapshot in snapshots
    )


def _moment(snapshot: int, recorded: Recorded) -> Moment:
    values = recorded.metrics.get(snapshot, {})
    score = "" if recorded.signal == "drift" or recorded.note else _score(recorded.loss, snapshot)
    shown = {name: form.format(values[key]) for key, (name, form) in FIGURES.items() if key in values}
    return Moment(snapshot, shown | ({"FMCS": score} if score else {}))


def _score(found: Convergence | None, snapshot: int) -> str:
    """The label of a snapshot as it is written; empty where there is none."""
    if found is None or found.fmcs is None or snapshot >= len(found.fmcs):
        return ""
    return f"{found.fmcs[snapshot]:.2f}"


def _captions(labels: NDArray[np.int64]) -> list[str]:
    return [f"image {i}" if label == NO_LABEL else f"class {label}" for i, label in enumerate(labels, 1)]


def _title(run: Logged) -> str:
    tag, params = RecordingTag.of(run.data.tags), run.data.params
    name, dataset = (tag.backbone, tag.dataset) if tag else (params.get("backbone", ""), params.get("dataset", ""))
    return (
        f"{name} on {dataset}"
        if name and dataset not in ("", UNNAMED)
        else name or run.info.run_name or run.info.run_id
    )


def _facts(run: Logged, index: Index, modules: Sequence[str], snapshots: Sequence[int]) -> dict[str, str]:
    name, run_id, probe = run.info.run_name, run.info.run_id, index.probe.dataset
    return {
        "Run": f"{name} ({run_id})" if name else run_id,
        "Probe": counted(index.probe.n, "image") + (f" of {probe}" if probe != UNNAMED else ""),
        "Modules": some(modules, most=8),
        "Snapshots": f"{len(snapshots):,}, from {snapshots[0]} to {snapshots[-1]}",
    }


def _deleted(run: Logged) -> list[str]:
    """What is to be known of a run that is deleted."""
    if run.info.lifecycle_stage != "deleted":
        return []
    how = f"`mlflow runs restore --run-id {run.info.run_id}`"
    return [f"The run is deleted, and `mlflow gc` would remove its maps; {how} restores it."]
