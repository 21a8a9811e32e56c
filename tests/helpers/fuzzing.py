"""What is fuzzed: for each reader, hostile examples and how they are read."""

from __future__ import annotations

import copy
import hashlib
import json
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import numpy as np
import torch
import yaml
from click.testing import CliRunner
from hypothesis import strategies as st
from mlflow.store.artifact.local_artifact_repo import LocalArtifactRepository

from fmce_mlflow.backbone.resume import Checkpoint
from fmce_mlflow.cli.main import main
from fmce_mlflow.errors import FmceError
from fmce_mlflow.evaluation.provenance import predictor_facts
from fmce_mlflow.method.fmce_net.config import SetConfig
from fmce_mlflow.method.fmce_net.set_net import SetNet
from fmce_mlflow.method.scoring.module_finding import is_far
from fmce_mlflow.method.training.state import TrainingState
from fmce_mlflow.predictor.find import NamedPredictor
from fmce_mlflow.predictor.flavor import CONFIG, FOLDER, WEIGHTS, Predictor, load_predictor, save_model
from fmce_mlflow.recording.record import Record
from fmce_mlflow.runs.checkpoint_slots import Pointer
from fmce_mlflow.runs.feature_index import INDEX, ROOT, Entry, Index, Probe
from fmce_mlflow.runs.feature_maps import read_index, read_stored
from fmce_mlflow.runs.map_file import unpack
from fmce_mlflow.runs.uploads import spool, uploader
from tests.helpers.maps import pack

SECRET = "secret.safetensors"
"""A file beside the folder that a reader is given: a whole feature map, which only a path outside leads to."""
CANARY = "fmce_canary"
"""A module beside it that writes a file when it is imported."""


@dataclass(frozen=True, slots=True)
class Target:
    """A reader under attack.

    Attributes:
        examples: What it is given.
        prepare: Writes what is there before, into an empty folder; its result goes to `read`.
        read: Reads one example in that folder; only what is no FmceError escapes.
    """

    examples: st.SearchStrategy[Any]
    prepare: Callable[[Path], Any]
    read: Callable[[Path, Any, Any], None]


def outside(folder: Path) -> Path:
    """Where the secret and the canary lie."""
    return folder.parent / "outside"


def lay_out(folder: Path) -> None:
    """The secret, and a module that tells when it is imported."""
    outside(folder).mkdir(exist_ok=True)
    (outside(folder) / SECRET).write_bytes(MAP)
    (outside(folder) / f"{CANARY}.py").write_text("import os\nos.system('true')\n")


# ---------------------------------------------------------------- hostile values

HOSTILE: list[Any] = [
    "../../outside/secret.safetensors", "..", "../..", "/etc/passwd", "a/../../../outside/secret.safetensors",
    "..\\..\\outside\\secret.safetensors", "a\x00b", "a" * 5000, "\ud800", "", " ", "\n", "a\n", "con", "%2e%2e%2f",
    "file:///etc/passwd", "os:system", f"{CANARY}:run", "0" * 64, "${HOME}", "~/.ssh/id_rsa", "{0.__class__}",
    "<script>",
    0, 1, -1, 2**31, 2**53, 2**63, 2**64, 10**40, 1e308, -0.0, float("nan"), float("inf"), True, False, None, [], {},
    [[]], [1, 1, 1, 1], [2**40] * 4, [0, 0, 0, 0], {"": {}}, [None] * 1000, "1" * 4000,
]  # fmt: skip
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.sampled_from(HOSTILE),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=6,
)
DEEP = ["[" * 100_000, '{"a":' * 50_000, "[" * 150 + "]" * 150, "1" * 5000, "", "\xef\xbb\xbf{}", "nul", "{]"]


