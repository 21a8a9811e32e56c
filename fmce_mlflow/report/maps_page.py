"""One HTML page on which a person looks at feature maps: over snapshots, modules and images, in one file.

Nothing here depends on MLflow. Every name that comes from outside is escaped.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeGuard

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray

from fmce_mlflow.method.convergence.verdict import Convergence
from fmce_mlflow.method.maps.bounds import FRAME
from fmce_mlflow.method.maps.pictures import ModulePictures
from fmce_mlflow.report.loss_chart import cursor_place, loss_chart
from fmce_mlflow.report.sprites import sprite
from fmce_mlflow.report.templating import render, script
from fmce_mlflow.safety.credentials import hide_credentials

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Moment:
    """A snapshot that is shown.

    Attributes:
        snapshot: Its number in the recording; None for a model as it is.
        figures: What is known of it, name → value as it is written.
    """

    snapshot: int | None
    figures: Mapping[str, str]


@dataclass(frozen=True, slots=True, eq=False)
class ShownModule:
    """A module that is shown.

    Attributes:
        name: Its dotted path.
        shape: Of its maps as they were recorded, (C, H, W).
        pictures: At each moment, for each image.
        fmcs: Its own FMCS at each moment, as it is written; empty where there is none.
        drift: What its feature drift says; None where it is not known.
        state: What else is to be known of it, in a few words.
    """

    name: str
    shape: tuple[int, ...]
    pictures: ModulePictures
    fmcs: tuple[str, ...] = ()
    drift: Convergence | None = None
    state: str = ""

    @property
    def variance(self) -> str:
        """How much of the variance is in the colours, by component."""
        shares = [f"{share:.0%}".rstrip("%") for share in self.pictures.shares]
        return f"{' + '.join(shares) or '0'}\N{NO-BREAK SPACE}% of variance"


@dataclass(frozen=True, slots=True, eq=False)
class MapsPage:
    """What the page shows.

    Attributes:
        title: Whose maps they are.
        facts: Lines below the title, name → text.
        moments: The S ≥ 1 snapshots that can be chosen, ascending.
        modules: At least one, each with pictures of S snapshots and n images.
        captions: Of the n images.
        photos: The images themselves, uint8 (n, H, W, 3); None where they are not known.
        loss: What the run's loss says; None where it is not known.
        verdict: Whether and when the run converged, in a sentence; empty for no run.
        notes: What was left out, and what the reader should know.
    """

    title: str
    facts: Mapping[str, str]
    moments: Sequence[Moment]
    modules: Sequence[ShownModule]
    captions: Sequence[str]
    photos: NDArray[np.uint8] | None = None
    loss: Convergence | None = None
    verdict: str = ""
    notes: Sequence[str] = ()


def averaged(modules: Sequence[ShownModule]) -> list[str]:
    """Which modules' maps have fewer positions on the page than in the recording."""
    found = []
    for module in modules:
        size = module.pictures.colours.shape[2:4]
        if size != tuple(module.shape[1:]):
            found.append(f"Maps of `{module.name}` are averaged to {' × '.join(map(str, size))} positions.")
    return found


def maps_page(page: MapsPage) -> str:
    """The page, HTML to be written as UTF-8.

    Without scripts it shows the last snapshot, and all figures as a table.

    Example:
        >>> from fmce_mlflow.method.maps.pictures import module_pictures
        >>> maps = [np.random.default_rng(t).normal(size=(2, 8, 5, 5)) for t in range(3)]
        >>> html = maps_page(MapsPage(
        ...     "a run", {}, [Moment(t, {}) for t in range(3)],
        ...     [ShownModule("layer4", (8, 5, 5), module_pictures(maps))], ["cat", "dog"],
        ... ))
        >>> "layer4" in html and 'src="http' not in html
        True
    """
    last = len(page.moments) - 1
    code, source = script("maps.js")
    return render(
        "maps.html.j2",
        page=page,
        rows=[_row(module, page) for module in page.modules],
        last=last,
        names=[_named(page, moment) for moment in page.moments],
        photos=None if page.photos is None else [sprite(photo[None, None]) for photo in page.photos],
        photo_box=None if page.photos is None else _view(page.photos.shape[1:3], 0),
        photo_size=None if page.photos is None else [side + 2 * FRAME for side in page.photos.shape[2:0:-1]],
        point=_point(page),
        loss=_chart(page.loss, page, "The run"),
        columns=list(dict.fromkeys(name for moment in page.moments for name in moment.figures)),
        data=_data(page),
        code=code,
        source=source,
    )


