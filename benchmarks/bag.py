"""What the statistics of a bag of feature maps cost on one thread, here and in another checkout of this project.

The builds take turns, each in a process of its own; a shape's figure is the median over turns of a build's median.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

SHAPES = [(64, 1024, 4, 4), (64, 512, 1, 1), (64, 512, 4, 4), (64, 64, 16, 16), (64, 384, 14, 14), (64, 2048, 7, 7)]
KINDS = ("float32", "channels last", "float16", "bfloat16")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--against", type=Path, help="Another checkout.")
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--calls", type=int, default=15, help="Of each shape, in a turn.")
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.child:
        print(json.dumps(_measured(args.calls)))
        return
    builds = {"here": Path(__file__).parents[1], **({"there": args.against} if args.against else {})}
    found: dict[str, list[dict[str, float]]] = {name: [] for name in builds}
    for _ in range(args.turns):
        for name, root in builds.items():
            found[name].append(_of_build(root, args.calls))
    for case in found["here"][0]:
        here, *there = (statistics.median(one[case] for one in turns) for turns in found.values())
        against = f", there {there[0]:.2f} ms, ratio {here / there[0]:.2f}" if there else ""
        print(f"{case}: here {here:.2f} ms{against}")


def _of_build(root: Path, calls: int) -> dict[str, float]:
    command = [sys.executable, __file__, "--child", "--calls", str(calls)]
    environment = {**os.environ, "PYTHONPATH": str(root.resolve()), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, check=True, capture_output=True, text=True, env=environment)
    return json.loads(done.stdout.splitlines()[-1])


def _measured(calls: int) -> dict[str, float]:
    import torch

    from fmce_mlflow.method.fmce_net.statistics import bag_features

    torch.set_num_threads(1)
    torch.manual_seed(0)
    found = {}
    for shape in SHAPES:
        for kind in KINDS:
            maps = torch.relu(torch.randn(shape))
            maps = maps.to(memory_format=torch.channels_last) if kind == KINDS[1] else maps
            maps = maps.to(getattr(torch, kind)) if kind in KINDS[2:] else maps
            bag_features(maps)
            times = []
            for _ in range(calls):
                start = time.perf_counter()
                bag_features(maps)
                times.append(time.perf_counter() - start)
            found[f"{' x '.join(map(str, shape))}, {kind}"] = statistics.median(times) * 1e3
    return found


if __name__ == "__main__":
    main()
