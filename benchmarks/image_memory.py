"""How much memory large image files take while they are read, against one batch of them at full size.

JPEG files are written to a temporary folder and read once, as an evaluation does, in a process of its own; ``--full``
decodes one batch and keeps it. Peaks are of the process, above what it held before the first file was opened.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

from peak_memory import peak_of_this_process


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=192)
    parser.add_argument("--size", type=int, nargs=2, default=[1500, 1500], metavar=("HEIGHT", "WIDTH"))
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--child", choices=["read", "full"], help=argparse.SUPPRESS)
    parser.add_argument("--folder", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.child:
        print(_peak(Path(args.folder), args.batch, args.child))
        return
    with tempfile.TemporaryDirectory() as folder:
        _write(Path(folder), args.images, *args.size)
        words = ["--batch", str(args.batch), "--folder", folder, "--child"]
        peaks = {
            kind: float(subprocess.run([sys.executable, __file__, *words, kind], check=True, stdout=-1).stdout)
            for kind in ("read", "full")
        }
    height, width = args.size
    print(
        f"{args.images} files of {height} × {width}: {peaks['read']:.0f} MiB while they are read; one batch of "
        f"{args.batch} at full size takes {peaks['full']:.0f} MiB; ratio {peaks['read'] / peaks['full']:.2f}"
    )


def _write(folder: Path, images: int, height: int, width: int) -> None:
    import numpy as np
    from PIL import Image

    rng = np.random.default_rng(0)
    for i in range(images):
        small = Image.fromarray(rng.integers(0, 256, (32, 32, 3), dtype=np.uint8))
        small.resize((width, height)).save(folder / f"{i:05d}.jpg", quality=90)


def _peak(folder: Path, batch: int, kind: str) -> float:
    """MiB above the start."""
    from fmce_mlflow.method.images.input_batches import InputBatches
    from fmce_mlflow.method.images.inputs import image_inputs
    from fmce_mlflow.method.images.preprocessing import Preprocessing

    preprocessing = Preprocessing(224, 224, mean=(0.5,) * 3, std=(0.5,) * 3)
    images = image_inputs(folder)
    start = peak_of_this_process()
    if kind == "full":
        held = [images.read(i) for i in range(min(batch, len(images)))]
        return peak_of_this_process() - start if held else 0.0
    for _ in InputBatches(images, batch_size=batch, preprocessing=preprocessing, input_shape=(3, 224, 224)):
        pass
    return peak_of_this_process() - start


if __name__ == "__main__":
    main()
