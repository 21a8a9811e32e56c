"""Imports run one way, and heavy packages stay where they belong."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "fmce_mlflow"

# A module may import from its own layer and from those above it in this list. Imports inside functions count too.
LAYERS = (
    {"errors"},
    {"method", "reading"},
    {"feature_index", "feature_maps"},
    {
        "backbone_options",
        "checkpoint",
        "interrupts",
        "spool",
        "upload_options",
        "upload_retry",
        "uploader",
        "uploads",
        "logged_models",
        "model_logging",
        "fmcs_source",
        "fmcs_dataset",
        "fmcs_table",
        "weight_spectra",
        "bag_rows",
        "flavor",
        "image_plugin",
        "image_dataset",
        "image_column",
        "tabular_images",
        "image_classifier",
        "registry",
        "run_records",
        "evaluation_record",
        "promotion_rules",
        "torch_models",
        "predictors",
        "evaluation_config",
        "module_scoring",
    },
    {
        "report",
        "report_charts",
        "report_page",
        "dataset_page",
        "templating",
        "model_card",
        "predictor_plots",
        "saliency_plot",
        "evaluation_saliency",
        "findings",
    },
    {
        "backbone_run",
        "fmcs_build",
        "sync",
        "fmce_net_run",
        "tuning",
        "promotion",
        "evaluator",
        "evaluation",
        "evaluation_log",
        "evaluation_runs",
    },
    {"story"},
    {"cli"},
    {"entrypoints"},
)
# Packages that only these, or never these, import.
ONLY_IN = {"optuna": {"tuning"}, "click": {"cli"}, "timm": {"method"}}
NEVER_IN = {"mlflow": {"errors", "method", "entrypoints"}}
SOURCES = sorted([*PACKAGE.rglob("*.py"), *(ROOT / "entrypoints").glob("*.py")])


def part(path: Path) -> str:
    """The part of the package that a file belongs to, as LAYERS names it."""
    if path.parent.name == "entrypoints":
        return "entrypoints"
    relative = path.relative_to(PACKAGE)
    return group(relative.parts[0] if len(relative.parts) > 1 else relative.stem)


def group(name: str) -> str:
    """The modules of the command line, `cli` and `cli_…`, count as one."""
    return "cli" if name.startswith("cli_") else name


def imported(source: str, *, type_checking: bool) -> set[str]:
    """Dotted names that a source imports, anywhere in it; those for type checkers only on request."""
    names = set()
    nodes = [ast.parse(source)]
    while nodes:
        node = nodes.pop()
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING" and not type_checking:
            nodes.extend(node.orelse)
            continue
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"relative import: {ast.unparse(node)}"
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
        nodes.extend(ast.iter_child_nodes(node))
    return names


def layer(name: str) -> int:
    found = [i for i, names in enumerate(LAYERS) if name in names]
    assert found, f"{name} is new: give it a layer in {__file__}"
    return found[0]


def ours(names: set[str]) -> set[str]:
    """The parts of the package among imported names; the package itself has version and errors only."""
    parts = {group(name.split(".")[1]) for name in names if name.startswith("fmce_mlflow.")}
    return {name for name in parts if not name.startswith("__")} | ({"entrypoints"} & {n.split(".")[0] for n in names})


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_run_one_way(path):
    names = imported(path.read_text(), type_checking=True)
    if path == PACKAGE / "__init__.py":
        assert ours(names) == {"errors"}
        return
    if path.name == "__init__.py":
        assert not ours(names)
        return
    own = part(path)
    upwards = {name for name in ours(names) if layer(name) > layer(own)}
    assert not upwards, f"{path.name} imports {sorted(upwards)}, which lies above {own}"


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_packages_stay_in_their_homes(path):
    packages = {name.split(".")[0] for name in imported(path.read_text(), type_checking=False)}
    for package, homes in ONLY_IN.items():
        assert package not in packages or part(path) in homes, f"{path.name} imports {package}"
    for package, foreign in NEVER_IN.items():
        assert package not in packages or part(path) not in foreign, f"{path.name} imports {package}"


def test_type_annotations_keep_mlflow_out_of_the_method_too():
    for path in (PACKAGE / "method").glob("*.py"):
        assert "mlflow" not in {name.split(".")[0] for name in imported(path.read_text(), type_checking=True)}


def test_the_reader_of_imports_sees_every_kind():
    source = (
        "import a.b\nfrom c import d\nif TYPE_CHECKING:\n    import e\nelse:\n    import f\n"
        "def g():\n    from h.i import j\n    try:\n        import k\n    except ImportError:\n        pass\n"
    )
    assert imported(source, type_checking=False) == {"a.b", "c.d", "f", "h.i.j", "k"}
    assert imported(source, type_checking=True) == {"a.b", "c.d", "e", "f", "h.i.j", "k"}


def loaded(code: str, packages: set[str]) -> set[str]:
    """Which of the packages a fresh process has loaded after running some code."""
    code += f"\nimport sys\nprint('loaded:', *sorted({packages!r} & set(sys.modules)))"
    result = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    return set(result.stdout.splitlines()[-1].split()[1:])


HEAVY = {"torch", "torchvision", "mlflow", "pandas", "numpy", "sklearn", "matplotlib", "optuna"}


@pytest.mark.parametrize(
    "code",
    [
        "import fmce_mlflow, fmce_mlflow.errors",
        "from fmce_mlflow.cli import main\nmain(['--help'], standalone_mode=False)",
        "from fmce_mlflow.cli import main\nmain(['train-backbone', '--help'], standalone_mode=False)",
        "from fmce_mlflow.cli import main\nmain(['build-fmcs', '--epochs', '3', '--help'], standalone_mode=False)",
    ],
)
def test_the_package_and_its_help_load_nothing_heavy(code):
    assert loaded(code, HEAVY) == set()


def test_convergence_needs_numpy_alone():
    assert loaded("import fmce_mlflow.method.convergence, fmce_mlflow.method.drift", HEAVY) == {"numpy"}


def test_the_plugin_for_mlflow_loads_no_torch():
    assert loaded("import mlflow.data.dataset_source_registry", {"torch", "fmce_mlflow.fmcs_source"}) == {
        "fmce_mlflow.fmcs_source"
    }


def test_the_method_runs_without_mlflow():
    """Data, training, capture and convergence in a process in which MLflow cannot be imported."""
    code = """
