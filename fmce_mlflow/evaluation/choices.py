"""What an evaluation chooses where the user did not: preprocessing, images, modules, bag size; and why."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from mlflow.data.evaluation_dataset import EvaluationDataset
from numpy.typing import NDArray
from torch import Tensor, nn

from fmce_mlflow.errors import CaptureError, ConfigError
from fmce_mlflow.evaluation.images import Labels, labels_of
from fmce_mlflow.evaluation.options import EvaluationConfig
from fmce_mlflow.evaluation.rebuild import rebuilder
from fmce_mlflow.image_dataset.dataset import inputs_of
from fmce_mlflow.method.fitting.config import BagConfig
from fmce_mlflow.method.images.input_batches import Batch, InputBatches
from fmce_mlflow.method.images.preprocessing import InputShape, Preprocessing, as_preprocessing, of_bytes
from fmce_mlflow.method.images.readers import ImageInputs
from fmce_mlflow.method.networks.find_modules import earlier_modules, resolve_modules
from fmce_mlflow.method.networks.forward import as_input, padded, told_if_refused
from fmce_mlflow.method.networks.fresh_weights import reinitialised
from fmce_mlflow.method.networks.take_maps import device_of
from fmce_mlflow.method.scoring.collect import IMAGES, Collected, collect
from fmce_mlflow.predictor.flavor import Predictor
from fmce_mlflow.runs.torch_models import TorchModel

if TYPE_CHECKING:
    from fmce_mlflow.method.saliency.grad_cam import ScoreTarget


@dataclass(frozen=True, slots=True)
class Notes:
    """What the user is to be told; grows in the course of an evaluation."""

    choices: list[str] = field(default_factory=list)  # what was chosen for the user
    warnings: list[str] = field(default_factory=list)  # what the user should know before trusting a figure


@dataclass(frozen=True, slots=True, eq=False)
class Setup:
    """What is evaluated, and how."""

    model: TorchModel
    dataset: EvaluationDataset
    inputs: ImageInputs  # the images as they are read
    preprocessing: Preprocessing | None  # turns 8-bit images into the model's input
    probe: NDArray[np.int64]  # places of the images that are used, ascending
    config: EvaluationConfig
    predictor: Predictor
    labels: Labels
    origin: str  # who says what the preprocessing is; empty where nobody does

    def batches(
        self, indices: NDArray[np.int64], batch_size: int | None = None, *, hashed: bool = False
    ) -> InputBatches:
        """Some of the images as the model takes them."""
        return InputBatches(
            self.inputs,
            batch_size=batch_size or self.config.batch_size,
            preprocessing=self.preprocessing,
            input_shape=self.model.input_shape,
            unreadable=self.config.unreadable,
            indices=indices,
            takes_bytes=self.model.takes_bytes,
            hashed=hashed,
            pinned=device_of(self.model.network).type == "cuda",
        )


def choose_setup(
    model: TorchModel, dataset: EvaluationDataset, config: EvaluationConfig, predictor: Predictor, notes: Notes
) -> Setup:
    """Choose images and their preprocessing."""
    inputs = inputs_of(dataset, input_shape=model.input_shape, image_column=config.image_column)
    if inputs.choice:
        notes.choices.append(inputs.choice)
    preprocessing, origin = _choose_preprocessing(model, dataset, inputs, config, notes)
    probe, labels = _choose_images(len(inputs), config, notes), labels_of(inputs, model.facts.classes)
    if labels.problem:
        notes.warnings.append(labels.problem)
    return Setup(model, dataset, inputs, preprocessing, probe, config, predictor, labels, origin)


@contextmanager
def entered(setup: Setup) -> Iterator[None]:
    """Let the model take images (n, C, H, W) for a while, whatever its signature says."""
    entry, network = setup.model.entry, setup.model.network
    if entry.name is not None:
        entry = entry.tried(network, _example(setup))
    with entry.open(network):
        yield


def choose_modules(setup: Setup, notes: Notes) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The modules that are evaluated, and those of them that lie earlier than any of the predictor's corpus."""
    model, wanted = setup.model, setup.config.modules
    pixels = _example(setup)
    with told_if_refused(pixels):
        found = resolve_modules(model.network, wanted, example=pixels, token_grid=setup.config.token_grid)
    if not wanted:
        notes.choices.append(
            f"No module is named, so the last feature stage is evaluated: {found[0]}. Name others in `modules`."
        )
        return found, ()
    if found != wanted:
        notes.choices.append(f"Modules that match {', '.join(wanted)}: {', '.join(found)}.")
    return found, _early_modules(setup, found, pixels, notes)


def _example(setup: Setup) -> Tensor:
    """The first images as the model takes them."""
    size = setup.model.fixed_batch or 2
    batch = next(iter(setup.batches(setup.probe, batch_size=min(size, 2))))
    return as_input(setup.model.network, padded(batch.pixels, size))


def choose_bag_size(setup: Setup) -> int:
    """The config's, else that of the predictor's training, else the default."""
    if setup.config.bag_size is not None:
        return setup.config.bag_size
    trained = setup.predictor.info.get("params", {}).get("bag_size", "")
    return int(trained) if str(trained).isdecimal() and int(trained) >= 2 else BagConfig().bag_size


def choose_target(setup: Setup, outputs: int | None) -> Callable[[int], int | ScoreTarget] | None:
    """From an image's index to what Grad-CAM asks about; None for the most probable class."""
    wanted = setup.config.saliency_target
    if wanted is None:
        return None
    if wanted != "label":
        return lambda _: wanted
    targets = setup.labels.indices(outputs)
    if targets is None:
        why = setup.labels.unlike(outputs) or "the images have no labels that are class indices."
        raise ConfigError(f"saliency_target is 'label', but {why[0].lower()}{why[1:]}")
    return lambda index: int(targets[index])