@st.composite
def damaged(draw: Callable[..., Any], record: Any, changes: int = 3) -> str:
    """JSON of a record in which some places hold something else, are gone, or are there twice."""
    value = copy.deepcopy(record)
    for _ in range(draw(st.integers(0, changes))):
        place, way = value, []
        while isinstance(place, (dict, list)) and len(place):
            key = (
                draw(st.sampled_from(sorted(place)))
                if isinstance(place, dict)
                else draw(st.integers(0, len(place) - 1))
            )
            way.append((place, key))
            if not draw(st.booleans()):
                break
            place = place[key]
        if not way:
            break
        inside, key = way[-1]
        action = draw(st.sampled_from(["replace", "replace", "replace", "remove", "repeat"]))
        if action == "replace":
            inside[key] = copy.deepcopy(draw(st.sampled_from(HOSTILE) | JSON))
        elif action == "remove":
            del inside[key]
        elif isinstance(inside, list):
            inside.append(copy.deepcopy(inside[key]))
        else:
            inside[draw(st.text(max_size=6))] = copy.deepcopy(inside[key])
    return json.dumps(value)


@st.composite
def edited(draw: Callable[..., Any], data: bytes) -> bytes:
    """Bytes with some of them changed, cut off, added or repeated; most of the edits fall on the beginning."""
    found = bytearray(data)
    for _ in range(draw(st.integers(0, 6))):
        at = min(len(found), draw(st.integers(0, 400) | st.integers(0, len(data))))
        action = draw(st.sampled_from(["flip", "flip", "set", "insert", "cut", "truncate"]))
        if action == "flip" and at < len(found):
            found[at] ^= 1 << draw(st.integers(0, 7))
        elif action == "set":
            found[at : at + 8] = draw(st.integers(0, 2**64 - 1)).to_bytes(8, "little")
        elif action == "insert":
            found[at:at] = draw(st.binary(max_size=40))
        elif action == "cut":
            del found[at : at + draw(st.integers(1, 40))]
        elif action == "truncate":
            del found[at:]
    return bytes(found)


def as_text(record: Any) -> st.SearchStrategy[bytes]:
    """Bytes in the place of a JSON file."""
    whole = json.dumps(record).encode()
    texts = damaged(record) | JSON.map(json.dumps) | st.sampled_from(DEEP)
    return texts.map(lambda text: text.encode("utf-8", "surrogatepass")) | edited(whole) | st.binary(max_size=60)


def as_tensors(data: bytes) -> st.SearchStrategy[bytes]:
    """Bytes in the place of a safetensors file: another header, or damage anywhere."""
    size = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + size])

    def joined(text: str) -> bytes:
        changed = text.encode("utf-8", "surrogatepass")
        return len(changed).to_bytes(8, "little") + changed + data[8 + size :]

    return (damaged(header) | st.sampled_from(DEEP)).map(joined) | edited(data) | st.binary(max_size=60)


# ---------------------------------------------------------------- what is whole

MAP = pack(np.ones((2, 3, 2, 2), np.float16), np.array([0, 1]))
ENTRY = Entry("a", 0, (2, 3, 2, 2), "float16", len(MAP), hashlib.sha256(MAP).hexdigest())
INDEX_RECORD = json.loads(Index(Probe("digits", 2, "0" * 64), {("a", 0): ENTRY}).to_json())
CHECKPOINT = Checkpoint(
    TrainingState(1, {"w": torch.ones(2)}, {"w.momentum": torch.ones(2)}, {}),
    Record(
        [{"train_loss": 2.0}, {"train_loss": 1.0}], [0.0, 1.0], {("a", 0): ENTRY}, {0: "0" * 64},
        grams={"a": np.eye(2)},
    ),
).pack()  # fmt: skip
UNIT = {
    "format_version": 1, "snapshot": 0, "metrics": [["train_loss", 1.0, 5, 0]],
    "checkpoint": hashlib.sha256(CHECKPOINT).hexdigest(),
    "sha256": {f"{ROOT}/a/snapshot_00000.safetensors": ENTRY.sha256},
}  # fmt: skip


def _tolerant(call: Callable[[], Any]) -> Any:
    """The result; None where the reader refuses what it is given."""
    try:
        return call()
    except FmceError as error:
        assert len(str(error)) < 20_000, "a message that nobody can read"
        return None


