from __future__ import annotations

import dataclasses
import gc
import math
import weakref
from collections import OrderedDict, namedtuple

import numpy as np
import pytest
import timm
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torchvision import models
from torchvision.ops import FeaturePyramidNetwork

from fmce_mlflow.errors import BackboneError, CaptureError, ConfigError
from fmce_mlflow.method.networks.capture import capture
from fmce_mlflow.method.networks.layout import PREFIX_TOKENS, Known, Pass
from tests.helpers.nets import Gives


class Fails(nn.Module):
    def forward(self, x):
        raise RuntimeError("this layer fails")


def small_cnn():
    torch.manual_seed(0)
    return nn.Sequential(
        OrderedDict(
            stem=nn.Conv2d(3, 8, 3, padding=1),
            norm=nn.BatchNorm2d(8),
            relu=nn.ReLU(inplace=True),
            block=nn.Sequential(nn.Conv2d(8, 8, 3, padding=1), nn.ReLU(inplace=True), nn.Dropout(0.5)),
            down=nn.Conv2d(8, 6, 3, stride=2, padding=1),
            flat=nn.Flatten(),
            fc=nn.Linear(6 * 4 * 4, 5),
        )
    )


def photos(n=4, height=8, width=None):
    return torch.randn(n, 3, height, width or height, generator=torch.Generator().manual_seed(1))


def as_map(value, token_grid=None, *, images=None):
    return Pass(images, Known(token_grid)).read(value).map(value)


def maps_of(model, modules, *args, **options):
    with capture(model, modules, **options) as forward:
        return forward(*args)[1]


def hooked(model, names, x):
    """What hooks written by hand see: the single tensors that modules return, copied at once."""
    seen, handles = {}, []
    modules = dict(model.named_modules())
    for name in names:
        handles.append(
            modules[name].register_forward_hook(lambda m, a, out, name=name: seen.update({name: out.clone()}))
        )
    was = model.training
    with torch.no_grad():
        model.eval()(x)
    model.train(was)
    for handle in handles:
        handle.remove()
    return seen


def hooks(model):
    kinds = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
    return sum(len(getattr(module, kind)) for module in model.modules() for kind in kinds)


def flags(model):
    return [module.training for module in model.modules()]


# what is captured


def test_several_modules_come_from_one_forward_in_the_order_asked_for():
    net, x, passes = small_cnn(), photos(), []
    net.register_forward_pre_hook(lambda *_: passes.append(1))
    names = ["down", "stem", "block.1", "norm"]
    with capture(net, names) as forward:
        output, maps = forward(x)
        assert len(passes) == 1
    assert list(maps) == names
    expected = hooked(net, names, x)
    for name in names:
        torch.testing.assert_close(maps[name], expected[name], rtol=0, atol=0)
    with torch.no_grad():
        torch.testing.assert_close(output, net.eval()(x))


@pytest.mark.parametrize("name", ["resnet18", "shufflenet_v2_x0_5", "mobilenet_v3_small"])
def test_maps_of_real_networks_equal_those_of_hooks_written_by_hand(name):
    torch.manual_seed(0)
    net = models.get_model(name, weights=None)
    x = photos(2, 32)
    called = [n for n, out in hooked(net, [n for n, _ in net.named_modules() if n], x).items() if out.dim() == 4]
    assert len(called) > 50
    maps, expected = maps_of(net, called, x), hooked(net, called, x)
    # a module that is called more than once has several maps; the hook above keeps the last
    compared = [n for n in called if n in maps]
    assert len(compared) > 0.7 * len(called)
    for n in compared:
        torch.testing.assert_close(maps[n], expected[n], rtol=0, atol=0)


def test_maps_equal_the_output_of_a_network_cut_off_by_hand():
    torch.manual_seed(0)
    net, x = models.resnet18(weights=None), photos(2, 64)
    maps = maps_of(net, ["layer2", "layer4"], x)
    net.eval()
    with torch.no_grad():
        middle = nn.Sequential(net.conv1, net.bn1, net.relu, net.maxpool, net.layer1, net.layer2)(x)
        torch.testing.assert_close(maps["layer2"], middle, rtol=0, atol=0)
        torch.testing.assert_close(maps["layer4"], net.layer4(net.layer3(middle)), rtol=0, atol=0)


