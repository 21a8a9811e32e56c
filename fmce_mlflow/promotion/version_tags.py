"""The verdict on a registered version, as tags that a deployment job can read without the runs behind it."""

from __future__ import annotations

VERDICT, FMCS, LOW, HIGH = "fmce.verdict", "fmce.fmcs", "fmce.low", "fmce.high"
"""Of an evaluation's run too: the verdict in words; the FMCS of the module that decides, and its 90 % interval."""
EVALUATION_RUN = "fmce.evaluation_run"
BY, ON, AT = "fmce.evaluated_by", "fmce.images", "fmce.evaluated_at"
"""The predictor's identity, the digest of the images, and when."""
ASKED = "fmce.asked"
"""Of an evaluation's run too: a digest of the images, the predictor and the options that decide its figures."""
DATASET = "fmce.dataset"
"""Which images they were where nobody named them, as JSON: the data set, where it lay, and the seed of its split."""
PROBLEM = "fmce.problem"
"""Why the version could not be evaluated."""
NOT_EVALUATED = "not evaluated"
"""The verdict on such a version."""
