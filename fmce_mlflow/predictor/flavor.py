"""FMCE-Net as an MLflow model: safetensors and JSON, no pickle and no code in the artifact.

Layout, beside what MLflow itself writes::

    fmce_net/config.json            format version, kind, the net's config, what it was trained on
    fmce_net/weights.safetensors
    fmce_net/model_card.md

``MLmodel`` carries the sha256 of all three.
"""

from __future__ import annotations

import hashlib
import json
import platform
import reprlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import mlflow.pyfunc
import numpy as np
import pandas as pd
import torch
import yaml
from mlflow.models import Model, ModelSignature
from mlflow.types import ColSpec, DataType, Schema, TensorSpec
from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors

from fmce_mlflow.errors import ArtifactError, IntegrityError, PredictorError
from fmce_mlflow.method.fmce_net.kinds import FmceNet, kind_named
from fmce_mlflow.predictor.table_rows import Form, bags_of, table_signature
from fmce_mlflow.runs.descriptions import read_description
from fmce_mlflow.runs.logged_models import log_saved_model
from fmce_mlflow.safety.reading import check_header, parse_json, read_file
from fmce_mlflow.version import __version__
from fmce_mlflow.wording import some

if TYPE_CHECKING:
    from torch import Tensor

    from fmce_mlflow.runs.run import Run

FLAVOR_NAME = "fmce_net"
FORMAT_VERSION = 1
FOLDER = "fmce_net"
CONFIG, WEIGHTS, CARD = "config.json", "weights.safetensors", "model_card.md"
MAX_CONFIG_BYTES = 4 * 2**20
MAX_WEIGHTS_BYTES = 2**30
MAX_CARD_BYTES = 2**20
MAX_HEADER = 4 * 2**20


@dataclass(frozen=True, slots=True)
class Predictor:
    """A net in eval mode and what is known about it."""

    net: FmceNet
    info: dict[str, Any] = field(default_factory=dict)  # JSON values, of `predictor_info`
    card: str = ""  # Markdown


def save_model(
    path: str | Path, predictor: Predictor, mlflow_model: Model | None = None, *, form: Form | None = None
) -> None:
    """Write a predictor as an MLflow model.

    Args:
        path: A folder; made if it is not there.
        predictor: What to write.
        mlflow_model: MLflow's description, to be completed.
        form: What the model takes: None for one bag, an array; else a table with a bag in each row, for Spark, see
            :mod:`fmce_mlflow.predictor.table_rows`.

    Example:
        >>> from fmce_mlflow.method.fmce_net.config import SetConfig
        >>> from fmce_mlflow.method.fmce_net.set_net import SetNet
        >>> import tempfile
        >>> folder = Path(tempfile.mkdtemp(), "model")
        >>> save_model(folder, Predictor(SetNet(SetConfig(members=1)).eval()))
        >>> mlflow.pyfunc.load_model(str(folder)).predict(np.ones((4, 8, 2, 2), np.float32)).columns[0]
        'fmcs'
    """
    folder = Path(path, FOLDER)
    folder.mkdir(parents=True, exist_ok=True)
    net = predictor.net
    config = {
        "format_version": FORMAT_VERSION,
        "kind": net.kind,
        "config": net.config.to_dict(),
        "fmce_mlflow": __version__,
        "info": predictor.info,
    }
    written = {
        CONFIG: json.dumps(config, indent=1, allow_nan=False).encode(),
        WEIGHTS: save_tensors({k: v.contiguous() for k, v in net.state_dict().items()}),
        CARD: predictor.card.encode(),
    }
    for name, data in written.items():
        (folder / name).write_bytes(data)
    model = mlflow_model or Model()
    if model.signature is None:
        single = signature(net.config.levels)
        model.signature = single if form is None else table_signature(single.outputs, form)
    hashes = {name: hashlib.sha256(data).hexdigest() for name, data in written.items()}
    model.add_flavor(FLAVOR_NAME, format_version=FORMAT_VERSION, kind=net.kind, data=FOLDER, sha256=hashes)
    mlflow.pyfunc.add_to_model(
        model, loader_module="fmce_mlflow.predictor.flavor", conda_env="conda.yaml", python_env="python_env.yaml"
    )
    _write_environment(Path(path))
    model.save(str(Path(path, "MLmodel")))


