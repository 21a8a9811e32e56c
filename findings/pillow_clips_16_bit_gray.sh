#!/usr/bin/env bash
# Pillow 13.0.0: a gray image of 16 bits that becomes "L" or "RGB" is clipped at 255, not scaled.
#
# A 16-bit PNG opens as mode "I;16" with its values whole. convert("RGB"), which many image loaders call on whatever
# they open, turns every value above 255 into white and says nothing: a medical or depth image becomes one white field,
# and a model gets it as a sound image. One expects 65535 -> 255 and 32768 -> 128. resize() keeps mode and values.
# Output seen:
#   opened  I;16 [0, 200, 256, 32768, 65535]
#   RGB     [0, 200, 255, 255, 255]
#   scaled  [0, 1, 1, 128, 255]
set -euo pipefail
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check pillow==13.0.0 numpy==2.3.5
cd "$work"
"$work/venv/bin/python" - <<'PYTHON' | tee seen.txt
import numpy as np
from PIL import Image

values = np.array([[0, 200, 256, 32768, 65535]], dtype=np.uint16)
Image.fromarray(values).save("gray16.png")
image = Image.open("gray16.png")
print("opened ", image.mode, np.asarray(image)[0].tolist())
print("RGB    ", np.asarray(image.convert("RGB"))[0, :, 0].tolist())
print("scaled ", np.round(values[0] / 257).astype(int).tolist())
PYTHON
diff seen.txt - <<'SEEN' && echo "Pillow still clips."
opened  I;16 [0, 200, 256, 32768, 65535]
RGB     [0, 200, 255, 255, 255]
scaled  [0, 1, 1, 128, 255]
SEEN
