"""Rules that stop or freeze a training, each from the past alone, on the trainings of ``research/stopping.py``.

    python research/stopping_rules.py table
    python research/stopping_rules.py recorded --tracking-uri sqlite:///mlflow.db --experiment camvid --metric miou

``table`` chooses threshold and patience of each rule on the data sets in ``CHOSEN_ON``, and scores the choice on
CIFAR-10, which chose nothing. ``recorded`` scores it on recordings of other trainings.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import click
import numpy as np
from mlflow import MlflowClient

from fmce_mlflow.method.convergence.causal import verdicts
from fmce_mlflow.method.convergence.config import ConvergenceConfig
from fmce_mlflow.method.convergence.verdict import assess
from fmce_mlflow.runs.feature_maps import FeatureMapReader

CHOSEN_ON = ("mnist", "mini")
DEFAULT = (0.02, 3)
"""μ and patience, in snapshots, of the package; modules freeze by it."""
Rows = Sequence[Mapping[str, Any]]
"""The snapshots of a run."""


def drifts(rows: Rows, name: str) -> list[float]:
    """A module's drifts, from snapshot 0 on."""
    found = [row["drift"][name] for row in rows[1:]]
    return [*found[:1], *found]


def first(found: Any) -> int | None:
    """Where a verdict is yes for the first time."""
    return int(np.argmax(found)) if np.any(found) else None


def by_loss(rows: Rows, threshold: float, patience: int) -> int | None:
    losses = [row["train_loss"] for row in rows]
    return first(verdicts(losses, ConvergenceConfig(threshold=threshold), patience=patience))


def by_drift(rows: Rows, threshold: float, patience: int) -> int | None:
    """All modules by their drift."""
    config = ConvergenceConfig(threshold=threshold)
    found = [verdicts(drifts(rows, name), config, patience=patience) for name in rows[1]["drift"]]
    return first(np.all(found, axis=0))


def by_least(rows: Rows, threshold: float, patience: int) -> int | None:
    """The least validation loss so far, as ``recorder.converged(by="val")`` judges."""
    least = np.minimum.accumulate([row["val_loss"] for row in rows])
    return first(verdicts(least, ConvergenceConfig(threshold=threshold), patience=patience))


def by_validation(rows: Rows, patience: int) -> tuple[int, int] | None:
    """The snapshot at which the validation loss has not been below its least for so long, and that of its least."""
    least = 0
    for t, row in enumerate(rows):
        if row["val_loss"] < rows[least]["val_loss"]:
            least = t
        if t - least >= patience:
            return t, least
    return None


def by_deviation(rows: Rows, decimals: int = 2) -> int | None:
    """After arXiv 2403.02473: each layer's mean deviation over an epoch, rounded, is that of the epoch before."""
    seen = [{name: round(value, decimals) for name, value in row["deviation"].items()} for row in rows]
    return first([t > 1 and seen[t] == seen[t - 1] for t in range(len(rows))])


def outcome(rows: Rows, stop: int | None, kept: int | None = None) -> dict[str, float]:
    """What a rule that stops leaves out, in passes and in seconds, and what that costs in points of accuracy."""
    last = len(rows) - 1
    stop = last if stop is None else stop
    seconds = np.array([row["train_seconds"] for row in rows])
    kept = stop if kept is None else kept
    return {
        "stop": stop,
        "passes": 1 - stop / last,
        "seconds": 1 - seconds[1 : stop + 1].sum() / seconds[1:].sum(),
        "points": 100 * (rows[kept]["accuracy"] - rows[last]["accuracy"]),
    }


Setting = tuple[float, int]
FAMILIES: Mapping[str, Callable[..., int | None]] = {
    "training loss": by_loss,
    "drift of all modules": by_drift,
    "least validation loss": by_least,
}
"""The causal verdict on three signals, each with μ and patience."""
GRID = tuple((threshold, patience) for threshold in (0.01, 0.02, 0.03, 0.05) for patience in (0, 1, 3, 5))
WORST = -0.5
"""Points of accuracy that a setting may cost in the mean of the runs that choose: of those the one that saves most."""
Rule = Callable[[Rows], dict[str, float]]


