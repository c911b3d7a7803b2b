"""Whether a ``cx.local.toml`` is the word of this machine's person: git does not track it, and its
content was agreed to here."""

from __future__ import annotations

import errno
import os
from collections.abc import Mapping
from pathlib import Path

from cxlocal.clock import Ids
from cxlocal.config.agreement import agree, digest_of, trusted
from cxlocal.config.load import SIZE_MAX_BYTES
from cxlocal.config.locate import LOCAL_NAME, home_setting
from cxlocal.errors import UsageError
from cxlocal.files import open_plain
from cxlocal.journal.home import home_folder
from cxlocal.revision.git import git
from cxlocal.values import NamedTuple


class LocalFile(NamedTuple):
    """The ``cx.local.toml`` of a working tree."""

    path: Path
    content: bytes
    tracked: bool
    """It is part of the repository, or nobody can say."""
    ignored: str
    """Why it does not count; empty where it does."""

    @property
    def digest(self) -> str:
        """Under which it is agreed to."""
        return digest_of("local", self.content)


def find_local(folder: Path, environ: Mapping[str, str], ids: Ids) -> LocalFile | None:
    """The file beside ``cx.toml`` in ``folder``, None where there is none. Raises Trouble for a list
    of agreements that cannot be read."""
    path = folder / LOCAL_NAME
    try:
        with open_plain(path) as file:
            content = file.read(SIZE_MAX_BYTES + 1)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
        return LocalFile(path, b"", False, "it is not a plain file")
    theirs = _repositorys(path)
    found = LocalFile(path, content, bool(theirs), theirs)
    if not theirs and found.digest not in trusted(first_home(environ, ids), environ):
        why = "nobody agreed to it on this machine as it is now: cxlocal trust"
        return found._replace(ignored=why)
    return found


def agree_to_local(found: LocalFile, home: Path, at: str) -> None:
    """Note that a person agreed to this content, or that we wrote it. ``home`` is the first one."""
    entry = {"what": LOCAL_NAME, "folder": str(found.path.parent), "at": at}
    agree(home, trusted={found.digest: entry})


def first_home(environ: Mapping[str, str], ids: Ids) -> Path:
    """The home before any ``cx.local.toml`` is asked: where it is written whether one counts."""
    chosen = home_setting(environ, None)
    return Path(chosen) if chosen else home_folder(environ, ids)


def _repositorys(path: Path) -> str:
    """Why the file is the repository's word; empty where git does not track it. A repository that
    cannot be read is no reason to believe it; outside of one nothing is tracked."""
    try:
        answer = git(path.parent, "ls-files", "-z", "--", path.name)
    except UsageError:
        return ""  # no git on this machine
    if answer.code:
        outside = b"not a git repository" in answer.stderr
        return "" if outside else "git cannot say whether it tracks it"
    return "git tracks it, so it is the repository's word" if answer.stdout else ""


def effective(found: LocalFile | None) -> str | None:
    """The path of a file that counts."""
    return None if found is None or found.ignored else os.fspath(found.path)
