"""What recordings of a segmenter and a detector show: the tables of docs/results.md, from the runs of the examples.

    python examples/segmentation.py --data camvid-320x240.tar
    python examples/detection.py --data bccd.tar
    python research/detectors.py convergence
    python research/detectors.py scores --data FOLDER

``convergence`` says when each run converged by its training loss, its validation loss and each module's drift, which
module was the last, and how FMCS goes with the task's metric over training. ``scores`` builds an FMCS-dataset of each
experiment's runs, holds out each seed in turn, and evaluates the held-out seed's registered versions on test images by
the bundled predictor and by the FMCE-Net that was fitted to the other seeds; ``--data`` has both data sets. What was
computed before is read again. MLflow's tracking URI says where the runs are.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import click
import mlflow
import numpy as np
import pandas as pd
from mlflow import MlflowClient
from mlflow.entities import Run as LoggedRun
from scipy.stats import spearmanr

from fmce_mlflow.backbone.options import BackboneOptions
from fmce_mlflow.fmcs_dataset.build import build_fmcs
from fmce_mlflow.method.convergence.drift import drift_sequence
from fmce_mlflow.method.convergence.verdict import Convergence, assess
from fmce_mlflow.method.fitting.config import FitConfig
from fmce_mlflow.predictor.options import NetOptions
from fmce_mlflow.predictor.train import train_fmce_net
from fmce_mlflow.runs.run import Run

sys.path.append(str(Path(__file__).parents[1] / "examples"))
from vision_data import opened

METRICS = {"camvid": "miou", "bccd": "map"}
"""By experiment, the metric of the task that its example logs at each snapshot."""
STUDY = "fmce.study"
TEST_IMAGES = 128


def finished(client: MlflowClient, experiment: str) -> list[LoggedRun]:
    """An experiment's recordings that came to their end, by seed."""
    found = client.get_experiment_by_name(experiment)
    if found is None:
        raise click.ClickException(f"There is no experiment {experiment}. Run its example first.")
    wanted = "attributes.status = 'FINISHED' and tags.`fmce.role` = 'backbone'"
    return sorted(client.search_runs([found.experiment_id], wanted), key=lambda run: int(run.data.params["seed"]))


def signals(run: LoggedRun) -> dict[str, Convergence]:
    """What each signal of a run says: ``train``, ``val``, and modules' drift by their names."""
    found: dict[str, Any] = mlflow.artifacts.load_dict(f"runs:/{run.info.run_id}/convergence.json")
    by_loss = {name: found[name] for name in ("train", "val") if found.get(name)}
    return {name: Convergence.from_dict(one) for name, one in {**by_loss, **found["drift"]}.items()}


def recorded(run: LoggedRun) -> list[str]:
    """The modules of a run, in the order of the network."""
    return list(mlflow.artifacts.load_dict(f"runs:/{run.info.run_id}/convergence.json")["drift"])


def history(client: MlflowClient, run: LoggedRun, name: str) -> np.ndarray:
    """A metric by snapshot."""
    rows = sorted((m.step, m.value) for m in client.get_metric_history(run.info.run_id, name))
    return np.array([value for _, value in rows])


def rho(fmcs: np.ndarray | None, metric: np.ndarray, until: int | None) -> float:
    """Spearman's ρ over snapshots 0 … until; NaN where there is no FMCS or it does not vary."""
    end = len(metric) if until is None else until + 1
    if fmcs is None or len(set(fmcs[:end])) < 2:
        return float("nan")
    return float(spearmanr(fmcs[:end], metric[:end]).statistic)


def later_point(drift: Convergence) -> int | None:
    """T by a drift that begins at snapshot 1: maps of an untrained network can be too small for float16."""
    point = assess(drift_sequence(drift.losses[2:]), drift.config, signal="drift").point
    return None if point is None else point + 1


def convergence_table(client: MlflowClient, experiment: str) -> pd.DataFrame:
    """A row for each run and signal."""
    rows = []
    for run in finished(client, experiment):
        found, metric = signals(run), history(client, run, METRICS[experiment])
        drifts = {name: one for name, one in found.items() if name not in ("train", "val")}
        never = len(metric)
        points = {name: never if one.point is None else one.point for name, one in drifts.items()}
        last = [name for name, point in points.items() if point == max(points.values())]
        for name, one in found.items():
            rows.append(
                {
                    "seed": int(run.data.params["seed"]),
                    "signal": name,
                    "T": one.point,
                    "later": later_point(one) if name in drifts else one.point,
                    "of": len(metric) - 1,
                    "last": name in last,
                    "rho": rho(one.fmcs, metric, None),
                    "rho_until_T": rho(one.fmcs, metric, one.point),
                    "metric": metric[-1],
                    "best": metric.max(),
                }
            )
    return pd.DataFrame(rows)