def rules(chosen: Mapping[str, Setting]) -> dict[str, Rule]:
    """What the table compares."""
    found: dict[str, Rule] = {}
    for name, stop in FAMILIES.items():
        for setting in dict.fromkeys((DEFAULT, chosen[name])):
            label = f"{name}, μ = {setting[0]:g}, patience {setting[1]}"
            found[label] = lambda rows, stop=stop, setting=setting: outcome(rows, stop(rows, *setting))
    for patience in (3, 5):
        label = f"patience {patience} on validation loss, its best kept"
        found[label] = lambda rows, patience=patience: outcome(rows, *(by_validation(rows, patience) or (None, None)))
    found["activation deviation (2403.02473)"] = lambda rows: outcome(rows, by_deviation(rows))
    return found


def choose(out: str) -> dict[str, Setting]:
    """For each family the setting that saves most among those that cost little, on the data sets that choose."""
    found = [one["snapshots"] for one in runs(out, CHOSEN_ON)]
    chosen = {}
    for name, stop in FAMILIES.items():
        means: dict[Setting, tuple[float, float]] = {}
        for setting in GRID:
            rows = [outcome(one, stop(one, *setting)) for one in found]
            means[setting] = tuple(float(np.mean([row[key] for row in rows])) for key in ("seconds", "points"))  # type: ignore[assignment]
        fine = {setting: saved for setting, (saved, points) in means.items() if points >= WORST}
        chosen[name] = max(fine, key=fine.__getitem__)
        for setting, (saved, points) in means.items():
            mark = "**chosen**" if setting == chosen[name] else ""
            line(name, f"{setting[0]:g}", setting[1], f"{saved:.0%}", f"{points:+.2f}", mark)
    return chosen


def runs(out: str, datasets: Sequence[str], freeze: float | None = None) -> list[dict[str, Any]]:
    """The runs of some data sets, in full or with modules that freeze at a threshold."""
    found = [json.loads(path.read_text()) for path in sorted(Path(out).glob("*.json"))]
    return [one for one in found if one["plan"]["dataset"] in datasets and one["plan"]["freeze"] == freeze]


def line(*cells: Any) -> None:
    click.echo(f"| {' | '.join(map(str, cells))} |")


def stop_table(found: Sequence[Mapping[str, Any]], compared: Mapping[str, Rule]) -> None:
    """What each rule leaves out and costs, in the mean over seeds and for each seed."""
    line("backbone", "stops by", "at snapshot", "passes saved", "time saved", "points", "points by seed")
    line(*["---"] * 7)
    for backbone in dict.fromkeys(one["plan"]["backbone"] for one in found):
        mine = [one["snapshots"] for one in found if one["plan"]["backbone"] == backbone]
        for name, rule in compared.items():
            rows = [rule(one) for one in mine]
            mean = {key: float(np.mean([row[key] for row in rows])) for key in rows[0]}
            stops = ", ".join(f"{row['stop']}" for row in rows)
            each = ", ".join(f"{row['points']:+.1f}" for row in rows)
            saved = (f"{mean[key]:.0%}" for key in ("passes", "seconds"))
            line(backbone, name, stops, *saved, f"{mean['points']:+.2f}", each)


def freeze_table(found: Sequence[Mapping[str, Any]], full: Sequence[Mapping[str, Any]]) -> None:
    """What freezing saves and costs against the full training of the same seed; alone, and with a stop."""
    line("backbone", "seed", "frozen after", "time saved", "points", "and stopped at", "time saved", "points")
    line(*["---"] * 8)
    by_seed = {(one["plan"]["backbone"], one["plan"]["seed"]): one["snapshots"] for one in full}
    for one in found:
        backbone, seed, rows = one["plan"]["backbone"], one["plan"]["seed"], one["snapshots"]
        same = [other["snapshots"] for other in found if other["plan"]["backbone"] == backbone]
        whole = by_seed[backbone, seed]
        at = [next((t for t, row in enumerate(rows) if row["frozen"] > k), None) for k in range(len(one["modules"]))]
        stop = by_loss(rows, *DEFAULT)
        cells = [at_or_end(rows, same, whole, stop) for stop in (None, stop)]
        frozen = ", ".join("–" if t is None else str(t - 1) for t in at)
        line(backbone, seed, frozen, *cells[0], "–" if stop is None else stop, *cells[1])


