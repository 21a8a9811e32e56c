"""Networks of a few thousand parameters in the shapes that real ones have, for the forms of models."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn


def block(channels_in: int, channels: int, stride: int = 1) -> nn.Sequential:
    convolution = nn.Conv2d(channels_in, channels, 3, stride, 1)
    return nn.Sequential(convolution, nn.BatchNorm2d(channels), nn.ReLU(inplace=True))


class Classifier(nn.Module):
    """Two stages and a head; what happens to its input is for those below."""

    def __init__(self, outputs: int = 10) -> None:
        super().__init__()
        self.stem, self.stage, self.head = block(3, 8, 2), block(8, 16, 2), nn.Linear(16, outputs)

    def forward(self, images: Tensor) -> Tensor:
        return self.head(self.stage(self.stem(images)).mean((2, 3)))


class OfDict(Classifier):
    def forward(self, batch: dict[str, Tensor]) -> Tensor:
        return super().forward(batch["image"])


class OfKeyword(Classifier):
    def forward(self, scale: float = 1.0, image: Tensor | None = None) -> Tensor:
        assert image is not None
        return super().forward(image) * scale


class OfTwo(Classifier):
    def forward(self, image: Tensor, metadata: Tensor) -> Tensor:
        return super().forward(image) + metadata.mean()


class ChannelsLast(Classifier):
    def forward(self, images: Tensor) -> Tensor:
        return super().forward(images.permute(0, 3, 1, 2))


class InPlace(Classifier):
    def forward(self, images: Tensor) -> Tensor:
        return super().forward(images.sub_(0.5).div_(0.5))


class Mixed(Classifier):
    """A temperature in float32, before layers in bfloat16."""

    def __init__(self) -> None:
        super().__init__()
        self.bfloat16()
        first = nn.ParameterDict({"temperature": nn.Parameter(torch.zeros(1))})
        self._modules = {"first": first, **self._modules}

    def forward(self, images: Tensor) -> Tensor:
        return super().forward(images) * self.first["temperature"].exp()


class Compiled(Classifier):
    @torch.compile(backend="eager")
    def features(self, images: Tensor) -> Tensor:
        return self.stage(self.stem(images))

    def forward(self, images: Tensor) -> Tensor:
        return self.head(self.features(images).mean((2, 3)))


class PartlyFrozen(Classifier):
    def forward(self, images: Tensor) -> Tensor:
        with torch.no_grad():
            features = self.stem(images)
        return self.head(self.stage(features).mean((2, 3)))


class UNet(nn.Module):
    """Gives the logits of pixels."""

    def __init__(self, classes: int = 2) -> None:
        super().__init__()
        self.down, self.bottom, self.pool = block(3, 8), block(8, 16), nn.MaxPool2d(2)
        self.widen, self.up, self.outc = nn.ConvTranspose2d(16, 8, 2, 2), block(16, 8), nn.Conv2d(8, classes, 1)

    def forward(self, x: Tensor) -> Tensor:
        a = self.down(x)
        return self.outc(self.up(torch.cat([self.widen(self.bottom(self.pool(a))), a], 1)))


class Yolo(nn.Module):
    """A head per scale, boxes as distributions that a frozen convolution decodes: no anchor-free YOLO is otherwise."""

    def __init__(self, classes: int = 4) -> None:
        super().__init__()
        self.stem, self.p3, self.p4 = block(3, 8, 2), block(8, 16, 2), block(16, 16, 2)
        self.boxes = nn.ModuleList([nn.Sequential(block(16, 16), nn.Conv2d(16, 16, 1)) for _ in range(2)])
        self.classes = nn.ModuleList([nn.Sequential(block(16, 16), nn.Conv2d(16, classes, 1)) for _ in range(2)])
        self.decode = nn.Conv2d(4, 1, 1, bias=False).requires_grad_(False)
        self.decode.weight.data[:] = torch.arange(4.0).view(1, 4, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        maps = [p3 := self.p3(self.stem(x)), self.p4(p3)]
        boxes = torch.cat([head(one).flatten(2) for head, one in zip(self.boxes, maps, strict=True)], 2)  # (n, 16, A)
        shares = boxes.view(len(x), 4, 4, -1).transpose(1, 2).softmax(1)  # (n, bins, 4, A)
        logits = torch.cat([head(one).flatten(2) for head, one in zip(self.classes, maps, strict=True)], 2)
        return torch.cat([self.decode(shares).squeeze(1), logits.sigmoid()], 1)  # (n, 4 + classes, A)


class Detr(nn.Module):
    """Learned queries ask an encoder's tokens, (L, n, D) as in the original."""

    def __init__(self, queries: int = 100) -> None:
        super().__init__()
        options: dict[str, Any] = {"d_model": 16, "nhead": 2, "dim_feedforward": 32, "dropout": 0.0}
        self.backbone = nn.Sequential(block(3, 8, 2), block(8, 16, 2), block(16, 16, 2))
        self.input_proj = nn.Conv2d(16, 16, 1)
        self.encoder = nn.TransformerEncoder(nn.TransformerEncoderLayer(**options), 2, enable_nested_tensor=False)
        self.decoder = nn.TransformerDecoder(nn.TransformerDecoderLayer(**options), 1)
        self.query_embed = nn.Embedding(queries, 16)
        self.class_embed, self.bbox_embed = nn.Linear(16, 5), nn.Linear(16, 4)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        tokens = self.encoder(self.input_proj(self.backbone(x)).flatten(2).permute(2, 0, 1))
        found = self.decoder(self.query_embed.weight[:, None].expand(-1, len(x), -1), tokens).transpose(0, 1)
        return {"logits": self.class_embed(found), "boxes": self.bbox_embed(found).sigmoid()}


