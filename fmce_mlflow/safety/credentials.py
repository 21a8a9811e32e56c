"""User names, passwords and tokens stay out of what is written or printed: every text that leaves passes here."""

from __future__ import annotations

import re
from itertools import pairwise
from urllib.parse import unquote, urlsplit

_WORDS = r"pass(?:word|wd|phrase)?|pwd|secret|token|jwt"
_KEYS = r"(?:api|access|account|shared|private|secret)[-_.]?key(?:[-_.]?id)?"
_FIELDS = r"sig|sas|auth|odbc_connect|[\w.-]*(?:signature|credentials?)"
_SECRET = re.compile(rf".*(?:{_WORDS}|{_KEYS})|{_FIELDS}", re.IGNORECASE)
_FIELD = re.compile(r"(?<=[?&;#])([^=&?;#\s]+)=")  # in a URI
_ASSIGNED = re.compile(  # in prose: password=…, a dictionary's 'password': '…'
    rf"((?<![\w.-])[\w.-]*(?:{_WORDS}|{_KEYS})(?:\s?=\s?|['\"]: ?)|(?<=[?&])(?:{_FIELDS})=)"
    r"('[^']*'|\"[^\"]*\"|[^\s&]*[^\s&.,:;!…)\]}>'\"`])",
    re.IGNORECASE,
)
_HIDDEN = re.compile(r"(user:password@host|[^:/?#@]*:\*\*\*@[\w.-]+)(?![\w.-])[^@]*")  # an example, or hidden already
_SCHEME = re.compile(r"[a-z][a-z0-9+.-]*://", re.IGNORECASE)
_AFTER = ".,;:!…)]}>'\"`*"  # ends a sentence or a quotation, and no URI
_WEB = frozenset({"http", "https", "mlflow-artifacts"})  # paths may have : and @
_HOST = re.compile(r"(\[.*\]|[^:@]*)(:\d*)?")
_ADDRESS = re.compile(r"[\w.-]+:\d+(?![^/?#])")
_entered: dict[str, str] = {}  # URIs that were given to this process, and what is shown of them
_parts: set[str] = set()  # of their passwords, up to the host


def enters(uri: str) -> str:
    """Note a URI that comes in, and return it: whatever its password is like, no text shows it from here on."""
    clean = without_credentials(uri)
    if clean != uri:
        _entered[uri] = clean
        if "@" in (rest := uri[uri.find("@") + 1 :]):  # a database's client takes a part of this password for its host
            _parts.add(rest[: rest.rfind("@") + 1])
    return uri


def without_credentials(uri: str) -> str:
    """A URI without user name, password and tokens, which belong neither on disk nor on a screen.

    Example:
        >>> without_credentials("https://me:secret@mlflow.example:5000/x")
        'https://mlflow.example:5000/x'
        >>> without_credentials("postgresql://db.example/mlflow?user=me&password=secret")
        'postgresql://db.example/mlflow?user=me'
        >>> without_credentials("sqlite:////data/mlflow.db")
        'sqlite:////data/mlflow.db'
    """
    scheme, mark, rest = uri.partition("://")
    if "@" not in rest and _has_no_port(uri):  # another program has cut the rest off
        return f"{scheme}{mark}…"
    if "@" in rest and not _HIDDEN.fullmatch(rest):
        try:
            user = _names_user(uri)
        except ValueError:  # no address at all
            scheme, mark, user = "", "…", True
        rest = rest.rpartition("@")[2] if user else rest
    return scheme + mark + _without_tokens(rest) if mark else _without_tokens(uri)


def hide_credentials(text: object) -> str:
    """A text, such as another package's error, without the user names, passwords and tokens in it.

    Example:
        >>> hide_credentials("API request to http://me:secret@host:5000/api failed")
        'API request to http://host:5000/api failed'
        >>> hide_credentials("invalid dsn: host=db password=secret, from https://host/?token=secret.")
        'invalid dsn: host=db password=***, from https://host/.'
    """
    found = str(text)
    for uri in sorted(_entered, key=len, reverse=True):
        found = found.replace(uri, _entered[uri])
    places = [0, *(match.start() for match in _SCHEME.finditer(found)), len(found)]
    before, *others = (found[start:end] for start, end in pairwise(places))
    found = before + "".join(map(_hide_first, others))
    for part in _parts:
        found = found.replace(part, "")
    return _ASSIGNED.sub(r"\1***", found)


def _hide_first(text: str) -> str:
    """A text that begins with a URI, that one cleaned. A blank ends it, but for one in a password."""
    uri = _word(text)
    line = text.partition("\n")[0]
    if "@" not in uri and "@" in line and _has_no_port(uri.rstrip(_AFTER)):
        user = line.partition("@")[0]
        uri = user + _word(line[len(user) :])
    uri = uri.rstrip(_AFTER)
    return without_credentials(uri) + text[len(uri) :]


def _word(text: str) -> str:
    return text.split(maxsplit=1)[0] if text and not text[0].isspace() else ""


def _names_user(uri: str) -> bool:
    """Whether what stands before a URI's last @ is a user, whose password may have / ? # or @ in it."""
    parts = urlsplit(uri)
    before, _, after = uri.partition("://")[2].rpartition("@")
    if _has_no_port(uri):
        return True
    if parts.scheme in _WEB:
        return ":" in parts.netloc and _ADDRESS.match(after) is not None
    return bool(parts.netloc) and ":" in before


def _has_no_port(uri: str) -> bool:
    """Whether something else stands where a URI may have a port: the beginning of a password."""
    try:
        return _HOST.fullmatch(urlsplit(uri).netloc) is None
    except ValueError:
        return True


def _without_tokens(rest: str) -> str:
    """What follows a URI's ://, without the fields of its query and fragment that are secret."""
    kept, at = "", 0
    for field in _FIELD.finditer(rest):
        if field.start() >= at and _SECRET.fullmatch(unquote(field[1])):
            kept += rest[at : field.start()]
            at = rest.find("&", field.end()) + 1 or len(rest)
    return (kept + rest[at:]).rstrip("?&;#") if at else rest