# ---------------------------------------------------------------- the index, and the maps that it names


def _prepare_index(folder: Path) -> Any:
    maps = folder / ROOT / "a"
    maps.mkdir(parents=True)
    (maps / "snapshot_00000.safetensors").write_bytes(MAP)
    os.symlink(outside(folder) / SECRET, maps / "snapshot_00001.safetensors")
    os.symlink(outside(folder), folder / ROOT / "b")
    return LocalArtifactRepository(folder.as_uri())


def _read_index(folder: Path, repository: Any, data: bytes) -> None:
    (folder / ROOT / INDEX).write_bytes(data)
    stored = _tolerant(lambda: read_index(repository, "the fuzzed run"))
    index = _tolerant(lambda: Index.from_json(stored))
    if index is not None:
        assert Index.from_json(index.to_json()) == index
        for entry in index.entries.values():
            _tolerant(lambda entry=entry: read_stored(repository, entry, "the fuzzed run"))


LINKED = json.loads(json.dumps(INDEX_RECORD))
LINKED["files"] += [
    {**LINKED["files"][0], "snapshot": 1, "path": "a/snapshot_00001.safetensors"},
    {**LINKED["files"][0], "module": "b", "path": "b/snapshot_00000.safetensors"},
]
"""Two files that are links to outside, with the right hashes."""


# ---------------------------------------------------------------- safetensors


def _read_tensors(folder: Path, _: Any, data: bytes) -> None:
    entry = Entry("a", 0, (2, 3, 2, 2), "float16", len(data), hashlib.sha256(data).hexdigest())
    _tolerant(lambda: unpack(data, entry))
    _tolerant(lambda: Checkpoint.unpack(data))


# ---------------------------------------------------------------- the predictor


def _prepare_flavor(folder: Path) -> tuple[dict[str, Any], bytes, bytes]:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        net = SetNet(SetConfig(members=1, width=4, depth=1)).eval()
    save_model(folder, Predictor(net, INFO, "# A card"))
    description = yaml.safe_load((folder / "MLmodel").read_text())
    return description, (folder / FOLDER / CONFIG).read_bytes(), (folder / FOLDER / WEIGHTS).read_bytes()


INFO = {
    "params": {"bag_size": "64"}, "corpus": [{"backbone": "tiny", "dataset": "digits", "module": "a", "runs": 2}],
    "figures": {"run": {"set": {"mae": 0.1}}}, "corpus_distance": {"far": 2.0},
}  # fmt: skip
NET_RECORD = {
    "format_version": 1, "kind": "set", "fmce_mlflow": "0.1", "info": INFO,
    "config": SetConfig(members=1, width=4, depth=1).to_dict(),
}  # fmt: skip
BOMB = "a0: &a0 [x, x]\n" + "".join(f"a{i}: &a{i} [*a{i - 1}, *a{i - 1}, *a{i - 1}]\n" for i in range(1, 24))
DESCRIPTIONS = [
    "flavors: !!python/object/apply:os.system ['true']\n",
    f"flavors: !!python/module:{CANARY}\n",
    f"flavors: {{fmce_net: !!python/object/new:{CANARY}.run {{}}}}\n",
    f"{BOMB}flavors: {{fmce_net: {{format_version: *a23, sha256: {{}}}}}}\n",
    f"{BOMB}flavors: {{fmce_net: {{format_version: 1, sha256: *a23}}}}\n",
    f"{BOMB}flavors: {{fmce_net: {{format_version: 1, sha256: {{config.json: *a23, weights.safetensors: *a23}}}}}}\n",
    "flavors: [" * 2000, "&a [*a]", "flavors: {fmce_net: &x {format_version: 1, sha256: *x}}", "flavors: 1", "flavors:",
]  # fmt: skip
FLAVOR = st.tuples(
    st.just(None) | st.sampled_from(DESCRIPTIONS) | damaged({"format_version": 1, "sha256": {}, "kind": "set"}, 2),
    as_text(NET_RECORD),
    st.none() | st.binary(max_size=50) | st.integers(0, 10**6),
)


