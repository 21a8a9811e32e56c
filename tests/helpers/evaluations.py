"""Logged models, a predictor and images for tests of evaluations; who uses them sets MLflow's tracking URI."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import torch
from mlflow import MlflowClient
from PIL import Image
from torch import nn

from fmce_mlflow.method.fmce_net.config import SetConfig
from fmce_mlflow.method.fmce_net.set_net import SetNet
from fmce_mlflow.method.fmce_net.statistics import FEATURES
from fmce_mlflow.predictor.flavor import Predictor, log_predictor
from fmce_mlflow.runs.run import Run
from tests.helpers.nets import tiny

IMAGES = 24
PREPROCESSING = {"height": 8, "width": 8, "mean": [0.5, 0.5, 0.5], "std": [0.5, 0.5, 0.5], "crop": False}


@contextmanager
def tracked(uri: str) -> Iterator[None]:
    """MLflow's global tracking URI for a while, and no run or model left active."""
    before = mlflow.get_tracking_uri()
    mlflow.set_tracking_uri(uri)
    try:
        yield
    finally:
        while mlflow.active_run():
            mlflow.end_run()
        mlflow.clear_active_model()
        os.environ.pop("MLFLOW_EXPERIMENT_ID", None)  # which mlflow.set_experiment leaves for other processes
        mlflow.set_tracking_uri(before)


def pixels(n: int = IMAGES, seed: int = 0) -> np.ndarray:
    """uint8 (n, 8, 8, 3)."""
    return np.random.default_rng(seed).integers(0, 256, (n, 8, 8, 3), dtype=np.uint8)


def as_input(images: np.ndarray) -> np.ndarray:
    """What PREPROCESSING makes of them, float32 (n, 3, 8, 8)."""
    return ((images.transpose(0, 3, 1, 2).astype(np.float32) / 255 - 0.5) / 0.5).astype(np.float32)


def write_files(folder: Path, images: np.ndarray) -> list[str]:
    """PNG files of images, in order."""
    folder.mkdir(exist_ok=True)
    paths = [folder / f"{i:03d}.png" for i in range(len(images))]
    for path, image in zip(paths, images, strict=True):
        Image.fromarray(image).save(path)
    return [str(path) for path in paths]


def make_predictor(seed: int = 0, **info: Any) -> Predictor:
    """An FMCE-Net with random weights; its corpus is bags like those of `tiny`, so that nothing is far from it."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        net = SetNet(SetConfig(members=1)).eval()
        net.scale.fill_(4)
        for member in net.members:
            member[-1].weight.data.mul_(20)  # else all bags get 0.5
    assert net.mean.shape == (FEATURES,)
    return Predictor(net, {"params": {"bag_size": "16"}, **info}, "# card")


def log_model(network: nn.Module, **more: Any) -> Any:
    """Log a network as its author would; MLflow's global tracking URI says where."""
    arguments: dict[str, Any] = {"name": "model", "input_example": np.zeros((2, 3, 8, 8), np.float32)}
    arguments |= {"serialization_format": "pickle", "pip_requirements": [], **more}
    logger = logging.getLogger("mlflow")
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        return mlflow.pytorch.log_model(network, **arguments)
    finally:
        logger.setLevel(before)


def seeded_tiny(seed: int = 0) -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return tiny().eval()


@dataclass(frozen=True)
class Store:
    """A store with the same network logged in several ways.

    Attributes:
        client: Client of it.
        uris: ``pickle``, ``pt2``, ``pt2 of one image``; their versions of the registered model `tiny` are 1, 2, 3.
        predictor: URI of an FMCE-Net.
    """

    client: MlflowClient
    uris: dict[str, str]
    predictor: str

    @property
    def experiment(self) -> str:
        return str(self.client.get_experiment_by_name("tests").experiment_id)

    def config(self, **more: Any) -> dict[str, Any]:
        return {"predictor": self.predictor, "modules": "stage", "saliency": False, **more}


def make_store(client: MlflowClient) -> Store:
    """Fill the experiment `tests` of a store."""
    network = seeded_tiny()
    metadata = {"fmce": {"preprocessing": PREPROCESSING, "backbone": "tiny", "modules": ["stage"]}}
    formats = {
        "pickle": {},
        "pt2": {"serialization_format": "pt2"},
        "pt2 of one image": {
            "serialization_format": "pt2",
            "input_example": np.zeros((1, 3, 8, 8), np.float32),
        },
    }
    uris = {}
    with tracked(client.tracking_uri):
        experiment = client.get_experiment_by_name("tests").experiment_id
        with mlflow.start_run(experiment_id=experiment):
            for name, more in formats.items():
                uris[name] = log_model(network, metadata=metadata, registered_model_name="tiny", **more).model_uri
        run = client.create_run(experiment).info.run_id
        predictor = f"models:/{log_predictor(Run(client, run), make_predictor())}"
        client.set_registered_model_alias("tiny", "champion", "2")
    return Store(client, uris, predictor)
