"""Hold parts of a network still while the rest of it trains on: weights, running statistics, and no gradients there."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterable
from types import MethodType
from typing import Any

import torch.distributed as dist
from torch import nn
from torch.distributed.fsdp import FSDPModule, FullyShardedDataParallel
from torch.optim.swa_utils import AveragedModel

from fmce_mlflow.errors import ModelError
from fmce_mlflow.method.networks.model_forms import unwrap
from fmce_mlflow.method.networks.upstream import Upstream


class Frozen:
    """The parts of a network that are held still; none of them is ever let go before :meth:`release`.

    A frozen parameter needs no gradient and has none, so ``backward`` ends before it, and PyTorch's optimizers skip it:
    neither momentum nor weight decay moves it. A module whose buffers the frozen maps are computed from, such as batch
    norm, is in eval mode at each of its calls, whoever calls ``train()`` on the network or sets its flag. Dropout is
    left as it is, for the layers after it learn from it.

    With ``torch.compile`` the next call compiles the network once more.

    Args:
        model: The network as it is trained, in its wrappers.

    Example:
        >>> net = nn.Sequential(nn.Conv2d(3, 8, 1), nn.BatchNorm2d(8), nn.Conv2d(8, 8, 1))
        >>> frozen = Frozen(net)
        >>> frozen.freeze(Upstream(("0.weight", "0.bias", "1.weight", "1.bias"), ("1.running_mean", "1.running_var")))
        >>> [name for name, one in net.train().named_parameters() if one.requires_grad], net[1].training
        (['2.weight', '2.bias'], False)
        >>> frozen.release()
    """

    def __init__(self, model: nn.Module) -> None:
        self.model = model
        self._network = unwrap(model)
        self._undo: dict[nn.Module, Callable[[], None]] = {}

    def leaves_any(self, parts: Iterable[Upstream], whole: Upstream) -> bool:
        """Whether, of what the network's output is computed from, a parameter trains if these parts are frozen too."""
        rest = set(whole.parameters).difference(*(one.parameters for one in parts))
        return any(one.requires_grad and name in rest for name, one in self._network.named_parameters())

    def freeze(self, parts: Upstream) -> None:
        """Hold some parts still from here on.

        Raises:
            ModelError: A model in a wrapper that counts on all gradients; nothing is frozen then.
        """
        check_freezable(self.model)
        for name in parts.parameters:
            parameter = self._network.get_parameter(name)
            parameter.requires_grad_(False)
            parameter.grad = None
        for name in parts.buffers:
            if self._network.get_buffer(name).is_floating_point():
                self._hold(self._network.get_submodule(name.rpartition(".")[0]))

    def release(self) -> None:
        """Let modules follow ``train()`` again, so that the network can be saved without this package.

        Parameters stay without gradients.
        """
        for undo in self._undo.values():
            undo()
        self._undo.clear()

    def _hold(self, module: nn.Module) -> None:
        """Keep a module in eval mode; two ways, since a compiled network calls no hooks that it did not know."""
        if module in self._undo:
            return
        module.eval()
        own_train = vars(module).get("train")
        module.train = MethodType(train, module)  # type: ignore[method-assign]
        hook = module.register_forward_pre_hook(_into_eval)

        def undo() -> None:
            hook.remove()
            if own_train is None:
                del module.train
            else:
                module.train = own_train  # type: ignore[method-assign]

        self._undo[module] = undo


def check_freezable(model: nn.Module) -> None:
    """Refuse a copy, and a model in a wrapper that counts on a gradient of every parameter that had one at first.

    The wrapper is found also where only the model inside it is at hand.

    Raises:
        ModelError: Says which wrapper, and what to do.
    """
    network = unwrap(model)
    if isinstance(network, AveragedModel):
        raise ModelError(
            "The recorded model is an averaged copy, which nothing trains: to freeze its modules would change nothing. "
            "Record the model that is trained."
        )
    if any(isinstance(one, FSDPModule | FullyShardedDataParallel) for one in (model, *network.modules())):
        raise ModelError(
            "The parameters of a model under FSDP are shards, which cannot be frozen by module once it is wrapped. "
            "Train it with DistributedDataParallel(find_unused_parameters=True) to freeze modules."
        )
    if any(one.static_graph or not one.find_unused_parameters for one in _shared_by_processes(network)):
        raise ModelError(
            "DistributedDataParallel waits in each backward pass for a gradient of every parameter that it was given, "
            "so none can be frozen under it. Wrap the model with find_unused_parameters=True and without static_graph "
            "(Accelerate: DistributedDataParallelKwargs(find_unused_parameters=True); Lightning: "
            "strategy='ddp_find_unused_parameters_true')."
        )


def _shared_by_processes(network: nn.Module) -> list[nn.parallel.DistributedDataParallel]:
    if not (dist.is_available() and dist.is_initialized()):
        return []
    kind = nn.parallel.DistributedDataParallel
    return [one for one in gc.get_objects() if issubclass(type(one), kind) and unwrap(one) is network]


def train(self: nn.Module, mode: bool = True) -> nn.Module:
    """What ``train()`` of a held module does: nothing."""
    return self


def _into_eval(module: nn.Module, _args: Any) -> None:
    if module.training:
        module.training = False
