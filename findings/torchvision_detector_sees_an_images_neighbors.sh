#!/usr/bin/env bash
# torchvision 0.29.1: a detector in eval mode gives an image other feature maps beside a larger image.
#
# Images of a batch are padded with zeros to the size of its largest, after they were normalized. From the first
# BatchNorm on the padding is no longer zero, as a convolution's own padding is in every layer, and so it changes what
# lies near. One expects eval() to treat each image by itself, as it does beside another of the same size.
# Here a wide image stands alone, beside itself and beside a tall one (its own part of the map is compared).
# Output seen:
#   beside itself   map 10x14, 0% of its places differ
#   beside a tall   map 14x14, more than 5% of its places differ, more in the half by the padding
set -euo pipefail
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check torch==2.14.1 torchvision==0.29.1
cd "$work"
"$work/venv/bin/python" - <<'PYTHON' 2>/dev/null | tee seen.txt
import torch
from torchvision.models.detection import fasterrcnn_mobilenet_v3_large_320_fpn

torch.manual_seed(0)
net = fasterrcnn_mobilenet_v3_large_320_fpn(weights=None, weights_backbone=None, num_classes=3)
wide, tall = torch.rand(3, 240, 320), torch.rand(3, 320, 240)
truth = {"boxes": torch.tensor([[20.0, 20.0, 120.0, 160.0]]), "labels": torch.tensor([1])}
for _ in range(3):
    net.train()([wide, tall], [truth, truth])  # so that BatchNorm has means
maps = []
net.eval().backbone.register_forward_hook(lambda module, args, out: maps.append(out["0"][0]))
with torch.no_grad():
    for batch in ([wide], [wide, wide], [wide, tall]):
        net(batch)
height, width = maps[0].shape[1:]
for name, beside in (("beside itself  ", maps[1]), ("beside a tall  ", maps[2])):
    differs = (beside[:, :height, :width] - maps[0]).abs().amax(0) > 1e-3 * maps[0].abs().max()
    share, edge = differs.float().mean().item(), differs[height // 2 :].sum() > differs[: height // 2].sum()
    amount = "more than 5%" if share > 0.05 else f"{share:.0%}"
    place = ", more in the half by the padding" if edge else ""
    print(name, f"map {beside.shape[1]}x{beside.shape[2]}, {amount} of its places differ{place}")
PYTHON
diff seen.txt - <<'SEEN' && echo "The neighbor still shows."
beside itself   map 10x14, 0% of its places differ
beside a tall   map 14x14, more than 5% of its places differ, more in the half by the padding
SEEN
