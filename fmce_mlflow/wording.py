"""Words of messages: near names, lists cut short, and counts."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence


def did_you_mean(name: str, valid: Iterable[str], *, how_to_list: str = "") -> str:
    """The tail of an error about an unknown name: near names, and how to see all. Starts with a space or is empty.

    Example:
        >>> did_you_mean("layer5", ["layer4", "conv1"])
        ' Did you mean layer4?'
    """
    near = difflib.get_close_matches(name, list(valid), n=3, cutoff=0.5)
    text = f" Did you mean {' or '.join(near)}?" if near else ""
    return f"{text} {how_to_list}".rstrip() if how_to_list else text


def some(names: Sequence[object], most: int = 4) -> str:
    """The first names of a list, and how many more there are.

    Example:
        >>> some(["cat", "dog", "eel"], most=2)
        'cat, dog and 1 more'
    """
    rest = len(names) - most
    return ", ".join(map(str, names[:most])) + (f" and {rest} more" if rest > 0 else "")


def printable(name: str) -> str:
    r"""A name as any text can hold it: bytes that are no UTF-8, as in old files' names, are written out.

    Example:
        >>> print(printable("caf\udce9"), printable("café"))
        caf\udce9 café
    """
    return name if name.isascii() else name.encode("utf-8", "backslashreplace").decode("utf-8")


def counted(n: int, what: str) -> str:
    """A number of things.

    Example:
        >>> counted(1, "run"), counted(2000, "image")
        ('1 run', '2,000 images')
    """
    return f"{n:,} {what}{'' if n == 1 else 's'}"


def lasting(seconds: float) -> str:
    """A time in words, as precise as a reader needs.

    Example:
        >>> [lasting(one) for one in (0.25, 8, 95, 1500, 9000, 200_000)]
        ['0.2 s', '8 s', '1.6 min', '25 min', '2.5 h', '56 h']
    """
    for unit, size in (("s", 1.0), ("min", 60.0), ("h", 3600.0)):
        value = seconds / size
        if value < 90 or unit == "h":
            break
    return f"{value:.0f} {unit}" if value >= 9.95 or (unit == "s" and value >= 1) else f"{value:.1f} {unit}"
