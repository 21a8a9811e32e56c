"""Feature maps of functional modules, taken with forward hooks in one forward pass.

What a *feature map* of a functional module is follows the outline of arXiv 2405.04041 (the output of the module for one
image); how outputs that are not (n, C, H, W) are read is ours and is described at :func:`capture`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from itertools import chain
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fmce_mlflow.errors import BackboneError, CaptureError, ConfigError
from fmce_mlflow.method.networks.batches import images_in
from fmce_mlflow.method.networks.layout import NOT_ONE_EACH, Known, Layout, Pass, TokenGrid
from fmce_mlflow.method.networks.model_forms import (
    Call,
    bare_name,
    forms_of_modules,
    probing,
    run,
    type_name,
    unwrap_with_prefix,
)
from fmce_mlflow.wording import did_you_mean

HOW_TO_LIST = "`fmce list-modules` prints the modules of a backbone, `model.named_modules()` has those of any model."
Leaf = tuple[tuple[str, ...], "Tensor | str"]  # where in the output; the map, or why it is none
Forward = Callable[..., tuple[Any, dict[str, Tensor]]]


@contextmanager
def capture(
    model: nn.Module,
    modules: Sequence[str],
    *,
    map_size: int | None = None,
    token_grid: TokenGrid | None = None,
    grad: bool = False,
    call: Call = run,
) -> Iterator[Forward]:
    """Take the feature maps of several modules, in one forward pass per batch.

    Inside the block the model is in eval mode; afterwards every submodule has its own training flag back and the hooks
    are gone, also when the forward raised. The maps of one call are not kept for the next.

    ============================= =============================================================================
    output of a module            maps
    ============================= =============================================================================
    (n, C, H, W)                  as it is
    (n, H, W, C), as of Swin      (n, C, H, W), where the images are square and H = W ≠ C tells the two apart, or
                                  H × W is the size of a map before it; otherwise it is taken for (n, C, H, W)
    (n, L, D) or (L, n, D) tokens (n, D, h, w): h and w are those of a convolution's or pooling's map before them,
                                  or half, a quarter … of the last one's; where there is none and the images are
                                  square, L − 0, 1, 2 or 5 must be a square. Class and register tokens, which come
                                  first, are dropped; otherwise ``token_grid`` has to say how they lie
    tuple, list, dict, dataclass  ``<module>.<key or position>`` each; parts that are no map are left out
    several calls in one forward  ``<module>.0``, ``<module>.1`` … in the order of the calls
    ============================= =============================================================================

    A map belongs to one image. Outputs with more or fewer rows than the batch has images, such as the regions of a
    detector or the windows inside an attention block, are none. The images are the first argument of the forward,
    (n, c, h, w) or a list of (c, h, w), or the first such thing in it; without any, the number of rows is not checked.

    The derived names can be asked for too: ``backbone.fpn.0`` is output "0" of ``backbone.fpn``, unless a submodule has
    that name. A module that is changed in place by what follows it (DenseNet's ``features``) gives its own output.

    ``DistributedDataParallel`` is unwrapped and ``torch.compile`` bypassed, so that one rank can probe alone and hooks
    are called. Names may carry their prefixes, ``module.`` and ``_orig_mod.``, or not.

    Args:
        model: An eager model, or one from :func:`~fmce_mlflow.method.networks.model_forms.load_exported`.
        modules: Dotted names of modules or of their outputs.
        map_size: Average-pool maps that are larger to at most (map_size, map_size); smaller ones are never enlarged.
        token_grid: (h, w) of token outputs, of which the last h·w are taken; or (h, w, before): how many come before.
        grad: Record gradients. The maps are then part of the graph from the images to the output, so that
            ``torch.autograd.grad(output, maps[name])`` works for modules that return one tensor, frozen ones included.
        call: Calls the network, unwrapped, with what ``forward`` is given.

    Yields:
        ``forward(*args, **kwargs)``, which returns the model's output and a dict from name to map, in the order of
        ``modules``: (n, C, H, W), floats of the module's own dtype, on its device, detached unless ``grad``.

    Raises:
        BackboneError: A name that the model does not have; from the first forward on where it may name an output.
        CaptureError: A module that was not called or whose output is no feature map, or a model in which hooks or eval
            mode cannot work.
        ConfigError: No module at all, or options that contradict each other.

    Example:
        >>> net = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(128, 10))
        >>> with capture(net, ["0", "1"], map_size=2) as forward:
        ...     output, maps = forward(torch.zeros(5, 3, 4, 4))
        >>> {name: tuple(value.shape) for name, value in maps.items()}
        {'0': (5, 8, 2, 2), '1': (5, 8, 2, 2)}
        >>> net.training
        True
    """
    names = [modules] if isinstance(modules, str) else list(dict.fromkeys(modules))
    _check_options(names, map_size, token_grid, grad)
    network, prefix = unwrap_with_prefix(model)
    known = Known.of(network, token_grid)
    wanted = [(name, bare_name(name, prefix)) for name in names]
    found = forms_of_modules(network)
    heads = {bare: locate(found, bare) for _, bare in wanted}
    calls: dict[str, list[list[Leaf]]] | None = None  # only while `forward` runs
    now, ended = Pass(), False

    def hook_of(head: str) -> Callable[[nn.Module, Any, Any], Any]:
        def hook(_module: nn.Module, _args: Any, output: Any) -> Any:
            if calls is None:
                return None
            if grad and isinstance(output, Tensor):
                leaf, output = _on_the_path(output, now, head)
                leaves: list[Leaf] = [((), leaf)]
            else:
                leaves = [(path, _map(value, now, ".".join((head, *path)))) for path, value in parts(output)]
                leaves = leaves if grad else [(path, _keep(leaf, map_size)) for path, leaf in leaves]
            calls.setdefault(head, []).append(leaves)
            return output

        return hook

    def attempt(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        nonlocal calls, now
        calls, now = {}, Pass(images_in(args[0]) if args else None, known)
        with torch.set_grad_enabled(grad), ExitStack() as hooks:
            for module in filter(shows_grid, chain.from_iterable(found.values())):
                hooks.callback(module.register_forward_hook(lambda _module, _args, output: now.see(output)).remove)
            return call(network, *args, **kwargs)

    def forward(*args: Any, **kwargs: Any) -> tuple[Any, dict[str, Tensor]]:
        nonlocal calls, now
        if ended:
            raise CaptureError("This capture has ended and its hooks are removed; call forward inside the with block.")
        try:
            output = attempt(args, kwargs)
            if now.unclear and isinstance(args[0], Tensor) and len(args[0]) > 1:
                with suppress(RuntimeError, CaptureError):  # of a model that takes this number of images alone
                    attempt((args[0][:-1], *args[1:]), kwargs)  # fewer images tell which axis counts them
                output = attempt(args, kwargs)
            return output, _chosen(wanted, heads, calls or {}, found)
        finally:
            calls, now = None, Pass()

    with ExitStack() as stack:
        stack.enter_context(probing(network))
        for head in dict.fromkeys(heads.values()):
            for module in found[head]:
                stack.callback(module.register_forward_hook(hook_of(head)).remove)
        try:
            yield forward
        finally:
            ended = True


def shows_grid(module: nn.Module) -> bool:
    """Whether a module is a convolution or pooling, whose map tells how tokens after it lie."""
    kind = type_name(module).rpartition(".")[2].lower()
    return any(word in kind for word in ("conv2d", "transpose2d", "pool2d"))


def parts(output: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Tensor]]:
    """The tensors of a module's output, each with its keys or positions."""
    items: Any = ()
    if isinstance(output, Tensor):
        yield path, output
    elif isinstance(output, Mapping):
        items = output.items()
    elif isinstance(output, (list, tuple)):
        items = enumerate(output)
    elif dataclasses.is_dataclass(output):
        items = vars(output).items()
    for key, value in items:
        yield from parts(value, (*path, str(key)))


