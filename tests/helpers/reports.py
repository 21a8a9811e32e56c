"""Reports that tests look at: ordinary ones, and ones with hostile names."""

from __future__ import annotations

from html.parser import HTMLParser
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from fmce_mlflow.evaluation.evidence import lag_warning
from fmce_mlflow.evaluation.findings import (
    Classes,
    EvaluatedImages,
    Findings,
    ModelFacts,
    Picture,
    PredictorFacts,
    TrainingRun,
)
from fmce_mlflow.evaluation.weight_findings import ModuleWeights, WeightFindings
from fmce_mlflow.fmcs_dataset.table import COLUMNS
from fmce_mlflow.method.convergence.config import ConvergenceConfig
from fmce_mlflow.method.convergence.verdict import Convergence, assess
from fmce_mlflow.method.evidence.dropped import DROP_FIGURES
from fmce_mlflow.method.evidence.groups import GROUPS
from fmce_mlflow.method.scoring.module_finding import ModuleFinding
from fmce_mlflow.report.saliency_figure import saliency_figure
from fmce_mlflow.report.style import png

HOSTILE = "\"><script>document.title='broken'</script><img src=x onerror=\"document.title='broken'\">&amp;`'{{7*7}}"
FIGURES = {
    "run": {"mae": 0.034, "spearman": 0.98, "accuracy": 0.86, "within_one": 1.0, "coverage": 0.91},
    "architecture": {"mae": 0.16, "spearman": 0.93, "accuracy": 0.47, "within_one": 0.88, "coverage": 0.83},
}


VOID = {"meta", "img", "br", "input"}


class Reader(HTMLParser):
    """The page's text, and its tags checked to be nested rightly."""

    def __init__(self, page):
        super().__init__()
        self.open, self.text, self.attributes = [], [], []
        self.feed(page)
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.attributes += attrs
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.attributes += attrs

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if "style" not in self.open:
            self.text.append(data)


def text(page):
    return " ".join(" ".join(Reader(page).text).split())


def losses(seed: int = 0, snapshots: int = 25, floor: float = 0.05) -> list[float]:
    noise = np.random.default_rng(seed).normal(0, 0.03, snapshots)
    return [floor + 2.3 * 0.75**t + abs(float(noise[t])) * 0.75 ** (t / 2) for t in range(snapshots)]


def convergence(seed: int = 0, *, floor: float = 0.05, **config: Any) -> Convergence:
    return assess(losses(seed, floor=floor), ConvergenceConfig(**{"threshold": 0.01, **config}))


def finding(
    name: str, fmcs: float, std: float = 0.07, levels: int = 5, images: int = 256, **more: Any
) -> ModuleFinding:
    rng = np.random.default_rng(len(name))
    belief = np.exp(-0.5 * ((np.arange(levels) / (levels - 1) - fmcs) / max(std, 0.09)) ** 2)
    low, high = max(0.0, fmcs - 1.645 * std), min(1.0, fmcs + 1.645 * std)
    values: dict[str, Any] = {
        "levels": belief / belief.sum(),
        "level": int(belief.argmax()),
        "image_scores": np.clip(rng.normal(fmcs, 0.04, images), 0, 1),
        "image_focus": np.full(images, 0.41),
        "distance": 1.1,
        "shape": (1024, 4, 4),
        "bags": 12,
    }
    return ModuleFinding(name=name, fmcs=fmcs, std=std, low=low, high=high, **{**values, **more})


def saliency(modules: list[str], images: int = 8, size: int = 32) -> bytes:
    rng = np.random.default_rng(0)
    pictures = rng.integers(0, 255, (images, size, size, 3), dtype=np.uint8)
    maps = {name: rng.random((images, size, size), dtype=np.float32) ** 3 for name in modules}
    figure: Figure = saliency_figure(pictures, maps, [str(i) for i in range(images)], title="Grad-CAM")
    return png(figure, dpi=100)


def some_images(n: int, name: str = "d", **more: Any) -> EvaluatedImages:
    return EvaluatedImages(name=name, indices=np.arange(n), **more)


def report(*modules: ModuleFinding, **more: Any) -> Findings:
    modules = modules or (finding("conv5", 0.62, measured=0.6),)
    values: dict[str, Any] = {
        "model": ModelFacts("models:/digits-classifier/3"),
        "run_id": "3f2a9c51b7d04f0c8a6be1f2d9c07a44",
        "images": some_images(359, "digits, held-out images", digest="9c1e44d0", bag_size=64),
        "predictor": PredictorFacts(
            name="models:/fmcs/1", corpus="34 runs of 10 backbones on digits, MNIST and CIFAR-10", figures=FIGURES
        ),
        "training": TrainingRun("9c1e44d0", 9, convergence=convergence()),
        "saliency": Picture(saliency([module.name for module in modules]), "Grad-CAM over the first images"),
        "warnings": ("No module was named: `conv5` is the last feature stage of this ShuffleNet v2.",),
    }
    return Findings(modules=tuple(modules), **{**values, **more})


