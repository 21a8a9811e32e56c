from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from pytorch_grad_cam import GradCAM
from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget
from torch import nn
from torch.nn import functional as F
from torchvision.models.detection import fasterrcnn_mobilenet_v3_large_320_fpn

from fmce_mlflow.errors import BackboneError, CaptureError
from fmce_mlflow.method.networks.backbones import build_backbone
from fmce_mlflow.method.networks.model_forms import load_exported
from fmce_mlflow.method.saliency.grad_cam import cams, focus, grad_cam, resized
from fmce_mlflow.report.saliency_figure import saliency_figure


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


@pytest.mark.parametrize("module", ["2", "4"])
def test_it_is_what_pytorch_grad_cam_finds(module):
    net, images, classes = small().eval(), torch.rand(4, 3, 8, 8), [0, 1, 2, 1]
    with GradCAM(net, [net[int(module)]]) as cam:
        theirs = cam(images, [ClassifierOutputTarget(c) for c in classes])
    np.testing.assert_allclose(grad_cam(net, module, images, classes), theirs, atol=1e-4)


def test_batches_change_nothing_and_targets_count_through_them():
    net, images, classes = small(), torch.rand(7, 3, 8, 8), [0, 1, 2, 1, 0, 2, 2]
    whole = grad_cam(net, "4", images, classes)
    np.testing.assert_allclose(grad_cam(net, "4", images, classes, batch_size=3), whole, atol=1e-5)
    both = [cams(net, ["2", "4"], images[i : i + 3], classes[i : i + 3]) for i in (0, 3, 6)]
    assert [len(maps["2"]) for maps in both] == [3, 3, 1]
    for module, expected in (("4", whole), ("2", grad_cam(net, "2", images, classes))):
        np.testing.assert_allclose(
            resized(np.concatenate([maps[module] for maps in both]), (8, 8)), expected, atol=1e-5
        )
    assert grad_cam(net, "4", images[:0]).shape == (0, 8, 8)


def test_a_network_stays_as_it_is():
    net, images = small(), torch.rand(3, 3, 8, 8)
    net(images).sum().backward()
    net[1].eval()
    before = copy.deepcopy((net.state_dict(), [p.grad for p in net.parameters()]))
    grad_cam(net, "4", images)
    after = (net.state_dict(), [p.grad for p in net.parameters()])
    assert all(torch.equal(before[0][k], after[0][k]) for k in before[0])
    assert all(torch.equal(a, b) for a, b in zip(before[1], after[1], strict=True))
    assert net.training and not net[1].training and not any(part._forward_hooks for part in net.modules())


def test_frozen_networks_and_inference_mode():
    net, images = small().requires_grad_(False), torch.rand(3, 3, 8, 8)
    free = grad_cam(small(), "4", images)
    np.testing.assert_array_equal(grad_cam(net, "4", images), free)
    with torch.inference_mode():
        np.testing.assert_array_equal(grad_cam(net, "4", images * 1), free)


def test_half_precision_networks():
    net = small().bfloat16()
    assert grad_cam(net, "4", torch.rand(2, 3, 8, 8)).shape == (2, 8, 8)


def test_an_exported_network_looks_where_the_eager_one_does(tmp_path):
    net, images = small().eval(), torch.rand(4, 3, 8, 8)
    program = torch.export.export(net, (images[:2],), dynamic_shapes=({0: torch.export.Dim("n", min=1)},))
    torch.export.save(program, tmp_path / "model.pt2")
    exported = load_exported(tmp_path / "model.pt2")
    np.testing.assert_allclose(grad_cam(exported, "4", images), grad_cam(net, "4", images), atol=1e-5)


class Outputs(nn.Module):
    """A network whose output has another form."""

    def __init__(self, shape):
        super().__init__()
        self.body, self.shape = small(), shape

    def forward(self, x):
        return self.shape(self.body(x))


