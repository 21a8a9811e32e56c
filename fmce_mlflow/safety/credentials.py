"""User names, passwords and tokens stay out of what is written or printed."""

from __future__ import annotations

import re
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

_USER = re.compile(r"(?<=://)[^/\s@'\"]*@")
_SECRETS = ("password", "passwd", "pwd", "token", "secret", "sslpassword", "api_key", "apikey")


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
    try:
        parts = urlsplit(uri)
        query = parse_qsl(parts.query, keep_blank_values=True)
    except ValueError:
        return f"…{uri.rpartition('@')[2]}" if "@" in uri else uri
    kept = [(key, value) for key, value in query if key.lower() not in _SECRETS]
    if "@" not in parts.netloc and kept == query:
        return uri
    changed = parts._replace(netloc=parts.netloc.rpartition("@")[2])
    return urlunsplit(changed if kept == query else changed._replace(query=urlencode(kept)))


def hide_credentials(text: str) -> str:
    """A text, such as another package's error, without the user names and passwords of URIs in it.

    Example:
        >>> hide_credentials("API request to http://me:secret@host:5000/api failed")
        'API request to http://host:5000/api failed'
    """
    return _USER.sub("", text)
