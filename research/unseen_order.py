"""Whether predicted FMCS rises from snapshot 0 over T/2 to T, on training runs that no predictor was fitted to.

    fmce --tracking-uri sqlite:///unseen.db build-fmcs --seeds 10,11,12,13,14,15,16,17,18,19
    python research/unseen_order.py --tracking-uri sqlite:///unseen.db

Each run is ShuffleNet v2 x0.5 on the digits, with a seed that is in no corpus. It counts where its three scores rise.
The predictor sees the maps of 64 probe images, and as the untrained module either the run's own snapshot 0 or, as in an
evaluation, a copy of the run's final model with fresh weights. With ``--draws`` it says how far other draws of fresh
weights move the scores.
"""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Iterator

os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")

import numpy as np
import torch
from mlflow import MlflowClient
from mlflow.entities import Run
from numpy.typing import NDArray

from fmce_mlflow.backbone.options import BackboneOptions
from fmce_mlflow.method.images.split import load_images
from fmce_mlflow.method.networks.fresh_weights import reinitialised
from fmce_mlflow.method.scoring.score_modules import untrained_features
from fmce_mlflow.predictor.find import find_predictor
from fmce_mlflow.runs.feature_maps import FeatureMapReader
from fmce_mlflow.runs.torch_models import load_torch_model

IMAGES = 64


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tracking-uri", nargs="+", default=["sqlite:///mlflow.db"], help="one store or several")
    parser.add_argument("--predictor", help="URI; the bundled one by default")
    parser.add_argument("--module", default="conv5")
    parser.add_argument("--draws", type=int, default=1, help="draws of fresh weights")
    args = parser.parse_args()
    rows = []
    print("seed  T   FMCS at 0, T/2, T: against own snapshot 0 | against fresh weights")
    for client, run in backbone_runs(args.tracking_uri):
        row = score(client, run, args.module, args.predictor, args.draws)
        rows.append(row)
        told = " | ".join(f"{' '.join(f'{v:.2f}' for v in row[key])} {rises(row[key])!s:5}" for key in ("own", "fresh"))
        print(f"{row['seed']:>4} {row['point']:>3}   {told}", flush=True)
        if args.draws > 1:
            ranges = ", ".join(f"{low:.2f} to {high:.2f}" for low, high in row["ranges"])
            print(f"           over {args.draws} draws: {ranges}", flush=True)
    own, fresh = (sum(rises(row[key]) for row in rows) for key in ("own", "fresh"))
    print(
        f"rises in order: {own} of {len(rows)} against the own snapshot 0, {fresh} of {len(rows)} against fresh weights"
    )
    print(json.dumps(rows))


def backbone_runs(uris: list[str]) -> Iterator[tuple[MlflowClient, Run]]:
    """The converged backbone runs of some stores, by seed."""
    found = []
    for uri in uris:
        client = MlflowClient(uri)
        experiments = [one.experiment_id for one in client.search_experiments()]
        query = "tags.`fmce.role` = 'backbone' and attributes.status = 'FINISHED'"
        found += [(client, run) for run in client.search_runs(experiments, query)]
    yield from sorted(found, key=lambda one: int(one[1].data.params["seed"]))


def score(client: MlflowClient, run: Run, module: str, predictor: str | None, draws: int = 1) -> dict:
    """A run's scores of snapshots 0, T/2 and T, with either reference, and their ranges over draws of fresh weights."""
    net = find_predictor(predictor).predictor.net
    run_id = run.info.run_id
    labels = {m.step: m.value for m in client.get_metric_history(run_id, "fmcs")}
    point = min(step for step, value in labels.items() if value == 1)
    reader = FeatureMapReader(client, run_id)
    chosen = np.random.default_rng(0).permutation(len(reader.read(module, 0)[0]))[:IMAGES]
    maps = [reader.read(module, t)[0].astype(np.float32)[chosen] for t in (0, point // 2, point)]
    own = [net.predict(one, maps[0]) if net.wants_reference else net.predict(one) for one in maps]
    fresh = []  # by draw, of each snapshot
    for draw in range(draws):
        untrained = fresh_features(client, run, module, chosen, draw)
        fresh.append([float(net.score(torch.from_numpy(one), untrained)[0].fmcs) for one in maps])
    return {
        "seed": int(run.data.params["seed"]),
        "point": point,
        "own": [round(float(one.fmcs), 3) for one in own],
        "fresh": [round(one, 3) for one in fresh[0]],
        "ranges": [(round(min(of), 3), round(max(of), 3)) for of in zip(*fresh, strict=True)],
    }


def fresh_features(
    client: MlflowClient, run: Run, module: str, chosen: NDArray[np.int64], seed: int = 0
) -> torch.Tensor:
    """Features of the run's architecture with new random weights, on the same images."""
    outputs = client.get_run(run.info.run_id).outputs.model_outputs
    last = max(outputs, key=lambda one: one.step)
    network = load_torch_model(f"models:/{last.model_id}", client).network
    data = load_images(BackboneOptions(backbone=run.data.params["backbone"]))
    pixels = data.preprocessing.normalise(data.probe.resized(chosen, data.preprocessing))
    return untrained_features(reinitialised(network, seed=seed), [module], [pixels])[module]


def rises(scores: list[float]) -> bool:
    return scores[0] < scores[1] < scores[2]


if __name__ == "__main__":
    main()
