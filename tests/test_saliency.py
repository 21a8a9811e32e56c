from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from fmce_mlflow.errors import BackboneError, CaptureError
from fmce_mlflow.method.backbones import build_backbone
from fmce_mlflow.method.saliency import focus, grad_cam
from fmce_mlflow.saliency_plot import saliency_figure


def small() -> nn.Sequential:
    torch.manual_seed(0)
    layers = [
        nn.Conv2d(3, 6, 3, padding=1),
        nn.BatchNorm2d(6),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(6, 5, 3, padding=1),
    ]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(5, 3)).train()


@pytest.mark.parametrize("module", ["2", "4"])
def test_grad_cam_equals_its_definition(module):
    net, images, classes = small(), torch.rand(4, 3, 8, 8), [0, 1, 2, 1]
    found = grad_cam(net, module, images, classes)
    assert net.training and found.shape == (4, 8, 8) and found.dtype == np.float32
    net.eval()
    features = net[: int(module) + 1](images).detach().requires_grad_()  # (n, C, h, w)
    scores = net[int(module) + 1 :](features)
    scores[range(4), classes].sum().backward()
    weights = features.grad.mean((2, 3), keepdim=True)
    cams = F.relu((weights * features).sum(1)).detach()  # (n, h, w)
    for got, cam in zip(found, cams, strict=True):
        if cam.max() == 0:
            assert not got.any()
            continue
        assert got.max() == pytest.approx(1, abs=1e-5) and got.min() >= 0
        if cam.shape == got.shape:
            low, high = cam.min(), cam.max()
            np.testing.assert_allclose(got, ((cam - low) / (high - low)).numpy(), atol=1e-4)


def test_the_most_probable_class_is_the_default():
    net, images = small(), torch.rand(3, 3, 8, 8)
    likely = net.eval()(images).argmax(1).tolist()
    np.testing.assert_array_equal(grad_cam(net, "4", images), grad_cam(net, "4", images, likely))


def test_tokens_of_a_vision_transformer():
    net = build_backbone("timm:test_vit", num_classes=10, image_size=32)
    assert grad_cam(net, "blocks.0", torch.rand(2, 3, 32, 32)).shape == (2, 32, 32)


def test_focus_by_hand_and_its_range():
    uniform, single, none = np.ones((4, 5)), np.zeros((4, 5)), np.zeros((4, 5))
    single[2, 3] = 0.3
    half = np.zeros((4, 5))
    half[:2] = 2.0
    found = focus(np.stack([uniform, single, none, half]).astype(np.float32))
    np.testing.assert_allclose(found, [0, 1 - 1 / 20, 0, 0.5], atol=1e-12)


@pytest.mark.parametrize(
    ("module", "error", "message"),
    [("nowhere", BackboneError, "no module 'nowhere'"), ("7", CaptureError, "output of module '7' is no feature map")],
)
def test_modules_without_saliency(module, error, message):
    with pytest.raises(error, match=message):
        grad_cam(small(), module, torch.rand(2, 3, 8, 8))


def test_hooks_are_gone_also_after_an_error():
    net = small()
    grad_cam(net, "4", torch.rand(2, 3, 8, 8))
    with pytest.raises(CaptureError):
        grad_cam(net, "7", torch.rand(2, 3, 8, 8))
    assert all(not part._forward_hooks and not part._backward_hooks for part in net.modules())


def test_the_panel_has_every_image_and_its_focus():
    maps = np.zeros((3, 8, 8), np.float32)
    maps[:, 0, 0] = 1
    figure = saliency_figure(np.zeros((3, 8, 8, 3), np.uint8), {"a": maps, "b": maps}, ["x", "y", "z"], title="t")
    texts = [axes.get_xlabel() for axes in figure.axes]
    assert texts.count("focus 0.98") == 6 and [axes.get_title() for axes in figure.axes[:3]] == ["x", "y", "z"]