def fresh_copy(setup: Setup, notes: Notes) -> nn.Module | None:
    """The network with fresh weights, where the predictor looks at the contrast with it and it can be made."""
    if not setup.predictor.net.wants_reference:
        return None
    try:
        return reinitialised(setup.model.network)
    except Exception as error:  # a model's reset_parameters and __deepcopy__ raise what they like
        reason = " ".join(str(error).split())[:200]
        notes.warnings.append(
            f"The model cannot be copied with fresh weights ({type(error).__name__}: {reason}), so the predictor does "
            "without the contrast and is less sure."
        )
        return None


def collected(setup: Setup, modules: Sequence[str], first: Sequence[Batch]) -> Collected:
    """What a predictor looks at beside the maps, from the first images."""
    model = setup.model
    places = np.concatenate([one.indices for one in first])[:IMAGES]
    pixels = torch.cat([one.pixels for one in first])[:IMAGES]

    def targets(outputs: int | None) -> Tensor | None:
        labels = setup.labels.indices(outputs)
        return None if labels is None else torch.from_numpy(labels[places])

    return collect(
        model.network,
        modules,
        list(pixels.split(setup.config.batch_size)),
        targets=targets,
        build=rebuilder(model, max(pixels.shape[2:])),
        fixed_batch=model.fixed_batch,
        token_grid=setup.config.token_grid,
        seed=setup.config.seed,
    )


def _choose_preprocessing(
    model: TorchModel, dataset: EvaluationDataset, inputs: ImageInputs, config: EvaluationConfig, notes: Notes
) -> tuple[Preprocessing | None, str]:
    """The config's, else the model's own, else the dataset's; and whose it is."""
    own, of_dataset = model.facts.preprocessing, getattr(dataset, "preprocessing", None)

    def read(value: Any) -> Preprocessing | None:
        return as_preprocessing(value, input_shape=_input_shape(model, inputs, value))

    given = [("config", config.preprocessing), ("model", own), ("dataset", of_dataset)]
    owner, value = next(((owner, value) for owner, value in given if value is not None), ("", None))
    if value is None:
        return _sized(read) if model.takes_bytes else None, ""
    try:
        found = read(value)
    except ConfigError as error:
        if owner == "config":
            raise
        raise ConfigError(f"The {owner}'s own preprocessing cannot be used: {error}") from None
    if inputs.is_float():
        return found, ""
    if owner == "config" and own is not None and not _gives(read, own, found):
        notes.choices.append("The preprocessing comes from the config, not from the model's metadata.")
    if of_bytes(value):
        notes.choices.append(
            f"The {owner}'s mean and std are of pixels from 0 to 255 and are divided by 255. The images' channels are "
            "red, green, blue."
        )
    return found, "as the model's metadata says" if owner == "model" else f"as the {owner} says"


def _sized(read: Callable[[Any], Preprocessing | None]) -> Preprocessing | None:
    """The size alone that a model takes; None where nothing says it."""
    try:
        return read("scale")
    except ConfigError:
        return None


def _choose_images(n: int, config: EvaluationConfig, notes: Notes) -> NDArray[np.int64]:
    """The images that are used, ascending."""
    most = config.probe_size
    if most is None or most >= n:
        return np.arange(n)
    notes.choices.append(f"{most:,} of {n:,} images are used, drawn with seed {config.seed}.")
    return np.sort(np.random.default_rng(config.seed).choice(n, most, replace=False))


def _input_shape(model: TorchModel, inputs: ImageInputs, preprocessing: Any) -> InputShape:
    """The model's; where its signature has no size, that of the images if they share one."""
    channels, height, width = model.input_shape or (None, None, None)
    if (height is None or width is None) and preprocessing != "imagenet":  # which has a size of its own
        sizes = inputs.sizes()
        if len(sizes) == 1:
            height, width = (known or size for known, size in zip((height, width), sizes.pop(), strict=True))
    return channels, height, width


def _gives(read: Callable[[Any], Preprocessing | None], value: Any, wanted: Preprocessing | None) -> bool:
    """Whether a value is read as a preprocessing."""
    try:
        return read(value) == wanted
    except ConfigError:
        return False


def _early_modules(setup: Setup, names: tuple[str, ...], example: Tensor, notes: Notes) -> tuple[str, ...]:
    """Those from earlier in the network than any module of the predictor's corpus, with a warning."""
    if setup.predictor.info.get("depths") == "all":
        return ()
    rows = setup.predictor.info.get("corpus")
    rows = [row for row in rows if isinstance(row, Mapping)] if isinstance(rows, list) else []
    known = {(row.get("backbone"), row.get("module")) for row in rows}
    unknown = [name for name in names if name not in {module for _, module in known}]
    several_of_one = len(known) > len({backbone for backbone, _ in known})
    if not known or not unknown or several_of_one:
        return ()
    try:
        network, grid = setup.model.network, setup.config.token_grid
        last, early = earlier_modules(network, unknown, example=example, token_grid=grid)
    except CaptureError:  # what the last feature stage is cannot be told
        return ()
    if early:
        many = len(early) > 1
        notes.warnings.append(
            f"{'Modules' if many else 'Module'} {', '.join(early)} {'lie' if many else 'lies'} earlier in the network "
            f"than its last feature stage, {last}, and the predictor's corpus has no such modules: "
            f"{'their scores' if many else 'its score'} may mean little."
        )
    return early
