"""Files that are there as a whole or not at all: written under another name, brought to the disk,
renamed. No other module renames anything."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import sys
from collections.abc import Iterator
from io import BufferedReader
from pathlib import Path
from typing import BinaryIO

from cxlocal.clock import SystemIds

NO_SYNC = {errno.EINVAL, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EBADF}
"""What file systems say that cannot bring a folder to the disk by itself."""


def write_whole(
    path: Path, content: bytes | str, *, mode: int = 0o600, durable: bool = True
) -> None:
    """Give ``path`` this content, in the place of what it had; a link is replaced, not followed.

    ``mode`` is what the umask leaves of it. ``durable``: on the disk when this returns. Whatever
    happens, the file is the old one or the new one. Raises OSError.
    """
    with fresh_file(path.parent, mode=mode) as file:
        file.write(content.encode() if isinstance(content, str) else content)
        take_name(file, path, durable=durable)


def open_plain(path: Path | str, *, folder: int | None = None) -> BufferedReader:
    """A file to read from, by its name below the open ``folder``. A pipe or a device, for which a reader might wait for ever, raises OSError as
    a file does that cannot be opened."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=folder)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(errno.EINVAL, "it is not a plain file", str(path))
    return open(descriptor, "rb")


@contextlib.contextmanager
def fresh_file(folder: Path, *, mode: int = 0o600) -> Iterator[BinaryIO]:
    """A file in ``folder`` to be filled and then named by ``take_name``; without a name it goes away
    with the block. It is born with its ``mode``: one closed to others only later was open for a
    moment. Raises OSError."""
    path = folder / f".{SystemIds().token()}.part"
    try:
        with open(path, "xb", opener=lambda name, flags: os.open(name, flags, mode)) as file:
            yield file
    finally:
        with contextlib.suppress(OSError):
            path.unlink()


@contextlib.contextmanager
def fresh_folder(near: Path | None = None) -> Iterator[Path]:
    """A folder for nobody but us, in ``near`` or where the system keeps passing files; with all in it
    it goes away with the block. Raises OSError."""
    import shutil

    if near is None:
        import tempfile

        near = Path(tempfile.gettempdir())
    folder = near / f"cxlocal-{SystemIds().token()}"
    folder.mkdir(0o700)
    try:
        yield folder
    finally:
        shutil.rmtree(folder)


def take_name(file: BinaryIO, path: Path, *, durable: bool = True) -> None:
    """Let what was written to ``file`` be ``path`` from now on. Raises OSError."""
    file.flush()
    if durable:
        sync(file.fileno())
    rename(file.name, path, durable=durable)


def rename(
    old: str | Path, new: str | Path, *, durable: bool = True, folder: int | None = None
) -> None:
    """Put ``old`` in the place of ``new``, on the disk too where ``durable``. Both names begin at
    the open ``folder`` where one is given. Raises OSError."""
    os.replace(old, new, src_dir_fd=folder, dst_dir_fd=folder)
    if durable:
        sync_folder(os.path.dirname(new) or ".", folder)


def sync_folder(path: str | Path, folder: int | None = None) -> None:
    """Bring the names in a folder to the disk. Raises OSError."""
    handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY, dir_fd=folder)
    try:
        sync(handle)
    finally:
        os.close(handle)


def sync(handle: int) -> None:
    """Bring an open file or folder to the disk, as far as its file system can. Raises OSError."""
    try:
        if sys.platform == "darwin":
            import fcntl

            fcntl.fcntl(handle, fcntl.F_FULLFSYNC)
        else:
            os.fsync(handle)
    except OSError as error:
        if error.errno not in NO_SYNC:
            raise
