from __future__ import annotations

import sys
import textwrap
from functools import partial

import pytest
import timm
import torch
from torch import nn
from torchvision import models

from fmce_mlflow.errors import BackboneError, ConfigError
from fmce_mlflow.method.networks.backbones import backbone_names, build_backbone, resolve_stem
from fmce_mlflow.method.networks.capture import capture
from fmce_mlflow.method.networks.find_modules import default_module
from tests.helpers.forks import Forked


def seeded(name, seed=0, **options):
    torch.manual_seed(seed)
    return build_backbone(name, **{"num_classes": 10, **options})


def map_shape(model, module, size):
    with capture(model, [module]) as forward:
        _, maps = forward(torch.zeros(2, 3, size, size))
    return tuple(maps[module].shape[1:])


def geometry(model):
    """Kernel, stride and padding of the first convolution."""
    conv = next(module for module in model.modules() if isinstance(module, nn.Conv2d))
    return conv.kernel_size[0], conv.stride[0], conv.padding[0]


# families

FAMILIES = [  # at 32 pixels, with the small stem
    ("alexnet", "features", (256, 7, 7)),
    ("convnext_tiny", "features", (768, 2, 2)),
    ("densenet121", "features", (1024, 4, 4)),
    ("efficientnet_b0", "features", (1280, 2, 2)),
    ("googlenet", "inception5b", (1024, 4, 4)),
    ("inception_v3", "Mixed_7c", (2048, 2, 2)),
    ("maxvit_t", "blocks.3", (512, 2, 2)),
    ("mnasnet0_5", "layers", (1280, 2, 2)),
    ("mobilenet_v2", "features", (1280, 2, 2)),
    ("mobilenet_v3_small", "features", (576, 2, 2)),
    ("regnet_y_400mf", "trunk_output", (440, 2, 2)),
    ("resnet50", "layer4", (2048, 4, 4)),
    ("shufflenet_v2_x0_5", "conv5", (1024, 4, 4)),
    ("squeezenet1_1", "features", (512, 8, 8)),
    ("swin_t", "permute", (768, 2, 2)),
    ("vgg11_bn", "features", (512, 2, 2)),
    ("timm:convnext_atto", "stages", (320, 2, 2)),
    ("timm:resnet18", "layer4", (512, 4, 4)),
    ("timm:swin_tiny_patch4_window7_224", "norm", (768, 2, 2)),
    ("timm:vit_tiny_patch16_224", "norm", (192, 8, 8)),
]


@pytest.mark.parametrize(("name", "module", "shape"), FAMILIES, ids=[row[0] for row in FAMILIES])
def test_families_at_32_pixels(name, module, shape):
    model = seeded(name, num_classes=7)
    assert all(part.training for part in model.modules())
    assert default_module(model, torch.zeros(2, 3, 32, 32)) == module
    assert map_shape(model, module, 32) == shape
    with torch.no_grad():
        assert model.eval()(torch.zeros(2, 3, 32, 32)).shape == (2, 7)


@pytest.mark.slow
@pytest.mark.parametrize("name", models.list_models(module=models))
def test_every_classifier_of_torchvision(name):
    model = seeded(name)
    module = default_module(model, torch.zeros(1, 3, 32, 32))
    assert module in {"encoder", *(module for _, module, _ in FAMILIES)}
    channels, height, width = map_shape(model, module, 32)
    assert channels >= 192 and height == width >= 2


def test_the_names_are_those_of_torchvision_and_of_timm():
    names = backbone_names()
    assert len(names) == len(set(names))
    assert {"shufflenet_v2_x0_5", "vit_b_16", "timm:resnet18"} <= set(names)
    assert not {"fasterrcnn_resnet50_fpn", "quantized_resnet18", "r3d_18", "raft_small"} & set(names)
    assert all(timm.is_model(name.removeprefix("timm:")) for name in names if name.startswith("timm:"))


def test_the_seed_gives_the_weights():
    first, again, other = (seeded("shufflenet_v2_x0_5", seed).state_dict() for seed in (0, 0, 1))
    assert all(torch.equal(first[key], again[key]) for key in first)
    assert not torch.equal(first["conv1.0.weight"], other["conv1.0.weight"])


# stems


@pytest.mark.parametrize(
    ("stem", "size", "kernel"),
    [("auto", 32, 3), ("auto", 63, 3), ("auto", 64, 7), ("auto", 224, 7), ("small", 64, 3), ("stock", 32, 7)],
)
def test_auto_is_the_small_stem_under_64_pixels(stem, size, kernel):
    assert resolve_stem(stem, size, "resnet18") == ("small" if kernel == 3 else "stock")
    model = seeded("resnet18", image_size=size, stem=stem)
    assert geometry(model) == ((3, 1, 1) if kernel == 3 else (7, 2, 3))
    assert isinstance(model.maxpool, nn.Identity if kernel == 3 else nn.MaxPool2d)


