"""Forms in which models and data come, and what an evaluation makes of each: the tables of ``docs/evaluator.md``.

``python -m tests.helpers.forms`` writes the tables; ``tests/docs/test_forms.py`` compares them and runs every row. Add
a row to one of :data:`TABLES`, or a table, and its pair of comments to a page of the docs::

    <!-- forms of: MODELS -->
    <!-- end of forms -->
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import mlflow
import numpy as np
import timm
import torch
from mlflow import MlflowClient
from mlflow.models import ModelSignature
from mlflow.types import Schema, TensorSpec
from torch import nn

from fmce_mlflow.errors import FmceError
from fmce_mlflow.evaluation.evaluate import examine
from fmce_mlflow.evaluation.options import EvaluationConfig
from fmce_mlflow.predictor.find import find_predictor
from fmce_mlflow.runs.run import Run
from fmce_mlflow.runs.torch_models import load_torch_model
from tests.helpers import form_data as given
from tests.helpers import form_nets as nets

DOCS = Path(__file__).parents[2] / "docs"
_TABLE = re.compile(r"(<!-- forms of: (\w+) -->\n).*?(<!-- end of forms -->)", re.DOTALL)


@dataclass(frozen=True, kw_only=True)
class Form:
    """A row: what comes, and what happens."""

    what: str
    word: Literal["read", "asked", "refused"]
    then: str  # what is read, as `evaluate` gives it; or a part of the message
    evaluate: Callable[..., str]  # with options of the evaluator: what is read; raises FmceError
    answer: Mapping[str, Any] = field(default_factory=dict)  # to what is asked, options with which it is read

    @property
    def row(self) -> str:
        """Its line in the docs."""
        given = ", ".join(f"`{key}={value!r}`" for key, value in self.answer.items())
        text = f"“{self.then} …”" if self.word != "read" else self.then
        return f"| {self.what} | {self.word} | {text}{f'; read with {given}' if given else ''} |\n"


def outcome(form: Form) -> tuple[str, str]:
    """What really happens with a form: the word, and what is read or said."""
    try:
        return "read", form.evaluate()
    except FmceError as error:
        return ("asked" if form.answer else "refused"), str(error)


def page(text: str) -> str:
    """A page of the docs with its tables of forms written anew."""
    head = "| form | | what is read, or said |\n| --- | --- | --- |\n"
    return _TABLE.sub(lambda found: found[1] + head + "".join(one.row for one in TABLES[found[2]]) + found[3], text)


def model(
    make: Callable[[], nn.Module],
    size: tuple[int, int] = (32, 32),
    *,
    name: str | None = None,
    layout: str = "NCHW",
    form: str = "pickle",
    dtype: type[np.generic] = np.float32,
    **config: Any,
) -> Callable[..., str]:
    """Log a network, with a signature of that input; evaluating it gives its modules with the shapes of their maps."""

    def evaluate(**options: Any) -> str:
        shape = (3, *size) if layout == "NCHW" else (*size, 3)
        with torch.random.fork_rng(devices=[]), tempfile.TemporaryDirectory() as folder:
            torch.manual_seed(0)
            signature = ModelSignature(Schema([TensorSpec(np.dtype(dtype), (-1, *shape), name)]))
            more: dict[str, Any] = {"signature": signature, "serialization_format": form, "pip_requirements": []}
            more |= {"input_example": np.zeros((2, *shape), dtype)} if form == "pt2" else {}
            mlflow.pytorch.save_model(make(), f"{folder}/model", **more)
            scale = {"preprocessing": "scale"} if dtype is np.float32 and "preprocessing" not in config else {}
            return evaluated(f"{folder}/model", pixels(size), **scale, **config, **options)

    return evaluate


def pixels(size: tuple[int, int], n: int = 8) -> Any:
    """A dataset of images of noise, uint8."""
    return mlflow.data.from_images(np.random.default_rng(0).integers(0, 256, (n, *size, 3), dtype=np.uint8))


def evaluated(uri: str, data: Any, **options: Any) -> str:
    """What an evaluation reads of a model: its modules, and (C, H, W) of their maps."""
    config = EvaluationConfig.read({"saliency": False, **options})
    run = Run(MlflowClient(), "", print)  # nothing is logged
    found = examine(run, load_torch_model(uri), data.to_evaluation_dataset(), config, find_predictor(None))
    return ", ".join(f"`{one.name}` {' × '.join(map(str, one.shape or ()))}" for one in found.modules)


def vit(**options: Any) -> Callable[[], nn.Module]:
    """timm's ViT with patches of 8 pixels."""
    small = {"patch_size": 8, "embed_dim": 16, "depth": 2, "num_heads": 2, "num_classes": 5, "img_size": 32}
    return lambda: timm.models.VisionTransformer(**{**small, **options}).eval()


