"""Grad-CAM of the modules that are evaluated: focus over some images, and a panel of a few."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from fmce_mlflow.errors import CaptureError, ModelError
from fmce_mlflow.evaluation.choices import Notes, Setup, choose_target
from fmce_mlflow.evaluation.findings import EvaluatedImages, Picture
from fmce_mlflow.method.images.input_batches import Batch
from fmce_mlflow.method.images.preprocessing import Preprocessing
from fmce_mlflow.method.networks.forward import padded, told_if_refused
from fmce_mlflow.method.networks.layout import TokenGrid
from fmce_mlflow.method.saliency.grad_cam import ScoreTarget, cams, focus, resized
from fmce_mlflow.method.saliency.history import input_images
from fmce_mlflow.report.saliency_figure import saliency_figure, spread
from fmce_mlflow.report.style import png
from fmce_mlflow.runs.torch_models import TorchModel
from fmce_mlflow.wording import some

SHOWN = 8  # the most images in the panel
AT_ONCE = 12  # modules that a backward pass asks about: it keeps the maps of all


@dataclass(frozen=True, slots=True, eq=False)
class Saliency:
    """What Grad-CAM shows of a model's modules."""

    indices: NDArray[np.int64]  # the images that were asked about, at least one
    focus: dict[str, NDArray[np.float64]]  # by module that was asked about, each image's focus (m,)
    panel: NDArray[np.uint8]  # the first images as the model sees them, (k, H, W, 3)
    maps: dict[str, NDArray[np.float32]]  # by module that is shown, Grad-CAM of those, (k, H, W)

    def by_image(self, module: str, images: int) -> NDArray[np.float64]:
        """A module's focus for each of all images, float64 (images,); NaN for those that were not asked about."""
        found = np.full(images, np.nan)
        found[self.indices] = self.focus[module]
        return found

    def picture(self, images: EvaluatedImages, title: str) -> Picture:
        """The panel, each image with its label."""
        labels = [images.label(int(index)) for index in self.indices[: len(self.panel)]]
        figure = saliency_figure(self.panel, self.maps, labels, title=f"Grad-CAM of {title}")
        many = f" ({len(self.maps)} of {len(self.focus)} modules)" if len(self.focus) > len(self.maps) else ""
        text = f"Grad-CAM of {', '.join(self.maps)}{many} over {len(labels)} images, with the focus of each"
        return Picture(png(figure, dpi=200), text)


def take_saliency(setup: Setup, modules: Sequence[str], outputs: int | None, notes: Notes) -> Saliency | None:
    """Grad-CAM of modules over some of the images; None where it is not wanted, or not possible and not asked for.

    ``outputs`` is how many classes the model scores.

    Raises:
        ConfigError: If labels are to be asked about and there are none.
        CaptureError: If it is asked for, and a target is needed or no gradient reaches a module.
        ModelError: If it is asked for, and the model fails where gradients are recorded.
    """
    wanted, probe = setup.config.saliency_images, setup.probe
    if not wanted:
        return None
    asked = list(modules) if setup.config.saliency is not None else spread(modules)
    if len(asked) < len(modules):
        notes.choices.append(
            f"Grad-CAM is taken of {len(asked)} of the {len(modules)} modules; with `saliency` set, it is of all."
        )
    places = np.unique(np.linspace(0, len(probe) - 1, min(wanted, len(probe))).astype(np.int64))
    preprocessing = None if setup.inputs.is_float() else setup.preprocessing
    try:
        target, grid = choose_target(setup, outputs), setup.config.token_grid
        parts = [
            _cams(setup.model, asked[i : i + AT_ONCE], setup.batches(probe[places]), target, preprocessing, grid)
            for i in range(0, len(asked), AT_ONCE)
        ]
    except (CaptureError, ModelError) as error:
        if setup.config.saliency is not None:
            raise
        notes.warnings.append(f"There is no Grad-CAM: {error}")
        return None
    found = _together(parts)
    blank = [name for name, values in found.focus.items() if not values.any()]
    if blank:
        notes.warnings.append(
            f"Grad-CAM shows nothing in {some(blank)}: the map has a single position, or no positive gradient "
            "reaches it, as when only a transformer's class token is read. Name a module before it."
        )
    return found


def _together(parts: Sequence[Saliency]) -> Saliency:
    """What was found of several groups of modules, with the maps of those that are shown."""
    focus, maps = (
        {k: v for one in parts for k, v in one.focus.items()},
        {k: v for p in parts for k, v in p.maps.items()},
    )
    return replace(parts[0], focus=focus, maps={name: maps[name] for name in spread(list(maps))})


def _cams(
    model: TorchModel,
    modules: Sequence[str],
    batches: Iterable[Batch],
    target: Callable[[int], int | ScoreTarget] | None,
    preprocessing: Preprocessing | None,
    token_grid: TokenGrid | None,
) -> Saliency:
    """Grad-CAM over batches of images, in the memory that one batch takes; the first ones are kept for the panel."""
    indices: list[NDArray[np.int64]] = []
    found: dict[str, list[NDArray[np.float64]]] = {name: [] for name in modules}
    maps: dict[str, list[NDArray[np.float32]]] = {name: [] for name in modules}
    panel: list[NDArray[np.uint8]] = []
    for batch in batches:
        size = model.fixed_batch or len(batch.pixels)
        cuts = range(size, len(batch.indices), size)
        for chunk, members in zip(batch.pixels.split(size), np.split(batch.indices, cuts), strict=True):
            targets = None if target is None else [target(int(i)) for i in members]
            if targets and model.fixed_batch:
                targets = [targets[i % len(targets)] for i in range(size)]
            padded_chunk = padded(chunk, model.fixed_batch)
            with told_if_refused(padded_chunk):
                asked = cams(model.network, modules, padded_chunk, targets, token_grid)
            room = max(0, SHOWN - sum(map(len, panel)))
            for name, cam in asked.items():
                full = resized(cam[: len(chunk)], chunk.shape[2:])
                found[name].append(focus(full))
                maps[name].append(full[:room])
            indices.append(members)
            panel.append(input_images(chunk[:room], preprocessing))
    return Saliency(
        np.concatenate(indices),
        {name: np.concatenate(values) for name, values in found.items()},
        np.concatenate(panel),
        {name: np.concatenate(values) for name, values in maps.items()},
    )
