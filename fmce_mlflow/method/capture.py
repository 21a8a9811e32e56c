"""Feature maps of functional modules, taken with forward hooks in one forward pass.

What a *feature map* of a functional module is follows the outline of arXiv 2405.04041 (the output of the module for one
image); how outputs that are not (n, C, H, W) are read is ours and is described at :func:`capture`.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fmce_mlflow.errors import BackboneError, CaptureError, ConfigError, did_you_mean

PREFIX_TOKENS = (0, 1, 2, 5)  # none, class, class + distillation, class + four registers
HOW_TO_LIST = "`fmce list-modules` prints the modules of a backbone, `list_modules(model)` those of any model."
Leaf = tuple[tuple[str, ...], "Tensor | str"]  # where in the output; the map, or why it is none
Forward = Callable[..., tuple[Any, dict[str, Tensor]]]


@contextmanager
def capture(
    model: nn.Module,
    modules: Sequence[str],
    *,
    map_size: int | None = None,
    token_grid: tuple[int, int] | None = None,
    grad: bool = False,
) -> Iterator[Forward]:
    """Take the feature maps of several modules, in one forward pass per batch.

    Inside the block the model is in eval mode; afterwards every submodule has its own training flag back and the hooks
    are gone, also when the forward raised. The maps of one call are not kept for the next.

    ============================= =============================================================================
    output of a module            maps
    ============================= =============================================================================
    (n, C, H, W)                  as it is. A block that computes in (n, H, W, C), as Swin's do, stays so
    (n, L, D) tokens              (n, D, h, w): class and register tokens, which come first, are dropped where
                                  L − 0, 1, 2 or 5 is a square; otherwise ``token_grid`` says what h and w are
    tuple, list, dict, dataclass  ``<module>.<key or position>`` each; parts that are no map are left out
    several calls in one forward  ``<module>.0``, ``<module>.1`` … in the order of the calls
    ============================= =============================================================================

    The derived names can be asked for too: ``backbone.fpn.0`` is output "0" of ``backbone.fpn``, unless a submodule has
    that name. A module that is changed in place by what follows it (DenseNet's ``features``) gives its own output.

    ``DistributedDataParallel`` is unwrapped and ``torch.compile`` bypassed, so that one rank can probe alone and hooks
    are called. Names may carry their prefixes, ``module.`` and ``_orig_mod.``, or not.

    Args:
        model: An eager model, or one from :func:`load_exported`.
        modules: Dotted names of modules or of their outputs.
        map_size: Average-pool maps that are larger to at most (map_size, map_size); smaller ones are never enlarged.
        token_grid: (h, w) of token outputs; the tokens before the last h·w are dropped.
        grad: Record gradients. The maps are then part of the graph from the images to the output, so that
            ``torch.autograd.grad(output, maps[name])`` works for modules that return one tensor.

    Yields:
        ``forward(*args, **kwargs)``, which runs the model and returns its output and a dict from name to map, in the
        order of ``modules``: (n, C, H, W), floating point in the module's own dtype, on its device, detached unless
        ``grad``.

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
    network, prefixes = _unwrap(model)
    _check_model(network)
    wanted = [(name, _bare(name, prefixes)) for name in names]
    found = named_modules(network)
    heads = {bare: _locate(found, bare) for _, bare in wanted}
    calls: dict[str, list[list[Leaf]]] | None = None  # only while `forward` runs
    entered = True

    def hook_of(head: str) -> Callable[[nn.Module, Any, Any], Any]:
        def hook(_module: nn.Module, _args: Any, output: Any) -> Any:
            if calls is None:
                return None
            if grad and isinstance(output, Tensor):
                leaf, passed_on = _on_the_path(output, token_grid)
                calls.setdefault(head, []).append([((), leaf)])
                return passed_on
            leaves: list[Leaf] = [(path, _keep(t, map_size, token_grid, grad)) for path, t in _tensors(output)]
            calls.setdefault(head, []).append(leaves)
            return None

        return hook

    def forward(*args: Any, **kwargs: Any) -> tuple[Any, dict[str, Tensor]]:
        nonlocal calls
        if not entered:
            raise CaptureError("This capture has ended and its hooks are removed; call forward inside the with block.")
        calls = {}
        try:
            with torch.set_grad_enabled(grad), _eager_stance(network):
                output = network(*args, **kwargs)
            maps: dict[str, Tensor] = {}
            for name, bare in wanted:
                for key, value in _select(bare, heads[bare], calls, found).items():
                    maps[name + key[len(bare) :]] = value
            return output, maps
        except (RuntimeError, AssertionError) as error:
            if _is_exported(network) and "Expected input" in str(error):
                raise CaptureError(_fixed_shape(error)) from error
            raise
        finally:
            calls = None

    with ExitStack() as stack:
        stack.enter_context(_eval_mode(network))
        for head in dict.fromkeys(heads.values()):
            stack.callback(found[head].register_forward_hook(hook_of(head)).remove)
        try:
            yield forward
        finally:
            entered = False


def module_output_names(model: nn.Module, modules: Sequence[str], example: Tensor) -> tuple[str, ...]:
    """The names of the maps that :func:`capture` gives for ``modules``.

    Args:
        model: As for :func:`capture`.
        modules: As for :func:`capture`.
        example: Images (n, 3, h, w).

    Returns:
        One name per map: the module's own, or derived ones where it has several outputs or is called several times.

    Raises:
        BackboneError: As :func:`capture`.
        CaptureError: As :func:`capture`.

    Example:
        >>> relu = nn.ReLU()
        >>> net = nn.Sequential(nn.Conv2d(3, 4, 1), relu, nn.Conv2d(4, 4, 1), relu)
        >>> module_output_names(net, ["0", "1"], torch.zeros(1, 3, 2, 2))
        ('0', '1.0', '1.1')
    """
    with capture(model, modules) as forward:
        _, maps = forward(example)
    return tuple(maps)


def load_exported(path: str | Path) -> nn.Module:
    """Load a ``torch.export`` archive, such as MLflow's ``data/model.pt2``, with modules that can be hooked.

    ``mlflow.pytorch.load_model`` returns the flat graph, in which hooks on submodules are never called; this unflattens
    it. Its modules give the numbers of the eager model. Differences to know:

    - Batch norm and dropout are those of the mode that the model was exported in: ``eval()`` before logging.
    - The batch size is free only if the model was logged with an input example of at least two images and a signature
      whose first dimension is −1; otherwise it is the example's.
    - A dict or tuple that a module returns comes as a tuple of the tensors that are used later: ``fpn.0``, ``fpn.1`` ….
    - Modules that are never called are empty.

    Warning: loading such an archive can execute code (GHSA-wm54-77rw-968c). Load only what you trust.

    Args:
        path: The ``.pt2`` file, or the folder of an MLflow model that has one in ``data/``.

    Returns:
        The unflattened model, on the device that it was exported on.

    Raises:
        BackboneError: No such file, or it is no such archive.

    Example:
        >>> load_exported("nowhere/model.pt2")
        Traceback (most recent call last):
        ...
        fmce_mlflow.errors.BackboneError: No exported model at nowhere/model.pt2. Expected a .pt2 file, or ...
    """
    file = Path(path)
    if file.is_dir():
        file = file / "data" / "model.pt2"
    if not file.is_file():
        raise BackboneError(
            f"No exported model at {file}. Expected a .pt2 file, or an MLflow model's folder with data/model.pt2; models "
            "logged with serialization_format='pickle' are loaded with mlflow.pytorch.load_model."
        )
    try:
        program = torch.export.load(file)
    except Exception as error:
        raise BackboneError(
            f"{file} cannot be read as a torch.export archive: {type(error).__name__}: {error}. "
            "Fetch it again, or log the model again with this version of torch."
        ) from error
    return torch.export.unflatten(program)


def unwrap(model: nn.Module) -> nn.Module:
    """The model inside ``DistributedDataParallel``, ``DataParallel`` and ``torch.compile``.

    Example:
        >>> net = nn.Linear(1, 1)
        >>> unwrap(nn.DataParallel(net)) is net
        True
    """
    return _unwrap(model)[0]


def named_modules(model: nn.Module) -> dict[str, nn.Module]:
    """Every submodule by its dotted name, without the root and without ``torch.compile``'s ``_orig_mod`` parts.

    Example:
        >>> list(named_modules(nn.Sequential(nn.Sequential(nn.ReLU()))))
        ['0', '0.0']
    """
    found: dict[str, nn.Module] = {}
    for name, module in unwrap(model).named_modules(remove_duplicate=False):
        bare = _bare(name, ())
        if bare:
            found.setdefault(bare, module)
    return found


def _unwrap(model: nn.Module) -> tuple[nn.Module, tuple[str, ...]]:
    prefixes: list[str] = []
    while True:
        if isinstance(model, (nn.DataParallel, nn.parallel.DistributedDataParallel)):
            model = model.module
            prefixes.append("module")
        elif "_orig_mod" in model._modules:
            model = model.get_submodule("_orig_mod")
        else:
            return model, tuple(prefixes)


def _bare(name: str, prefixes: tuple[str, ...]) -> str:
    parts = [part for part in name.split(".") if part != "_orig_mod"]
    if prefixes and parts[: len(prefixes)] == list(prefixes):
        parts = parts[len(prefixes) :]
    return ".".join(parts)


def _locate(found: Mapping[str, nn.Module], name: str) -> str:
    """The module that ``name`` is, or is an output of."""
    head = name
    while head:
        if head in found:
            return head
        head = head.rpartition(".")[0]
    raise BackboneError(f"The model has no module {name!r}.{did_you_mean(name, found, how_to_list=HOW_TO_LIST)}")


def _check_options(names: Sequence[str], map_size: int | None, token_grid: tuple[int, int] | None, grad: bool) -> None:
    problems = []
    if not names:
        problems.append("modules must name at least one module, got none")
    if map_size is not None and map_size < 1:
        problems.append(f"map_size must be at least 1, got {map_size}")
    if token_grid is not None and min(token_grid) < 1:
        problems.append(f"token_grid must be two numbers (h, w) of at least 1, got {token_grid}")
    if grad and map_size is not None:
        problems.append("map_size cannot be used with grad=True: the output does not depend on pooled maps")
    if problems:
        raise ConfigError(problems)


def _check_model(model: nn.Module) -> None:
    for name, module in model.named_modules():
        where = f"The model's {name}" if name else "The model"
        if isinstance(module, torch.jit.ScriptModule):
            raise CaptureError(
                f"{where} is TorchScript, in which forward hooks are not called. Use the eager model, or log it with "
                "serialization_format='pt2' and read it with load_exported."
            )
        if isinstance(module, torch.fx.GraphModule) and _is_flat(module):
            raise CaptureError(
                f"{where} is a flat exported graph, in which the hooks of submodules are never called "
                "(mlflow.pytorch.load_model returns one for pt2). Fetch the model with "
                "mlflow.artifacts.download_artifacts and read it with fmce_mlflow.method.capture.load_exported."
            )
        graph = None if isinstance(module, torch.fx.GraphModule) else getattr(module, "graph", None)
        if isinstance(graph, torch.fx.Graph) and any(map(_trains, graph.nodes)):
            raise CaptureError(
                f"{where} was exported in training mode, so its batch norm and dropout cannot be put in eval mode. "
                "Call model.eval() before exporting or logging it."
            )


def _is_flat(module: torch.fx.GraphModule) -> bool:
    """A graph of torch.export calls operators only; one of torch.fx.symbolic_trace calls its submodules."""
    return not any(node.op == "call_module" and node.target != "_guards_fn" for node in module.graph.nodes)


def _is_exported(model: nn.Module) -> bool:
    return isinstance(model, torch.export.UnflattenedModule)


def _trains(node: torch.fx.Node) -> bool:
    aten = torch.ops.aten
    if node.target == aten.batch_norm.default:  # input, weight, bias, running_mean, running_var, training, …
        return bool(node.args[5]) and node.args[3] is not None
    return node.target in (aten.dropout.default, aten.feature_dropout.default) and bool(node.args[2])


def _fixed_shape(error: Exception) -> str:
    return (
        f"The exported model does not take this input: {str(error).splitlines()[0]} Give images of the shape it was "
        "exported with, or log it again with an input example of at least two images, so that the batch size is free."
    )


@contextmanager
def probing(model: nn.Module) -> Iterator[nn.Module]:
    """The model in eval mode, with compiled parts run eagerly so that hooks are called; its flags are put back.

    Raises:
        CaptureError: A model in which hooks or eval mode cannot work.

    Example:
        >>> net = nn.Dropout()
        >>> with probing(net) as network:
        ...     network.training
        False
        >>> net.training
        True
    """
    _check_model(model)
    with _eval_mode(model), _eager_stance(model):
        yield model


@contextmanager
def _eval_mode(model: nn.Module) -> Iterator[None]:
    flags = [(module, module.training) for module in model.modules()]
    if not any(training for _, training in flags):
        yield
        return
    try:
        model.eval()
        yield
    finally:
        model.train(flags[0][1])  # for modules that do more in train() than to set the flag
        for module, training in flags:
            module.training = training


@contextmanager
def _eager_stance(model: nn.Module) -> Iterator[None]:
    """Run compiled parts eagerly: torch.compile does not see hooks that are registered after it has compiled."""
    if any("_orig_mod" in m._modules or m._compiled_call_impl is not None for m in model.modules()):
        with torch.compiler.set_stance("force_eager"):
            yield
    else:
        yield


def _tensors(output: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Tensor]]:
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
        yield from _tensors(value, (*path, str(key)))


