"""Folders that are this user's alone."""

from __future__ import annotations

import os
import stat
from pathlib import Path

_GROUP, _OTHERS = 0o020, 0o002  # may write


def make_private(folder: Path) -> None:
    """Make a folder, and those above it that are not there, for this user alone, whatever the umask.

    Example:
        >>> import tempfile
        >>> folder = Path(tempfile.mkdtemp(), "state", "runs")
        >>> make_private(folder)
        >>> [oct(path.stat().st_mode & 0o777) for path in (folder, folder.parent)]
        ['0o700', '0o700']
    """
    for path in reversed([path for path in (folder, *folder.parents) if not path.exists()]):
        path.mkdir(mode=0o700, exist_ok=True)
        path.chmod(0o700)


def only_ours(*paths: Path) -> bool:
    """Whether this user made files or folders, and nobody else but root can write or replace them."""
    if not hasattr(os, "getuid"):
        return True
    above = {parent for path in paths for parent in path.absolute().parents} - {path.absolute() for path in paths}
    return all(_is_ours(path.lstat()) for path in paths) and all(_keeps_what_is_in_it(path.stat()) for path in above)


def _is_ours(found: os.stat_result) -> bool:
    return found.st_uid == os.getuid() and not found.st_mode & (_GROUP | _OTHERS)


def _keeps_what_is_in_it(folder: os.stat_result) -> bool:
    """Whether nobody else can put another folder in the place of one in it: as in /tmp, or where they cannot write."""
    writers = _OTHERS if _is_own_group(folder.st_gid) else _GROUP | _OTHERS
    alone = folder.st_mode & stat.S_ISVTX or not folder.st_mode & writers
    return folder.st_uid in (os.getuid(), 0) and bool(alone)


def _is_own_group(gid: int) -> bool:
    """Whether a group is this user's alone: many systems make one for each user, and let it write by default."""
    import grp  # not on Windows
    import pwd

    try:
        user, group = pwd.getpwuid(os.getuid()), grp.getgrgid(gid)
    except KeyError:
        return False
    return gid != 0 and gid == user.pw_gid and group.gr_name == user.pw_name and set(group.gr_mem) <= {user.pw_name}