@pytest.mark.parametrize(
    ("name", "stock", "small"),
    [
        ("densenet121", (7, 2, 3), (3, 1, 1)),
        ("shufflenet_v2_x0_5", (3, 2, 1), (3, 1, 1)),
        ("squeezenet1_1", (3, 2, 0), (3, 1, 1)),
        ("timm:convnext_atto", (4, 4, 0), (2, 2, 0)),
        ("timm:resnet18", (7, 2, 3), (3, 1, 1)),
        ("timm:swin_tiny_patch4_window7_224", (4, 4, 0), (2, 2, 0)),
        ("timm:vit_tiny_patch16_224", (16, 16, 0), (4, 4, 0)),
        ("timm:vit_small_patch32_224", (32, 32, 0), (4, 4, 0)),
    ],
)
def test_what_becomes_of_the_first_convolution(name, stock, small):
    assert geometry(seeded(name, image_size=64, stem="stock")) == stock
    assert geometry(seeded(name, image_size=64, stem="small")) == small


@pytest.mark.parametrize(
    ("name", "dropped"),
    [
        ("densenet121", "features.pool0"),
        ("googlenet", "maxpool1"),
        ("inception_v3", "maxpool1"),
        ("resnet18", "maxpool"),
        ("shufflenet_v2_x0_5", "maxpool"),
        ("squeezenet1_1", "features.2"),
        ("timm:resnet18d", "maxpool"),
        ("mobilenet_v3_small", None),
    ],
)
def test_the_max_pool_of_the_stem_and_no_other_is_dropped(name, dropped):
    def pools(stem):
        model = seeded(name, image_size=80, stem=stem)
        return {path for path, module in model.named_modules() if isinstance(module, nn.MaxPool2d)}

    assert pools("stock") - pools("small") == ({dropped} if dropped else set())
    assert pools("small") <= pools("stock")


def flat(num_classes):
    return nn.Sequential(nn.Flatten(), nn.LazyLinear(num_classes))


def pooled(convolutions, num_classes, stride=2):
    layers = [nn.Conv2d(4 if i else 3, 4, 3, padding=1) for i in range(convolutions)]
    return nn.Sequential(*layers, nn.MaxPool2d(2, stride), nn.Flatten(), nn.LazyLinear(num_classes))


pooled_behind_3, pooled_behind_4, unstrided = partial(pooled, 3), partial(pooled, 4), partial(pooled, 1, stride=1)


@pytest.mark.parametrize(
    ("name", "kind"), [("pooled_behind_3", nn.Identity), ("pooled_behind_4", nn.MaxPool2d), ("unstrided", nn.MaxPool2d)]
)
def test_a_max_pool_far_behind_or_without_a_stride_is_kept(name, kind):
    model = build_backbone(f"{__name__}:{name}", num_classes=10, image_size=8, stem="small")
    assert isinstance(model[-3], kind)


def convolved(kernel, stride, padding, num_classes):
    return nn.Sequential(nn.Conv2d(3, 4, kernel, stride, padding), nn.Flatten(), nn.LazyLinear(num_classes))


pointwise, halved = partial(convolved, 1, 1, 0), partial(convolved, 2, 2, 0)
same, even, strided_pointwise = (
    partial(convolved, 5, 1, "same"),
    partial(convolved, 4, 2, 1),
    partial(convolved, 1, 2, 0),
)


@pytest.mark.parametrize(
    ("name", "small"),
    [
        ("pointwise", (1, 1, 0)),
        ("halved", (2, 2, 0)),
        ("strided_pointwise", (1, 1, 0)),
        ("same", (3, 1, 1)),
        ("even", (3, 1, 1)),
    ],
)
def test_unusual_first_convolutions(name, small):
    assert geometry(build_backbone(f"{__name__}:{name}", num_classes=10, image_size=8, stem="small")) == small


def test_a_network_without_convolutions_has_no_stem():
    name = f"{__name__}:flat"
    assert isinstance(build_backbone(name, num_classes=10, image_size=4, stem="small")[1], nn.Linear)