@click.group(help=(__doc__ or "").split("\n")[0])
@click.option("--experiments", default="camvid,bccd", show_default=True, help="Of the examples, with commas.")
@click.pass_context
def main(context: click.Context, experiments: str) -> None:
    context.obj = experiments.split(",")


@main.command(help="When modules converged, and how FMCS goes with the task's metric.")
@click.pass_obj
def convergence(experiments: list[str]) -> None:
    client = MlflowClient()
    for experiment in experiments:
        table = convergence_table(client, experiment)
        seeds = sorted(table["seed"].unique().tolist())
        finals = ", ".join(f"{value:.3f}" for value in table.groupby("seed")["metric"].first())
        print(f"\n{experiment}: {METRICS[experiment]} after {table['of'].max()} epochs, seeds {seeds}: {finals}")
        print(
            "\n| signal | "
            + " | ".join(f"T, seed {seed}" for seed in seeds)
            + " | last in | ρ | ρ until T | T from snapshot 1 on |"
        )
        print("|---" * (len(seeds) + 5) + "|")
        for signal, part in table.groupby("signal", sort=False):
            points, later = (
                ["—" if pd.isna(point) else f"{point:.0f}" for point in part[name]] for name in ("T", "later")
            )
            last = "" if signal in ("train", "val") else f"{part['last'].sum()} of {len(part)}"
            ranges = " | ".join(spread(part[name]) for name in ("rho", "rho_until_T"))
            print(f"| {signal} | " + " | ".join(points) + f" | {last} | {ranges} | {', '.join(later)} |")


def spread(values: pd.Series) -> str:
    """Median, least and greatest."""
    values = values.dropna()
    return f"{values.median():.2f} ({values.min():.2f} to {values.max():.2f})" if len(values) else "—"


@main.command(help="What is predicted of registered versions, each seed held out in turn.")
@click.option("--data", type=click.Path(exists=True, path_type=Path), envvar="FMCE_TEST_DATA", required=True)
@click.option("--signal", type=click.Choice(["train", "drift"]), default="train", show_default=True)
@click.option("--passes", default=FitConfig().epochs, show_default=True, help="Over the bags, at most, of a fit.")
@click.pass_obj
def scores(experiments: list[str], data: Path, signal: str, passes: int) -> None:
    client, fit = MlflowClient(), FitConfig(epochs=passes)
    for experiment in experiments:
        runs = finished(client, experiment)
        mlflow.set_experiment(f"{experiment}-study")
        whole = dataset_of(client, f"{experiment}|{signal}|all", [run.info.run_id for run in runs], signal)
        show_protocol(client, f"{experiment}|{signal}|all", whole, fit)
        rows: list[dict[str, Any]] = []
        with opened(data, experiment) as root:
            images = mlflow.data.from_images(test_images(root, experiment), name=experiment)
            for run in runs:
                key = f"{experiment}|{signal}|without seed {run.data.params['seed']}"
                others = [other.info.run_id for other in runs if other is not run]
                nets = {"bundled": None, "fitted": net_of(client, key, dataset_of(client, key, others, signal), fit)}
                for name, net in nets.items():
                    rows += evaluated(client, run, images, key, name, net)
        show_scores(pd.DataFrame(rows), labels(runs, signal))


def dataset_of(client: MlflowClient, key: str, run_ids: list[str], signal: Any) -> str:
    """The run with the FMCS-dataset of some recordings."""
    known = study_run(client, "fmcs_dataset", key)
    if known is None:
        known = new_run(client, "fmcs_dataset", key)
        build_fmcs(known, [BackboneOptions(signal=signal)], {}, source_runs=run_ids)
    return known.id


def net_of(client: MlflowClient, key: str, dataset: str, fit: FitConfig, *, cross_validate: bool = False) -> str:
    """The URI of the FMCE-Net that is fitted to an FMCS-dataset."""
    known = study_run(client, "fmce_net", key)
    if known is None:
        known = new_run(client, "fmce_net", key)
        with known.closing():
            options = NetOptions(fmcs_run=dataset, cross_validate=cross_validate, baselines=cross_validate, fit=fit)
            train_fmce_net(known, options)
    (model,) = known.fetch().outputs.model_outputs
    return f"models:/{model.model_id}"