import sys

class WithoutMlflow:
    def __init__(self, finder):
        self.finder = finder

    def find_spec(self, name, path=None, target=None):
        return None if name.split(".")[0] == "mlflow" else self.finder.find_spec(name, path, target)

    def __getattr__(self, name):
        return getattr(self.finder, name)

sys.meta_path = [WithoutMlflow(finder) for finder in sys.meta_path]
import torch
from fmce_mlflow.method.backbones import build_backbone
from fmce_mlflow.method.convergence import ConvergenceConfig, assess
from fmce_mlflow.method.drift import drift_sequence, feature_drift
from fmce_mlflow.method.images import load_images
from fmce_mlflow.method.training import TrainingConfig, train

data = load_images("digits", image_size=8, train_size=96, validation_size=32, probe_size=16)
torch.manual_seed(0)
model = build_backbone("tests.nets:tiny", num_classes=10, image_size=8)
config = TrainingConfig(epochs=3, snapshots_per_epoch=2, batch_size=16, cpu=True)
snapshots = list(train(model, data, config, ["stage"]))
found = assess([s.train_loss for s in snapshots], ConvergenceConfig(levels=2, threshold=0.5))
drifts = [feature_drift(a.maps["stage"], b.maps["stage"]) for a, b in zip(snapshots, snapshots[1:])]
assert len(drift_sequence(drifts)) == len(snapshots) == 7
assert found.fmcs is not None and found.fmcs[0] == 0 and found.fmcs[-1] == 1, found.verdict()
try:
    import mlflow
except ModuleNotFoundError:
    print("done without mlflow")
"""
    result = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert result.stdout.endswith("done without mlflow\n"), result.stderr