def test_the_weights_of_the_small_stem_are_the_middle_of_the_stock_ones_at_their_variance():
    stock = seeded("resnet18", stem="stock", image_size=64).state_dict()
    small = seeded("resnet18", stem="small", image_size=64).state_dict()
    assert {key for key in stock if not torch.equal(stock[key].ravel()[:9], small[key].ravel()[:9])} == {"conv1.weight"}
    torch.testing.assert_close(small["conv1.weight"], stock["conv1.weight"][:, :, 2:5, 2:5] * 7 / 3)
    noise = torch.randn(4, 3, 64, 64)
    spread = [
        nn.functional.conv2d(noise, weights["conv1.weight"]).var(dim=(0, 2, 3)).mean() for weights in (stock, small)
    ]
    assert spread[1] / spread[0] == pytest.approx(1, abs=0.1)


@pytest.mark.parametrize(("size", "stem", "count"), [(32, "small", 64), (40, "small", 100), (64, "stock", 16)])
def test_the_position_embeddings_of_a_vit_suit_its_images(size, stem, count):
    model = seeded("timm:vit_tiny_patch16_224", image_size=size, stem=stem)
    assert model.pos_embed.shape == (1, 1 + count, 192)


def test_the_small_stem_of_torchvisions_vit_draws_its_positions_as_torchvision_does():
    model = seeded("vit_b_16", image_size=40, stem="small")
    assert geometry(model) == (4, 4, 0)
    assert default_module(model, torch.zeros(1, 3, 40, 40)) == "encoder"
    assert map_shape(model, "encoder", 40) == (768, 10, 10)
    embedding = model.encoder.pos_embedding
    assert embedding.shape == (1, 101, 768) and embedding.requires_grad
    assert embedding.std().item() == pytest.approx(0.02, rel=0.05)


@pytest.mark.parametrize(
    ("name", "size", "stem", "message"),
    [
        (
            "vit_b_16",
            40,
            "stock",
            r"patches of 16 pixels, and 40 is not divisible.*images of 32 pixels, or stem='small'",
        ),
        ("vit_b_16", 30, "small", r"patches of 4 pixels, and 30 is not divisible.*images of 32 pixels"),
        ("maxvit_t", 28, "small", r"sides of 14, 7, 4, 2\. Use images of 64, 96, .*with stem='small' the half"),
        ("alexnet", 16, "stock", r"alexnet cannot take RGB images of 16×16 pixels: RuntimeError: .*stem='small'"),
        ("inception_v3", 64, "stock", r"inception_v3 cannot take RGB images of 64×64.*Use larger images"),
        ("timm:levit_128s", 32, "small", r"cannot take RGB images of 32×32.*stem='stock'"),
        ("timm:mixer_s16_224", 32, "small", r"timm cannot build 'mixer_s16_224'.*stem='stock'"),
    ],
)
def test_images_that_a_network_cannot_take(name, size, stem, message):
    with pytest.raises(BackboneError, match=message):
        build_backbone(name, num_classes=10, image_size=size, stem=stem)


@pytest.mark.parametrize("size", [48, 80])
def test_maxvit_takes_the_sizes_that_its_error_names(size):
    assert map_shape(seeded("maxvit_t", image_size=size, stem="small"), "blocks.3", size)[1:] == (
        size // 16,
        size // 16,
    )


# wrong names and options


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("resnet5O", r"no backbone 'resnet5O'\. Did you mean resnet50.*fmce list-backbones.*timm:<name>"),
        ("resnet", r"Did you mean resnet\d+ or "),
        ("xyzzy", r"no backbone 'xyzzy'\. `fmce list-backbones`"),
        ("timm:resnet_18", r"timm has no model 'resnet_18'\. Did you mean timm:\w+.*fmce list-backbones"),
        ("fasterrcnn_resnet50_fpn", "torchvision model for detection, not a classification backbone.*resnet50"),
        ("fcn_resnet50", "torchvision model for segmentation"),
        ("quantized_resnet18", "torchvision model for quantization"),
        ("r3d_18", "torchvision model for video"),
    ],
)
def test_names_that_are_no_backbone(name, message):
    with pytest.raises(BackboneError, match=message):
        build_backbone(name, num_classes=10)


def test_wrong_options_are_told_all_at_once():
    with pytest.raises(ConfigError) as caught:
        build_backbone("resnet18", num_classes=0, image_size=-1, stem="tiny")
    assert caught.value.problems == (
        "num_classes must be at least 1, got 0",
        "image_size must be at least 1, got -1",
        "stem must be one of auto, small, stock, got 'tiny'",
    )
    with pytest.raises(ConfigError, match="'tiny'"):
        resolve_stem("tiny", 32)