NO_CLASS_SCORES = {
    "a dict of boxes, scores": lambda y: [{"boxes": row, "scores": row.sigmoid()} for row in y],
    "float32 of shape (2, 3, 1, 1)": lambda y: y[:, :, None, None],
    "float32 of shape (2, 1)": lambda y: y[:, :1],
    "a dict of a, b": lambda y: {"a": y, "b": y},
    "int64 of shape (2,)": lambda y: y.argmax(1),
}


def test_one_output_of_a_binary_classifier_is_asked_about_either_class():
    network, x = Outputs(lambda y: y[:, :1]), torch.rand(2, 3, 8, 8)
    for target, score in ((1, lambda out: out[0]), (0, lambda out: -out[0])):
        np.testing.assert_array_equal(grad_cam(network, "body.4", x, target), grad_cam(network, "body.4", x, score))
    with pytest.raises(CaptureError, match="cannot be taken"):
        grad_cam(network, "body.4", x, 2)


@pytest.mark.parametrize("kind", NO_CLASS_SCORES)
def test_an_output_that_is_no_class_score_asks_for_a_target(kind):
    with pytest.raises(CaptureError) as raised:
        grad_cam(Outputs(NO_CLASS_SCORES[kind]), "body.4", torch.rand(2, 3, 8, 8))
    assert "no class score" in str(raised.value) and kind in str(raised.value)
    assert "lambda out: out['scores'].sum()" in str(raised.value)


@pytest.mark.parametrize(
    ("shape", "target"),
    [
        (lambda y: [{"scores": row} for row in y], lambda out: out["scores"][1]),
        (lambda y: {"scores": y}, lambda out: out["scores"][1]),
        (lambda y: (y, y.sum(1)), lambda out: out[0][1]),
        (lambda y: y[:, :, None, None], lambda out: out[1].mean()),
        (lambda y: {"logits": y, "loss": y.sum()}, 1),
        (lambda y: y, np.int64(1)),
        (lambda y: y, [1, 1, 1]),
    ],
)
def test_targets_of_any_output(shape, target):
    images = torch.rand(3, 3, 8, 8)
    found = grad_cam(Outputs(shape), "body.4", images, target)
    np.testing.assert_allclose(found, grad_cam(small(), "4", images, [1, 1, 1]), atol=1e-6)


@pytest.mark.parametrize(
    ("targets", "message"),
    [([0, 1], "2 targets for at least 3 images"), (9, "cannot be taken"), (lambda out: out.x, "cannot be taken")],
)
def test_targets_that_cannot_be(targets, message):
    with pytest.raises(CaptureError, match=message):
        grad_cam(small(), "4", torch.rand(3, 3, 8, 8), targets)


def test_a_target_that_does_not_depend_on_the_module():
    with pytest.raises(CaptureError, match="does not depend on the feature map of '4'"):
        grad_cam(small(), "4", torch.rand(2, 3, 8, 8), lambda out: torch.tensor(1.0))


def test_a_detector_and_one_level_of_its_neck():
    torch.manual_seed(0)
    detector = fasterrcnn_mobilenet_v3_large_320_fpn(
        weights=None, weights_backbone=None, num_classes=3, box_score_thresh=0.0, box_detections_per_img=5
    )
    images = torch.rand(2, 3, 96, 128)
    with pytest.raises(CaptureError, match="a list of 2, the first a dict of boxes, labels, scores"):
        grad_cam(detector, "backbone.fpn.0", images)
    with pytest.raises(CaptureError, match="several feature maps"):
        grad_cam(detector, "backbone.fpn", images, lambda out: out["scores"].sum())
    found = grad_cam(detector, "backbone.fpn.0", images, lambda out: out["scores"].sum())
    assert found.shape == (2, 96, 128) and found.max() == 1 and detector.training


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
    texts = [text.get_text() for text in figure.axes[0].texts]
    assert texts.count("focus 0.98") == 6 and [text for text in texts if text in "xyz"] == ["x", "y", "z"]
