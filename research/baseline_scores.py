"""Published figures of how well a network is trained, which need no labels: baselines to the score of FMCE-Net.

Each is one number of a module, or of the network, at one snapshot. ``research/baselines.py`` maps each to FMCS
monotonically and scores it on networks that the map was not fitted to. All but WeightWatcher are made here;
WeightWatcher (``pip install weightwatcher``) is no dependency of the package.

=========================== ========================================================================================
``rankme``                  RankMe (arXiv 2210.02885): the effective rank of the pooled maps, not centred
``alpha_req``               α-ReQ (Agrawal et al. 2022): how fast the eigenvalues of their covariance fall
``activation_deviation``    (arXiv 2403.02473): their deviation over images, mean over channels
``lidar``                   LiDAR (arXiv 2312.04000): the effective rank of what tells images apart, seen by how views
                            of one image differ
``gdscore``                 GdScore (arXiv 2401.08909): norm of the head's gradient for pseudo-labels; of the network
``weightwatcher_alpha``     WeightWatcher's α (Martin, Peng and Mahoney 2021), mean over the module's layers; over the
                            network's where the module has none that it can fit, as a norm after the last stage
=========================== ========================================================================================
"""

from __future__ import annotations

import contextlib
import io
import logging
import math
import warnings
from collections.abc import Iterator, Sequence
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fmce_mlflow.errors import FmceError
from fmce_mlflow.method.evidence.views import augmented
from fmce_mlflow.method.networks.capture import capture

NAMES = ("rankme", "alpha_req", "activation_deviation", "lidar", "gdscore", "weightwatcher_alpha")
NOTHING = float("nan")
BATCH = 64
TINY = 1e-12
ENTROPY_FLOOR = 1e-7  # RankMe's ε, added to each share
WITHIN_FLOOR = 1e-4  # LiDAR's δ, on the diagonal of the covariance within images
FIRST_RANK, LAST_RANK = 10, 100  # between which α-ReQ fits the spectrum
CONFIDENT, NORM = 0.5, 0.3  # GdScore's τ and p


def baseline_scores(
    network: nn.Module,
    module_name: str,
    pixels: Tensor,
    *,
    views: Sequence[Tensor] | None = None,
    watch_weights: bool = True,
) -> dict[str, float]:
    """All baselines of one module of a network, by the names of :data:`NAMES`; NaN where one is not defined.

    Args:
        network: In any mode, which it keeps.
        module_name: A module with one feature map.
        pixels: Images (n, 3, H, W) as the network takes them, 64 or more.
        views: Augmented views of them for LiDAR, each (n, 3, H, W); None: four of ``evidence.views``; an empty list
            leaves it out.
        watch_weights: Whether to ask WeightWatcher, which takes up to some seconds.
    """
    features = pooled_maps(network, module_name, pixels)
    shown = augmented(pixels, seed=0) if views is None else views
    seen = [pooled_maps(network, module_name, view) for view in shown]
    return {
        **of_features(features, torch.stack(seen, 1) if seen else None),
        "gdscore": gdscore(network, pixels),
        "weightwatcher_alpha": _alpha(network, module_name) if watch_weights else NOTHING,
    }


def _alpha(network: nn.Module, module_name: str) -> float:
    own = weightwatcher_alpha(network.get_submodule(module_name))
    return own if math.isfinite(own) else weightwatcher_alpha(network)


def of_features(features: Tensor, views: Tensor | None) -> dict[str, float]:
    """Those that need pooled maps (n, C) alone, and for LiDAR those of q views (n, q, C)."""
    return {
        "rankme": rankme(features),
        "alpha_req": alpha_req(features),
        "activation_deviation": activation_deviation(features),
        "lidar": NOTHING if views is None else lidar(views),
    }


def pooled_maps(network: nn.Module, module_name: str, pixels: Tensor) -> Tensor:
    """Maps averaged over positions, float64 (n, C)."""
    found = []
    with torch.no_grad(), capture(network, [module_name]) as forward:
        for batch in pixels.split(BATCH):
            _, maps = forward(batch)
            found.append(next(iter(maps.values())).double().mean((2, 3)))
    return torch.cat(found)


def rankme(features: Tensor) -> float:
    """exp of the entropy of the singular values of features (n, C), as shares of their sum.

    >>> round(rankme(torch.eye(4)), 3), round(rankme(torch.ones(4, 3)), 3)
    (4.0, 1.0)
    """
    return _entropic_rank(torch.linalg.svdvals(features.double()))


def _entropic_rank(values: Tensor) -> float:
    if not bool(torch.isfinite(values).all()) or values.sum() <= TINY:
        return NOTHING
    shares = values / values.sum() + ENTROPY_FLOOR
    return float((-(shares * shares.log()).sum()).exp())


