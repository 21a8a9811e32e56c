"""What `record` costs a training loop, beside what else one could write into it.

    pip install torchlens==2.36.0        # for its two rows, which are left out without it
    python benchmarks/recorder.py --cifar10 folder:path/to/cifar10

One network is trained plainly and one with `record`, a step each in turn, so that a busy machine slows both. After
every epoch the maps of one module are taken of the same probe images. Every epoch gives one ratio:

    (steps with record + its snapshot) / (plain steps + plain forward pass over the probe)

The other ways are asked for a snapshot of the same images in the same round, and stand with (plain steps + their
snapshot) over the same: what they cost at a step is left out, in their favour. TorchLens wraps torch's functions for as
long as a process lives, so it has processes of its own. CPU seconds leave out what waits for the disk.

Memory: a fresh process for each number of snapshots, its peak resident memory.
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import mlflow
import torch
from mlflow import MlflowClient
from torch.nn import functional as F

sys.path.insert(0, str(Path(__file__).parents[1]))

from peak_memory import peak_of_this_process

import fmce_mlflow
from fmce_mlflow.errors import DataError
from fmce_mlflow.method.images.config import SplitOptions
from fmce_mlflow.method.images.split import ImageData, load_images
from fmce_mlflow.method.images.training_batches import loader
from fmce_mlflow.method.networks.backbones import build_backbone
from fmce_mlflow.method.training.steps import epoch_order

BACKBONE, MODULE, PROBE, BATCH = "shufflenet_v2_x0_5", "conv5", 256, 64
TIME_BAR = 1.04
FEW, MANY = 3, 40
WAYS = {  # what is kept of every epoch
    "record": "float16 maps, drift, Grad-CAM of 6 images, metrics, a state to go on from; on the disk and in MLflow",
    "record, no labels": "the same without Grad-CAM",
    "hook, torch.save": "float32 maps, in the page cache",
    "hook, torch.save, MLflow": "the same as an artifact, and one metric",
    "torchlens.record": "float32 maps, in a bundle on the disk",
    "torchlens watch": "mean, norm, extremes … and a histogram of the activations; no maps",
}


@dataclass(slots=True)
class Task:
    """A data set to train on, and what was measured on it, round by round."""

    name: str
    data: ImageData
    x: torch.Tensor  # the probe
    seconds: dict[str, list[float]] = field(default_factory=dict)
    cpu: dict[str, list[float]] = field(default_factory=dict)

    def add(self, name: str, took: tuple[float, float]) -> None:
        self.seconds.setdefault(name, []).append(took[0])
        self.cpu.setdefault(name, []).append(took[1])

    def ratios(self, way: str) -> list[float]:
        steps = self.seconds["steps, record" if way == "record" else "steps"]
        plain = [a + b for a, b in zip(self.seconds["steps"], self.seconds["forward"], strict=True)]
        return [(a + b) / c for a, b, c in zip(steps, self.seconds[way], plain, strict=True)]


def timed(call: Callable[[], object]) -> tuple[float, float]:
    """Seconds on the clock, and of the processor."""
    started, cpu = time.perf_counter(), time.process_time()
    call()
    return time.perf_counter() - started, time.process_time() - cpu


def task(name: str, dataset: str, data_root: str, train_size: int | None) -> Task:
    options = SplitOptions(
        dataset=dataset, data_root=data_root, train_size=train_size, probe_size=PROBE, validation_size=PROBE,
        image_size=32,
    )  # fmt: skip
    data = load_images(options)
    x = next(iter(loader(data.probe, preprocessing=data.preprocessing, batches=[list(range(PROBE))])))[0]
    return Task(name, data, x)


def network(classes: int) -> torch.nn.Module:
    torch.manual_seed(0)
    return build_backbone(BACKBONE, num_classes=classes, image_size=32)


def steps_of(data: ImageData) -> int:
    return len(data.train) // BATCH


def training(model: torch.nn.Module, data: ImageData, tell: Callable[[torch.Tensor], object]) -> Iterator[None]:
    """Train a step at every `next`, epoch after epoch."""
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9, weight_decay=5e-4)
    epoch = 0
    while True:
        order = epoch_order(len(data.train), 0, epoch).tolist()
        batches = [order[i : i + BATCH] for i in range(0, len(order) - len(order) % BATCH, BATCH)]
        for x, y in loader(data.train, preprocessing=data.preprocessing, batches=batches, epoch=epoch):
            model.train()
            loss = F.cross_entropy(model(x), y)
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
            tell(loss)
            yield
        epoch += 1


def forward(model: torch.nn.Module, x: torch.Tensor) -> None:
    model.eval()
    with torch.no_grad():
        model(x)


def hooked(model: torch.nn.Module, x: torch.Tensor, path: Path) -> Path:
    """What one writes by hand."""
    kept = []
    handle = model.get_submodule(MODULE).register_forward_hook(lambda _m, _x, out: kept.append(out.detach().clone()))
    forward(model, x)
    handle.remove()
    torch.save(kept[0], path)
    return path


def hooked_to_mlflow(
    model: torch.nn.Module, x: torch.Tensor, path: Path, client: MlflowClient, run_id: str, epoch: int
) -> None:
    client.log_artifact(run_id, str(hooked(model, x, path)), "maps")
    client.log_metric(run_id, "train_loss", float(epoch), step=epoch)
    path.unlink()


def torchlens(way: str, probe: str, classes: int) -> None:
    """In a process of its own: a snapshot for every line that is read, its seconds for an answer."""
    import torchlens as tl
    from torchlens.options import StreamingOptions
    from torchlens.trackers import JSONLSink, watch

    model, x = network(classes), torch.load(probe)
    folder = Path(tempfile.mkdtemp(dir=Path(probe).parent))
    model.eval()
    session = None
    if way == "torchlens watch":  # selects by the beginning of a name: the last submodule has conv5's very output
        last = f"{MODULE}.{len(model.get_submodule(MODULE)) - 1}"
        session = watch(
            model, to=JSONLSink(folder / "watch.jsonl"), signals=("activations",), select=(last,), every=1,
            hist_every=1, example_input=x[:2],
        )  # fmt: skip
    for step, _ in enumerate(sys.stdin):

        def snapshot(step: int = step) -> None:
            model.eval()
            with torch.no_grad():
                if session is not None:
                    with session.step(step):
                        model(x)
                else:
                    to = StreamingOptions(bundle_path=folder / f"snapshot_{step}", retain_in_memory=False)
                    tl.record(model, x, save=tl.module(MODULE), storage=to)

        print(*timed(snapshot), flush=True)


def torchlens_processes(probe: Path, classes: int) -> dict[str, subprocess.Popen[str]]:
    try:
        found_version = version("torchlens")
    except PackageNotFoundError:
        print("TorchLens is not installed: its rows are left out.")
        return {}
    found = {}
    for way in ("torchlens.record", "torchlens watch"):
        words = [sys.executable, __file__, "--torchlens", way, str(probe), str(classes)]
        found[way] = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        asked(found[way])  # the first one wraps and discovers
    print(f"TorchLens {found_version}")
    return found


def asked(process: subprocess.Popen[str]) -> tuple[float, float]:
    assert process.stdin is not None and process.stdout is not None
    process.stdin.write("\n")
    process.stdin.flush()
    seconds, cpu = map(float, process.stdout.readline().split())
    return seconds, cpu


def measure(one: Task, rounds: int, folder: Path) -> None:
    """All ways in turn, round by round."""
    probe, classes = folder / "probe.pt", len(one.data.classes)
    torch.save(one.x, probe)
    lenses = torchlens_processes(probe, classes)
    client = MlflowClient()
    experiment = client.create_experiment(one.name, artifact_location=(folder / one.name).as_uri())
    runs = [client.create_run(experiment).info.run_id for _ in range(3)]
    plain, recorded = network(classes), network(classes)
    quiet = {"say": lambda _: None, "dataset": one.name}
    labels = one.data.probe.labels
    with (
        fmce_mlflow.record(recorded, [MODULE], probe=one.x, labels=labels, run_id=runs[0], **quiet) as recorder,
        fmce_mlflow.record(plain, [MODULE], probe=one.x, run_id=runs[1], **quiet) as unlabelled,
    ):
        steps = training(plain, one.data, lambda loss: loss.item())
        with_record = training(recorded, one.data, recorder.loss)
        for number in range(rounds):
            took: dict[str, list[tuple[float, float]]] = {"steps": [], "steps, record": []}
            for step in range(steps_of(one.data)):
                pair = [("steps", steps), ("steps, record", with_record)]
                for name, loop in pair if step % 2 else reversed(pair):
                    took[name].append(timed(partial(next, loop)))
            for name, each in took.items():
                one.add(name, (sum(a for a, _ in each), sum(b for _, b in each)))
            path = folder / f"{one.name}_{number}.pt"
            unlabelled.loss(1.0 / (number + 1))
            ways: dict[str, Callable[[], object]] = {
                "forward": partial(forward, plain, one.x),
                "record": partial(recorder.snapshot, epoch=number + 1),
                "record, no labels": partial(unlabelled.snapshot, epoch=number + 1),
                "hook, torch.save": partial(hooked, plain, one.x, path),
                "hook, torch.save, MLflow": partial(
                    hooked_to_mlflow, plain, one.x, path.with_suffix(".p2"), client, runs[2], number
                ),
            }
            for name in ways if number % 2 else reversed(ways):
                one.add(name, timed(ways[name]))
            for way, process in lenses.items():
                one.add(way, asked(process))
    for process in lenses.values():
        process.communicate()


def peak_memory(snapshots: int) -> None:
    """Record snapshots, a step before each, and print this process's peak memory in MiB."""
    one = task("digits", "digits", "data", BATCH)
    with tempfile.TemporaryDirectory() as folder:
        store_in(Path(folder))
        model = network(len(one.data.classes))
        with fmce_mlflow.record(
            model, [MODULE], probe=one.x, labels=one.data.probe.labels, say=lambda _: None
        ) as recorder:
            steps = training(model, one.data, recorder.loss)
            for epoch in range(1, snapshots):
                next(steps)
                recorder.snapshot(epoch=epoch)
            print(peak_of_this_process())


