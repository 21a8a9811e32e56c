"""FMCE-Net: networks that predict FMCS from feature maps alone.

``OutlineNet`` follows the published outline (arXiv 2405.04041): one image's map in, channels in the order of that
backbone, K levels out. Its widths and depths are ours, for the outline leaves them open. ``SetNet`` is ours: a bag
in, blind to the order of channels and of images, any C, H and W; FMCS, levels and an uncertainty out. Only the second
kind can score a training run that it has not seen.
"""

from __future__ import annotations

from typing import Any, TypeAlias

from fmce_mlflow.errors import ConfigError, PredictorError
from fmce_mlflow.method.fmce_net.config import OutlineConfig, SetConfig
from fmce_mlflow.method.fmce_net.outline_net import OutlineNet
from fmce_mlflow.method.fmce_net.set_net import SetNet

FmceNet: TypeAlias = SetNet | OutlineNet


def build_net(kind: str, config: dict[str, Any]) -> FmceNet:
    """A net from its kind and the dictionary of its config.

    Raises:
        PredictorError: An unknown kind, or a config that is not of that kind.

    Example:
        >>> build_net("set", SetConfig(members=2).to_dict()).config.members
        2
    """
    try:
        if kind == "set":
            return SetNet(SetConfig(**config))
        if kind == "outline":
            return OutlineNet(OutlineConfig(**config))
    except (TypeError, ConfigError) as error:
        raise PredictorError(f"This is no config of a net of kind {kind!r}: {error}.") from None
    raise PredictorError(f"There is no net of kind {kind!r}; there are set and outline.")
