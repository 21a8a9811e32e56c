"""Imports run one way, and heavy packages stay where they belong."""

from __future__ import annotations

import ast
import functools
import graphlib
import subprocess
import sys
from pathlib import Path

from fmce_mlflow.cli.main import COMMANDS

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "fmce_mlflow"

# From the ground up: a file may import from its own folder and from the floors below, inside functions too.
FLOORS = (
    {"errors", "version", "wording"},
    {"safety"},
    {"method"},
    {"report", "runs"},
    {"recording"},
    {"backbone", "image_dataset", "promotion"},
    {"fmcs_dataset"},
    {"predictor"},
    {"flavor"},
    {"tuning", "evaluation"},
    {"demo", "gate", "showing"},
    {"cli"},
    {"entrypoints"},
)
# Packages that only these, or never these, import.
ONLY_IN = {
    "optuna": {"tuning"}, "click": {"cli"}, "timm": {"method"},
    "lightning": {"recording"}, "pytorch_lightning": {"recording"}, "transformers": {"recording"},
    "ultralytics": set(), "mmengine": set(),
}  # fmt: skip
NEVER_IN = {"mlflow": {"errors", "version", "wording", "method", "report", "entrypoints"}}
SOURCES = sorted([*PACKAGE.rglob("*.py"), *(ROOT / "entrypoints").glob("*.py")])
OUTSIDE = sorted(path for folder in ("tests", "research", "benchmarks") for path in (ROOT / folder).rglob("*.py"))


def room(path: Path) -> str:
    """The folder, or the file flat in the package, that a file belongs to, as FLOORS names it."""
    if path.parent.name == "entrypoints":
        return "entrypoints"
    relative = path.relative_to(PACKAGE)
    return relative.parts[0].removesuffix(".py")


@functools.cache
def parsed(source: str) -> ast.Module:
    return ast.parse(source)


def imported(source: str, *, type_checking: bool) -> set[str]:
    """Dotted names that a source imports, anywhere in it; those for type checkers only on request."""
    names = set()
    nodes: list[ast.AST] = [parsed(source)]
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


def floor(name: str) -> int:
    found = [i for i, names in enumerate(FLOORS) if name in names]
    assert found, f"{name} is new: give it a floor in {__file__}"
    return found[0]


def rooms(names: set[str]) -> set[str]:
    """The rooms among imported names; the package itself is open to all."""
    ours = {name.split(".")[1] for name in names if name.startswith("fmce_mlflow.")}
    return {name for name in ours if not name.startswith("__")} | ({"entrypoints"} & {n.split(".")[0] for n in names})


def test_imports_run_one_way():
    upwards = []
    for path in SOURCES:
        found = rooms(imported(path.read_text(), type_checking=True))
        if path == PACKAGE / "__init__.py":
            assert found == {"errors", "predictor", "recording", "version"}
            continue
        own = room(path)
        wrong = sorted(name for name in found if name != own and floor(name) >= floor(own))
        upwards += [f"{path.relative_to(ROOT)} imports {name}, which is not below {own}" for name in wrong]
    assert upwards == []


def test_evidence_stands_below_what_judges_by_it():
    """And above networks, maps and images."""
    above = ("fmce_net", "fitting", "scoring", "saliency", "training")
    for path in (PACKAGE / "method" / "evidence").rglob("*.py"):
        found = imported(path.read_text(), type_checking=True)
        assert not [name for name in found if name.startswith(tuple(f"fmce_mlflow.method.{room}" for room in above))]
    for path in (PACKAGE / "method").rglob("*.py"):
        if path.parent.name in ("networks", "maps", "images"):
            found = imported(path.read_text(), type_checking=True)
            assert not [name for name in found if name.startswith("fmce_mlflow.method.evidence")], path.name


