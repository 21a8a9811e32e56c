"""The network of the runs under `legacy/`, which name it: `tests.data.legacy_net:tiny`. It must stay where it is."""

from collections import OrderedDict

from torch import nn


def tiny(num_classes: int = 10) -> nn.Module:
    """Module `stage` has maps of 4×4×4 for images of 8×8 pixels."""
    return nn.Sequential(
        OrderedDict(
            stage=nn.Sequential(nn.Conv2d(3, 4, 3, stride=2, padding=1), nn.BatchNorm2d(4), nn.ReLU()),
            drop=nn.Dropout(0.1),
            flat=nn.Flatten(),
            head=nn.Linear(64, num_classes),
        )
    )