def _read_flavor(folder: Path, whole: tuple[dict[str, Any], bytes, bytes], example: tuple[Any, bytes, Any]) -> None:
    description, config, damage = example
    model, _, weights = whole
    if isinstance(damage, int):
        changed = bytearray(weights)
        changed[damage % len(weights)] ^= 1 << damage % 8
        weights = bytes(changed)
    elif damage is not None:
        weights = damage
    (folder / FOLDER / CONFIG).write_bytes(config)
    (folder / FOLDER / WEIGHTS).write_bytes(weights)
    model = copy.deepcopy(model)
    own = model["flavors"]["fmce_net"]
    if description is not None and description not in DESCRIPTIONS:
        changes = json.loads(description)
        own |= changes if isinstance(changes, dict) else {"sha256": changes}
    if isinstance(own.get("sha256"), dict):
        own["sha256"] = {"model_card.md": hashlib.sha256(b"# A card").hexdigest()}
        own["sha256"] |= {CONFIG: hashlib.sha256(config).hexdigest(), WEIGHTS: hashlib.sha256(weights).hexdigest()}
    text = description if description in DESCRIPTIONS else json.dumps(model)  # JSON is YAML
    (folder / "MLmodel").write_bytes(text.encode("utf-8", "surrogatepass"))
    found = _tolerant(lambda: load_predictor(folder))
    if found is not None:
        found.net.predict(torch.ones(3, 4, 2, 2) * torch.arange(3)[:, None, None, None])
        predictor_facts(NamedPredictor(found, "found", "found"))
        is_far(1.0, found.info)


# ---------------------------------------------------------------- what waits for an upload

RUN_RECORD = {"run_id": "0123", "tracking_uri": "http://127.0.0.1:9"}
LINKS = [None, "lock", "run.json", "snapshot_00001", "snapshot_00000.part", f"snapshot_00000/{ROOT}/a/x", "close.json",
         "snapshot_00000/checkpoint"]  # fmt: skip
SPOOL = st.tuples(
    as_text(RUN_RECORD) | st.just(json.dumps(RUN_RECORD).encode()),
    as_text(UNIT),
    st.none() | as_text({"status": "KILLED"}),
    st.sampled_from(LINKS),
)


def _read_spool(folder: Path, _: Any, example: tuple[bytes, bytes, bytes | None, str | None]) -> None:
    run, unit, close, link = example
    for path in folder.iterdir():
        shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
    maps = folder / "snapshot_00000" / ROOT / "a"
    maps.mkdir(parents=True)
    (maps / "snapshot_00000.safetensors").write_bytes(MAP)
    (folder / "snapshot_00000" / "checkpoint").mkdir()
    (folder / "snapshot_00000" / "checkpoint" / "slot_0.safetensors").write_bytes(CHECKPOINT)
    (folder / spool.RUN).write_bytes(run)
    (folder / "snapshot_00000" / spool.UNIT).write_bytes(unit)
    if close is not None:
        (folder / spool.CLOSE).write_bytes(close)
    if link is not None:
        place = folder / link
        if place.is_dir():
            shutil.rmtree(place)
        place.unlink(missing_ok=True)
        os.symlink(outside(folder) if "json" not in link and "lock" not in link else outside(folder) / SECRET, place)
    _tolerant(lambda: spool.closing_status(folder))
    found = _tolerant(lambda: spool.owner(folder))
    if found is None:
        return
    held = _tolerant(lambda: spool.Spool(folder, *found))
    if held is None:
        return
    try:
        for waiting in held.units:
            for path in (*uploader.maps_of(waiting), *waiting.files("checkpoint")):
                _tolerant(lambda waiting=waiting, path=path: waiting.check(path))
        _tolerant(lambda: Pointer("slot_0.safetensors", 0, held.units[0].checkpoint or "") if held.units else None)
    finally:
        held.release()