def at_or_end(rows: Rows, same: Sequence[Rows], whole: Rows, stop: int | None) -> tuple[str, str]:
    """Time saved and points of a training that freezes, up to a snapshot.

    An epoch costs the median of all epochs of that backbone with so many modules frozen: neighbours on the machine slow
    single ones down.
    """
    costs: dict[int, list[float]] = {}
    for one in same:
        for row in one[1:]:
            costs.setdefault(row["frozen"], []).append(row["train_seconds"])
    last = len(rows) - 1 if stop is None else stop
    cost = {frozen: float(np.median(values)) for frozen, values in costs.items()}
    spent = sum(cost[row["frozen"]] for row in rows[1 : last + 1])
    points = 100 * (rows[last]["accuracy"] - whole[-1]["accuracy"])
    return f"{1 - spent / (cost[0] * (len(whole) - 1)):.0%}", f"{points:+.1f}"


def delay_table(found: Sequence[Mapping[str, Any]]) -> None:
    """How much later than T the causal verdict comes; how often it comes before a later T, without any, or never."""
    line("signal", "patience", "sequences", "snapshots after T: median, range", "before T", "without T", "no verdict")
    line(*["---"] * 7)
    sequences = {"training loss": [[row["train_loss"] for row in one["snapshots"]] for one in found]}
    sequences["drift of a module"] = [drifts(one["snapshots"], name) for one in found for name in one["modules"]]
    for name, values in sequences.items():
        points = [assess(one).point for one in values]
        for patience in (0, 1, 3, 5):
            when = [first(verdicts(one, patience=patience)) for one in values]
            pairs = [(point, t) for point, t in zip(points, when, strict=True) if t is not None]
            late = [t - point for point, t in pairs if point is not None and t >= point]
            early = sum(point is not None and t < point for point, t in pairs)
            alone = sum(point is None for point, _ in pairs)
            spread = f"{np.median(late):.0f}, {min(late)} to {max(late)}" if late else ""
            line(name, patience, len(values), spread, early, alone, when.count(None))


@click.group(help=__doc__)
def main() -> None:
    """Compare."""


@main.command("table")
@click.option("--out", default="stopping", show_default=True, help="Folder of the JSON files.")
def table_command(out: str) -> None:
    """Choose on what chooses, and score on CIFAR-10."""
    line("signal", "μ", "patience", "time saved", "points", "")
    line(*["---"] * 6)
    chosen, full = choose(out), runs(out, ["cifar10"])
    click.echo()
    stop_table(full, rules(chosen))
    click.echo()
    freeze_table(runs(out, ["cifar10"], DEFAULT[0]), full)
    click.echo()
    delay_table([*runs(out, CHOSEN_ON), *full])


@main.command("recorded")
@click.option("--tracking-uri", required=True)
@click.option("--experiment", required=True)
@click.option("--metric", default="miou", show_default=True, help="What the rules may cost.")
@click.option("--out", default="stopping", show_default=True, help="Folder of the JSON files, for the choice.")
def recorded_command(tracking_uri: str, experiment: str, metric: str, out: str) -> None:
    """The same rules on recordings of other trainings, from their metrics; each epoch counts alike."""
    client = MlflowClient(tracking_uri)
    found = client.get_experiment_by_name(experiment)
    logged = client.search_runs([found.experiment_id], "attributes.status = 'FINISHED'", order_by=["start_time"])
    rows = [of_run(client, one, metric) for one in logged]
    chosen = choose(out)
    click.echo()
    stop_table([{"plan": {"backbone": experiment}, "snapshots": one} for one in rows], rules(chosen))
    click.echo()
    delay_table([{"modules": list(one[-1]["drift"]), "snapshots": one} for one in rows])


def of_run(client: MlflowClient, logged: Any, metric: str) -> list[dict[str, Any]]:
    """A recording as one of our own; deviations are those of the recorded maps."""
    run_id, metrics = logged.info.run_id, logged.data.metrics
    modules = [name.removeprefix("drift/") for name in metrics if name.startswith("drift/")]
    history = {
        name: {m.step: m.value for m in client.get_metric_history(run_id, name)}
        for name in ("train_loss", "val_loss", metric, *(f"drift/{module}" for module in modules))
    }
    reader = FeatureMapReader(client, run_id)
    return [
        {
            "train_loss": history["train_loss"][t],
            "val_loss": history["val_loss"][t],
            "accuracy": history[metric][t],
            "train_seconds": float(t > 0),
            "frozen": 0,
            "drift": {module: history[f"drift/{module}"][t] for module in modules} if t else {},
            "deviation": {module: float(reader.read(module, t)[0].astype(np.float32).std()) for module in modules},
        }
        for t in sorted(history["train_loss"])
    ]


if __name__ == "__main__":
    main()