@dataclass(frozen=True, slots=True)
class _Row:
    """A module as the template needs it."""

    module: ShownModule
    strips: list[Markup]  # by image, the pictures of all moments side by side
    size: tuple[int, int]  # of a strip
    box: str  # of the last moment in it
    drift: Markup | None


def _row(module: ShownModule, page: MapsPage) -> _Row:
    colours = module.pictures.colours  # (S, n, h, w, 3)
    moments, images, height, width = colours.shape[:4]
    return _Row(
        module,
        [sprite(colours[:, i][None]) for i in range(images)],
        (moments * (width + 2 * FRAME), height + 2 * FRAME),
        _view((height, width), moments - 1),
        _chart(module.drift, page, f"Feature drift of {module.name}"),
    )


def _point(page: MapsPage) -> float | None:
    """Where T stands between the first and the last moment, as a share of the way."""
    snapshots = [moment.snapshot or 0 for moment in page.moments]
    if page.loss is None or page.loss.point is None or not snapshots[0] <= page.loss.point <= snapshots[-1]:
        return None
    return float(np.interp(page.loss.point, snapshots, np.linspace(0, 1, len(snapshots))))


def _view(size: Sequence[int], column: int) -> str:
    """The view box of one picture of a sprite's first row."""
    height, width = size
    return f"{column * (width + 2 * FRAME) + FRAME} {FRAME} {width} {height}"


def _chart(found: Convergence | None, page: MapsPage, owner: str) -> Markup | None:
    if not _drawn(found):
        return None
    return loss_chart(found, label=f"{owner}. {found.verdict()}", cursor=page.moments[-1].snapshot or 0)


def _drawn(found: Convergence | None) -> TypeGuard[Convergence]:
    """Whether a sequence can be drawn: it is known, and finite."""
    return found is not None and bool(np.isfinite(found.losses).all())


def _data(page: MapsPage) -> dict[str, Any]:
    """What the script needs besides what is in the page."""
    return {
        "moments": [
            {"name": _named(page, moment), "figures": [[k, v] for k, v in moment.figures.items()]}
            for moment in page.moments
        ],
        "modules": [_module_data(module, page.moments) for module in page.modules],
        "captions": [hide_credentials(_numbered(i, caption)) for i, caption in enumerate(page.captions, 1)],
        "loss": _places(page.loss, page.moments),
        "frame": FRAME,
    }


def _numbered(number: int, caption: str) -> str:
    """Which image it is, with its caption where that says more."""
    return caption if caption == f"image {number}" else f"image {number} ({caption})"


def _named(page: MapsPage, moment: Moment) -> str:
    return "" if moment.snapshot is None else f"Snapshot {moment.snapshot} of {page.moments[-1].snapshot}"


def _module_data(module: ShownModule, moments: Sequence[Moment]) -> dict[str, Any]:
    tiles = module.pictures.tiles  # (S, n, K, h, w)
    return {
        "name": hide_credentials(module.name),
        "size": module.pictures.colours.shape[2:4][::-1],
        "channels": module.pictures.channels,
        "tile": tiles.shape[3:][::-1],
        "sheets": [sprite(tiles[:, i].swapaxes(0, 1)) for i in range(tiles.shape[1])],
        "fmcs": module.fmcs,
        "drift": _places(module.drift, moments),
    }


def _places(found: Convergence | None, moments: Sequence[Moment]) -> list[float]:
    """Where the cursor of a chart stands at each moment."""
    return [] if not _drawn(found) else [round(cursor_place(found, moment.snapshot or 0), 1) for moment in moments]
