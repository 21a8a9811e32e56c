"""How far the weights of modules moved between two looks at a network."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, MutableMapping, Sequence

import torch
from torch import Tensor, nn

from fmce_mlflow.method.networks.call_order import heads
from fmce_mlflow.method.networks.fingerprint import Fingerprint, fingerprint_of, same_weights
from fmce_mlflow.method.networks.model_forms import unwrap


class WeightChange:
    """Relative changes of modules' parameters from look to look; buffers, as BatchNorm's statistics, are no weights.

    One copy of the parameters is kept where they are; modules that are inside each other share it.

    Args:
        model: In any form; its names stay what they are.
        modules: Names of what is looked at, modules or outputs of them.
        upstream: Gives, for modules without parameters of their own, the names of those that their maps are computed
            from; asked once, if there is such a module.
        last: Fingerprints of the modules' weights at the last look, also of an earlier process; kept up to date.

    Example:
        >>> net = nn.Sequential(nn.Conv2d(1, 1, 1, bias=False), nn.BatchNorm2d(1))
        >>> change = WeightChange(net, ["0", "1"])
        >>> change.look()
        {}
        >>> _ = net[0].weight.data.mul_(1.5), net(torch.rand(2, 1, 4, 4))
        >>> change.look()
        {'0': 0.5, '1': 0.0}
    """

    def __init__(
        self,
        model: nn.Module,
        modules: Sequence[str],
        upstream: Callable[[], Mapping[str, Sequence[str]]] = dict,
        last: MutableMapping[str, Fingerprint] | None = None,
    ) -> None:
        self.model, self.modules, self.last = model, modules, {} if last is None else last
        self._upstream = upstream
        self._parts: dict[str, tuple[str, ...]] | None = None
        self._kept: dict[str, Tensor] = {}

    def look(self) -> dict[str, float]:
        """‖W − W'‖ / ‖W'‖ of each module's parameters W since the last look, 1 where W' was all 0.

        Nothing for a module of which that is not known: at the first look, where its parameters are others than then,
        and after :meth:`forget` or in another process unless its weights are the same still.
        """
        with torch.inference_mode(False), torch.no_grad():
            parameters, parts = self._here()
            steps = self._moved(parameters, dict.fromkeys(name for names in parts.values() for name in names))
            found = {}
            for module, names in parts.items():
                now = fingerprint_of(parameters[name] for name in names)
                if names and all(name in steps for name in names):
                    found[module] = _ratio([steps[name] for name in names])
                elif module in self.last and same_weights(self.last[module], now):
                    found[module] = 0.0
                self.last[module] = now
            return {module: change for module, change in found.items() if math.isfinite(change)}

    def recall(self) -> None:
        """In another process than the last look, know the weights of that look if the network has them again."""
        with torch.inference_mode(False), torch.no_grad():
            parameters, parts = self._here()
            for module, names in parts.items():
                if module not in self.last or all(name in self._kept for name in names):
                    continue
                if same_weights(self.last[module], fingerprint_of(parameters[name] for name in names)):
                    self._kept |= {name: _numbers(parameters[name]).clone() for name in names}

    def forget(self) -> None:
        """Let go of the copies, as where the last look is not to count."""
        self._kept.clear()

    def _here(self) -> tuple[dict[str, Tensor], dict[str, tuple[str, ...]]]:
        """The network's parameters by name, and by module the names of those that decide, where all are there."""
        parameters = {name: p.detach() for name, p in unwrap(self.model).named_parameters()}
        return parameters, {m: names for m, names in self._all_parts().items() if all(n in parameters for n in names)}

    def _all_parts(self) -> dict[str, tuple[str, ...]]:
        """Names of the parameters that decide, by module; of one that is not known, none has a say."""
        if self._parts is None:
            network, found = heads(self.model, self.modules)
            names = {id(p): name for name, p in network.named_parameters()}  # the first of several that share it
            own = {m: tuple(names[id(p)] for p in one.parameters()) for m, one in found.items()}
            bare = [module for module, parts in own.items() if not parts]
            before = self._upstream() if bare else {}
            own |= {module: tuple(before[module]) for module in bare if module in before}
            self._parts = {m: parts for m, parts in own.items() if parts or m in before}
        return self._parts

    def _moved(self, parameters: Mapping[str, Tensor], names: Iterable[str]) -> dict[str, tuple[float, float]]:
        """By parameter, the norm of its step and its norm before; those are left out that were others. Keeps copies."""
        norms: dict[str, Tensor] = {}
        for name in names:
            now, before = _numbers(parameters[name]), self._kept.get(name)
            if before is None or before.shape != now.shape:
                self._kept[name] = now.clone()
                continue
            self._kept[name] = before = before.to(now.device)
            norms[name] = torch.stack([_norm(now - before), _norm(before)])
            before.copy_(now)
        by_device: dict[torch.device, list[str]] = {}
        for name, value in norms.items():
            by_device.setdefault(value.device, []).append(name)
        found: dict[str, tuple[float, float]] = {}
        for some in by_device.values():  # a GPU is waited for once
            rows = torch.stack([norms[name] for name in some]).tolist()
            found |= {name: (row[0], row[1]) for name, row in zip(some, rows, strict=True)}
        return found


def _numbers(parameter: Tensor) -> Tensor:
    """A parameter as real numbers."""
    return torch.view_as_real(parameter) if parameter.is_complex() else parameter


def _norm(value: Tensor) -> Tensor:
    norm: Tensor = torch.linalg.vector_norm(value.to(torch.float32))
    return norm


def _ratio(parts: Sequence[tuple[float, float]]) -> float:
    step = math.sqrt(sum(step**2 for step, _ in parts))
    before = math.sqrt(sum(norm**2 for _, norm in parts))
    return step / before if before else float(step > 0)
