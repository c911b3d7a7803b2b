"""Plugins of a project (``.cx/plugins/*.py``), and whether a person has allowed them.

They are code out of a checkout and run with the person's rights, so they run only after ``cxlocal
trust`` recorded the digest of exactly these files on this machine (or CXLOCAL_TRUST names it, for
CI). Any change makes another digest, and the question is asked again. What was read for the digest
is what runs: the files are not opened a second time.

The digest covers the ``*.py`` files of that one folder. Code that they load from elsewhere is
theirs to answer for.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Mapping
from pathlib import Path

from cxlocal.errors import Refused
from cxlocal.values import NamedTuple

FOLDER = Path(".cx", "plugins")
"""Below the folder of ``cx.toml``."""

FILES_MAX = 100
FILE_BYTES = 1024 * 1024
"""Limits of what is read before anybody has agreed to anything."""


class ProjectFile(NamedTuple):
    """One plugin file as it was read."""

    name: str
    path: Path
    source: bytes


class ProjectPlugins(NamedTuple):
    """The plugin files of a project. No files: empty digest."""

    folder: Path
    files: tuple[ProjectFile, ...]
    digest: str


def read_project(folder: Path) -> ProjectPlugins:
    """The plugins in ``folder``. Raises Refused for links and for more than the limits."""
    try:
        names = sorted(name for name in os.listdir(folder) if name.endswith(".py"))
    except (FileNotFoundError, NotADirectoryError):
        names = []
    if len(names) > FILES_MAX:
        raise Refused(
            f"{folder} holds {len(names)} plugins",
            why=f"{FILES_MAX} at most",
            hint="put them into fewer files, or into a package that is installed",
        )
    return as_project(folder, {name: _read(folder / name) for name in names})


def as_project(folder: Path, sources: Mapping[str, bytes]) -> ProjectPlugins:
    """The plugins of ``folder`` whose files have been read already, by file name."""
    files = tuple(
        ProjectFile(name[:-3], folder / name, sources[name])
        for name in sorted(sources)
        if name.endswith(".py")
    )
    if not files:
        return ProjectPlugins(folder, (), "")
    total = hashlib.sha256(b"cxlocal plugins 1\n")
    for file in files:
        name = os.fsencode(file.path.name)
        total.update(b"%d %s %s\n" % (len(name), name, hashlib.sha256(file.source).digest()))
    return ProjectPlugins(folder, files, f"sha256:{total.hexdigest()}")


def project_digest(folder: Path) -> str:
    """The digest that ``cxlocal trust`` records; empty when there are no plugins."""
    return read_project(folder).digest


def _read(path: Path) -> bytes:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        with open(descriptor, "rb") as file:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise Refused(
                    f"{path} is not a plain file",
                    why="a device or pipe can hold other bytes each time it is read",
                    hint="put the file itself there",
                    name="bad-plugin-file",
                )
            source = file.read(FILE_BYTES + 1)
    except OSError as error:
        raise Refused(
            f"{path} cannot be read as a plugin",
            why="it is a link" if path.is_symlink() else str(error.strerror),
            hint="put the file itself there",
            name="bad-plugin-file",
        ) from error
    if len(source) > FILE_BYTES:
        raise Refused(
            f"{path} is too large",
            why=f"{FILE_BYTES} bytes at most",
            hint="split it, or make it a package that is installed",
        )
    return source