def show_protocol(client: MlflowClient, key: str, dataset: str, fit: FitConfig) -> None:
    """Figures of nets fitted to all seeds but one, on the maps of that one."""
    net_of(client, key, dataset, fit, cross_validate=True)
    run = study_run(client, "fmce_net", key)
    assert run is not None
    results = pd.DataFrame(**mlflow.artifacts.load_dict(f"runs:/{run.id}/results.json"))
    print(f"\n{key}: each seed held out in turn\n")
    print(results[["predictor", "accuracy", "within_one", "mae", "spearman", "coverage"]].round(3).to_string())


def study_run(client: MlflowClient, role: str, key: str) -> Run | None:
    """A finished run of this study."""
    experiments = [one.experiment_id for one in client.search_experiments()]
    found = client.search_runs(
        experiments, f"attributes.status = 'FINISHED' and tags.`{STUDY}` = '{key}' and tags.`fmce.role` = '{role}'"
    )
    return Run(client, found[0].info.run_id) if found else None


def new_run(client: MlflowClient, role: str, key: str) -> Run:
    """A run of this study, in its experiment."""
    experiment = client.get_experiment_by_name(f"{key.split('|')[0]}-study")
    assert experiment is not None
    return Run.create(client, experiment.experiment_id, role=role, name=f"{role} {key}", tags={STUDY: key})


def test_images(root: Path, experiment: str) -> list[str]:
    """Files of images that were neither trained on nor recorded."""
    if experiment == "camvid":
        return sorted(map(str, (root / "test" / "images").iterdir()))
    names = (root / "ImageSets" / "Main" / "test.txt").read_text().split()
    return [str(root / "JPEGImages" / f"{name}.jpg") for name in names]


def evaluated(
    client: MlflowClient, run: LoggedRun, images: Any, key: str, name: str, net: str | None
) -> list[dict[str, Any]]:
    """Scores by module of a run's registered versions, by one predictor."""
    config = {"modules": ",".join(recorded(run)), "saliency": False, "probe_size": TEST_IMAGES}
    versions = client.search_model_versions(f"run_id = '{run.info.run_id}'")
    rows = []
    for version in sorted(versions, key=lambda one: int(one.version)):
        uri = f"models:/{version.name}/{version.version}"
        known = study_run(client, "evaluation", f"{key}|{name}|{uri}")
        if known is None:
            with mlflow.start_run(run_name=f"{uri} by {name}", tags={STUDY: f"{key}|{name}|{uri}"}) as active:
                mlflow.models.evaluate(
                    uri,
                    images,
                    model_type="fmce",
                    evaluators="fmce",
                    evaluator_config=config if net is None else {**config, "predictor": net},
                )
            known = Run(client, active.info.run_id)
        table = mlflow.load_table("fmce_modules.json", run_ids=[known.id])
        snapshot = mlflow.models.get_model_info(uri).metadata["fmce"]["snapshot"]
        for row in table.to_dict("records"):
            found = {key: row[key] for key in ("module", "fmcs", "low", "high", "distance")}
            rows.append({"run_id": run.info.run_id, "snapshot": snapshot, "predictor": name, **found})
    return rows


def labels(runs: list[LoggedRun], signal: str) -> pd.DataFrame:
    """FMCS by run, module and snapshot, as the dataset labels it."""
    rows = []
    for run in runs:
        found = signals(run)
        for module in recorded(run):
            fmcs = found[module if signal == "drift" else "train"].fmcs
            for snapshot, value in enumerate([] if fmcs is None else fmcs):
                rows.append({"run_id": run.info.run_id, "module": module, "snapshot": snapshot, "label": value})
    return pd.DataFrame(rows)


def show_scores(found: pd.DataFrame, truth: pd.DataFrame) -> None:
    """Means over seeds by module and version, then errors and order by module."""
    table = found.merge(truth, on=["run_id", "module", "snapshot"])
    table["mae"] = (table["fmcs"] - table["label"]).abs()
    keys = ["module", "snapshot"]
    means = table.groupby([*keys, "predictor"], sort=False)["fmcs"].mean().unstack()
    means.insert(0, "label", table.groupby(keys)["label"].mean())
    print("\nVersions, by the epochs that they were trained: mean over seeds\n")
    print(means.round(2).to_string())
    rows = []
    for (module, predictor), part in table.groupby(["module", "predictor"], sort=False):
        order = [spearmanr(one["fmcs"], one["label"]).statistic for _, one in part.groupby("run_id")]
        rows.append({"module": module, "predictor": predictor, "mae": part["mae"].mean(), "rho": np.median(order)})
    print("\nOf versions of the held-out seed\n")
    print(pd.DataFrame(rows).round(3).to_string())


if __name__ == "__main__":
    main()
