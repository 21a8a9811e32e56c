"""The architecture of a model once more, as the library that it comes from draws it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from fmce_mlflow.errors import BackboneError
from fmce_mlflow.method.networks.backbones import build_backbone
from fmce_mlflow.method.networks.model_forms import unwrap

if TYPE_CHECKING:
    from torch import nn

    from fmce_mlflow.method.networks.config import Stem
    from fmce_mlflow.runs.torch_models import TorchModel

_STEMS: tuple[Stem, ...] = ("auto", "stock", "small")


def rebuilder(model: TorchModel, image_size: int) -> Callable[[int], nn.Module] | None:
    """From a number of outputs to the network with new weights; None where the model does not say what it is.

    A model's metadata may be anybody's, so names of torchvision and timm are followed, and code of others is not.

    Args:
        model: Its metadata names the backbone.
        image_size: The larger of the images' height and width.
    """
    name = model.facts.backbone
    if name is None or (":" in name and not name.startswith("timm:")):
        return None
    shapes = {key: value.shape for key, value in unwrap(model.network).state_dict().items()}
    known: list[Stem] = []

    def built(outputs: int) -> nn.Module:
        for stem in known or _STEMS:
            try:
                made = build_backbone(name, num_classes=outputs, image_size=image_size, stem=stem)
            except BackboneError:
                continue
            if {key: value.shape for key, value in made.state_dict().items()} == shapes:
                known[:] = [stem]
                return made
        raise BackboneError(f"{name} has other weights than the model.")

    return built
