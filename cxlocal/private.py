"""Folders and files that are nobody's but their owner's, whatever the umask says and whoever made the
folder around them: 0700 and 0600."""

from __future__ import annotations

import contextlib
import os
import stat
from pathlib import Path
from typing import BinaryIO

FOLDER = 0o700
FILE = 0o600
OTHERS = 0o077


def make_folder(path: Path) -> None:
    """The folder ``path``, made with all that is missing above it. Raises OSError."""
    if path.is_dir():
        return
    make_folder(path.parent)
    try:
        path.mkdir(FOLDER)
    except FileExistsError:
        return  # made by another process meanwhile, in the same way
    path.chmod(FOLDER)  # the umask may have taken away what its owner needs


def make_home(path: Path) -> None:
    """A home folder. One that others made, or made with wider rights, is closed to them, if it is ours
    to close. Raises OSError."""
    make_folder(path)
    close(path, FOLDER)


def make_file(path: Path) -> None:
    """An empty file where there is none; one of ours that others may open is closed to them. Raises
    OSError."""
    try:
        open_new(path).close()
    except FileExistsError:
        close(path, FILE)


def open_new(path: Path) -> BinaryIO:
    """A new file to write bytes into. Raises OSError, FileExistsError where there is one."""
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, FILE)
    os.fchmod(handle, FILE)
    return os.fdopen(handle, "wb")


def close(path: Path, mode: int) -> None:
    """Close to others what is ours and open to them. Raises OSError where it is gone."""
    found = path.stat()
    if stat.S_IMODE(found.st_mode) & OTHERS and found.st_uid == os.geteuid():
        with contextlib.suppress(OSError):  # a file system without modes, or a read-only one
            path.chmod(mode)