def module_name(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def test_no_two_files_import_each_other():
    """In the package, its tests and its scripts; longer circles neither."""
    files = {module_name(path): path for path in (*SOURCES, *OUTSIDE)}
    below = {
        name: {
            found
            for full in imported(path.read_text(), type_checking=True)
            for found in (full, full.rpartition(".")[0])
            if found in files and found != name
        }
        for name, path in files.items()
    }
    order = graphlib.TopologicalSorter(below)
    order.prepare()  # raises CycleError, which names the circle


def test_packages_stay_in_their_homes():
    strays = []
    for path in SOURCES:
        packages = {name.split(".")[0] for name in imported(path.read_text(), type_checking=False)}
        wrong = {package for package, homes in ONLY_IN.items() if room(path) not in homes}
        wrong |= {package for package, foreign in NEVER_IN.items() if room(path) in foreign}
        strays += [f"{path.relative_to(ROOT)} imports {package}" for package in sorted(packages & wrong)]
    assert strays == []


def test_a_recording_knows_no_training_loop_of_ours():
    """Nor our data sets, nor what shares a training out: it is for anybody's loop."""
    ours = ("fmce_mlflow.method.training", "fmce_mlflow.method.images", "fmce_mlflow.backbone", "accelerate")
    for path in (PACKAGE / "recording").rglob("*.py"):
        found = imported(path.read_text(), type_checking=True)
        assert not [name for name in found if name.startswith(ours)], path.name


def test_a_recording_loads_no_library_of_the_integrations():
    """Each is imported by its own file there, which nothing else imports."""
    code = "import fmce_mlflow.recording.start, fmce_mlflow.recording.integrations.ultralytics"
    assert loaded(code, {"lightning", "pytorch_lightning", "transformers", "ultralytics", "mmengine"}) == set()


def test_type_annotations_keep_mlflow_out_of_the_method_too():
    for path in (PACKAGE / "method").rglob("*.py"):
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
    result = subprocess.run([sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True)
    return set(result.stdout.splitlines()[-1].split()[1:])


HEAVY = {"torch", "torchvision", "mlflow", "pandas", "numpy", "sklearn", "matplotlib", "optuna"}
HELP = "from fmce_mlflow.cli.main import main\nmain([*{words}, '--help'], standalone_mode=False)\n"


def test_the_package_and_its_help_load_nothing_heavy():
    code = "import fmce_mlflow, fmce_mlflow.errors\n"
    for words in (*([name] for name in COMMANDS), ["build-fmcs", "--epochs", "3"]):
        code += HELP.format(words=words) + f"assert not {HEAVY!r} & set(sys.modules), {words!r}\n"
    assert loaded(f"import sys\n{code}", HEAVY) == set()


def test_the_list_of_commands_loads_none_of_them():
    assert loaded(HELP.format(words=[]), {*HEAVY, "pydantic", "fmce_mlflow.cli.backbone"}) == set()


def test_convergence_needs_numpy_alone():
    assert loaded("import fmce_mlflow.method.convergence.verdict, fmce_mlflow.method.convergence.drift", HEAVY) == {
        "numpy"
    }


def test_an_evaluation_loads_nothing_that_only_fitting_and_training_need():
    """Each takes a tenth of a second to a second; MLflow's flavor asks for Lightning where it is installed."""
    code = "from fmce_mlflow.safety.imports import *\nwith quick_imports(): import fmce_mlflow.evaluation.evaluate"
    slow = {"sklearn", "scipy.optimize", "scipy.stats", "matplotlib.pyplot", "cv2", "pytorch_grad_cam", "optuna"}
    others = {"lightning", "pytorch_lightning", "transformers", "torchmetrics", "timm", "accelerate"}
    assert loaded(code, {*slow, *others, "fmce_mlflow.method.fitting.fit_set"}) == set()


def test_a_registry_and_a_training_are_looked_at_without_torch():
    code = "import fmce_mlflow.showing.overview, fmce_mlflow.showing.overview_page, fmce_mlflow.recording.progress"
    assert loaded(code, {"torch", "matplotlib"}) == set()


def test_the_plugin_for_mlflow_loads_no_torch():
    assert loaded("import mlflow.data.dataset_source_registry", {"torch", "fmce_mlflow.fmcs_dataset.plugin"}) == {
        "fmce_mlflow.fmcs_dataset.plugin"
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
from fmce_mlflow.method.networks.backbones import build_backbone
from fmce_mlflow.method.convergence.config import ConvergenceConfig
from fmce_mlflow.method.convergence.verdict import assess
from fmce_mlflow.method.convergence.drift import drift_sequence, linear_cka
from fmce_mlflow.method.images.config import SplitOptions
from fmce_mlflow.method.images.split import load_images
from fmce_mlflow.method.training.config import TrainingConfig
from tests.helpers.watched import watched

data = load_images(SplitOptions(image_size=8, train_size=96, validation_size=32, probe_size=16))
torch.manual_seed(0)
model = build_backbone("tests.helpers.nets:tiny", num_classes=10, image_size=8)
config = TrainingConfig(epochs=3, snapshots_per_epoch=2, batch_size=16, cpu=True)
snapshots = list(watched(model, data, config, ["stage"]))
found = assess([s.train_loss for s in snapshots], ConvergenceConfig(levels=2, threshold=0.5))
drifts = [1 - linear_cka(a.maps["stage"], b.maps["stage"]) for a, b in zip(snapshots, snapshots[1:])]
assert len(drift_sequence(drifts)) == len(snapshots) == 7
assert found.fmcs is not None and found.fmcs[0] == 0 and found.fmcs[-1] == 1, found.verdict()
try:
    import mlflow
except ModuleNotFoundError:
    print("done without mlflow")
"""
    result = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert result.stdout.endswith("done without mlflow\n"), result.stderr


def defined(path: Path) -> set[str]:
    """Names that a file makes itself, at its top level."""
    names = set()
    for node in parsed(path.read_text()).body:
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            names.add(node.name)
        elif isinstance(node, ast.Assign):
            names |= {n.id for target in node.targets for n in ast.walk(target) if isinstance(n, ast.Name)}
        elif isinstance(node, ast.AnnAssign):
            names.add(ast.unparse(node.target))
    return names


def test_a_name_is_imported_from_the_file_that_defines_it():
    """Faces, which hand on what others define, are `__init__.py` alone."""
    own = {module_name(source): defined(source) for source in SOURCES if source.name != "__init__.py"}
    borrowed = [
        f"{path.relative_to(ROOT)} imports {alias.name} from {node.module}, which has it from elsewhere"
        for path in (*SOURCES, *OUTSIDE)
        for node in ast.walk(parsed(path.read_text()))
        if isinstance(node, ast.ImportFrom) and node.module in own
        for alias in node.names
        if alias.name not in own[node.module]
    ]
    assert borrowed == []
