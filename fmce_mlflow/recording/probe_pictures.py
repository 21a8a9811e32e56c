"""The first probe images of a recording as they look, in one small file of its run."""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError
from PIL.PngImagePlugin import PngImageFile, PngInfo

from fmce_mlflow.errors import ArtifactError
from fmce_mlflow.recording.probe import NO_LABEL, ProbeImages
from fmce_mlflow.runs.artifacts import fetched
from fmce_mlflow.runs.run import Run
from fmce_mlflow.safety.reading import parse_json, read_file

if TYPE_CHECKING:
    from mlflow import MlflowClient

PICTURES = "plots/probe_pictures.png"
MOST, SIDE = 6, 224  # pictures, and their height and width at most
MAX_BYTES = 2 * MOST * SIDE * SIDE * 3
MOST_CAPTION = 100  # characters
_CAPTIONS = "fmce.captions"


def log_probe(run: Run, probe: ProbeImages) -> None:
    """Log the first probe images as they look, with the names of their classes where they have some."""
    labels = probe.labels[: len(probe.pictures)]
    names = [f"image {i}" if label == NO_LABEL else probe.class_name(int(label)) for i, label in enumerate(labels, 1)]
    log_pictures(run, probe.pictures, names)


def log_pictures(run: Run, pictures: NDArray[np.uint8], captions: Sequence[str]) -> None:
    """Log the first pictures (m, H, W, 3), at most six, with a caption each, as one artifact; for none, nothing."""
    if not len(pictures):
        return
    shown = [_small(picture) for picture in pictures[:MOST]]
    info, file = PngInfo(), io.BytesIO()
    info.add_text(_CAPTIONS, json.dumps([caption[:MOST_CAPTION] for caption in captions[: len(shown)]]))
    Image.fromarray(np.concatenate(shown, axis=1)).save(file, "PNG", optimize=True, pnginfo=info)
    run.log_bytes(file.getvalue(), PICTURES)


def read_pictures(client: MlflowClient, run_id: str) -> tuple[NDArray[np.uint8], list[str]] | None:
    """Pictures uint8 (m, H, W, 3) and their captions; None where the run has none.

    Raises:
        ArtifactError: If the file is none of :func:`log_pictures`.
    """
    name = f"{PICTURES} of run {run_id}"
    with fetched(client, run_id, PICTURES) as path:
        if path is None:
            return None
        data = read_file(path, MAX_BYTES, name)
    try:
        with Image.open(io.BytesIO(data), formats=["PNG"]) as image:
            captions = _captions(image)
            width, height = image.size
            if width > MOST * SIDE or height > SIDE or width % len(captions):
                raise ValueError(f"it has {width} × {height} pixels for {len(captions)} pictures")
            sheet = np.asarray(image.convert("RGB"))
    except UnidentifiedImageError:
        raise ArtifactError(f"{name} is no PNG file. Maps are shown without pictures.") from None
    except (OSError, ValueError, SyntaxError) as error:
        raise ArtifactError(f"{name} cannot be read: {error!s:.200}. Maps are shown without pictures.") from None
    return np.stack(np.split(sheet, len(captions), axis=1)), captions


def _captions(image: Image.Image) -> list[str]:
    """What the file says of its pictures, one text each.

    Raises:
        ValueError: If it says nothing of the kind.
    """
    text = image.text.get(_CAPTIONS) if isinstance(image, PngImageFile) else None
    found = parse_json(text) if text else None
    if not isinstance(found, list) or not 1 <= len(found) <= MOST or not all(isinstance(one, str) for one in found):
        raise ValueError("it does not say what its pictures are")
    return [one[:MOST_CAPTION] for one in found]


def _small(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """A picture with at most 224 rows and columns."""
    image = Image.fromarray(picture)
    image.thumbnail((SIDE, SIDE))
    return np.asarray(image)