def swin() -> nn.Module:
    """timm's Swin for 64 × 32 pixels."""
    options: dict[str, Any] = {"patch_size": 2, "embed_dim": 8, "depths": (1, 1), "num_heads": (1, 2), "window_size": 4}
    return timm.models.SwinTransformer(img_size=(64, 32), num_classes=5, **options).eval()


MODELS: Sequence[Form] = (
    Form(what="a classifier", word="read", then="`stage` 16 × 8 × 8", evaluate=model(lambda: nets.Classifier().eval())),
    Form(
        what="a U-Net, which gives the logits of pixels",
        word="read",
        then="`up` 8 × 32 × 32",
        evaluate=model(lambda: nets.UNet().eval()),
    ),
    Form(
        what="a YOLO, whose boxes are distributions that are decoded",
        word="read",
        then="`classes.1.0` 16 × 4 × 4",
        evaluate=model(lambda: nets.Yolo().eval()),
    ),
    Form(
        what="a DETR: learned queries ask an encoder's tokens",
        word="read",
        then="`encoder` 16 × 4 × 4",
        evaluate=model(lambda: nets.Detr().eval()),
    ),
    Form(
        what="a DETR whose queries ask through linear layers, as of transformers",
        word="read",
        then="`encoder` 16 × 8 × 8",
        evaluate=model(lambda: nets.DetrOfProjections().eval()),
    ),
    Form(
        what="an auxiliary head that is called last, for a loss",
        word="read",
        then="`up` 8 × 32 × 32",
        evaluate=model(lambda: nets.Auxiliary().eval()),
    ),
    Form(
        what="the decoder of a DETR, by name",
        word="refused",
        then="as many as the model has learned queries",
        evaluate=model(lambda: nets.Detr().eval(), modules="decoder"),
    ),
    Form(
        what="a YOLOS: 100 detection tokens after the patches",
        word="read",
        then="`norm` 16 × 8 × 8",
        evaluate=model(lambda: nets.Tokens(1, 100).eval()),
    ),
    Form(
        what="a ViT that ends in an attention pool",
        word="read",
        then="`norm` 16 × 4 × 4",
        evaluate=model(vit(class_token=False, global_pool="map")),
    ),
    Form(
        what="a ViT with registers and no class token",
        word="read",
        then="`norm` 16 × 4 × 4",
        evaluate=model(vit(class_token=False, reg_tokens=4, global_pool="avg", fc_norm=False)),
    ),
    Form(
        what="a ViT with a class token and 16 registers",
        word="read",
        then="`norm` 16 × 4 × 4",
        evaluate=model(vit(reg_tokens=16)),
    ),
    Form(
        what="a ViT for images that are not square",
        word="read",
        then="`norm` 16 × 8 × 4",
        evaluate=model(vit(img_size=(64, 32)), (64, 32)),
    ),
    Form(
        what="a ViT with 40 prompts before its patches",
        word="asked",
        then="It is not clear what the last feature stage",
        evaluate=model(lambda: nets.Tokens(40).eval()),
        answer={"token_grid": "8x8"},
    ),
    Form(
        what="patches cut without a convolution, of images that are not square",
        word="asked",
        then="No module of this Tokens has a feature map",
        evaluate=model(lambda: nets.Tokens(1, linear=True).eval(), (32, 16)),
        answer={"token_grid": "8x4+1"},
    ),
    Form(
        what="tokens in the order (L, n, D), as many as images",
        word="read",
        then="`norm` 16 × 4 × 2",
        evaluate=model(lambda: nets.Tokens(0, sequence_first=True).eval(), (16, 8), batch_size=8),
    ),
    Form(
        what="a Swin, (n, H, W, C), for images that are not square",
        word="read",
        then="`norm` 16 × 16 × 8",
        evaluate=model(swin, (64, 32)),
    ),
    Form(
        what="a network that changes its input in place",
        word="read",
        then="`stage` 16 × 8 × 8",
        evaluate=model(lambda: nets.InPlace().eval()),
    ),
    Form(
        what="a forward that takes a dict, named in the signature",
        word="read",
        then="`stage` 16 × 8 × 8",
        evaluate=model(lambda: nets.OfDict().eval(), name="image"),
    ),
    Form(
        what="images as a keyword of the forward, named in the signature",
        word="read",
        then="`stage` 16 × 8 × 8",
        evaluate=model(lambda: nets.OfKeyword().eval(), name="image"),
    ),
    Form(
        what="a forward that needs a second input",
        word="refused",
        then="The model takes 2 inputs (image, metadata), and fmce gives it images alone",
        evaluate=model(lambda: nets.OfTwo().eval()),
    ),
    Form(
        what="a signature (n, H, W, 3)",
        word="read",
        then="`stage` 16 × 8 × 8",
        evaluate=model(lambda: nets.ChannelsLast().eval(), layout="NHWC"),
    ),
    Form(
        what="a signature (n, H, W, 3), exported",
        word="read",
        then="`stage` 16 × 8 × 8",
        evaluate=model(lambda: nets.ChannelsLast().eval(), layout="NHWC", form="pt2"),
    ),
    Form(
        what="a signature of uint8: the network scales the images itself",
        word="read",
        then="`stage` 16 × 8 × 8",
        evaluate=model(lambda: nets.Bytes().eval(), dtype=np.uint8),
    ),
    Form(
        what="a signature of uint8, exported",
        word="read",
        then="`stage` 16 × 8 × 8",
        evaluate=model(lambda: nets.Bytes().eval(), dtype=np.uint8, form="pt2"),
    ),
    Form(
        what="mean and std of 0 to 255, as of mmcv and detectron2",
        word="read",
        then="`stage` 16 × 8 × 8",
        evaluate=model(
            lambda: nets.Classifier().eval(), preprocessing={"mean": [123.7, 116.3, 103.5], "std": [58.4] * 3}
        ),
    ),
    Form(
        what="PReLU, gains and embeddings, exported",
        word="read",
        then="`stage` 16 × 8 × 8",
        evaluate=model(lambda: nets.Gains().eval(), form="pt2"),
    ),
    Form(
        what="a part that is called with two sizes, exported",
        word="read",
        then="`stage.0` 16 × 4 × 4, `stage.1` 16 × 8 × 8",
        evaluate=model(lambda: nets.TwoSizes().eval(), form="pt2"),
    ),
    Form(
        what="one module under two names: the first in the alphabet counts",
        word="read",
        then="`again` 16 × 8 × 8",
        evaluate=model(lambda: nets.TwoNames().eval()),
    ),
    Form(
        what="a network in an `AveragedModel`",
        word="read",
        then="`module.stage` 16 × 8 × 8",
        evaluate=model(lambda: torch.optim.swa_utils.AveragedModel(nets.Classifier()).eval()),
    ),
    Form(
        what="spectral norm by hook",
        word="read",
        then="`stage` 16 × 8 × 8",
        evaluate=model(lambda: ran(nets.Spectral(torch.nn.utils.spectral_norm).eval())),
    ),
    Form(
        what="spectral norm by parametrization, exported",
        word="read",
        then="`stage` 16 × 8 × 8",
        evaluate=model(lambda: nets.Spectral(torch.nn.utils.parametrizations.spectral_norm).eval(), form="pt2"),
    ),
    Form(
        what="layers in bfloat16 after a parameter in float32",
        word="read",
        then="`stage` 16 × 8 × 8",
        evaluate=model(lambda: nets.Mixed().eval()),
    ),
    Form(
        what="a method under `torch.compile` that ran before",
        word="read",
        then="`stage` 16 × 8 × 8",
        evaluate=model(lambda: ran(nets.Compiled().eval())),
    ),
    Form(
        what="a part under `torch.no_grad`, exported",
        word="read",
        then="`stage` 16 × 8 × 8",
        evaluate=model(lambda: nets.PartlyFrozen().eval(), form="pt2"),
    ),
    Form(
        what="a network exported in training mode",
        word="refused",
        then="was exported in training mode, which cannot be changed any more",
        evaluate=model(lambda: nets.Classifier().train(), form="pt2"),
    ),
)