def several() -> Findings:
    """Five modules, one in each state."""
    names = ["backbone.body.layer4.1.conv2", "backbone.fpn.layer_blocks.3", "neck", "head.tower.0", "rpn.head.conv"]
    far = finding(names[4], 0.55, distance=3.2, far=True)
    one = [finding(names[0], 0.97, 0.02), finding(names[1], 0.93, 0.06), finding(names[2], 0.84, 0.08, measured=0.95)]
    training = TrainingRun("9c1e44d0", 9, convergence=convergence(floor=1.23e-5, smoothing=0))
    return report(*one, finding(names[3], 0.31), far, training=training)


def with_evidence() -> Findings:
    """Four modules of a network whose third was never trained, and what is known beside their scores."""
    figures = {"place depth": 0.5, "output confidence": 0.91, "output entropy": 0.08, "label accuracy": 0.94}
    figures |= {"label loss": 0.1, "label nearest mean": 0.88, "view neighbours": 0.9, DROP_FIGURES[0]: 0.4}
    modules = []
    rows = [("layer1", 0.55, 0.05, 0.02), ("layer2", 0.96, 0.0, 0.03), ("layer3", 0.0, 1.0, 0.04)]
    for name, fmcs, untouched, gap in [*rows, ("layer4", 0.31, 0.0, 0.62)]:
        evidence = {**figures, "untouched": untouched, "alpha": 3.4 + 4 * untouched, "gap drift": gap}
        said = (
            f"{round(7 * untouched)} of its 7 weight matrices look like random draws.",
            "Its spectral alpha is 3.4.",
        )
        more = {"evidence": evidence, "said": said, "groups": ("weights", "gap"), "untouched": untouched == 1}
        modules.append(finding(name, fmcs, 0.02, **more))
    classes = Classes(3, 10, few=True)
    images = some_images(64, "digits, held-out images", of_classes=classes, accuracy=0.41, bag_size=64)
    predictor = PredictorFacts(name="models:/fmcs/2", figures=FIGURES, evidence=tuple(GROUPS))
    warnings = (lag_warning(modules, 0.41),)
    return report(*modules, images=images, predictor=predictor, warnings=warnings)


def of_weights(name: str = "layer") -> WeightFindings:
    """What the weights of four modules tell."""
    told = ("6 of its 6 gains and offsets are still constants.", "Spectral alpha 7.9 (2 to 6 is usual).")
    nan = float("nan")
    rows: list[tuple[str, float | None, float, int]] = [("1", 0.0, 3.1, 147968), ("2", 0.05, nan, 525568)]
    rows += [("3", 1.0, 7.9, 2099712), ("4.relu", None, nan, 0)]
    modules = tuple(
        ModuleWeights(
            name=name + end,
            untouched=share,
            never_trained=share == 1,
            alpha=alpha,
            parameters=size,
            said=told if size else (),
        )
        for end, share, alpha, size in rows
    )
    warning = f"{name}4.relu has no weights: without images nothing is known of it."
    return WeightFindings(run_id="3f2a", model=ModelFacts(f"models:/{name}/3"), modules=modules, warnings=(warning,))


def hostile() -> Findings:
    """Every name is an attack."""
    return report(
        finding(HOSTILE, 0.4),
        model=ModelFacts(HOSTILE),
        run_id=HOSTILE,
        images=some_images(9, HOSTILE, digest=HOSTILE),
        predictor=PredictorFacts(name=HOSTILE, corpus=HOSTILE, figures={HOSTILE: {"mae": 0.1}}),
        warnings=(HOSTILE,),
        choices=(HOSTILE,),
        saliency=Picture(saliency(["x"]), HOSTILE),
    )


def table(runs: int = 6, snapshots: int = 25, **columns: Any) -> tuple[pd.DataFrame, dict[str, Convergence]]:
    """Rows of an FMCS-dataset, and the convergence of its runs."""
    rows, found = [], {}
    for i in range(runs):
        run_id = f"{i:02d}" + "c0ffee" * 5
        found[run_id] = convergence(i)
        labels = found[run_id].fmcs
        assert labels is not None
        for snapshot in range(snapshots):
            row = {
                "run_id": run_id, "backbone": ["shufflenet_v2_x0_5", "resnet18"][i % 2], "dataset": "digits", "seed": i,
                "module": ["conv5", "layer4"][i % 2], "snapshot": snapshot, "epoch": snapshot / 3,
                "fmcs": labels[snapshot], "level": found[run_id].level(snapshot), "n": 256, "channels": 1024,
                "height": 4, "width": 4, "artifact_path": "feature_maps/x", "sha256": "0" * 64,
            }  # fmt: skip
            rows.append(row | columns)
    return pd.DataFrame(rows, columns=list(COLUMNS)).astype(COLUMNS), found