class CrossAttention(nn.Module):
    """With projections that are called as modules, as in transformers' DETR."""

    def __init__(self, width: int = 16) -> None:
        super().__init__()
        self.q_proj, self.k_proj, self.v_proj, self.k_pos_proj = (nn.Linear(width, width) for _ in range(4))

    def forward(self, queries: Tensor, tokens: Tensor, places: Tensor) -> Tensor:
        keys = self.k_proj(tokens) + self.k_pos_proj(places)
        return (self.q_proj(queries) @ keys.transpose(1, 2)).softmax(-1) @ self.v_proj(tokens)


class DetrOfProjections(nn.Module):
    """A DETR with more layers after its encoder than before; keys and values are maps, and of places all the same."""

    def __init__(self, queries: int = 7, layers: int = 2) -> None:
        super().__init__()
        self.backbone = nn.Sequential(block(3, 8, 2), block(8, 16, 2))
        self.encoder = nn.Sequential(nn.Linear(16, 16), nn.Linear(16, 16), nn.Linear(16, 16), nn.LayerNorm(16))
        self.layers = nn.ModuleList([CrossAttention() for _ in range(layers)])
        self.between = nn.ModuleList([nn.Sequential(*[nn.Linear(16, 16) for _ in range(6)]) for _ in range(layers)])
        self.queries, self.classes = nn.Embedding(queries, 16), nn.Linear(16, 5)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        tokens = self.encoder(self.backbone(x).flatten(2).transpose(1, 2))
        places = torch.linspace(0, 1, tokens.shape[1])[None, :, None].expand(tokens.shape)
        found = self.queries.weight.expand(len(x), -1, -1)
        for layer, between in zip(self.layers, self.between, strict=True):
            found = between(found + layer(found, tokens, places))
        return {"logits": self.classes(found)}


class Auxiliary(UNet):
    """A U-Net with a second head, which is called last and of which only a loss would be made."""

    def __init__(self) -> None:
        super().__init__()
        self.auxiliary = nn.Sequential(block(3, 8), nn.Conv2d(8, 2, 1))

    def forward(self, x: Tensor) -> Tensor:
        logits = super().forward(x)
        self.auxiliary(x)
        return logits


class Tokens(nn.Module):
    """A transformer on patches of 4 × 4 pixels, with tokens before and after them.

    Args:
        before: Learned tokens that come first.
        after: Learned ones that come last, as the detection tokens of YOLOS.
        linear: Cut the patches without a convolution.
        sequence_first: Use (L, n, D), the default of PyTorch's own encoder.
    """

    def __init__(self, before: int = 1, after: int = 0, *, linear: bool = False, sequence_first: bool = False) -> None:
        super().__init__()
        self.linear, self.sequence_first = linear, sequence_first
        self.patch: nn.Module = nn.Linear(48, 16) if linear else nn.Conv2d(3, 16, 4, 4)
        self.first = nn.Parameter(torch.randn(1, before, 16) * 0.02)
        self.detection_tokens = nn.Parameter(torch.randn(1, after, 16) * 0.02)
        layer = nn.TransformerEncoderLayer(16, 2, 32, dropout=0.0, batch_first=not sequence_first)
        self.encoder = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.norm, self.head = nn.LayerNorm(16), nn.Linear(16, 10)

    def forward(self, x: Tensor) -> Tensor:
        if self.linear:
            patches = self.patch(x.unfold(2, 4, 4).unfold(3, 4, 4).permute(0, 2, 3, 1, 4, 5).flatten(3).flatten(1, 2))
        else:
            patches = self.patch(x).flatten(2).transpose(1, 2)
        n = len(x)
        tokens = torch.cat([self.first.expand(n, -1, -1), patches, self.detection_tokens.expand(n, -1, -1)], 1)
        if self.sequence_first:
            return self.head(self.norm(self.encoder(tokens.transpose(0, 1))).mean(0))
        return self.head(self.norm(self.encoder(tokens)).mean(1))


class Bytes(Classifier):
    """Takes uint8 and scales it itself."""

    def forward(self, images: Tensor) -> Tensor:
        return super().forward(images.float() / 255)


class TwoSizes(Classifier):
    """Its stage is called with maps of two sizes, so an export has two graphs of it."""

    def forward(self, images: Tensor) -> Tensor:
        features = self.stem(images)
        smaller = nn.functional.avg_pool2d(features, 2)
        return self.head(self.stage(smaller).mean((2, 3)) + self.stage(features).mean((2, 3)))


class TwoNames(Classifier):
    """Its stage has another name besides."""

    def __init__(self) -> None:
        super().__init__()
        self.again = self.stage


class Gains(Classifier):
    """PReLU, a gain of its own and a table of embeddings."""

    def __init__(self) -> None:
        super().__init__()
        self.stage = nn.Sequential(nn.Conv2d(8, 16, 3, 2, 1), nn.BatchNorm2d(16), nn.PReLU(16))
        self.gain, self.table = nn.Parameter(torch.ones(16, 1, 1)), nn.Embedding(4, 8)

    def forward(self, images: Tensor) -> Tensor:
        shift = self.table(torch.zeros(1, dtype=torch.long, device=images.device))[:, :, None, None]
        return self.head((self.stage(self.stem(images) + shift) * self.gain).mean((2, 3)))


class Spectral(Classifier):
    """Spectral norm on the stage's convolution, by hook or by parametrization."""

    def __init__(self, norm: Any) -> None:
        super().__init__()
        norm(self.stage[0])
