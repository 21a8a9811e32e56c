"""The first probe images in one small file of the run."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from fmce_mlflow.errors import ArtifactError
from fmce_mlflow.recording.probe_pictures import MAX_BYTES, MOST, PICTURES, SIDE, log_pictures, read_pictures
from fmce_mlflow.runs.run import Run
from tests.conftest import new_run


@pytest.fixture
def run(client):
    return Run(client, new_run(client), lambda line: None)


def noise(*shape):
    return np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)


def test_small_pictures_come_back_as_they_were(run):
    pictures = noise(5, 20, 28, 3)
    log_pictures(run, pictures, ["cat", "dog", "eel", "fox <b>", "größer"])
    found, captions = read_pictures(run.client, run.id)
    assert (found == pictures).all() and captions == ["cat", "dog", "eel", "fox <b>", "größer"]


def test_large_pictures_keep_their_ratio_and_only_the_first_are_kept(run):
    log_pictures(run, noise(9, 400, 800, 3), [f"class {i}" * 50 for i in range(9)])
    found, captions = read_pictures(run.client, run.id)
    assert found.shape == (MOST, SIDE // 2, SIDE, 3) and captions[5].startswith("class 5")
    assert max(map(len, captions)) == 100


def test_the_largest_file_is_one_that_is_read(run):
    log_pictures(run, noise(MOST, SIDE, SIDE, 3), ["x"] * MOST)
    assert read_pictures(run.client, run.id)[0].shape == (MOST, SIDE, SIDE, 3)


def test_a_run_without_any(run):
    log_pictures(run, noise(0, 8, 8, 3), [])
    assert read_pictures(run.client, run.id) is None


def png(width, height, captions):
    info, file = PngInfo(), io.BytesIO()
    if captions is not None:
        info.add_text("fmce.captions", captions)
    Image.fromarray(noise(height, width, 3)).save(file, "PNG", pnginfo=info)
    return file.getvalue()


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "is no PNG file"),
        (png(16, 8, '["a", "b"]')[:100], "cannot be read: "),
        (png(16, 8, None), "does not say what its pictures are"),
        (png(16, 8, '{"a": 1}'), "does not say what its pictures are"),
        (png(16, 8, "[1, 2]"), "does not say what its pictures are"),
        (png(16, 8, "[]"), "does not say what its pictures are"),
        (png(17, 8, '["a", "b"]'), "it has 17 × 8 pixels for 2 pictures"),
        (png(8, SIDE + 1, '["a"]'), f"it has 8 × {SIDE + 1} pixels"),
        (png(16, 8, "[" * 200), "cannot be read"),
        (b"\0" * (MAX_BYTES + 1), "and at most"),
    ],
)
def test_another_file_is_refused(run, data, reason):
    run.log_bytes(data, PICTURES)
    with pytest.raises(ArtifactError, match=reason):
        read_pictures(run.client, run.id)
