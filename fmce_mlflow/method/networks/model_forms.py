"""A model in the form in which it comes, eager, wrapped, compiled or exported, made ready for forward hooks."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from pathlib import Path
from threading import Lock
from typing import Any, TypeAlias

import torch
from torch import nn

from fmce_mlflow.errors import BackboneError, CaptureError
from fmce_mlflow.method.networks.export_mode import training_operator

_UNFLATTENING = Lock()
Call: TypeAlias = Callable[[nn.Module, Any], Any]
"""How a network is called with a batch."""
_LATER_CALL = re.compile(r"@\d+(?=\.|$)")


def load_exported(path: str | Path) -> nn.Module:
    """Load a ``torch.export`` archive, such as MLflow's ``data/model.pt2``, with modules that can be hooked.

    ``mlflow.pytorch.load_model`` returns the flat graph, in which hooks on submodules are never called; this unflattens
    it. Its modules give the numbers of the eager model. Differences to know:

    - Batch norm and dropout are those of the mode that the model was exported in: ``eval()`` before logging.
    - The batch size is free only if the model was logged with an input example of at least two images and a signature
      whose first dimension is −1; otherwise it is the example's.
    - A dict or tuple that a module returns comes as a tuple of those of its tensors that are used later, in the order
      in which they are computed, which need not be the module's own: ``fpn.0``, ``fpn.1`` ….
    - Modules that were not called in the export are empty.

    Warning: loading such an archive can execute code (GHSA-wm54-77rw-968c). Load only what you trust.

    Args:
        path: The ``.pt2`` file, or the folder of an MLflow model that has one in ``data/``.

    Returns:
        The unflattened model, on the device that it was exported on.

    Raises:
        BackboneError: No such file, or it is no such archive.
    """
    file = Path(path)
    if file.is_dir():
        file = file / "data" / "model.pt2"
    if not file.is_file():
        raise BackboneError(
            f"No exported model at {file}. Expected a .pt2 file, or an MLflow model's folder with data/model.pt2; "
            "models logged with serialization_format='pickle' are loaded with mlflow.pytorch.load_model."
        )
    try:
        program = torch.export.load(file)
    except Exception as error:
        raise BackboneError(
            f"{file} cannot be read as a torch.export archive: {type(error).__name__}: {error}. "
            "Fetch it again, or log the model again with this version of torch."
        ) from error
    return unflattened(program)


def unflattened(program: torch.export.ExportedProgram) -> nn.Module:
    """A program as modules that can be hooked, every call of a module with the graph that was exported of it.

    ``torch.export.unflatten`` takes two calls for one whose graphs differ only in the modules that they call. Then the
    second computes what the first does, with the sizes of its maps: a part that is called with two sizes is wrong.
    """
    code: Any = sys.modules[torch.export.UnflattenedModule.__module__]  # the function of that name hides the module
    with _UNFLATTENING:
        alike = code._check_graph_equivalence
        code._check_graph_equivalence = lambda one, other: False
        try:
            return torch.export.unflatten(program)
        finally:
            code._check_graph_equivalence = alike


def unwrap(model: nn.Module) -> nn.Module:
    """The model inside ``DistributedDataParallel``, ``DataParallel`` and ``torch.compile``."""
    return unwrap_with_prefix(model)[0]


def unwrap_with_prefix(model: nn.Module) -> tuple[nn.Module, tuple[str, ...]]:
    """The model inside its wrappers, and what these put before the names of its modules, such as ("module",)."""
    prefix: list[str] = []
    while True:
        if isinstance(model, (nn.DataParallel, nn.parallel.DistributedDataParallel)):
            model = model.module
            prefix.append("module")
        elif "_orig_mod" in model._modules:
            model = model.get_submodule("_orig_mod")
        else:
            return model, tuple(prefix)


def bare_name(name: str, prefix: tuple[str, ...] = ()) -> str:
    """A dotted name without the parts that wrappers add: ``module._orig_mod.layer4.0`` → ``layer4.0``."""
    parts = [part for part in name.split(".") if part != "_orig_mod"]
    if parts[: len(prefix)] == list(prefix):
        parts = parts[len(prefix) :]
    return ".".join(parts)


def named_modules(model: nn.Module) -> dict[str, nn.Module]:
    """Every submodule by its dotted name, without the root and without ``torch.compile``'s ``_orig_mod`` parts."""
    return {name: forms[0] for name, forms in forms_of_modules(model).items()}


def forms_of_modules(model: nn.Module) -> dict[str, tuple[nn.Module, ...]]:
    """As :func:`named_modules`; where the calls of a module were exported as several graphs, all of these.

    The second one of ``head`` is called ``head@1`` in an unflattened model; all share their weights.
    """
    found: dict[str, dict[int, nn.Module]] = {}
    network = unwrap(model)
    exported = isinstance(network, torch.export.UnflattenedModule)
    for name, module in network.named_modules(remove_duplicate=False):
        bare = bare_name(name)
        whole = _LATER_CALL.sub("", bare) if exported else bare
        if whole == bare:  # of `child` and `child._orig_mod` the inner one comes last
            found[bare] = {}
        found.setdefault(whole, {})[id(module)] = module
    del found[""]
    return {name: tuple(forms.values()) for name, forms in found.items()}


