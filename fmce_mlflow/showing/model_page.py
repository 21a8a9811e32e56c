"""The page of the maps that a model gives of a few images, without a recording."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

from fmce_mlflow.errors import CaptureError
from fmce_mlflow.evaluation.choices import Notes, Setup, choose_modules, choose_setup, entered
from fmce_mlflow.evaluation.images import treatment
from fmce_mlflow.evaluation.options import EvaluationConfig
from fmce_mlflow.evaluation.provenance import model_facts
from fmce_mlflow.method.maps.bounds import MOST_MODULES, bounds
from fmce_mlflow.method.maps.components import Maps
from fmce_mlflow.method.maps.pictures import module_pictures, pooled
from fmce_mlflow.method.networks.capture import capture
from fmce_mlflow.method.networks.copies import borrowed
from fmce_mlflow.method.networks.forward import run_network
from fmce_mlflow.method.networks.model_forms import check_hookable
from fmce_mlflow.method.networks.take_maps import random_state_kept
from fmce_mlflow.method.saliency.history import input_images
from fmce_mlflow.predictor.find import find_predictor
from fmce_mlflow.recording.map_page import left_out
from fmce_mlflow.report.maps_page import MapsPage, Moment, ShownModule, averaged, maps_page
from fmce_mlflow.report.saliency_figure import spread
from fmce_mlflow.runs.torch_models import load_torch_model
from fmce_mlflow.wording import counted

if TYPE_CHECKING:
    from mlflow import MlflowClient

IMAGES = 8


def model_page(client: MlflowClient, uri: str, data: Any, config: EvaluationConfig) -> str:
    """The page of a model's maps of a few images, HTML to be written as UTF-8.

    Args:
        client: MLflow client.
        uri: The model's URI.
        data: A dataset of ``mlflow.data.from_images``; eight of its images are drawn by the config's seed.
        config: Modules, preprocessing, device and seed, as an evaluation takes them.

    Raises:
        ModelError: If the model cannot be loaded, or cannot take the images.
        BackboneError: If the model has no such module.
        CaptureError: If a module has no feature map, or one with values that are not finite.
    """
    config = replace(config, probe_size=min(config.probe_size or IMAGES, IMAGES), batch_size=IMAGES)
    model, notes = load_torch_model(uri, client), Notes()
    predictor = find_predictor(config.predictor, client).predictor
    with borrowed(model.network, config.device) as network, random_state_kept(network, seed=config.seed):
        check_hookable(network)
        setup = choose_setup(replace(model, network=network), data.to_evaluation_dataset(), config, predictor, notes)
        with entered(setup):
            wanted, _ = choose_modules(setup, notes)
            batches = setup.batches(setup.probe)
            batch = next(iter(batches))
            with capture(network, spread(wanted, MOST_MODULES), token_grid=config.token_grid) as forward:
                taken = run_network(forward, network, batch.pixels, model.fixed_batch)
    maps = {name: _finite(name, value) for name, value in list(taken.items())[:MOST_MODULES]}
    shown = _shown(maps)
    return maps_page(
        MapsPage(
            title=model_facts(client, model).name,
            facts={
                "Images": f"{counted(len(batch.indices), 'image')} of {data.name}",
                "Preprocessing": treatment(batches, setup.preprocessing, model.takes_bytes, setup.origin),
                "Modules": ", ".join(maps),
            },
            moments=[Moment(None, {})],
            modules=shown,
            captions=_captions(setup, batch.indices),
            photos=input_images(batch.pixels, setup.preprocessing),
            notes=[*notes.choices, *dict.fromkeys(batches.notes), *left_out("module", len(maps), len(wanted)),
                   *averaged(shown)],
        )
    )  # fmt: skip


def _shown(maps: Mapping[str, Maps]) -> list[ShownModule]:
    shapes: dict[str, Any] = {name: value.shape[1:] for name, value in maps.items()}
    limits = bounds(list(shapes.values()), 1, IMAGES)
    return [
        ShownModule(name, shapes[name], module_pictures([pooled(value, limits.side)])) for name, value in maps.items()
    ]


def _finite(name: str, maps: torch.Tensor) -> Maps:
    """A module's maps (n, C, H, W) as float32."""
    values: Maps = maps.detach().float().cpu().numpy()
    if not np.isfinite(values).all():
        raise CaptureError(f"The map of module {name} has NaN or infinite values, which have no colour. Name others.")
    return values


def _captions(setup: Setup, indices: NDArray[np.int64]) -> list[str]:
    """Classes or labels of the images; names of the images where they have none."""
    labels, classes = setup.labels.values, setup.labels.classes
    found = []
    for index in map(int, indices):
        value = None if labels is None else labels[index]
        if value is None:
            found.append(setup.inputs.name(index))
        elif isinstance(value, (int, np.integer)) and 0 <= value < len(classes):
            found.append(classes[int(value)])
        else:
            found.append(str(value))
    return found
