"""The index of a run's feature maps: what there is, each field checked before anything relies on it."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from fnmatch import fnmatchcase
from functools import lru_cache
from textwrap import indent
from typing import Any

from fmce_mlflow.errors import ArtifactError, RunError
from fmce_mlflow.safety.reading import parse_json
from fmce_mlflow.wording import did_you_mean

ROOT = "feature_maps"
INDEX = "index.json"
FORMAT_VERSION = 1
_MODULE = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_\-]*(\.[A-Za-z0-9_\-]+)*")
_BETWEEN = ",\n"
_MODULE_LENGTH = 255  # of a folder's name
_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class Probe:
    """Identity of the probe images of a run."""

    dataset: str  # where they come from
    n: int
    sha256: str  # over images, labels and preprocessing, in order: runs that share it share their probe


@dataclass(frozen=True, slots=True)
class Entry:
    """One feature-map file."""

    module: str
    snapshot: int
    shape: tuple[int, int, int, int]  # (n, C, H, W)
    dtype: str  # always float16
    bytes: int
    sha256: str
    clipped: int = 0  # values that were beyond float16 and stand at its largest
    exponent: int = 0  # the file has the maps times 2 to the power of this, as float16 would lose such small ones

    @property
    def path(self) -> str:
        """The file's artifact path, from the run's artifact root."""
        return f"{ROOT}/{self.module}/{file_name(self.snapshot)}"


@dataclass(frozen=True, slots=True)
class Index:
    """What feature maps a run has."""

    probe: Probe
    entries: Mapping[tuple[str, int], Entry]  # by module and snapshot

    @property
    def modules(self) -> tuple[str, ...]:
        """The modules, in the order they were recorded."""
        return tuple(dict.fromkeys(module for module, _ in self.entries))

    def snapshots(self, module: str) -> tuple[int, ...]:
        """The snapshots recorded of a module, ascending."""
        return tuple(sorted(s for m, s in self.entries if m == module))

    def to_json(self) -> str:
        """The text of ``index.json``."""
        files = [_text_of(e) for _, e in sorted(self.entries.items(), key=lambda item: item[0][1])]
        text = json.dumps({"format_version": FORMAT_VERSION, "probe": asdict(self.probe), "files": []}, indent=1)
        return f"{text[:-3]}\n{_BETWEEN.join(files)}\n ]\n}}" if files else text

    @classmethod
    def from_json(cls, text: str | bytes, *, name: str = f"{ROOT}/{INDEX}") -> Index:
        """Read an index and check every field of it.

        Raises:
            ArtifactError: If it is no index of this format, or points outside its folder.

        Example:
            >>> Index.from_json('{}')
            Traceback (most recent call last):
            ...
            fmce_mlflow.errors.ArtifactError: feature_maps/index.json is no index of feature maps: ...
        """
        try:
            record = parse_json(text)
        except ValueError as error:
            raise ArtifactError(f"{name} is no index of feature maps: it is not JSON ({error}).") from None
        if not isinstance(record, dict) or "format_version" not in record:
            raise ArtifactError(f"{name} is no index of feature maps: it has no format_version.")
        if record["format_version"] is True or record["format_version"] != FORMAT_VERSION:
            raise ArtifactError(
                f"{name} has format version {record['format_version']!r:.80}; this release reads {FORMAT_VERSION}. "
                "Record the run again, or use the release of fmce-mlflow that wrote it."
            )
        try:
            probe = record["probe"]
            parsed = Probe(_text(probe["dataset"]), _count(probe["n"]), _sha(probe["sha256"]))
            entries = {}
            for item in record["files"]:
                entry = _entry(item, name)
                if (entry.module, entry.snapshot) in entries:
                    raise ArtifactError(f"{name} lists snapshot {entry.snapshot} of {entry.module} twice.")
                entries[entry.module, entry.snapshot] = entry
        except KeyError as error:
            raise ArtifactError(
                f"{name} is no index of feature maps: field {error} is missing. Record the run again."
            ) from None
        except (TypeError, ValueError) as error:
            raise ArtifactError(
                f"{name} is no index of feature maps: a field is wrong ({error}). Record the run again."
            ) from None
        return cls(parsed, entries)


def matching(recorded: Sequence[str], wanted: Sequence[str], run_id: str) -> list[str]:
    """Those of a run's modules that are wanted by names or globs, in its order; all where ``wanted`` is empty.

    Raises:
        RunError: If there is none; names the near ones.
    """
    chosen = [m for m in recorded if not wanted or any(fnmatchcase(m, pattern) for pattern in wanted)]
    if not chosen:
        asked = f", and none of {', '.join(wanted)}.{did_you_mean(wanted[0], recorded)}" if wanted else "."
        raise RunError(
            f"Run {run_id} has maps of {', '.join(recorded) or 'no module'}{asked} Choose among its modules."
        )
    return chosen


def file_name(snapshot: int) -> str:
    """Name of a snapshot's file inside its module's folder."""
    return f"snapshot_{snapshot:05d}.safetensors"


def fields_of(entry: Entry) -> dict[str, Any]:
    """An entry as JSON has it; without the exponent, which releases before did not know, where it is 0."""
    found = asdict(entry)
    if not entry.exponent:
        del found["exponent"]
    return found


def is_module(name: Any) -> bool:
    """Whether a value is a module's name that can be a folder's."""
    return isinstance(name, str) and len(name) <= _MODULE_LENGTH and _MODULE.fullmatch(name) is not None


def checked_entry(item: Mapping[str, Any], name: str) -> Entry:
    """An entry from its fields, as ``asdict`` gives them, each of them checked; ``name`` is what an error calls it all.

    Raises:
        ArtifactError: If it names no module, or sizes that cannot be.
        KeyError: If a field is missing.
        TypeError: If a field has no length or the like.
        ValueError: If a field is of another kind.
    """
    module, snapshot = item["module"], _count(item["snapshot"])
    if not is_module(module):
        raise ArtifactError(f"{name} names a module {module!r:.300}, which is not a dotted path.")
    n, c, h, w = (_count(v) for v in item["shape"])
    entry = Entry(
        module, snapshot, (n, c, h, w), _text(item["dtype"]), _count(item["bytes"]), _sha(item["sha256"]),
        _count(item["clipped"]), _count(item.get("exponent", 0)),
    )  # fmt: skip
    if entry.dtype != "float16" or not 0 < 2 * math.prod(entry.shape) <= entry.bytes:
        raise ArtifactError(
            f"{name} says {entry.dtype} {entry.shape} in {entry.bytes} bytes for snapshot {snapshot} of {module}, "
            "which cannot be."
        )
    return entry


def _entry(item: Mapping[str, Any], name: str) -> Entry:
    entry = checked_entry(item, name)
    path = f"{entry.module}/{file_name(entry.snapshot)}"
    if item["path"] != path:
        raise ArtifactError(
            f"{name} points to {item['path']!r:.300}; the maps of {entry.module} at snapshot {entry.snapshot} can only "
            f"stand in {path}. Do not trust this run's artifacts."
        )
    return entry


@lru_cache(maxsize=2**14)
def _text_of(entry: Entry) -> str:
    """An entry in the index's text: made once, because the index is written after every snapshot."""
    value = {**fields_of(entry), "path": f"{entry.module}/{file_name(entry.snapshot)}"}
    return indent(json.dumps(value, indent=1), "  ")


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError(f"expected a text, got {value!r:.80}")
    return value


def _count(value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < 2**53:
        raise ValueError(f"expected a whole number, got {value!r:.80}")
    return value


def _sha(value: Any) -> str:
    if not isinstance(value, str) or not _SHA256.fullmatch(value):
        raise ValueError(f"expected a sha256, got {value!r:.80}")
    return value
