"""The errors a user can meet.

Every message says what was expected, what came, and what to do next. The command line prints it without a traceback.

::

    FmceError
    ├── ConfigError             options that cannot work together; lists every problem at once
    ├── DataError               images: unknown data set, missing files, an empty class, a probe larger than the data
    ├── BackboneError           a backbone or a functional module that is not there
    ├── CaptureError            a module whose output is no feature map, or that was never called
    ├── ConvergenceError        a loss sequence that cannot be scored
    │   ├── NonFiniteLossError  a NaN or infinite loss, with its snapshot
    │   └── TooFewSnapshotsError  convergence came before there were K snapshots to mark
    ├── ArtifactError           feature maps, indexes or checkpoints that cannot be read or written
    │   └── IntegrityError      bytes that are not the bytes that were written
    ├── RunError                an MLflow run that lacks what is asked of it
    ├── UploadError             a server or store that does not take what was logged; it waits in a folder on disk
    ├── ModelError              an MLflow model that is no PyTorch model, or cannot be loaded or run
    ├── PredictorError          an FMCE-Net that cannot be read or does not fit its input
    └── PromotionRefused        a registered version that does not meet what its promotion requires; exit code 3
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


def did_you_mean(name: str, valid: Iterable[str], *, how_to_list: str = "") -> str:
    """The tail of an error about an unknown name: near names, and how to list all.

    Args:
        name: What was asked for.
        valid: The names there are.
        how_to_list: A sentence that tells how to see them all.

    Returns:
        A text that starts with a space, or an empty one.

    Example:
        >>> did_you_mean("layer5", ["layer4", "conv1"])
        ' Did you mean layer4?'
    """
    near = difflib.get_close_matches(name, list(valid), n=3, cutoff=0.5)
    text = f" Did you mean {' or '.join(near)}?" if near else ""
    return f"{text} {how_to_list}".rstrip() if how_to_list else text