def load_predictor(path: str | Path) -> Predictor:
    """Read a predictor from a local MLflow model folder; every file is checked before it is parsed.

    Raises:
        PredictorError: If it is no FMCE-Net, of another format version, or not what its description says.
        IntegrityError: If a file is not what was written.
    """
    root = Path(path)
    try:
        flavor = read_description(root, root=root).flavors.get(FLAVOR_NAME)
    except ArtifactError as error:
        raise PredictorError(f"{root} is no MLflow model: {error}") from None
    if not isinstance(flavor, Mapping):
        raise PredictorError(
            f"The model at {root} is no FMCE-Net: it has no flavor {FLAVOR_NAME}. "
            "Name one that `fmce train-fmce-net` logged."
        )
    if flavor.get("format_version") != FORMAT_VERSION:
        version = reprlib.repr(flavor.get("format_version"))  # aliases in YAML can make a text of gigabytes of it
        raise PredictorError(
            f"The FMCE-Net at {root} has format version {version}; this release reads "
            f"{FORMAT_VERSION}. Use the release of fmce-mlflow that wrote it, or train it again."
        )
    hashes = flavor.get("sha256")
    if not isinstance(hashes, Mapping) or not all(isinstance(hashes.get(name), str) for name in (CONFIG, WEIGHTS)):
        raise PredictorError(f"MLmodel at {root} names no sha256 of the net's files. Log the predictor again.")
    config = _read(root, CONFIG, hashes, MAX_CONFIG_BYTES)
    weights = _read(root, WEIGHTS, hashes, MAX_WEIGHTS_BYTES)
    card = _read(root, CARD, hashes, MAX_CARD_BYTES) if CARD in hashes else b""
    try:
        check_header(weights, MAX_HEADER, f"{FOLDER}/{WEIGHTS} at {root}")
        record = parse_json(config)
        net = _net(str(record["kind"]), dict(record["config"]), load_tensors(weights))
        info = _info(record["info"])
    except (ValueError, KeyError, TypeError, RuntimeError, OverflowError, SafetensorError, ArtifactError) as error:
        reason = " ".join(f"{error!s:.500}".split())
        raise PredictorError(f"The FMCE-Net at {root} cannot be read: {reason} Log the predictor again.") from None
    return Predictor(net.eval(), info, card.decode(errors="replace"))


def log_predictor(run: Run, predictor: Predictor, *, name: str = "fmce_net") -> str:
    """Log a predictor to a run; the id that it returns makes ``models:/<id>``."""
    return log_saved_model(run.client, run.id, lambda path, model: save_model(path, predictor, model), name=name)


def signature(levels: int) -> ModelSignature:
    """Bags in, float32 (n, C, H, W) of any size; one row of figures out."""
    columns = ["fmcs", "std", "low", "high", *(f"level_{k}" for k in range(levels))]
    return ModelSignature(
        Schema([TensorSpec(np.dtype(np.float32), (-1, -1, -1, -1))]),
        Schema([ColSpec(DataType.double, name) for name in columns]),
    )


class _PyFunc:
    """What ``mlflow.pyfunc.load_model`` wraps."""

    def __init__(self, predictor: Predictor) -> None:
        self.predictor = predictor

    def predict(self, model_input: Any, params: Mapping[str, Any] | None = None) -> pd.DataFrame:
        """Score one bag, (n, C, H, W), or the bags of a table: a row each with fmcs, std, low, high and level_<k>."""
        if isinstance(model_input, pd.DataFrame):
            return pd.DataFrame([self._row(bag, f"Row {i}: ") for i, bag in enumerate(bags_of(model_input))])
        return pd.DataFrame([self._row(model_input)])

    def _row(self, bag: Any, name: str = "") -> dict[str, float]:
        try:
            found = self.predictor.net.predict(np.require(bag, np.float32, "W"))
        except PredictorError as error:
            raise PredictorError(f"{name}{error}") from None
        values = {"fmcs": found.fmcs, "std": found.std, "low": found.low, "high": found.high}
        return values | {f"level_{k}": float(p) for k, p in enumerate(found.levels)}


def _load_pyfunc(path: str) -> _PyFunc:
    """MLflow's hook: the model's folder, or the one inside it that holds the data."""
    root = Path(path)
    return _PyFunc(load_predictor(root if (root / "MLmodel").is_file() else root.parent))