def type_name(module: nn.Module) -> str:
    """The dotted name of a module's class; of an unflattened module, of the class that it was exported from."""
    if type(module).__module__ == "torch.export.unflatten":
        return module.type_name() or ""  # type: ignore[operator]
    return f"{type(module).__module__}.{type(module).__qualname__}"


@contextmanager
def probing(model: nn.Module) -> Iterator[None]:
    """Put an unwrapped model into eval mode; afterwards every submodule has its own training flag back.

    Raises:
        CaptureError: A model in which hooks or eval mode cannot work.
    """
    check_hookable(model)
    flags = [(module, module.training) for module in model.modules()]
    try:
        model.eval()
        yield
    finally:
        model.train(flags[0][1])  # for modules that do more in train() than to set the flag
        for module, training in flags:
            if module.training != training and type(module).train is not nn.Module.train:
                module.train(training)
        for module, training in flags:
            module.training = training


def run(model: nn.Module, *args: Any, **kwargs: Any) -> Any:
    """Call an unwrapped model so that hooks are called, also those on parts that are compiled.

    It gets copies of the tensors, because a network may change its input in place.

    Raises:
        CaptureError: An exported model that was exported for another shape of input.
    """
    try:
        with _eager():
            return model(*_copied(args), **_copied(kwargs))
    except RuntimeError as error:
        if isinstance(model, torch.export.UnflattenedModule) and str(error).startswith("Expected input"):
            raise CaptureError(
                f"The exported model does not take this input: {str(error).splitlines()[0]} Give images of the shape "
                "it was exported with. Logged again with an input example of at least two images, and a signature "
                "whose first dimension is -1, it takes any number of them."
            ) from error
        raise


def call_of(forward: Call | None = None) -> Call:
    """How a network is called with a batch: by somebody's function, or with keywords of a dict, or as it is.

    Example:
        >>> net = nn.Conv2d(3, 4, 1)
        >>> call_of()(net, {"input": torch.zeros(1, 3, 2, 2)}).shape
        torch.Size([1, 4, 2, 2])
        >>> call_of(lambda model, batch: model(batch[0]))(net, (torch.zeros(1, 3, 2, 2), "a label")).shape
        torch.Size([1, 4, 2, 2])
    """

    def call(network: nn.Module, batch: Any) -> Any:
        if forward is not None:
            with _eager():
                return forward(network, _copied(batch))
        return run(network, **batch) if isinstance(batch, Mapping) else run(network, batch)

    return call


def _eager() -> Any:
    """Run what ``torch.compile`` compiled as it was.

    It does not see hooks that are registered after it has compiled, be it modules or methods; where nothing has
    imported its compiler, nothing is compiled.
    """
    return torch.compiler.set_stance("force_eager") if "torch._dynamo" in sys.modules else nullcontext()


def _copied(value: Any) -> Any:
    """Tensors, also in lists, tuples and dicts, as tensors with memory of their own."""
    if isinstance(value, torch.Tensor):
        return value.clone()
    if type(value) in (list, tuple):
        return type(value)(map(_copied, value))
    return {key: _copied(one) for key, one in value.items()} if type(value) is dict else value


def check_hookable(model: nn.Module) -> None:
    """See that hooks and eval mode can work in a model; a CaptureError says why not."""
    for name, module in model.named_modules():
        where = f"The model's {name}" if name else "The model"
        if isinstance(module, torch.jit.ScriptModule):
            raise CaptureError(
                f"{where} is TorchScript, in which forward hooks are not called. Use the eager model, or log it with "
                "serialization_format='pt2' and read it with load_exported."
            )
        if operator := training_operator(module):
            raise CaptureError(
                f"{where} was exported in training mode, which cannot be changed any more: it calls {operator}. Call "
                "model.eval() before exporting or logging it. A network that draws random numbers or changes its "
                "buffers in eval mode too has no score that stays the same."
            )
        # one inside another model can be a part that torch.fx traced, or that ran under no_grad or autocast in an
        # export; torch.export's own have no train()
        is_part = name and "train" not in vars(module)
        if isinstance(module, torch.fx.GraphModule) and is_flat_graph(module) and not is_part:
            raise CaptureError(
                f"{where} is a flat exported graph, in which the hooks of submodules are never called "
                "(mlflow.pytorch.load_model returns one for pt2). Fetch the model with "
                "mlflow.artifacts.download_artifacts and read it with "
                "fmce_mlflow.method.networks.model_forms.load_exported."
            )


def is_flat_graph(module: torch.fx.GraphModule) -> bool:
    """A graph of torch.export calls operators only; one of torch.fx.symbolic_trace calls its submodules."""
    return not any(node.op == "call_module" and node.target != "_guards_fn" for node in module.graph.nodes)
