"""The page of a model's maps of a few images."""

from __future__ import annotations

import base64
import io
import json
import re

import mlflow
import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from fmce_mlflow.errors import BackboneError, CaptureError
from fmce_mlflow.evaluation.options import EvaluationConfig
from fmce_mlflow.image_dataset.plugin import from_images
from fmce_mlflow.showing.model_page import model_page
from tests.helpers.evaluations import PREPROCESSING, log_model, pixels, seeded_tiny
from tests.helpers.reports import HOSTILE


def logged(network, **more):
    with mlflow.start_run():
        return log_model(network.eval(), metadata={"fmce": {"preprocessing": PREPROCESSING}}, **more).model_uri


def data_of(html):
    return json.loads(re.search(r'id="data">(.*?)</script>', html)[1])


def test_images_are_shown_as_they_were_with_their_classes(tracking):
    images = pixels()
    data = from_images(images, [["cat", "dog", HOSTILE][i % 3] for i in range(24)])
    html = model_page(tracking, logged(seeded_tiny()), data, EvaluationConfig(modules=("stem", "stage")))
    chosen = np.sort(np.random.default_rng(0).choice(24, 8, replace=False))
    names = [["cat", "dog", HOSTILE][i % 3] for i in chosen]
    assert data_of(html)["captions"] == [f"image {i} ({name})" for i, name in enumerate(names, 1)]
    assert [one["name"] for one in data_of(html)["modules"]] == ["stem", "stage"]
    photos = re.findall(r'class="photo">.*?href="data:image/png;base64,(.*?)"', html, flags=re.DOTALL)
    first = np.asarray(Image.open(io.BytesIO(base64.b64decode(photos[0]))))[1:-1, 1:-1]
    assert np.abs(first.astype(int) - images[chosen[0]]).max() <= 1
    assert html.count("<script") == 2 and "<img" not in html


def test_fewer_images_than_are_shown(tracking):
    html = model_page(tracking, logged(seeded_tiny()), from_images(pixels(3)), EvaluationConfig(modules=("stem",)))
    assert html.count('class="cell"') == 3 and "3 images of" in html


def test_without_a_module_the_last_stage_is_shown_and_said(tracking):
    html = model_page(tracking, logged(seeded_tiny()), from_images(pixels()), EvaluationConfig())
    assert [one["name"] for one in data_of(html)["modules"]] == ["stage"] and "No module is named" in html


def test_an_unknown_module_is_an_error_with_the_near_name(tracking):
    with pytest.raises(BackboneError, match="Did you mean stage"):
        model_page(tracking, logged(seeded_tiny()), from_images(pixels()), EvaluationConfig(modules=("stagee",)))


def test_a_map_that_is_not_finite_is_an_error_that_names_its_module(tracking):
    network = seeded_tiny()
    with torch.no_grad():
        network.stage[0].bias.fill_(torch.inf)
    with pytest.raises(CaptureError, match="The map of module stage has NaN or infinite values"):
        model_page(tracking, logged(network), from_images(pixels()), EvaluationConfig(modules=("stem", "stage")))


def test_of_many_modules_twelve_are_shown(tracking):
    network = nn.Sequential(*(nn.Conv2d(3, 3, 1) for _ in range(15)))
    html = model_page(tracking, logged(network), from_images(pixels()), EvaluationConfig(modules=("*",)))
    assert len(data_of(html)["modules"]) == 12 and "12 of 15 modules are shown, evenly chosen." in html


def test_the_same_page_twice_and_the_global_random_state_as_it_was(tracking):
    uri, data = logged(seeded_tiny()), from_images(pixels())
    torch.manual_seed(3)
    expected = torch.rand(1)
    torch.manual_seed(3)
    pages = [model_page(tracking, uri, data, EvaluationConfig(modules=("stem",))) for _ in range(2)]
    assert pages[0] == pages[1] and torch.rand(1) == expected
