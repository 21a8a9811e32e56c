"""BatchNorm's running statistics computed anew on the images at hand, and how far a module's maps then move.

Running statistics follow the weights with a delay, and come from the images of the training. So maps in eval mode tell
of this bookkeeping too: the statistics of a network that was never trained are 0 and 1, those of one that learns fast
lag behind, those of one that was moved to other images belong to the old ones. A settled network knows none of it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from contextlib import nullcontext
from typing import Any

import torch
from torch import Tensor, nn

from fmce_mlflow.method.convergence.drift import linear_cka
from fmce_mlflow.method.evidence.batch_norm import Settling
from fmce_mlflow.method.networks.batches import inputs_of, placed
from fmce_mlflow.method.networks.copies import copied
from fmce_mlflow.method.networks.forward import told_if_refused
from fmce_mlflow.method.networks.model_forms import Call, call_of, unwrap
from fmce_mlflow.method.networks.take_maps import device_of, random_state_kept

GAP_FIGURES: tuple[str, ...] = (
    "gap drift",  # 1 - linear CKA
    "gap turn",  # 1 - mean cosine of an image's maps with its settled ones
    "gap size",  # log of root mean square, settled over raw
    "gap deviations",  # mean absolute log ratio of the channels' deviations
    "gap means",  # root mean square shift of the channels' means, in deviations of the settled maps; log(1 + x)
)
"""How far maps lie from settled ones; all are 0 where BatchNorm's statistics are those of the images."""

LARGE_DRIFT = 0.1
"""A ``gap drift`` above which maps are another thing than the settled ones."""

_TINY = 1e-12


def settled(
    network: nn.Module,
    batches: Iterable[Any],
    *,
    fixed_batch: int | None = None,
    call: Call | None = None,
    in_place: bool = False,
) -> nn.Module | None:
    """A copy of a network whose BatchNorm layers have the statistics of the given images.

    One pass, in which every BatchNorm normalises by its batch as in training mode, so that later layers see what
    earlier ones will give; all else stays in eval mode. What counts is the operator that normalises, not a class:
    layers of torch, timm and users are alike, and so are those of an exported network, operators of its graph.
    Batches are pooled: means and variances are those of all images, however they were split. A layer that is called
    several times in a pass, as a head on several levels, gets the average over its calls.

    Give as many images at a time as fit: those of a batch of few are normalised by few, and each layer's statistics
    then spoil the next one's. An untrained ShuffleNet v2's maps of 32 images differ by 0.14 (one minus CKA) between one
    batch and two, and by 0.7 from batches of one.

    What stays as it was: layers that are not called, that have seen a single value per channel, or that keep no
    running statistics; those that are frozen into a scale and an offset, as torchvision's ``FrozenBatchNorm2d``, whose
    statistics are constants that their network was fitted to; ``num_batches_tracked`` and momentum. The given network
    and PyTorch's random states are left alone.

    Args:
        network: Eager, wrapped, or from ``load_exported``.
        batches: Images (b, C, H, W), lists of (C, H, W), pairs that begin with these, or dicts, which become keywords;
            with ``call`` anything.
        fixed_batch: How many images the network takes at a time, where it takes no other number.
        call: Calls the network with a batch.
        in_place: Settle the given network, which is put into eval mode, instead of a copy.

    Returns:
        The copy, on the same device, in eval mode; None where no layer called has statistics to settle.

    Raises:
        ModelError: If the network fails on the images.

    Example:
        >>> net = nn.Sequential(nn.BatchNorm2d(1)).eval()
        >>> [round(float(settled(net, [torch.full((4, 1, 2, 2), v)])[0].running_mean), 6) for v in (3.0, 5.0)]
        [3.0, 5.0]
    """
    original = unwrap(network)
    if sum(value.is_floating_point() for value in original.buffers()) < 2:
        return None
    forward = call_of(call)
    with (
        torch.inference_mode(False),
        torch.no_grad(),
        random_state_kept(original),
        torch.autocast(device_of(original).type, enabled=False),
    ):
        made = (original if in_place else copied(original)).eval()
        settling = Settling(made)
        for given in batches:
            batch = placed(made, given if call is not None else inputs_of(given))
            for part in _parts(batch, fixed_batch):
                with told_if_refused(part) if isinstance(part, Tensor) else nullcontext(), settling:
                    forward(made, part)
                settling.next_pass()
            if not settling.found:
                return None
        return made if settling.write() else None