def _check_options(names: Sequence[str], map_size: int | None, token_grid: TokenGrid | None, grad: bool) -> None:
    problems = []
    if not names:
        problems.append("modules must name at least one module, got none")
    if map_size is not None and map_size < 1:
        problems.append(f"map_size must be at least 1, got {map_size}")
    if token_grid is not None and (len(token_grid) not in (2, 3) or min(token_grid[:2]) < 1 or min(token_grid) < 0):
        problems.append(
            f"token_grid must be two numbers (h, w) of at least 1, or three with how many tokens come before, "
            f"got {token_grid}"
        )
    if grad and map_size is not None:
        problems.append("map_size cannot be used with grad=True: the output does not depend on pooled maps")
    if problems:
        raise ConfigError(problems)


def locate(found: Mapping[str, Any], name: str) -> str:
    """The module that ``name`` is, or is an output of."""
    head = name
    while head and head not in found:
        head = head.rpartition(".")[0]
    if head:
        return head
    raise BackboneError(f"The model has no module {name!r}.{did_you_mean(name, found, how_to_list=HOW_TO_LIST)}")


def _keep(found: Tensor | str, map_size: int | None) -> Tensor | str:
    """A map with memory of its own, since what follows may work in place (ReLU after BatchNorm).

    Channels that come last in memory stay there: to turn them takes as long as some layers do.
    """
    if isinstance(found, str):
        return found
    found = found.detach()
    if map_size is not None and max(found.shape[2:]) > map_size:
        return F.adaptive_avg_pool2d(found, (min(found.shape[2], map_size), min(found.shape[3], map_size)))
    return found.clone(memory_format=torch.channels_last if found.stride(1) == 1 else torch.contiguous_format)