def compare_memory() -> bool:
    peaks = []
    for snapshots in (FEW, MANY):
        words = [sys.executable, __file__, "--peak-memory", str(snapshots)]
        peaks.append(float(subprocess.run(words, check=True, capture_output=True, text=True).stdout))
    maps, growth = PROBE * 1024 * 4 * 4 * 2 / 2**20, peaks[1] - peaks[0]
    print(
        f"\npeak memory: {peaks[0]:.0f} MiB with {FEW} snapshots, {peaks[1]:.0f} MiB with {MANY}; growth {growth:+.1f} "
        f"MiB, bar: less than the maps of one snapshot ({maps:.0f} MiB): {'met' if growth < maps else 'MISSED'}",
        flush=True,
    )
    return growth < maps


def store_in(folder: Path) -> None:
    mlflow.set_tracking_uri(f"sqlite:///{folder}/mlflow.db")
    mlflow.set_experiment(experiment_id=mlflow.create_experiment("benchmark", (folder / "artifacts").as_uri()))


def spread(values: list[float], form: str) -> str:
    return f"{statistics.median(values):{form}} ({min(values):{form}} to {max(values):{form}})"


def table(tasks: list[Task]) -> None:
    columns = [f"{one.name}: seconds of a snapshot | of the CPU | epoch" for one in tasks]
    print(f"\n| way | {' | '.join(columns)} | keeps of every epoch |")
    print("|---" * (2 + 3 * len(tasks)) + "|")
    for way, kept in {"forward": "nothing", **WAYS}.items():
        if all(way in one.seconds for one in tasks):
            cells = [cells_of(one, way) for one in tasks]
            print(f"| {way} | {' | '.join(cells)} | {kept} |")