# ---------------------------------------------------------------- the command line

NUMBERS = ["0", "-1", "1", "3", "1e400", "nan", "inf", "-0.0", "9" * 5000, "0x10", "1_0", "٣", "½", "2**3", "1e-400"]
WORDS = [
    "", "auto", "true", "false", "a,b", ",,,", "../..", "*" * 300, "[", "[!", "\x00", "\n", "é", "💥", "-", "--",
    "--x=1",
    "folder:", "folder:/nowhere", "timm:", "timm:x", "os:system", f"{CANARY}:run", ":", "models:/x/1", "models:/",
    "runs:/",
    "models:/a@b", "sqlite://", "http://[", "file:///nowhere", "postgresql://u:p@h/d", "fmcs_predicted>=0.9", ">=",
    "a>=nan",
    "{}", "[]", "{", '{"width": []}', '{"width": [1e999]}', '{"depth": {"low": 1e400, "high": 2}}', '{"lr": NaN}',
    '{"lr": {"low": 2, "high": 1}}',
    '{"epochs": {"low": 1, "high": 1e400}}', '{"depth": {"low": 1, "high": 9, "step": 0}}',
    '{"mean": 1}', '{"mean": [1], "std": [0]}', "[" * 3000, '{"a":' * 3000, "/dev/zero", "/dev/stdin", "{0}", "%s" * 20,
    "resnet18", "digits", "Production", "set", "outline", "run,images", "sgd", "cpu", "cuda:99", "settled",
]  # fmt: skip


@click.pass_context
def _stop(ctx: click.Context, /, *built: Any, **values: Any) -> None:
    click.echo("parsed")


def _commands() -> click.Group:
    """The command line with its work cut off: options are parsed and checked, nothing is trained, read or written."""
    group = copy.copy(main)
    group.commands = {}
    for name, command in main.commands.items():
        group.commands[name] = one = copy.copy(command)
        one.callback = _stop
    return group


FMCE = _commands()


@st.composite
def _words(draw: Callable[..., Any]) -> list[str]:
    """A command with options, most of which it has."""
    value = (
        st.sampled_from(NUMBERS) | st.sampled_from(WORDS) | st.text(max_size=12) | damaged({"width": [8], "lr": 0.1})
    )
    if draw(st.integers(0, 20)) == 0:
        return draw(st.lists(value, max_size=4))
    name = draw(st.sampled_from(sorted(FMCE.commands)))
    options = [param for param in FMCE.commands[name].params if isinstance(param, click.Option)]
    words = [name]
    for _ in range(draw(st.integers(0, 5))):
        option = draw(st.sampled_from(options)) if options else None
        if option is None or draw(st.integers(0, 15)) == 0:
            words.append(draw(value))
            continue
        choices = st.sampled_from(list(option.type.choices)) if isinstance(option.type, click.Choice) else value
        words += [option.opts[0], draw(choices | value)]
    return words


def _prepare_words(folder: Path) -> None:
    """Load what commands load when their options are checked."""
    for name in FMCE.commands:
        for words in ([name], [name, "--help"], [name, "--space", '{"lr": 1}']):
            _read_words(folder, None, words)


def _read_words(folder: Path, _: Any, words: list[str]) -> None:
    result = CliRunner().invoke(FMCE, words, prog_name="fmce")
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code in (0, 1, 2), result.exit_code
    assert "Traceback" not in result.output and (result.exit_code == 0 or result.output.strip()), result.output


TARGETS: dict[str, Target] = {
    "index": Target(as_text(INDEX_RECORD) | as_text(LINKED), _prepare_index, _read_index),
    "safetensors": Target(as_tensors(MAP) | as_tensors(CHECKPOINT), lambda folder: None, _read_tensors),
    "flavor": Target(FLAVOR, _prepare_flavor, _read_flavor),
    "spool": Target(SPOOL, lambda folder: None, _read_spool),
    "options": Target(_words(), _prepare_words, _read_words),
}