def data(make: Callable[[], Any]) -> Callable[..., str]:
    """Evaluate a classifier of five classes on data; what is read of the images."""

    def evaluate(**options: Any) -> str:
        with torch.random.fork_rng(devices=[]), tempfile.TemporaryDirectory() as folder:
            torch.manual_seed(0)
            signature = ModelSignature(Schema([TensorSpec(np.dtype(np.float32), (-1, 3, 32, 32))]))
            facts = {"fmce": {"classes": [f"class {i}" for i in range(5)]}}
            more: dict[str, Any] = {"signature": signature, "pip_requirements": [], "metadata": facts}
            mlflow.pytorch.save_model(
                nets.Classifier().eval(), f"{folder}/model", serialization_format="pickle", **more
            )
            config = EvaluationConfig.read({"saliency": False, "preprocessing": "scale", **options})
            given = mlflow.data.from_images(make()).to_evaluation_dataset()
            run = Run(MlflowClient(), "", print)  # nothing is logged
            found = examine(run, load_torch_model(f"{folder}/model"), given, config, find_predictor(None)).images
        labels = "no labels" if found.targets is None else "labels" if found.accuracy is not None else "unused labels"
        return f"{len(found.indices)} images, {labels}"

    return evaluate


DATA: Sequence[Form] = (
    Form(
        what="class folders, with `._x.png`, `__MACOSX` and a link that leads upwards",
        word="read",
        then="8 images, labels",
        evaluate=data(lambda: given.files(given.class_folders)),
    ),
    Form(
        what="a torch dataset of pairs (image, label)",
        word="read",
        then="8 images, labels",
        evaluate=data(lambda: given.Items(lambda i: (given.PIXELS[i], given.LABELS[i]))),
    ),
    Form(
        what='items `{"image": …, "label": …}`, as of Hugging Face or MONAI',
        word="read",
        then="8 images, labels",
        evaluate=data(lambda: given.Items(lambda i: {"image": given.PIXELS[i], "label": given.LABELS[i]})),
    ),
    Form(
        what="targets that are boxes",
        word="read",
        then="8 images, no labels",
        evaluate=data(lambda: given.Items(lambda i: (given.PIXELS[i], {"boxes": torch.zeros(i, 4)}))),
    ),
    Form(
        what="targets that are masks",
        word="read",
        then="8 images, no labels",
        evaluate=data(lambda: given.Items(lambda i: (given.PIXELS[i], torch.zeros(32, 32)))),
    ),
    Form(
        what="targets that are vectors of attributes",
        word="read",
        then="8 images, no labels",
        evaluate=data(lambda: given.Items(lambda i: (given.PIXELS[i], torch.tensor([1, 0, 1])))),
    ),
    Form(
        what='Hugging Face\'s stored images, `{"bytes": …, "path": …}`',
        word="read",
        then="8 images, no labels",
        evaluate=data(lambda: [{"bytes": given.encoded(i, "PNG"), "path": None} for i in range(8)]),
    ),
    Form(
        what="bytes of a format that is not listed, whatever they are called",
        word="refused",
        then="unknown format or damaged bytes; JPEG, PNG, PPM, BMP, TIFF, WEBP, GIF are read",
        evaluate=data(lambda: [given.encoded(i, "PCX") for i in range(8)]),
    ),
    Form(
        what="gray TIFFs with negative numbers (CT)",
        word="refused",
        then="nothing says how the model wants them scaled",
        evaluate=data(lambda: given.files(given.tiffs(np.int32))),
    ),
    Form(
        what="gray TIFFs of floats",
        word="refused",
        then="it has 32-bit floats instead of 8 or 16 bits",
        evaluate=data(lambda: given.files(given.tiffs(np.float32))),
    ),
)

TABLES: Mapping[str, Sequence[Form]] = {"MODELS": MODELS, "DATA": DATA}


def ran(network: nn.Module) -> nn.Module:
    """A network that has been used."""
    with torch.no_grad():
        network(torch.zeros(2, 3, 32, 32))
    return network


if __name__ == "__main__":
    for path in sorted(DOCS.glob("*.md")):
        path.write_text(page(path.read_text(encoding="utf-8")), encoding="utf-8")