def _net(kind: str, config: dict[str, Any], tensors: dict[str, Tensor]) -> FmceNet:
    """The net with its weights. Its config decides nothing beyond the size of the file that has them."""
    with torch.device("meta"):  # takes no memory, whatever the config says
        state = kind_named(kind).build(config).state_dict()
    wanted = {name: tuple(value.shape) for name, value in state.items()}
    if wanted != (found := {name: tuple(value.shape) for name, value in tensors.items()}):
        lacks, other = sorted(wanted.keys() - found.keys()), sorted(found.keys() - wanted.keys())
        wrong = sorted(name for name in wanted.keys() & found.keys() if wanted[name] != found[name])
        raise ValueError(
            "the weights are not those of this config. "
            + " ".join(
                f"{what}: {some(names, most=3)}."
                for what, names in (("Missing", lacks), ("Unknown", other), ("Another shape", wrong))
                if names
            )
        )
    if strange := [name for name, value in tensors.items() if not value.isfinite().all()]:
        raise ValueError(f"the weights have NaN or infinite values: {some(strange, most=3)}.")
    floating = {name: value.is_floating_point() for name, value in state.items()}
    if other := [name for name, value in tensors.items() if value.is_floating_point() != floating[name]]:
        raise ValueError(f"the weights are not the floating-point numbers that they should be: {some(other, most=3)}.")
    if flat := [name for name in ("scale", "std_scale") if name in tensors and not (tensors[name] > 0).all()]:
        raise ValueError(f"the weights have a scale that is not above 0: {some(flat, most=3)}.")
    net = kind_named(kind).build(config).float()  # whatever torch's default dtype is
    net.load_state_dict(tensors)
    return net


def _info(value: Any) -> dict[str, Any]:
    """What an evaluation reads of a predictor's info has the kinds that it relies on."""
    info = dict(value)
    params, corpus, figures = info.get("params", {}), info.get("corpus", []), info.get("figures", {})
    if not isinstance(params, dict) or len(str(params.get("bag_size", ""))) > 9:
        raise ValueError(f"info.params is {reprlib.repr(params)}.")
    for row in corpus if isinstance(corpus, list) else [corpus]:
        plain = isinstance(row, dict) and not any(isinstance(v, (dict, list)) for v in row.values())
        runs = row.get("runs", 0) if plain else None
        if not isinstance(runs, int) or not 0 <= runs < 2**53:
            raise ValueError(f"info.corpus has {reprlib.repr(row)}.")
    layer = [figures]
    while layer := [inner for outer in layer if isinstance(outer, dict) for inner in outer.values()]:
        if any(isinstance(inner, int) and abs(inner) > 2**53 for inner in layer):
            raise ValueError("info.figures has a number that cannot be.")
    return info


def _read(root: Path, name: str, hashes: Mapping[str, Any], limit: int) -> bytes:
    file, called = root / FOLDER / name, f"{FOLDER}/{name} at {root}"
    if not file.is_file():
        raise PredictorError(f"{FOLDER}/{name} is missing at {root}. Log the predictor again.")
    try:
        data = read_file(file, limit, called, root=root)
    except ArtifactError as error:
        raise PredictorError(str(error)) from None
    found = hashlib.sha256(data).hexdigest()
    if found != hashes[name]:
        raise IntegrityError(called, f"{hashes[name]!s:.80}", found)
    return data


def _write_environment(path: Path) -> None:
    """The files from which MLflow builds an environment to serve the model in."""
    requirements = [f"mlflow=={version('mlflow')}", f"fmce-mlflow=={__version__}"]
    requirements += [f"{name}=={version(name).partition('+')[0]}" for name in ("torch", "numpy", "pandas")]
    (path / "requirements.txt").write_text("\n".join(requirements) + "\n", encoding="utf-8")
    python = platform.python_version()
    virtual = {"python": python, "build_dependencies": ["pip"], "dependencies": ["-r requirements.txt"]}
    (path / "python_env.yaml").write_text(yaml.safe_dump(virtual, sort_keys=False), encoding="utf-8")
    conda = {
        "name": "fmce",
        "channels": ["conda-forge"],
        "dependencies": [f"python={python}", "pip", {"pip": requirements}],
    }
    (path / "conda.yaml").write_text(yaml.safe_dump(conda, sort_keys=False), encoding="utf-8")
