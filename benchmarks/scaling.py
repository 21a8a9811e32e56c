"""How cost grows: FMCS-datasets of many runs, and training in two processes.

    python benchmarks/scaling.py                      # both parts
    python benchmarks/scaling.py --part corpus --runs 10 30 100
    nice -n -5 python benchmarks/scaling.py --part processes

Corpus: runs of 100 snapshots × 3 modules with synthetic feature maps on sqlite and a local artifact folder, labelled by
`build_fmcs` and fitted by `train_fmce_net`, each size in a fresh process. Own memory is the most that the process had
to itself (RssAnon); mapped files, libraries for the most part, stand beside it.

Processes: the same training by one process and by two under torchrun, one thread each, in turns.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import logging
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from fmce_mlflow.runs.run import Run

sys.path.insert(0, str(Path(__file__).parents[1]))

import numpy as np
import torch
from peak_memory import Peak, peak_of_this_process

N, CHANNELS, SIDE = 16, 16, 2
MODULES = ("stage2", "stage3", "stage4")
STEPS = ("build", "bags", "fit")
FEW_PASSES = 2
PROCESSES_BAR = 1.6


def write_run(client, experiment: str, number: int, snapshots: int) -> str:
    """A backbone run as `fmce train-backbone` leaves it, its maps drawn at random: images of a class grow alike."""
    from mlflow.entities import Metric, Param, RunTag

    from fmce_mlflow.runs.artifacts import artifact_repository
    from fmce_mlflow.runs.feature_index import Entry, Probe, file_name
    from fmce_mlflow.runs.feature_maps import FeatureMapWriter
    from tests.helpers.maps import pack

    rng = np.random.default_rng(number)
    labels = np.arange(N, dtype=np.int64) % 4
    params = {"backbone": f"net{number % 5}", "dataset": "synthetic", "seed": str(number)}
    run_id = client.create_run(experiment, tags={"fmce.role": "backbone"}).info.run_id
    root = Path(artifact_repository(client, run_id).artifact_dir)
    losses = 2.3 * np.exp(-np.arange(snapshots) / snapshots * rng.uniform(6, 12))
    entries = {}
    for module in MODULES:
        folder = root / "feature_maps" / module
        folder.mkdir(parents=True)
        pattern = rng.normal(size=(4, CHANNELS, SIDE, SIDE))[labels]
        for snapshot in range(snapshots):
            mixed = rng.normal(size=pattern.shape) + 2 * (1 - losses[snapshot] / 2.3) * pattern
            data = pack(np.maximum(mixed, 0).astype(np.float16), labels)
            (folder / file_name(snapshot)).write_bytes(data)
            digest = hashlib.sha256(data).hexdigest()
            entries[module, snapshot] = Entry(module, snapshot, (N, CHANNELS, SIDE, SIDE), "float16", len(data), digest)
    FeatureMapWriter(client, run_id, Probe("synthetic", N, "a" * 64), labels, entries).write_index()
    metrics = [
        Metric(name, float(value), 0, step)
        for name, values in (("train_loss", losses), ("val_loss", losses), ("epoch", np.arange(snapshots)))
        for step, value in enumerate(values)
    ]
    for start in range(0, len(metrics), 900):
        client.log_batch(run_id, metrics=metrics[start : start + 900])
    client.log_batch(run_id, params=[Param(k, v) for k, v in params.items()], tags=[RunTag("synthetic", "true")])
    client.set_terminated(run_id)
    return run_id


def corpus_of(uri: str, run_ids: list[str], bags_per_map: int, passes: int) -> dict[str, float]:
    """Build an FMCS-dataset of some runs and fit FMCE-Net to it: seconds and MiB by phase."""
    from mlflow import MlflowClient

    from fmce_mlflow.backbone.options import BackboneOptions
    from fmce_mlflow.fmcs_dataset.build import build_fmcs
    from fmce_mlflow.method.fitting.config import BagConfig, FitConfig
    from fmce_mlflow.predictor import train as fmce_net_run
    from fmce_mlflow.predictor.options import NetOptions
    from fmce_mlflow.predictor.train import train_fmce_net

    client = MlflowClient(uri)
    experiment = client.get_experiment_by_name("scaling").experiment_id
    found: dict[str, float] = {}
    with Peak() as peak:
        fmcs_run = client.create_run(experiment).info.run_id
        dataset = build_fmcs(Run(client, fmcs_run, lambda _: None), [BackboneOptions()], {}, source_runs=run_ids)
    found |= {"rows": len(dataset.table), "build_s": peak.seconds, "build_cpu": peak.cpu, "build_mib": peak.own}
    del dataset

    collect, seconds = fmce_net_run.collect_bags, []

    def timed(*args, **more):
        started = time.perf_counter(), time.process_time()
        bags = collect(*args, **more)
        seconds.extend((time.perf_counter() - started[0], time.process_time() - started[1]))
        return bags

    fmce_net_run.collect_bags = timed
    options = NetOptions(
        fmcs_run=fmcs_run, baselines=False, bags=BagConfig(bag_size=8, bags_per_map=bags_per_map),
        fit=FitConfig(epochs=passes, patience=passes, folds=2),
    )  # fmt: skip
    with Peak() as peak:
        net_run = client.create_run(experiment).info.run_id
        result = train_fmce_net(Run(client, net_run, lambda _: None), options)
    found |= {"bags_s": seconds[0], "bags_cpu": seconds[1]}
    found |= {"fit_s": peak.seconds - seconds[0], "fit_cpu": peak.cpu - seconds[1]}
    found |= {"net_mib": peak.own, "mapped_mib": peak.mapped}
    found["mae"] = result.scores["run"]["set"].metrics["mae"]
    found["peak_mib"] = peak_of_this_process()
    return found


def corpus(args: argparse.Namespace) -> None:
    """Measure each size in a process of its own and print what ten times the runs cost."""
    from mlflow import MlflowClient

    with tempfile.TemporaryDirectory(prefix="fmce-") as name:
        folder = Path(args.keep or name)
        folder.mkdir(exist_ok=True)
        uri = f"sqlite:///{folder}/mlflow.db"
        client = MlflowClient(uri)
        if client.get_experiment_by_name("scaling") is None:
            client.create_experiment("scaling", artifact_location=(folder / "artifacts").as_uri())
        experiment = client.get_experiment_by_name("scaling").experiment_id
        known = sorted(
            (run.info.start_time, run.info.run_id)
            for run in client.search_runs([experiment], "tags.`fmce.role` = 'backbone'", max_results=1000)
        )
        run_ids = [run_id for _, run_id in known]
        started = time.perf_counter()
        while len(run_ids) < max(args.runs):
            run_ids.append(write_run(client, experiment, len(run_ids), args.snapshots))
        print(f"{max(args.runs)} synthetic runs written in {time.perf_counter() - started:.0f} s", flush=True)
        rows = []
        for count in args.runs:
            words = [sys.executable, __file__, "--child", json.dumps([uri, run_ids[:count], args.bags, args.passes])]
            out = subprocess.run(words, check=True, stdout=subprocess.PIPE, text=True).stdout
            rows.append({"runs": count, **json.loads(out.splitlines()[-1])})
            print(json.dumps({k: round(v, 3) for k, v in rows[-1].items()}), flush=True)
    print("\nCPU seconds (wall seconds in brackets)")
    print(f"{'runs':>5} {'rows':>7} {'build':>15} {'bags':>15} {'fit':>15} {'own memory':>11} {'mapped':>8}")
    for row in rows:
        times = " ".join(f"{row[f'{s}_cpu']:>7.1f} ({row[f'{s}_s']:.0f})".rjust(15) for s in STEPS)
        own = max(row["build_mib"], row["net_mib"])
        print(f"{row['runs']:>5} {row['rows']:>7} {times} {own:>7.0f} MiB {row['mapped_mib']:>4.0f} MiB")
    first, last = rows[0], rows[-1]
    more = last["runs"] / first["runs"]
    for step in STEPS:
        ratio = last[f"{step}_cpu"] / first[f"{step}_cpu"]
        print(f"{step}: {more:.0f} times the runs cost {ratio:.1f} times the CPU seconds")
    grown = max(last["build_mib"], last["net_mib"]) - max(first["build_mib"], first["net_mib"])
    print(f"memory: {grown:+.0f} MiB from {first['runs']} to {last['runs']} runs")


def trained(epochs: int, batch_size: int) -> None:
    """Train ShuffleNet on digits in this process and those beside it; the first prints seconds of each epoch."""
    from fmce_mlflow.method.images.config import SplitOptions
    from fmce_mlflow.method.images.split import load_images
    from fmce_mlflow.method.images.training_batches import loader
    from fmce_mlflow.method.networks.backbones import build_backbone
    from fmce_mlflow.method.networks.take_maps import take_maps
    from fmce_mlflow.method.training.config import TrainingConfig
    from fmce_mlflow.method.training.loop import make_accelerator, train

    config = TrainingConfig(
        epochs=epochs, snapshots_per_epoch=1, batch_size=batch_size, optimizer="sgd", lr=0.05, cpu=True
    )
    data = load_images(SplitOptions(image_size=32, validation_size=256))
    torch.manual_seed(0)
    model = build_backbone("shufflenet_v2_x0_5", num_classes=10, image_size=32)
    accelerator = make_accelerator(config)
    found, started = [], 0.0
    for snapshot in train(model, data, config, accelerator=accelerator):
        if snapshot.index == 1:
            started = time.process_time()
        began = time.perf_counter()
        if accelerator.is_main_process:
            images = loader(data.probe, preprocessing=data.preprocessing, batches=[range(256)])
            take_maps(model, ["conv5"], images, 256)
        if snapshot.index:
            found.append((snapshot.images_per_second, snapshot.train_seconds, time.perf_counter() - began))
    spent = accelerator.reduce(torch.tensor(time.process_time() - started))  # but for the first epoch
    if accelerator.is_main_process:
        print(json.dumps({"processes": accelerator.num_processes, "epochs": found, "cpu": float(spent)}))


def processes(args: argparse.Namespace) -> None:
    """One process and two take turns; print how many times as many images two train on in a second."""
    rates: dict[int, list[float]] = {1: [], 2: []}
    whole: dict[int, list[float]] = {1: [], 2: []}
    spent: dict[int, list[float]] = {1: [], 2: []}
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    for turn in range(args.turns):
        for count in (1, 2):
            words = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(count)]
            words += [__file__, "--child-training", json.dumps([args.epochs, args.batch_size])]
            out = subprocess.run(words, check=True, stdout=subprocess.PIPE, text=True, env=environment).stdout
            record = json.loads(next(line for line in out.splitlines() if line.startswith('{"processes"')))
            assert record["processes"] == count
            later = record["epochs"][1:]  # the first epoch warms up
            spent[count].append(record["cpu"] / len(later))
            rates[count] += [rate for rate, _, _ in later]
            whole[count] += [training + probe for _, training, probe in later]
            print(
                f"turn {turn + 1}, {count} process{'es' if count > 1 else ''}: "
                f"{', '.join(f'{rate:.0f}' for rate, _, _ in later)} images/s; load {os.getloadavg()[0]:.1f}",
                flush=True,
            )
    one, two = (statistics.median(rates[count]) for count in (1, 2))
    print(
        f"training: {one:.0f} images/s by one process, {two:.0f} by two, one thread each: ratio {two / one:.2f}, "
        f"bar {PROCESSES_BAR}: {'passed' if two / one >= PROCESSES_BAR else 'FAILED'}"
    )
    one, two = (statistics.median(spent[count]) for count in (1, 2))
    print(
        f"CPU seconds of all processes for an epoch and its snapshot: {one:.2f} and {two:.2f}, so two idle cores "
        f"give at most {2 * one / two:.2f}"
    )
    one, two = (statistics.median(whole[count]) for count in (1, 2))
    print(f"an epoch with its snapshot, which the first process takes alone: {one:.2f} s and {two:.2f} s")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--part", choices=["corpus", "processes"], nargs="+", default=["corpus", "processes"])
    parser.add_argument("--runs", type=int, nargs="+", default=[10, 30, 100])
    parser.add_argument("--snapshots", type=int, default=100)
    parser.add_argument("--bags", type=int, default=1, help="bags per map of each part of the probe images")
    parser.add_argument("--passes", type=int, default=FEW_PASSES, help="passes of each fit over its bags")
    parser.add_argument("--keep", help="a folder for the synthetic runs, which stay there")
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--child", help=argparse.SUPPRESS)
    parser.add_argument("--child-training", help=argparse.SUPPRESS)
    args = parser.parse_args()
    torch.set_num_threads(1)
    for name in ("mlflow", "alembic"):
        logging.getLogger(name).setLevel(logging.WARNING)
    os.environ["MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR"] = "false"
    if args.child_training:
        trained(*json.loads(args.child_training))
        return
    if args.child:
        print(json.dumps(corpus_of(*json.loads(args.child))))
        return
    print(
        f"{platform.machine()}, Python {platform.python_version()}, torch {torch.__version__}, {os.cpu_count()} cores"
    )
    if "corpus" in args.part:
        corpus(args)
    if "processes" in args.part:
        processes(args)


if __name__ == "__main__":
    main()