def _map(output: Tensor, now: Pass, name: str) -> Tensor | str:
    """The map that an output is, or why it is none."""
    found = now.read(output, name)
    return found.map(output) if isinstance(found, Layout) else found


def _on_the_path(output: Tensor, now: Pass, name: str) -> tuple[Tensor | str, Tensor]:
    """The map, and a tensor equal to ``output`` that depends on it and may be changed in place."""
    if output.is_floating_point() and not output.requires_grad:
        output = output.detach().requires_grad_()  # frozen so far: the graph begins here
    layout = now.read(output, name)
    if isinstance(layout, str):
        return layout, output
    found = layout.map(output)
    return found, layout.output(found, output)


def _chosen(
    wanted: Iterable[tuple[str, str]],
    heads: Mapping[str, str],
    calls: Mapping[str, list[list[Leaf]]],
    found: Mapping[str, Any],
) -> dict[str, Tensor]:
    """The maps that were asked for, by the names that were used, with and without their prefix in ``wanted``."""
    maps: dict[str, Tensor] = {}
    for name, bare in wanted:
        for key, value in _select(bare, heads[bare], calls, found).items():
            key = name + key[len(bare) :]
            if maps.setdefault(key, value) is not value:
                raise CaptureError(f"{key!r} is a module and an output of another. Capture them one by one.")
    return maps


def _select(name: str, head: str, calls: Mapping[str, list[list[Leaf]]], found: Mapping[str, Any]) -> dict[str, Tensor]:
    made = calls.get(head, [])
    if not made:
        raise CaptureError(
            f"Module {head!r} was not called in the forward pass, so it has no feature map. "
            f"Containers such as ModuleList never are: name a module inside.{_near(head, found)}"
        )
    outputs = {
        ".".join((head, *([str(i)] if len(made) > 1 else []), *path)): leaf
        for i, leaves in enumerate(made)
        for path, leaf in leaves
    }
    chosen = {key: leaf for key, leaf in outputs.items() if key == name or key.startswith(f"{name}.")}
    if not chosen and name != head:
        raise BackboneError(
            f"The model has no module {name!r}, and {head!r} has no such output; it gives {', '.join(outputs)}."
            f"{did_you_mean(name, [*found, *outputs], how_to_list=HOW_TO_LIST)}"
        )
    maps = {key: leaf for key, leaf in chosen.items() if isinstance(leaf, Tensor)}
    if not maps:
        got = "; ".join(f"{key}: {leaf}" for key, leaf in list(chosen.items())[:4]) or "no tensor"
        advice = f"Name a module before it.{_near(name, found)}"
        if chosen and all(NOT_ONE_EACH in str(leaf) for leaf in chosen.values()):
            advice = (
                "It works on regions or windows that are cut out of the images, and not on images: name a module "
                "before these are cut out, such as the backbone or its neck."
            )
        raise CaptureError(
            f"The output of module {name!r} is no feature map. Expected floats of shape (n, C, H, W), or tokens "
            f"(n, L, D); got {got}. {advice}"
        )
    return maps


def _near(name: str, found: Mapping[str, Any]) -> str:
    inside = [key for key in found if key.startswith(f"{name}.") and "." not in key[len(name) + 1 :]]
    return f" Inside it: {', '.join(inside[:8])}." if inside else f" {HOW_TO_LIST}"