def alpha_req(features: Tensor) -> float:
    """α of the eigenvalues λ_k ∝ k^−α of the covariance of features (n, C), a line through log λ over log k.

    As its authors fit it: from the eleventh eigenvalue to the hundredth, weighted by 1/k. Of fewer than forty, the
    first quarter is left out instead of ten; eigenvalues that are zero but for rounding are no part of it.

    >>> powers = torch.arange(1, 65).double() ** -1.5  # eigenvalues of the covariance of these 128 vectors
    >>> vectors = torch.cat([powers.sqrt().diag(), -powers.sqrt().diag()])
    >>> round(alpha_req(vectors), 6)
    1.5
    """
    centred = features.double() - features.double().mean(0)
    values = torch.linalg.svdvals(centred).square()
    values = values[values > TINY * values.max()]
    first, last = min(FIRST_RANK, len(values) // 4), min(LAST_RANK, len(values))
    if last - first < 3:
        return NOTHING
    rank = torch.arange(first + 1, last + 1).double()
    x, y, weight = rank.log(), values[first:last].log(), 1 / rank
    x, y = x - (weight * x).sum() / weight.sum(), y - (weight * y).sum() / weight.sum()
    return float(-(weight * x * y).sum() / (weight * x * x).sum())


def activation_deviation(features: Tensor) -> float:
    """Deviation over images, mean over channels.

    >>> activation_deviation(torch.tensor([[0.0, 1.0], [2.0, 1.0]]))
    0.5
    """
    return float(features.double().std(0, correction=0).mean())


def lidar(views: Tensor) -> float:
    """exp of the entropy of the eigenvalues of W^−½ B W^−½, for features (n, q, C) of q views of each image.

    B is the covariance of the images' means, W that of views about the mean of their image, and δ = 1e-4 on its
    diagonal. Features are brought to a mean square of 1 first, for δ has their unit.

    >>> angles = torch.arange(8).double() * torch.pi / 4
    >>> corners = torch.stack([angles.cos(), angles.sin()], 1)[:, None].expand(8, 4, 2)
    >>> round(lidar(corners), 3)
    2.0
    """
    views = views.double() / views.double().square().mean().sqrt().clamp_min(TINY)
    means = views.mean(1)  # (n, C)
    apart, within = means - means.mean(0), (views - means[:, None]).flatten(0, 1)
    between = apart.T @ apart / len(means)  # (C, C)
    inside = within.T @ within / len(within) + WITHIN_FLOOR * torch.eye(within.shape[1], dtype=torch.float64)
    root = torch.linalg.cholesky(inside)
    whitened = torch.linalg.solve_triangular(root, between, upper=False)  # W^−½ up to a rotation: same eigenvalues
    whitened = torch.linalg.solve_triangular(root, whitened.T, upper=False)
    return _entropic_rank(torch.linalg.eigvalsh(whitened).clamp_min(0))


def gdscore(network: nn.Module, pixels: Tensor, *, seed: int = 0) -> float:
    """‖∇‖ₚ with p = 0.3 of the mean cross-entropy of pseudo-labels over the weights of the network's last layer.

    The pseudo-label of an image is its likeliest class where that has a probability above 0.5, else one drawn at
    random. NaN for a network whose output is no class scores (n, K).

    >>> net = nn.Linear(1, 2, bias=False)
    >>> _ = nn.init.constant_(net.weight, 0)
    >>> round(gdscore(net, torch.ones(1, 1)), 4)  # ±½ for either label: (2 · ½^0.3)^(1 / 0.3)
    5.0397
    """
    head = _last_layer(network, pixels[:2])
    if head is None:
        return NOTHING
    generator = torch.Generator().manual_seed(seed)
    total = torch.zeros_like(head.weight)
    with _only(network, head.weight):
        for batch in pixels.split(BATCH):
            scores = network(batch)
            if not isinstance(scores, Tensor) or scores.dim() != 2:
                return NOTHING
            sure, labels = scores.detach().softmax(1).max(1)
            drawn = torch.randint(scores.shape[1], labels.shape, generator=generator)
            labels = torch.where(sure > CONFIDENT, labels, drawn)
            (gradient,) = torch.autograd.grad(F.cross_entropy(scores, labels, reduction="sum"), head.weight)
            total += gradient
    size = (total / len(pixels)).double().abs()
    return float(size.pow(NORM).sum().pow(1 / NORM))


def _last_layer(network: nn.Module, pixels: Tensor) -> Any | None:
    """The module with a weight of two or more dimensions whose call is the last to end."""
    ended: list[nn.Module] = []
    hooks = [
        module.register_forward_hook(lambda module, _, __: ended.append(module))
        for module in network.modules()
        if isinstance(getattr(module, "weight", None), nn.Parameter) and module.weight.dim() >= 2
    ]
    try:
        with torch.no_grad(), _only(network, None):
            network(pixels)
    finally:
        for hook in hooks:
            hook.remove()
    return ended[-1] if ended else None


@contextlib.contextmanager
def _only(network: nn.Module, weight: Tensor | None) -> Iterator[None]:
    """The network in eval mode, with a gradient for one of its weights; afterwards as it was."""
    modes = [(module, module.training) for module in network.modules()]
    asked = [(parameter, parameter.requires_grad) for parameter in network.parameters()]
    try:
        network.eval()
        for parameter, _ in asked:
            parameter.requires_grad_(parameter is weight)
        yield
    finally:
        for module, mode in modes:
            module.training = mode
        for parameter, wanted in asked:
            parameter.requires_grad_(wanted)


def weightwatcher_alpha(module: nn.Module) -> float:
    """The mean over layers of WeightWatcher's α, as its summary has it; NaN where it can fit none.

    Raises:
        FmceError: It is not installed.
    """
    watcher = _weightwatcher()
    quiet = io.StringIO()  # it prints a line for every layer with few eigenvalues
    with contextlib.redirect_stdout(quiet), contextlib.redirect_stderr(quiet), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            with torch.no_grad():
                details = watcher.WeightWatcher(model=module).analyze()
        except Exception:  # of a module without a layer that it knows, it raises what comes
            return NOTHING
    return float(details["alpha"].mean()) if "alpha" in details else NOTHING


@cache
def _weightwatcher() -> Any:
    """The package, without what its import prints, and without the root logger's handler and level that it sets."""
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            import weightwatcher
    except ImportError as error:
        raise FmceError("This baseline is WeightWatcher's own: pip install weightwatcher.") from error
    finally:
        root.handlers[:] = handlers
        root.setLevel(level)
    logging.getLogger("weightwatcher").setLevel(logging.CRITICAL)
    return weightwatcher
