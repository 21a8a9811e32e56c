"""Whether a module's maps tell images apart rather than views of the same image, without labels.

The rank is that of LiDAR (Thilak et al. 2023, arXiv 2312.04000), in which each image is a class of its own and its
augmented views are the class's samples.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from torch import Tensor
from torch.nn import functional as F

VIEWS = 4
VIEW_FIGURES: tuple[str, ...] = (
    "view rank",
    "view within",
    "view cosine",
    "view image cosine",
    "view neighbours",
)
_AREA = (0.6, 1.0)  # of the image, that is shown
_RATIO = 1.15  # the most that a crop's width is larger against its height than the image's, or smaller
_SHIFT = 0.1  # of the width, to either side; what comes in is the border
_CONTRAST = 0.2  # by how much it differs at most
_BRIGHTNESS, _NOISE = 0.1, 0.05  # in standard deviations of the batch's pixels
_LEAST_DELTA = 1e-9  # of the largest variance, where views do not differ


def augmented(pixels: Tensor, *, seed: int) -> Iterator[Tensor]:
    """Views of images as the model takes them, normalised or not: (n, C, H, W) each, :data:`VIEWS` of them.

    Each image is cropped to 60 to 100 % of its area, resized, moved to a side, and changed a little in contrast and
    brightness; noise is added. There are no mirror images, since digits and letters have none. Strengths are relative
    to the deviation of each channel over all images, and no value leaves the channel's range. What is drawn depends on
    ``seed`` and the shape alone.

    Example:
        >>> views = list(augmented(torch.rand(2, 3, 8, 8), seed=0))
        >>> len(views), views[0].shape
        (4, torch.Size([2, 3, 8, 8]))
    """
    values = pixels.float()
    low, high = values.amin((0, 2, 3), keepdim=True), values.amax((0, 2, 3), keepdim=True)
    deviation = values.std((0, 2, 3), correction=0, keepdim=True)  # (1, C, 1, 1)
    for view in range(VIEWS):
        draw = torch.Generator().manual_seed(VIEWS * seed + view)
        shown = _cropped(values, draw)
        contrast, brightness = _uniform(len(values), 2, draw).to(values.device)[..., None, None, None].unbind(1)
        mean = shown.mean((2, 3), keepdim=True)
        shown = mean + (shown - mean) * (1 + _CONTRAST * contrast) + _BRIGHTNESS * deviation * brightness
        noise = torch.randn(values.shape, generator=draw).to(values.device)
        shown = torch.clamp(shown + _NOISE * deviation * noise, low, high)
        yield (shown if pixels.is_floating_point() else shown.round()).to(pixels.dtype)


def view_agreement(maps: Tensor) -> dict[str, float]:
    """Agreement of maps (views, n, C, H, W) between views of one image, after the mean over positions.

    ================== ===============================================================================================
    view rank          LiDAR: effective rank of Σ_w^-½ Σ_b Σ_w^-½ over the largest possible, min(n − 1, C), in (0, 1]
    view within        share of the variance that lies between views of the same image, in [0, 1]
    view cosine        mean cosine of two views of one image, less the mean of all maps, in [−1, 1]
    view image cosine  mean cosine of the mean maps of two images, in [−1, 1]
    view neighbours    share of views whose nearest other view, by cosine less the mean, is of the same image
    ================== ===============================================================================================

    Returns:
        By name of :data:`VIEW_FIGURES`; all NaN where there are fewer than two views or images, maps that are all
        alike, or values that are not finite.

    Example:
        >>> images = torch.eye(3)[None, :, :, None, None]  # three images, of which views do not differ
        >>> found = view_agreement(images.expand(4, -1, -1, 2, 2))
        >>> [round(value, 2) for value in found.values()]
        [1.0, 0.0, 1.0, 0.0, 1.0]
    """
    pooled = maps.detach().flatten(3).mean(3, dtype=torch.float64).cpu()  # (v, n, C)
    views, n = pooled.shape[:2]
    size = float(pooled.abs().amax()) if pooled.numel() else 0.0
    unknown = dict.fromkeys(VIEW_FIGURES, float("nan"))
    if min(views, n) < 2 or not math.isfinite(size) or size == 0:
        return unknown
    pooled = pooled / size
    means = pooled.mean(0)  # (n, C)
    centre = means.mean(0)  # (C,)
    centred = pooled - centre
    total = float(centred.square().mean())
    if total <= 1e-12:
        return unknown
    unit = F.normalize(centred, dim=2).transpose(0, 1).flatten(0, 1)  # (n·v, C), the views of an image in a row
    cosines = unit @ unit.T
    image = torch.arange(n * views) // views
    others = (image == image[:, None]).fill_diagonal_(False)
    nearest = cosines.fill_diagonal_(-2.0).argmax(1)
    of_images = F.normalize(means, dim=1)
    figures = (
        _lidar(centred),
        float((pooled - means).square().mean()) / total,
        float(cosines[others].mean()),
        (float(of_images.sum(0).square().sum()) - n) / (n * (n - 1)),
        float((image[nearest] == image).double().mean()),
    )
    return dict(zip(VIEW_FIGURES, figures, strict=True))


def _lidar(centred: Tensor) -> float:
    """Effective rank of the matrix of linear discriminant analysis of (v, n, C), over the largest possible.

    It is computed in the span of the data, outside of which nothing lies between images, so that it takes as long for
    any number of channels. Few views say little of how images differ within: δ is the mean variance within images.
    """
    views, n, channels = centred.shape
    flat = centred.flatten(0, 1)  # (v·n, C)
    size, axes = torch.linalg.eigh(flat @ flat.T)
    kept = size > size[-1] * 1e-10
    inside = (axes[:, kept] * size[kept].sqrt()).reshape(views, n, -1)  # (v, n, r)
    means = inside.mean(0)  # (n, r)
    rest = (inside - means).flatten(0, 1)
    within = rest.T @ rest / len(rest)
    delta = float(within.diagonal().mean()) + _LEAST_DELTA * float(size[-1]) / len(flat)
    size, axes = torch.linalg.eigh(within)
    whitened = means @ (axes / (size.clamp_min(0) + delta).sqrt())  # (n, r)
    spectrum = torch.linalg.eigvalsh(whitened @ whitened.T).clamp_min(0)
    if float(spectrum.sum()) <= 1e-12:
        return float("nan")  # images do not differ
    shares = spectrum / spectrum.sum()
    return float((-torch.xlogy(shares, shares).sum()).exp()) / min(n - 1, channels)


def _cropped(pixels: Tensor, draw: torch.Generator) -> Tensor:
    """A part of each image, resized to its own size."""
    area, ratio, across, down, shift = _uniform(len(pixels), 5, draw).unbind(1)  # (n,) each
    area = _AREA[0] + (_AREA[1] - _AREA[0]) * (area + 1) / 2
    stretch = (ratio * math.log(_RATIO) / 2).exp()
    width, height = (area.sqrt() * stretch).clamp_max(1), (area.sqrt() / stretch).clamp_max(1)
    zero = torch.zeros_like(width)
    x, y = across * (1 - width) + 2 * _SHIFT * shift, down * (1 - height)
    change = torch.stack([torch.stack([width, zero, x], 1), torch.stack([zero, height, y], 1)], 1)  # (n, 2, 3)
    grid = F.affine_grid(change, list(pixels.shape), align_corners=False).to(pixels.device)
    return F.grid_sample(pixels, grid, padding_mode="border", align_corners=False)


def _uniform(rows: int, columns: int, draw: torch.Generator) -> Tensor:
    """Numbers between −1 and 1."""
    return 2 * torch.rand(rows, columns, generator=draw) - 1