def test_without_timm():
    script = """
        import sys

        for name in [name for name in sys.modules if name.partition(".")[0] in ("timm", "fmce_mlflow")]:
            del sys.modules[name]  # of the process that was forked
        sys.modules["timm"] = None  # as if it were not installed
        from fmce_mlflow.method.networks.backbones import backbone_names, build_backbone

        names = backbone_names()
        print("resnet18" in names, any(name.startswith("timm:") for name in names))
        try:
            build_backbone("timm:resnet18", num_classes=10)
        except Exception as error:
            print(f"{type(error).__name__}: {error}")
    """
    said, _ = Forked(exec, textwrap.dedent(script)).communicate()
    assert said.splitlines() == [
        "True False",
        "BackboneError: 'timm:resnet18' needs timm: pip install \"fmce-mlflow[timm]\"",
    ]


# networks of the user's own


@pytest.fixture
def nets(tmp_path, monkeypatch):
    """The name of a module of networks, in the working directory only."""
    (tmp_path / "my_own_nets.py").write_text(
        textwrap.dedent(
            """
            import torch
            from torch import nn

            def tiny(num_classes):
                head = nn.LazyLinear(num_classes)
                return nn.Sequential(nn.Conv2d(3, 4, 7, 2, 3), nn.MaxPool2d(2), nn.Flatten(), head)

            def anything(**options):
                assert list(options) == ["num_classes"]
                return tiny(**options)

            def fixed():
                return tiny(10)

            class Net(nn.Module):
                def __init__(self, width=4, num_classes=3):
                    super().__init__()
                    self.layers = tiny(num_classes)

                def forward(self, x):
                    return self.layers(x)

                @classmethod
                def wide(cls, num_classes):
                    return cls(16, num_classes)

            class Pair(Net):
                def forward(self, x):
                    return self.layers(x), x

            def grey(num_classes):
                return nn.Sequential(nn.Conv2d(1, 4, 3), nn.Flatten(), nn.LazyLinear(num_classes))

            def broken(num_classes):
                raise ValueError("no such width")

            def text(num_classes):
                return "a network"

            instance = tiny(10)
            number = 3
            """
        )
    )
    (tmp_path / "my_broken_nets.py").write_text("import a_package_that_is_not_there")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [entry for entry in sys.path if entry])
    yield "my_own_nets"
    for name in ("my_own_nets", "my_broken_nets"):
        sys.modules.pop(name, None)


@pytest.mark.parametrize("factory", ["tiny", "anything", "fixed", "Net", "Net.wide"])
def test_a_factory_is_called_with_the_number_of_classes_if_it_takes_it(nets, factory):
    model = build_backbone(f"{nets}:{factory}", num_classes=10)
    with torch.no_grad():
        assert model(torch.zeros(2, 3, 32, 32)).shape == (2, 10)
    assert model.training


def test_a_factory_of_torchvision():
    assert isinstance(build_backbone("torchvision.models:squeezenet1_1", num_classes=4), models.SqueezeNet)


def test_networks_of_the_users_own_keep_their_stem_unless_asked_otherwise(nets):
    assert resolve_stem("auto", 32, f"{nets}:tiny") == "stock"
    assert geometry(build_backbone(f"{nets}:tiny", num_classes=10)) == (7, 2, 3)
    small = build_backbone(f"{nets}:tiny", num_classes=10, stem="small")
    assert geometry(small) == (3, 1, 1) and isinstance(small[1], nn.Identity)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("a_package_that_is_not_there:net", r"importing 'a_package_that_is_not_there' failed with ModuleNotFoundError"),
        ("my_broken_nets:net", r"importing 'my_broken_nets' failed.*'a_package_that_is_not_there'"),
        (":net", "Expected package.module:factory, installed or below"),
        ("my_own_nets:tinny", r"\(.*my_own_nets\.py\) has no 'tinny'\. Did you mean tiny or nn\?"),
        ("my_own_nets:", "has no ''"),
        ("my_own_nets:Net.narrow", "has no 'Net.narrow'"),
        ("sys:net", r"Module 'sys' \(None\) has no 'net'"),
        ("my_own_nets:number", "must be a callable that returns a torch.nn.Module, got int"),
        ("my_own_nets:instance", "must be a callable that returns a torch.nn.Module, got Sequential"),
        ("my_own_nets:broken", "my_own_nets:broken failed with ValueError: no such width"),
        ("my_own_nets:text", "must return a torch.nn.Module, got str"),
        ("my_own_nets:Pair", r"must give logits of shape \(n, 12\) for n images, got tuple for one image"),
        ("my_own_nets:fixed", r"must give logits of shape \(n, 12\) for n images, got \(1, 10\) for one image"),
        ("my_own_nets:grey", "cannot take RGB images of 32×32 pixels: RuntimeError: .*1 channels"),
    ],
)
def test_factories_that_do_not_work(nets, name, message):
    with pytest.raises(BackboneError, match=message):
        build_backbone(name, num_classes=12)