def test_what_follows_in_place_does_not_change_a_map():
    net, x = small_cnn(), photos()
    assert net.relu.inplace
    norm = maps_of(net, ["norm"], x)["norm"]
    net.eval()
    with torch.no_grad():
        torch.testing.assert_close(norm, net.norm(net.stem(x)), rtol=0, atol=0)
    assert (norm < 0).any()


def test_densenet_features_are_those_before_the_relu_in_place():
    torch.manual_seed(0)
    net, x = models.DenseNet(growth_rate=8, block_config=(2, 2), num_init_features=8), photos(2, 32)
    features = maps_of(net, ["features"], x)["features"]
    net.eval()
    with torch.no_grad():
        torch.testing.assert_close(features, net.features(x), rtol=0, atol=0)
    assert (features < 0).any()


def test_a_single_name_may_come_as_a_string_and_names_come_once():
    assert list(maps_of(small_cnn(), "block.0", photos())) == ["block.0"]
    assert list(maps_of(small_cnn(), ["stem", "down", "stem"], photos())) == ["stem", "down"]


def test_other_arguments_of_forward_are_passed_on():
    net = Gives(lambda x, y: x + y)
    net.forward = lambda x, *, y: net.inner(x + y)
    net.inner = nn.Identity()
    with capture(net, ["inner"]) as forward:
        output, maps = forward(torch.ones(2, 3, 4, 4), y=1.0)
    assert output.unique().tolist() == maps["inner"].unique().tolist() == [2.0]


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64])
@pytest.mark.parametrize("map_size", [None, 2])
def test_maps_keep_the_dtype_of_their_module(dtype, map_size):
    maps = maps_of(small_cnn().to(dtype), ["stem", "down"], photos().to(dtype), map_size=map_size)
    assert {value.dtype for value in maps.values()} == {dtype}


# outputs that are not one tensor


