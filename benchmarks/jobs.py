"""What the long commands cost, against another build: the main job, and FMCE-Net with each group held out in turn.

    git worktree add ../before COMMIT
    python benchmarks/jobs.py --other ../before
    python benchmarks/jobs.py --other ../before --part main --words "--seeds 0,1 --epochs 2 --unconverged keep"

Both builds run the same command in turn, each time from the shell to its exit: `fmce build-fmcs` on a fresh store, and
`fmce train-fmce-net --cross-validate` on the FMCS-dataset that this build's main job makes, which is kept in --corpus.
The part `fit` is one of that command's fits alone, with one run held out, on one thread and on bags drawn once.
"""

from __future__ import annotations

import argparse
import os
import pickle
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).parents[1]
BARS = {"main": 0.55, "cross-validate": 0.4, "fit": 0.4}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--other", type=Path, required=True, help="Folder of the other build.")
    parser.add_argument("--part", nargs="+", choices=list(BARS), default=list(BARS))
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--words", default="", help="More options of the main job.")
    parser.add_argument("--corpus", type=Path, default=Path("jobs_corpus"), help="Store with the FMCS-dataset.")
    parser.add_argument("--child", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.child:
        _fit(args.child)
        return
    print(f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores")
    if "main" in args.part:
        _report("main", args, lambda build: _main_job(build, args.words.split()))
    if args.part != ["main"] and not (args.corpus / "mlflow.db").exists():
        _fmce(HERE, args.corpus, "build-fmcs")
    if "cross-validate" in args.part:
        _report("cross-validate", args, lambda build: _fmce(build, args.corpus, "train-fmce-net", "--cross-validate"))

    if "fit" in args.part:
        _report("fit", args, lambda build: _fit_of(build, args.corpus))


def _report(part: str, args: argparse.Namespace, run) -> None:
    """Run a command of both builds in turn and print what it took."""
    taken: dict[Path, list[float]] = {HERE: [], args.other.resolve(): []}
    for turn in range(args.turns):
        for build in list(taken)[:: -1 if turn % 2 else 1]:
            taken[build].append(run(build))
        now, before = (values[-1] for values in taken.values())
        print(f"{part}, turn {turn + 1}: {now:.1f} s, other {before:.1f} s, {now / before:.2f}", flush=True)
    ratios = [now / before for now, before in zip(*taken.values(), strict=True)]
    now, before = (statistics.median(values) for values in taken.values())
    print(
        f"{part}: median {statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f}), "
        f"{now:.1f} s against {before:.1f} s; bar {BARS[part]}"
    )


def _main_job(build: Path, words: list[str]) -> float:
    with tempfile.TemporaryDirectory() as folder:
        return _fmce(build, Path(folder), "build-fmcs", *words)


def _fmce(build: Path, folder: Path, *words: str) -> float:
    """Seconds of a command of a build in a folder with its store."""
    folder.mkdir(parents=True, exist_ok=True)
    uri = f"sqlite:///{(folder / 'mlflow.db').resolve()}"
    environment = {**os.environ, "PYTHONPATH": str(build), "MLFLOW_TRACKING_URI": uri}
    started = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-m", "fmce_mlflow.cli", *words], cwd=folder, env=environment, capture_output=True, text=True
    )
    taken = time.perf_counter() - started
    if done.returncode:
        sys.exit(f"{build}: fmce {' '.join(words)} failed:\n{done.stdout}{done.stderr}")
    return taken


def _fit_of(build: Path, corpus: Path) -> float:
    """Seconds of a fit by a build."""
    environment = {**os.environ, "PYTHONPATH": str(build), "OMP_NUM_THREADS": "1"}
    words = [sys.executable, __file__, "--other", str(build), "--child", str(corpus)]
    done = subprocess.run(words, env=environment, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{build}: the fit failed:\n{done.stdout}{done.stderr}")
    seconds, error = done.stdout.split()
    print(f"  {build.name}: {float(seconds):.1f} s, least validation error {float(error):.6f}")
    return float(seconds)


def _fit(corpus: Path) -> None:
    """Fit a set net to all runs but the first, and print seconds and least validation error."""
    from mlflow import MlflowClient

    from fmce_mlflow.fmcs_dataset.table import load_fmcs_dataset
    from fmce_mlflow.method.fitting.bags import collect_bags
    from fmce_mlflow.method.fitting.config import FitConfig
    from fmce_mlflow.method.fitting.fit_set import fit_set
    from fmce_mlflow.predictor.fmcs_source import artifact_reader, latest_fmcs_run

    kept = corpus / "bags.pickle"
    if not kept.exists():
        client = MlflowClient(f"sqlite:///{(corpus / 'mlflow.db').resolve()}")
        table = load_fmcs_dataset(client, latest_fmcs_run(client))
        kept.write_bytes(pickle.dumps(collect_bags(table, artifact_reader(client))))
    bags = pickle.loads(kept.read_bytes())
    runs = bags.column("run_id")
    train = (runs != runs[0]) & ~bags.test_images
    fit_set(bags, train, runs, config=FitConfig(epochs=1))  # imports
    started = time.perf_counter()
    found = fit_set(bags, train, runs)
    print(time.perf_counter() - started, min(found.validation))


if __name__ == "__main__":
    main()
