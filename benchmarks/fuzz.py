"""Attack the readers of artifacts and the command line for some time each, and count what happens.

    python benchmarks/fuzz.py --seconds 600
    python benchmarks/fuzz.py --seconds 60 --targets index,flavor --engine atheris

Each target (tests/fuzzing.py) runs in a process of its own. An execution is one example, read to its end or refused.
A crash is any exception but FmceError, or the end of the process; a hang takes longer than --hang seconds. Files opened
outside the folder and executed code are counted by Python's audit hook (tests/watching.py), which sees every file that
is opened, every process, import, pickle and connection. Examples come from Hypothesis; with --engine atheris, libFuzzer
chooses the bytes that Hypothesis makes them of, guided by the branches of this package that they reach.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections import Counter
from pathlib import Path
from typing import Any

from peak_memory import peak_of_this_process

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))
CHUNK = 2000
"""Examples after which Hypothesis begins anew: it remembers all that it has tried."""


class Hang(BaseException):
    """An example that takes too long."""


class Session:
    """One target under attack, and what has come of it."""

    def __init__(self, name: str, folder: Path, seconds: float, hang: float, report: Path) -> None:
        from tests.helpers.fuzzing import TARGETS, lay_out, outside
        from tests.helpers.watching import Watch

        self.target, self.folder, self.hang, self.report = TARGETS[name], folder / "inside", hang, report
        self.folder.mkdir()
        os.chdir(self.folder)
        tempfile.tempdir = str(self.folder)
        lay_out(self.folder)
        sys.path.insert(0, str(outside(self.folder)))
        self.prepared = self.target.prepare(self.folder)
        self.watch = Watch(self.folder)
        self.counts: Counter[str] = Counter()
        self.crashes: dict[str, str] = {}
        self.end, self.slowest, self.written = time.monotonic() + seconds, 0.0, 0.0
        signal.signal(signal.SIGALRM, self._ring)

    def _ring(self, *_: Any) -> None:
        raise Hang

    def read(self, example: Any) -> None:
        """Read one example."""
        began = time.monotonic()
        if began > self.end:
            self.write()
            raise KeyboardInterrupt
        signal.setitimer(signal.ITIMER_REAL, self.hang)
        try:
            if self.counts["executions"] < 20:  # what is loaded late is loaded here
                self.target.read(self.folder, self.prepared, example)
            else:
                with self.watch.on():
                    self.target.read(self.folder, self.prepared, example)
        except Hang:
            self.counts["hangs"] += 1
            self.crashes.setdefault("Hang", repr(example)[:3000])
        except Exception as error:
            self.counts["crashes"] += 1
            last = traceback.extract_tb(error.__traceback__)[-1]
            where = f"{type(error).__name__}: {str(error)[:200]} ({Path(last.filename).name}:{last.lineno})"
            self.crashes.setdefault(where, repr(example)[:3000])
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
        self.counts["executions"] += 1
        now = time.monotonic()
        self.slowest = max(self.slowest, now - began)
        for name, events in (("outside", self.watch.outside), ("executed", self.watch.executed)):
            if events:
                self.counts[name] += len(events)
                self.crashes.setdefault(f"{name}: {events[0]}", repr(example)[:3000])
                events.clear()
        if now - self.written > 5:
            self.write()

    def write(self) -> None:
        """Keep the counts, in case the process ends."""
        self.written = time.monotonic()
        memory = round(peak_of_this_process())
        self.report.write_text(json.dumps(
            {**self.counts, "slowest": self.slowest, "mebibytes": memory, "crashes_seen": self.crashes}
        ))  # fmt: skip


def attack(name: str, seconds: float, hang: float, report: Path, engine: str) -> None:
    """Read examples until the time is over."""
    if engine == "atheris":
        import atheris

        with atheris.instrument_imports(include=["fmce_mlflow"]):
            import tests.helpers.fuzzing  # noqa: F401
    from hypothesis import HealthCheck, Phase, given, settings

    with tempfile.TemporaryDirectory() as folder:
        session = Session(name, Path(folder), seconds, hang, report)

        @settings(
            max_examples=CHUNK, deadline=None, database=None, phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )  # fmt: skip
        @given(session.target.examples)
        def read(example: Any) -> None:
            session.read(example)

        if engine == "atheris":
            session.end = float("inf")  # libFuzzer ends the process by itself; the counts are on disk by then
            atheris.Setup([sys.argv[0], f"-max_total_time={int(seconds)}", "-timeout=0", "-rss_limit_mb=0",
                           "-handle_alrm=0"], read.hypothesis.fuzz_one_input)  # fmt: skip
            atheris.Fuzz()
        try:
            while True:
                read()
        except KeyboardInterrupt:
            os.chdir("/")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=600)
    parser.add_argument("--targets", default="index,safetensors,flavor,spool,options")
    parser.add_argument("--engine", choices=["hypothesis", "atheris"], default="hypothesis")
    parser.add_argument(
        "--hang", type=float, default=10, help="Seconds after which an example counts as one that hangs."
    )
    parser.add_argument("--one", help=argparse.SUPPRESS)
    parser.add_argument("--report", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.one:
        attack(args.one, args.seconds, args.hang, args.report, args.engine)
        return
    print(f"{args.seconds:g} s each, examples of {args.engine}", flush=True)
    print("| target | executions | crashes | hangs | out-of-folder reads | code executed | slowest | memory |")
    print("|---|---|---|---|---|---|---|---|", flush=True)
    bad = 0
    for name in args.targets.split(","):
        with tempfile.TemporaryDirectory() as folder:
            report = Path(folder, "report.json")
            command = [sys.executable, __file__, "--one", name, "--report", str(report), "--engine", args.engine,
                       "--seconds", str(args.seconds), "--hang", str(args.hang)]  # fmt: skip
            try:
                ended = subprocess.run(command, timeout=2 * args.seconds + 600, capture_output=True, text=True)
                died = ended.returncode != 0
            except subprocess.TimeoutExpired:  # an example that no signal interrupts; starting may take minutes
                ended, died = None, True
            found = json.loads(report.read_text()) if report.exists() else {"crashes_seen": {}}
        crashes = found.get("crashes", 0) + (died and ended is not None)
        hangs = found.get("hangs", 0) + (ended is None)
        bad += crashes + hangs + found.get("outside", 0) + found.get("executed", 0)
        print(
            f"| {name} | {found.get('executions', 0):,} | {crashes} | {hangs} | {found.get('outside', 0)} | "
            f"{found.get('executed', 0)} | {found.get('slowest', 0):.2f} s | {found.get('mebibytes', 0):,} MiB |",
            flush=True,
        )
        for what, example in found["crashes_seen"].items():
            print(f"    {what}\n        {example}", flush=True)
        if died and ended is not None:
            print(f"    the process ended with {ended.returncode}: {ended.stderr[-2000:]}", flush=True)
    sys.exit(1 if bad else 0)


if __name__ == "__main__":
    main()