def _parts(batch: Any, size: int | None) -> Iterator[Any]:
    """A batch in parts of a fixed size; the last one is filled up with images from the beginning."""
    if size is None or not isinstance(batch, Tensor):
        yield batch
        return
    places = torch.arange(-(-len(batch) // size) * size, device=batch.device) % len(batch)
    yield from (batch[part] for part in places.split(size))


def gap(raw: Tensor, settled: Tensor) -> dict[str, float]:
    """How far the maps of n images (n, C, H, W), as they are, lie from those of the settled network.

    Returns:
        :data:`GAP_FIGURES`, each 0 where nothing moved; all NaN for fewer than two images, or values that are not
        finite.

    Raises:
        ValueError: Maps of two shapes.

    Example:
        >>> maps = torch.rand(8, 4, 2, 2, generator=torch.Generator().manual_seed(0))
        >>> {name: round(value, 3) for name, value in gap(maps, 2 * maps).items()}
        {'gap drift': 0.0, 'gap turn': 0.0, 'gap size': 0.693, 'gap deviations': 0.693, 'gap means': 0.631}
    """
    if raw.shape != settled.shape:
        raise ValueError(f"Maps of one module and the same images, got {tuple(raw.shape)} and {tuple(settled.shape)}.")
    before, after = (maps.detach().cpu().double().flatten(2).mT.contiguous() for maps in (raw, settled))  # (n, P, C)
    sums = [float(maps.square().sum()) for maps in (before, after)]
    if len(raw) < 2 or not raw.numel() or not all(map(math.isfinite, sums)):
        return dict.fromkeys(GAP_FIGURES, math.nan)
    sizes = [math.sqrt(total / raw.numel()) for total in sums]
    before, after = (maps.div_(max(size, _TINY)) for maps, size in zip((before, after), sizes, strict=True))
    ratio = math.log(max(sizes[1], _TINY) / max(sizes[0], _TINY))
    means = [maps.mean((0, 1)) for maps in (before, after)]  # (C,)
    deviations = [
        (maps - mean).square_().mean((0, 1)).sqrt() + 1e-3 for maps, mean in zip((before, after), means, strict=True)
    ]  # (C,), of maps of size 1
    shift = (means[0] * (sizes[0] / max(sizes[1], _TINY)) - means[1]) / deviations[1]
    figures = (
        1 - linear_cka(before.numpy(), after.numpy()),
        1 - float(_cosines(before.flatten(1), after.flatten(1)).mean()),
        ratio,
        float(((deviations[1] / deviations[0]).log() + ratio).abs().mean()),
        math.log1p(float(shift.square().mean().sqrt())),
    )
    return dict(zip(GAP_FIGURES, figures, strict=True))


def _cosines(one: Tensor, other: Tensor) -> Tensor:
    """Of the rows of (n, D): (n,); 1 where they are equal, also of zeros."""
    products = torch.bmm(one[:, None], other[:, :, None]).flatten()
    norms = [torch.linalg.vector_norm(each, dim=1).clamp_min(1e-8) for each in (one, other)]
    same = (one == other).all(1)
    return torch.where(same, 1.0, products / norms[0] / norms[1])


def said(figures: dict[str, float]) -> str | None:
    """The gap of a module in a sentence, where it is large.

    Example:
        >>> said(dict.fromkeys(GAP_FIGURES, 0.0)) is None
        True
    """
    if not figures["gap drift"] > LARGE_DRIFT:
        return None
    return (
        f"Its maps change by {figures['gap drift']:.2f} (one minus CKA) when BatchNorm's running statistics are "
        "computed anew on these images: they lag behind the weights, or come from other images."
    )