class Pyramid(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.c1, self.c2 = nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(4, 6, 3, stride=2, padding=1)
        self.fpn = FeaturePyramidNetwork([4, 6], 5)

    def forward(self, x):
        first = self.c1(x)
        return self.fpn(OrderedDict(high=first, low=self.c2(first)))


def test_a_feature_pyramid_gives_one_map_per_level():
    net, x = Pyramid(), photos()
    maps = maps_of(net, ["fpn"], x)
    with torch.no_grad():
        expected = net.eval()(x)
    assert list(maps) == ["fpn.high", "fpn.low"]
    for level, value in expected.items():
        torch.testing.assert_close(maps[f"fpn.{level}"], value, rtol=0, atol=0)
    low = maps_of(net, ["fpn.low", "c1"], x)
    assert list(low) == ["fpn.low", "c1"]
    torch.testing.assert_close(low["fpn.low"], expected["low"], rtol=0, atol=0)


@pytest.fixture(scope="module")
def detector():
    torch.manual_seed(0)
    return models.detection.fasterrcnn_resnet50_fpn(
        weights=None, weights_backbone=None, num_classes=3, min_size=64, max_size=64
    )


def test_a_detector(detector):
    x = [torch.rand(3, 64, 64), torch.rand(3, 64, 48)]
    with capture(detector, ["backbone", "backbone.body.layer4", "backbone.fpn.pool", "rpn.head.conv"]) as forward:
        output, maps = forward(x)
    assert len(output) == 2 and set(output[0]) == {"boxes", "labels", "scores"}
    assert [name for name in maps if name.startswith("backbone")] == [
        *(f"backbone.{level}" for level in (0, 1, 2, 3, "pool")),
        "backbone.body.layer4",
        "backbone.fpn.pool",
    ]
    assert maps["backbone.0"].shape == (2, 256, 16, 16)
    assert maps["backbone.body.layer4"].shape == (2, 2048, 2, 2)
    assert [maps[f"rpn.head.conv.{i}"].shape[2] for i in range(5)] == [16, 8, 4, 2, 1]
    assert torch.equal(maps["backbone.pool"], maps["backbone.fpn.pool"])


def test_regions_of_a_detector_are_no_maps_of_images(detector):
    with pytest.raises(
        CaptureError, match=r"float32 of shape \(\d+, 256, 7, 7\), which is not one for each of 2 images"
    ):
        maps_of(detector, ["roi_heads.box_roi_pool"], [torch.rand(3, 64, 64)] * 2)


@pytest.mark.parametrize("name", ["roi_heads", "roi_heads.box_head", "roi_heads.box_predictor", "rpn"])
def test_what_works_on_regions_says_so_and_names_no_module_inside_it(detector, name):
    with pytest.raises(CaptureError, match=r"works on regions .* name a module before these are cut out") as caught:
        maps_of(detector, [name], [torch.rand(3, 64, 64)] * 2)
    assert "Inside it" not in str(caught.value) and len(str(caught.value)) < 700


Point = namedtuple("Point", "left right")


@dataclasses.dataclass
class Result:
    logits: torch.Tensor
    hidden: torch.Tensor
    note: str = "a note"


@pytest.mark.parametrize(
    ("made", "names"),
    [
        (lambda x: (x, x + 1), ["m.0", "m.1"]),
        (lambda x: [x, None, 3, x + 1], ["m.0", "m.3"]),
        (lambda x: {"a": x, "b": {"c": (x, x)}}, ["m.a", "m.b.c.0", "m.b.c.1"]),
        (lambda x: Point(x, x.flatten(1)), ["m.0"]),
        (lambda x: Result(x.flatten(1), x), ["m.hidden"]),
        (lambda x: {0: x, 1: x.long()}, ["m.0"]),
    ],
    ids=["tuple", "list", "nested dict", "named tuple", "dataclass", "integers left out"],
)
def test_names_of_the_parts_of_an_output(made, names):
    net = nn.Sequential(OrderedDict(m=Gives(made), end=Gives(lambda out: 0)))
    x = photos(2, 4)
    assert tuple(maps_of(net, ["m"], x)) == tuple(names)
    for name in names:
        assert list(maps_of(net, [name], x)) == [name]


def test_a_module_called_several_times_has_one_map_per_call():
    relu = nn.ReLU()
    net, x = nn.Sequential(nn.Conv2d(3, 4, 1), relu, nn.Conv2d(4, 4, 1), relu), photos(2, 4)
    maps = maps_of(net, ["1"], x)
    assert list(maps) == ["1.0", "1.1"]
    with torch.no_grad():
        first = F.relu(net[0](x))
        torch.testing.assert_close(maps["1.0"], first)
        torch.testing.assert_close(maps["1.1"], F.relu(net[2](first)))
    assert list(maps_of(net, ["1.1", "3.0"], x)) == ["1.1", "3.0"]
    with pytest.raises(BackboneError, match=r"'1' has no such output; it gives 1\.0, 1\.1\. Did you mean 1\.1 or 1\.0"):
        maps_of(net, ["1.7"], x)


def test_a_submodule_is_preferred_to_an_output_of_that_name():
    net = nn.Sequential(OrderedDict(m=nn.Sequential(nn.Conv2d(3, 4, 1), Gives(lambda x: (x + 1, x)))))
    x = photos(2, 4)
    with torch.no_grad():
        convolved = net.m[0](x)
    torch.testing.assert_close(maps_of(net, ["m.0"], x)["m.0"], convolved)
    torch.testing.assert_close(maps_of(net, ["m"], x)["m.0"], convolved + 1)
    for names in (["m", "m.0"], ["m.0", "m"]):
        with pytest.raises(CaptureError, match=r"'m\.0' is a module and an output of another"):
            maps_of(net, names, x)
    assert list(maps_of(net, ["m", "m.1.1"], x)) == ["m.0", "m.1", "m.1.1"]


# tokens


def tokens(length, dim=3, n=2):
    return torch.arange(n * length * dim, dtype=torch.float32).reshape(n, length, dim)


@pytest.mark.parametrize("prefix", PREFIX_TOKENS)
@pytest.mark.parametrize("side", [3, 4, 7, 14])
def test_tokens_lie_row_by_row_behind_class_and_register_tokens(prefix, side):
    value = tokens(prefix + side * side)
    found = as_map(value).numpy()
    flat = value.numpy()
    assert found.shape == (2, 3, side, side)
    for row in range(side):
        for column in range(side):
            np.testing.assert_array_equal(found[:, :, row, column], flat[:, prefix + row * side + column])


def test_few_tokens_can_be_read_in_two_ways_and_token_grid_decides():
    assert as_map(tokens(9)).shape == (2, 3, 3, 3)
    assert as_map(tokens(6)).shape == (2, 3, 2, 2)
    grid = as_map(tokens(9), (2, 2))
    np.testing.assert_array_equal(grid[0, :, 0, 0], tokens(9)[0, 5])
    ambiguous = [
        length
        for length in range(1, 2000)
        if sum(math.isqrt(length - p) ** 2 == length - p for p in PREFIX_TOKENS if length > p) > 1
    ]
    assert ambiguous == [6, 9]


@pytest.mark.parametrize("length", [3 + 1, 8, 24, 200])
def test_tokens_that_are_no_square_ask_for_token_grid(length):
    net = nn.Sequential(Gives(lambda x: x.flatten(2).transpose(1, 2)), nn.Identity())
    x = torch.randn(2, 3, 1, length + (length == 4) * 3)
    length = x.shape[3]
    with pytest.raises(CaptureError, match=r"token_grid=\(h, w\)"):
        maps_of(net, ["0"], x)
    maps = maps_of(net, ["0"], x, token_grid=(1, length))
    torch.testing.assert_close(maps["0"], x)


def test_token_grid_larger_than_there_are_tokens():
    net = nn.Sequential(Gives(lambda x: x.flatten(2).transpose(1, 2)))
    with pytest.raises(CaptureError, match="fewer tokens than the 5×4 of token_grid"):
        maps_of(net, ["0"], photos(2, 4), token_grid=(5, 4))


def test_square_counts_of_tokens_are_not_taken_for_square_maps_where_images_are_not():
    net = nn.Sequential(Gives(lambda x: F.avg_pool2d(x, 4).flatten(2).transpose(1, 2)))
    wide = photos(2, 8, 32)  # 2 × 8 tokens, which 4 × 4 are as well
    with pytest.raises(CaptureError, match="images that are not square"):
        maps_of(net, ["0"], wide)
    torch.testing.assert_close(maps_of(net, ["0"], wide, token_grid=(2, 8))["0"], F.avg_pool2d(wide, 4))


def test_class_token_of_torchvisions_vit():
    torch.manual_seed(0)
    net = models.VisionTransformer(32, 8, num_layers=2, num_heads=2, hidden_dim=16, mlp_dim=32, num_classes=5)
    x = photos(3, 32)
    maps = maps_of(net, ["encoder", "encoder.layers.encoder_layer_0"], x)
    with torch.no_grad():
        patches = net.eval()._process_input(x)
        encoded = net.encoder(torch.cat([net.class_token.expand(3, -1, -1), patches], dim=1))
    assert encoded.shape == (3, 17, 16)
    torch.testing.assert_close(maps["encoder"], encoded[:, 1:].reshape(3, 4, 4, 16).permute(0, 3, 1, 2))
    assert maps["encoder.layers.encoder_layer_0"].shape == (3, 16, 4, 4)


@pytest.mark.parametrize(("registers", "class_token", "prefix"), [(0, True, 1), (4, True, 5), (0, False, 0)])
def test_register_tokens_of_timms_vit(registers, class_token, prefix):
    torch.manual_seed(0)
    net = timm.models.VisionTransformer(
        img_size=32, patch_size=8, embed_dim=16, depth=1, num_heads=2, reg_tokens=registers, class_token=class_token,
        global_pool="token" if class_token else "avg", num_classes=5,
    )  # fmt: skip
    x = photos(2, 32)
    found = maps_of(net, ["norm"], x)["norm"]
    with torch.no_grad():
        expected = net.eval().forward_features(x)
    assert expected.shape == (2, 16 + prefix, 16)
    torch.testing.assert_close(found, expected[:, prefix:].reshape(2, 4, 4, 16).permute(0, 3, 1, 2))


def test_an_encoder_of_torch_is_seen_inside_in_spite_of_its_fused_path():
    torch.manual_seed(0)
    layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
    net = nn.Sequential(Gives(lambda x: x.flatten(2).transpose(1, 2)), nn.Linear(3, 8), nn.TransformerEncoder(layer, 2))
    maps = maps_of(net, ["2.layers.1", "2.layers.0.linear1"], photos(2, 4))
    assert maps["2.layers.1"].shape == (2, 8, 4, 4) and maps["2.layers.0.linear1"].shape == (2, 16, 4, 4)


# channels last, and rows that are no images


def test_channels_that_come_last_are_put_first():
    torch.manual_seed(0)
    net = models.SwinTransformer([2, 2], 8, [1, 1], [1, 2], [2, 2], num_classes=5)
    x = photos(2, 16)
    maps = maps_of(net, ["features", "permute"], x)
    with torch.no_grad():
        features = net.eval().features(x)
    assert features.shape == (2, 4, 4, 16)
    torch.testing.assert_close(maps["features"], features.permute(0, 3, 1, 2))
    assert maps["permute"].shape == (2, 16, 4, 4)
    pooled = maps_of(net, ["features"], x, map_size=2)["features"]
    torch.testing.assert_close(pooled, F.avg_pool2d(features.permute(0, 3, 1, 2), 2))


@pytest.mark.parametrize(
    ("shape", "image", "read"),
    [
        ((2, 8, 8, 5), (32, 32), (2, 5, 8, 8)),
        ((2, 8, 8, 5), (32, 20), (2, 8, 8, 5)),  # 8 channels, 8 × 5 positions
        ((2, 8, 8, 5), None, (2, 8, 8, 5)),
        ((2, 5, 8, 8), (32, 32), (2, 5, 8, 8)),
        ((2, 8, 8, 8), (32, 32), (2, 8, 8, 8)),
        ((2, 1, 1, 9), (32, 32), (2, 9, 1, 1)),
    ],
)
def test_only_maps_of_square_images_tell_where_the_channels_are(shape, image, read):
    images = None if image is None else torch.zeros(2, 3, *image)
    assert as_map(torch.zeros(shape), images=images).shape == read


def test_windows_of_attention_are_no_maps_of_images():
    net = nn.Sequential(nn.Conv2d(3, 4, 1), Gives(lambda x: x.reshape(len(x) * 4, 4, 4, 4)), nn.Flatten())
    with pytest.raises(CaptureError, match="not one for each of 2 images"):
        maps_of(net, ["1"], photos(2, 8))


def test_frames_of_a_video_are_taken_as_they_come():
    net = nn.Sequential(Gives(lambda x: x.flatten(0, 1)), nn.Conv2d(3, 4, 1))
    assert maps_of(net, ["1"], torch.zeros(2, 5, 3, 4, 4))["1"].shape == (10, 4, 4, 4)


# what is left behind


def test_eval_mode_inside_and_every_flag_put_back():
    net, x = small_cnn().train(), photos()
    net.norm.eval()
    net.block[2].eval()
    before, statistics = flags(net), net.norm.running_mean.clone()
    with capture(net, ["down"]) as forward:
        assert not any(flags(net))
        assert torch.equal(forward(x)[1]["down"], forward(x)[1]["down"])  # no dropout
    assert flags(net) == before and True in before and False in before
    assert torch.equal(net.norm.running_mean, statistics)


def test_a_model_in_eval_mode_stays_in_it():
    net = small_cnn().eval()
    maps_of(net, ["down"], photos())
    assert not any(flags(net))


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_nothing_is_left_behind_by_an_error_in_the_block(error):
    net = small_cnn()
    with pytest.raises(error), capture(net, ["stem", "down"]) as forward:
        forward(photos())
        assert hooks(net) == 2
        raise error
    assert hooks(net) == 0 and all(flags(net))


def test_nothing_is_left_behind_by_a_forward_that_fails():
    net = small_cnn()
    net.down = Fails()
    with capture(net, ["stem", "down"]) as forward:
        for _ in range(2):
            with pytest.raises(RuntimeError, match="this layer fails"):
                forward(photos())
    assert hooks(net) == 0 and all(flags(net))


def test_a_forward_after_one_that_failed_starts_afresh():
    net = small_cnn()
    with capture(net, ["stem", "down"]) as forward:
        with pytest.raises(RuntimeError):
            forward(photos(2, 16))  # too many features for the linear layer
        assert list(forward(photos())[1]) == ["stem", "down"]


def test_nothing_is_left_behind_by_a_name_that_is_not_there():
    net = small_cnn()
    with pytest.raises(BackboneError), capture(net, ["stem", "nowhere"]):
        pass
    assert hooks(net) == 0 and all(flags(net))


def test_forward_behind_the_block_is_refused():
    net = small_cnn()
    with capture(net, ["stem"]) as forward:
        pass
    with pytest.raises(CaptureError, match="inside the with block"):
        forward(photos())


def test_calls_of_the_model_itself_are_not_recorded():
    net, x = small_cnn(), photos()
    with capture(net, ["stem"]) as forward:
        net(x)
        assert list(forward(x)[1]) == ["stem"]


@pytest.mark.parametrize("grad", [False, True])
def test_the_maps_of_a_batch_are_not_held_for_the_next(grad):
    net = small_cnn()
    with capture(net, ["stem", "down"], grad=grad) as forward:
        output, maps = forward(photos())
        held = [weakref.ref(value) for value in maps.values()]
        assert all(ref() is not None for ref in held)
        del output, maps
        gc.collect()
        assert not any(ref() is not None for ref in held)


def test_maps_own_their_memory():
    maps = maps_of(nn.Sequential(nn.Conv2d(3, 4, 1), nn.Identity()), ["0", "1"], photos())
    assert maps["0"].data_ptr() != maps["1"].data_ptr()
    assert all(value.untyped_storage().nbytes() == value.numel() * 4 for value in maps.values())


@st.composite
def nets(draw):
    """A random tree of layers, with random flags, in which at most one layer fails."""

    def layer():
        kind = draw(st.sampled_from(["conv", "norm", "relu", "drop", "identity", "fails"]))
        if kind == "fails" and draw(st.integers(0, 3)):
            kind = "conv"
        return {
            "conv": nn.Conv2d(2, 2, 1),
            "norm": nn.BatchNorm2d(2),
            "relu": nn.ReLU(inplace=True),
            "drop": nn.Dropout2d(0.5),
            "identity": nn.Identity(),
            "fails": Fails(),
        }[kind]

    def tree(depth):
        size = draw(st.integers(1, 3))
        return nn.Sequential(*(tree(depth - 1) if depth and draw(st.booleans()) else layer() for _ in range(size)))

    net = tree(2)
    for module in net.modules():
        module.training = draw(st.booleans())
    names = [name for name, _ in net.named_modules() if name]
    return net, draw(st.lists(st.sampled_from(names), min_size=1, unique=True))


@settings(deadline=None, max_examples=60)
@given(nets(), st.booleans(), st.booleans())
def test_any_network_is_left_as_it_was(drawn, grad, in_block):
    net, names = drawn
    before = flags(net)
    state = {key: value.clone() for key, value in net.state_dict().items()}
    x = torch.randn(2, 2, 3, 3)
    fails = any(isinstance(module, Fails) for module in net.modules())
    try:
        with capture(net, names, grad=grad) as forward:
            assert not any(flags(net)) and hooks(net) == len(names)
            output, maps = forward(x.clone())  # which a ReLU may overwrite
            if in_block:
                raise ZeroDivisionError
    except (RuntimeError, ZeroDivisionError) as error:
        assert fails == ("this layer fails" in str(error))
    else:
        assert not fails and list(maps) == names and output.requires_grad <= grad
        expected = hooked(net, names, x.clone())
        for name in names:
            torch.testing.assert_close(maps[name].detach(), expected[name], rtol=0, atol=0)
        for module, flag in zip(net.modules(), before, strict=True):
            module.training = flag
    assert flags(net) == before and hooks(net) == 0
    assert all(torch.equal(value, state[key]) for key, value in net.state_dict().items())


# pooling


def test_pooling_takes_the_mean_of_blocks():
    net, x = nn.Sequential(nn.Identity()), photos(2, 8)
    blocks = x.numpy().reshape(2, 3, 4, 2, 4, 2).mean(axis=(3, 5))
    np.testing.assert_allclose(maps_of(net, ["0"], x, map_size=4)["0"], blocks, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(
        maps_of(net, ["0"], x, map_size=1)["0"][..., 0, 0], x.numpy().mean((2, 3)), rtol=1e-5, atol=1e-6
    )


@pytest.mark.parametrize(
    ("height", "width", "size", "pooled"),
    [(8, 8, 4, (4, 4)), (3, 3, 4, (3, 3)), (4, 4, 4, (4, 4)), (2, 8, 4, (2, 4)), (5, 5, 4, (4, 4)), (8, 8, 1, (1, 1))],
)
def test_pooling_never_enlarges(height, width, size, pooled):
    x = photos(2, height, width)
    assert maps_of(nn.Sequential(nn.Identity()), ["0"], x, map_size=size)["0"].shape[2:] == pooled


# gradients


def test_gradients_equal_those_of_a_network_cut_in_two():
    net, x = small_cnn(), photos()
    with capture(net, ["norm", "block", "stem"], grad=True) as forward:
        output, maps = forward(x)
        got = torch.autograd.grad(output[:, 2].sum(), list(maps.values()))
    net.eval()
    for name, start in (("norm", 2), ("block", 4), ("stem", 1)):
        with torch.no_grad():
            value = net[:start](x)
        value.requires_grad_()
        (expected,) = torch.autograd.grad(net[start:](value.clone())[:, 2].sum(), value)
        torch.testing.assert_close(maps[name], value)
        torch.testing.assert_close(got[list(maps).index(name)], expected)
        assert expected.abs().sum() > 0


def test_gradients_of_tokens_and_of_channels_last():
    torch.manual_seed(0)
    vit = models.VisionTransformer(32, 8, num_layers=1, num_heads=2, hidden_dim=16, mlp_dim=32, num_classes=5)
    nn.init.normal_(vit.heads.head.weight)
    swin = models.SwinTransformer([2, 2], 8, [1, 1], [1, 2], [2, 2], num_classes=5)
    for net, name, size in ((vit, "encoder.dropout", 32), (swin, "features", 16)):
        x = photos(2, size)
        with capture(net, [name], grad=True) as forward:
            output, maps = forward(x)
            (got,) = torch.autograd.grad(output[:, 1].sum(), maps[name])
        seen = []
        handle = net.get_submodule(name).register_forward_hook(lambda m, a, out, seen=seen: seen.append(out))
        (raw,) = torch.autograd.grad(net.eval()(x)[:, 1].sum(), seen)
        handle.remove()
        expected = raw[:, 1:].reshape(2, 4, 4, 16).permute(0, 3, 1, 2) if net is vit else raw.permute(0, 3, 1, 2)
        torch.testing.assert_close(got, expected)
        assert got.abs().sum() > 0
        with torch.no_grad():
            torch.testing.assert_close(output, net(x))


def test_gradients_of_a_frozen_network():
    net, x = small_cnn(), photos()
    with capture(net, ["block"], grad=True) as forward:
        output, maps = forward(x)
        (expected,) = torch.autograd.grad(output.sum(), maps["block"])
    net.requires_grad_(False)
    with capture(net, ["stem", "block"], grad=True) as forward:
        output, maps = forward(x)
        (got,) = torch.autograd.grad(output.sum(), maps["block"])
    torch.testing.assert_close(got, expected)


def test_no_gradients_unless_asked_for():
    with capture(small_cnn(), ["stem"]) as forward:
        output, maps = forward(photos())
    assert not output.requires_grad and not maps["stem"].requires_grad


def test_maps_of_a_model_that_turns_gradients_on_by_itself_are_detached():
    net = small_cnn()
    net.forward = torch.enable_grad()(lambda x: net.stem(x))
    for map_size in (None, 2):
        assert not maps_of(net, ["stem"], photos(), map_size=map_size)["stem"].requires_grad


# errors


def test_options_that_cannot_work_are_told_all_at_once():
    with pytest.raises(ConfigError) as caught, capture(small_cnn(), [], map_size=0, token_grid=(0, 4), grad=True):
        pass
    assert len(caught.value.problems) == 4
    with pytest.raises(ConfigError, match="two numbers"), capture(small_cnn(), ["stem"], token_grid=(1, 2, 3, 4)):
        pass


@pytest.mark.parametrize(("name", "near"), [("stemm", "stem"), ("blocc.0", "block.0"), ("down2", "down")])
def test_an_unknown_name_is_answered_with_near_ones(name, near):
    with pytest.raises(BackboneError, match=rf"no module '{name}'\. Did you mean .*{near}.*fmce list-modules"):
        maps_of(small_cnn(), [name], photos())


def test_an_output_that_is_not_there():
    with pytest.raises(BackboneError, match=r"'fpn' has no such output; it gives fpn\.high, fpn\.low"):
        maps_of(Pyramid(), ["fpn.medium"], photos())


def test_modules_that_are_never_called():
    net = small_cnn()
    net.block = nn.Sequential()
    net.block.parts = nn.ModuleList([nn.Conv2d(8, 8, 1)])
    net.block.forward = lambda x: net.block.parts[0](x)
    with pytest.raises(CaptureError, match=r"'block\.parts' was not called.*Inside it: block\.parts\.0\."):
        maps_of(net, ["block.parts"], photos())
    assert list(maps_of(net, ["block.parts.0"], photos())) == ["block.parts.0"]
    net.spare = nn.Conv2d(1, 1, 1)
    net.forward = lambda x: net.stem(x)
    with pytest.raises(CaptureError, match=r"'spare' was not called.*fmce list-modules"):
        maps_of(net, ["spare"], photos())


@pytest.mark.parametrize(
    ("made", "got"),
    [
        (lambda x: x.flatten(1), r"float32 of shape \(2, 48\)"),
        (lambda x: x.long(), r"int64 of shape \(2, 3, 4, 4\)"),
        (lambda x: x[None], r"float32 of shape \(1, 2, 3, 4, 4\)"),
        (lambda x: x[:, :0], r"float32 of shape \(2, 0, 4, 4\)"),
        (lambda x: x.to(torch.complex64), r"complex64 of shape"),
        (lambda x: None, "no tensor"),
        (lambda x: {"a": 1, "b": x.flatten(1)}, r"m\.b: float32 of shape \(2, 48\)"),
    ],
    ids=["2-D", "integers", "5-D", "empty", "complex", "none", "dict"],
)
@pytest.mark.parametrize("grad", [False, True])
def test_outputs_that_are_no_feature_maps(made, got, grad):
    net = nn.Sequential(OrderedDict(m=Gives(made), end=Gives(lambda out: 0)))
    with pytest.raises(CaptureError, match=f"'m' is no feature map.*got .*{got}.*Name a module before it"):
        maps_of(net, ["m"], photos(2, 4), grad=grad)