def cells_of(one: Task, way: str) -> str:
    cpu = statistics.median(one.cpu[way])
    return f"{spread(one.seconds[way], '.2f')} | {cpu:.2f} | {spread(one.ratios(way), '.3f')}"


def verdicts(tasks: list[Task]) -> bool:
    passed = True
    print()
    for one in tasks:
        steps, ratio = statistics.median(one.seconds["steps"]), statistics.median(one.ratios("record"))
        ours = statistics.median(one.seconds["record"])
        slower = [w for w in WAYS if w in one.seconds and statistics.median(one.seconds[w]) > ours]
        faster = [w for w in WAYS if w in one.seconds and w not in ("record", *slower)]
        passed &= ratio <= TIME_BAR
        print(
            f"{one.name}: {len(one.data.train):,} images, {len(one.seconds['steps'])} epochs of {steps:.2f} s; ratio "
            f"{ratio:.3f}, bar {TIME_BAR}: {'met' if ratio <= TIME_BAR else 'MISSED'}; slower than record: "
            f"{'; '.join(slower) or 'none'}. Faster: {'; '.join(faster) or 'none'}"
        )
    return passed


def main() -> int:
    parser = argparse.ArgumentParser(description="What `record` costs a training loop.")
    parser.add_argument("--cifar10", default="cifar10", help="CIFAR-10: `cifar10`, or folder:<path> of its images")
    parser.add_argument("--data-root", default="data", help="where cifar10 is looked for")
    parser.add_argument("--rounds", type=int, nargs=2, default=(7, 4), help="epochs of each kind: digits, CIFAR-10")
    parser.add_argument("--peak-memory", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--torchlens", nargs=3, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.peak_memory:
        peak_memory(args.peak_memory)
        return 0
    if args.torchlens:
        torchlens(args.torchlens[0], args.torchlens[1], int(args.torchlens[2]))
        return 0
    print(
        f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}, torch {torch.__version__}, "
        f"MLflow {mlflow.__version__}, {torch.get_num_threads()} threads; {BACKBONE}, {MODULE} of {PROBE} images"
    )
    tasks = [task("digits", "digits", args.data_root, None)]
    try:
        tasks.append(task("CIFAR-10", args.cifar10, args.data_root, 5000))
    except DataError as error:
        print(f"CIFAR-10 is left out. {error}")
    with tempfile.TemporaryDirectory() as folder:
        store_in(Path(folder))
        for one, rounds in zip(tasks, args.rounds, strict=False):
            measure(one, rounds, Path(folder))
    table(tasks)
    passed = verdicts(tasks)
    return 0 if compare_memory() and passed else 1


if __name__ == "__main__":
    sys.exit(main())