def _keep(value: Tensor, map_size: int | None, token_grid: tuple[int, int] | None, grad: bool) -> Tensor | str:
    """The map of one tensor, with memory of its own; or, as text, why it has none."""
    value = value if grad else value.detach()
    found = as_map(value, token_grid)
    if isinstance(found, str):
        return found
    if map_size is not None and max(found.shape[2:]) > map_size:
        return F.adaptive_avg_pool2d(found, (min(found.shape[2], map_size), min(found.shape[3], map_size)))
    # What follows may work in place (ReLU behind BatchNorm), hence a copy. In a graph autograd watches over that.
    return found if grad else found.clone(memory_format=torch.contiguous_format)


def _on_the_path(output: Tensor, token_grid: tuple[int, int] | None) -> tuple[Tensor | str, Tensor]:
    """The map, and a tensor equal to ``output`` that depends on it and may be changed in place."""
    found = as_map(output, token_grid)
    if isinstance(found, str):
        return found, output
    if output.dim() == 4:
        return found, output.clone()
    grid = found.flatten(2).transpose(1, 2)  # (n, h·w, D)
    return found, torch.cat([output[:, : output.shape[1] - grid.shape[1]], grid], dim=1)


def as_map(value: Tensor, token_grid: tuple[int, int] | None = None) -> Tensor | str:
    """One tensor read as a feature map.

    Args:
        value: (n, C, H, W), or tokens (n, L, D).
        token_grid: (h, w) of tokens.

    Returns:
        (n, C, H, W), a view where possible; or a text that says why it is none.

    Example:
        >>> as_map(torch.zeros(2, 17, 6)).shape
        torch.Size([2, 6, 4, 4])
        >>> as_map(torch.zeros(2, 10))
        'float32 of shape (2, 10)'
    """
    kind = f"{str(value.dtype).removeprefix('torch.')} of shape {tuple(value.shape)}"
    if not value.is_floating_point() or value.dim() not in (3, 4) or not value.numel():
        return kind
    if value.dim() == 4:
        return value
    length = value.shape[1]
    if token_grid is None:
        sides = (math.isqrt(length - extra) for extra in PREFIX_TOKENS if length > extra)
        side = next((s for s in sides if length - s * s in PREFIX_TOKENS), 0)
        if not side:
            return f"{kind}, whose {length} tokens are no square: say with token_grid=(h, w) how they lie"
        height = width = side
    else:
        height, width = token_grid
        if height * width > length:
            return f"{kind}, which has fewer tokens than the {height}×{width} of token_grid"
    tokens = value[:, length - height * width :]  # (n, h·w, D)
    return tokens.transpose(1, 2).reshape(value.shape[0], value.shape[2], height, width)


def _select(
    name: str, head: str, calls: Mapping[str, list[list[Leaf]]], found: Mapping[str, nn.Module]
) -> dict[str, Tensor]:
    made = calls.get(head, [])
    if not made:
        raise CaptureError(
            f"Module {head!r} was not called in the forward pass, so it has no feature map. "
            f"Containers such as ModuleList never are: name a module inside.{_near(name, found)}"
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
        got = "; ".join(f"{key}: {leaf}" for key, leaf in chosen.items()) or "no tensor"
        raise CaptureError(
            f"The output of module {name!r} is no feature map. Expected floats of shape (n, C, H, W), or tokens "
            f"(n, L, D); got {got}. Name a module in front of it.{_near(name, found)}"
        )
    return maps


def _near(name: str, found: Mapping[str, nn.Module]) -> str:
    inside = [key for key in found if key.startswith(f"{name}.") and "." not in key[len(name) + 1 :]]
    return f" Inside it: {', '.join(inside[:8])}." if inside else f" {HOW_TO_LIST}"
