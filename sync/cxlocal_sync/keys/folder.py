"""Keys as files in a shared folder: a network share, a USB stick, a folder two containers mount.

A file is written whole under a temporary name, synced, and then given its name by ``link``, which
every file system refuses where the name exists, on NFS too. So a key is there as a whole or not at
all, without any lock: locks are what shared folders do worst. File systems without hard links
(those of sticks) get a rename that refuses to write over a file, where the system has one.

The folder itself is never made here: an unmounted share must not be mistaken for an empty one. All
names are looked up from one handle of the folder, so nothing lands in the bare mount point when the
share goes away half-way.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import sys
from collections.abc import Iterator
from pathlib import Path

from cxlocal.clock import Ids, SystemIds
from cxlocal.files import open_plain, rename, sync, sync_folder
from cxlocal_sync.keys.space import (
    CONTENT_BYTES_MAX,
    SpaceError,
    SpaceMissing,
    SpaceUnclear,
    too_long,
)

TEMPORARY = "tmp"

LEFT_SECONDS = 86_400
"""Age, by the clock of the file server alone, from which a temporary file belongs to a process that
was killed."""

_NO_LINKS = {errno.EPERM, errno.EOPNOTSUPP, errno.ENOTSUP, errno.ENOSYS, errno.EMLINK}
_UNCLEAR = {errno.EIO, errno.ETIMEDOUT, errno.ESTALE, errno.EINTR, errno.ENOTCONN}
_CAUSES = {
    errno.ENOSPC: "the disk is full",
    errno.EDQUOT: "the disk quota is used up",
    errno.EROFS: "it can only be read",
    errno.EACCES: "this user may not write or read there",
    errno.ESTALE: "the share was taken away while it was in use",
    errno.ENOTCONN: "the share is not connected",
    errno.EIO: "the disk or share reported an error",
}


class FolderSpace:
    """Keys below ``root``, which must exist."""

    def __init__(self, root: Path, ids: Ids | None = None) -> None:
        self.root = root
        self._ids = ids or SystemIds()
        self._handle = -1
        self._mode = 0
        self._swept = False

    def get(self, key: str) -> bytes | None:
        """The content of a key, or None."""
        try:
            with self._explained(), open_plain(key, folder=self._root()) as file:
                content = file.read(CONTENT_BYTES_MAX + 1)
        except (FileNotFoundError, NotADirectoryError):
            return None
        if len(content) > CONTENT_BYTES_MAX:
            raise SpaceError(too_long(key))
        return content

    def put_new(self, key: str, content: bytes) -> bool:
        """Give a finished file the name ``key``, unless a file has it."""
        with self._explained():
            temporary = self._write(key, content)
            try:
                fresh = self._name(temporary, key)
                if fresh:
                    sync_folder(_above(key), self._root())
            except OSError as error:
                if error.errno in _UNCLEAR:
                    raise SpaceUnclear(_words(error)) from error
                raise
            finally:
                self._forget(temporary)
        return fresh

    def put(self, key: str, content: bytes) -> None:
        """Put a finished file in the place of ``key``."""
        with self._explained():
            temporary = self._write(key, content)
            try:
                rename(temporary, key, folder=self._root())
            finally:
                self._forget(temporary)

    def names(self, folder: str) -> list[str]:
        """What lies right below ``folder``."""
        try:
            with self._explained():
                handle = os.open(
                    folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=self._root()
                )
                try:
                    return os.listdir(handle)
                finally:
                    os.close(handle)
        except (FileNotFoundError, NotADirectoryError):
            return []

    def remove(self, key: str) -> None:
        """Take a key away."""
        with contextlib.suppress(FileNotFoundError), self._explained():
            os.unlink(key, dir_fd=self._root())

    def close(self) -> None:
        """Let go of the folder; the next use looks for it anew."""
        if self._handle >= 0:
            os.close(self._handle)
            self._handle = -1

    def _root(self) -> int:
        if self._handle < 0:
            try:
                self._handle = os.open(self.root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            except (FileNotFoundError, NotADirectoryError) as error:
                raise SpaceMissing(f"there is no folder {self.root}; is it mounted?") from error
            self._mode = os.fstat(self._handle).st_mode
        return self._handle

    @contextlib.contextmanager
    def _explained(self) -> Iterator[None]:
        """Whatever the system reports becomes a SpaceError in words, except *not there*."""
        try:
            yield
        except (FileNotFoundError, NotADirectoryError):
            raise
        except OSError as error:
            raise SpaceError(_words(error)) from error

    def _write(self, key: str, content: bytes) -> str:
        """A synced temporary file with ``content``; the folder of ``key`` exists afterwards."""
        temporary = f"{TEMPORARY}/{self._ids.token()}"
        self._make_folder(TEMPORARY)
        try:
            self._make_folder(_above(key))
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
            handle = os.open(temporary, flags, 0o666, dir_fd=self._root())
            with open(handle, "wb") as file:
                # Whoever may use the folder may use what is in it, whatever our umask says.
                _take_rights(handle, self._mode & 0o666)
                file.write(content)
                file.flush()
                sync(handle)
                self._sweep(os.fstat(handle).st_mtime)
        except BaseException:
            self._forget(temporary)
            raise
        return temporary

    def _make_folder(self, folder: str) -> None:
        """Make ``folder`` and those above it, below the store's own, which is never made."""
        path = ""
        for part in folder.split("/"):
            above, path = path, f"{path}/{part}" if path else part
            try:
                os.mkdir(path, 0o777, dir_fd=self._root())
            except FileExistsError:
                continue
            handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY, dir_fd=self._root())
            try:
                _take_rights(handle, self._mode & 0o7777)
            finally:
                os.close(handle)
            sync_folder(above or ".", self._root())

    def _name(self, temporary: str, key: str) -> bool:
        root = self._root()
        try:
            os.link(temporary, key, src_dir_fd=root, dst_dir_fd=root)
        except FileExistsError:
            return False
        except OSError as error:
            if error.errno not in _NO_LINKS:
                raise
            return _rename_new(root, temporary, key)
        return True

    def _forget(self, temporary: str) -> None:
        with contextlib.suppress(OSError):
            os.unlink(temporary, dir_fd=self._root())

    def _sweep(self, now: float) -> None:
        """Remove temporary files that killed processes left, once for each opened store."""
        if self._swept:
            return
        self._swept = True
        for name in self.names(TEMPORARY):
            with contextlib.suppress(OSError):
                path = f"{TEMPORARY}/{name}"
                if os.stat(path, dir_fd=self._root()).st_mtime < now - LEFT_SECONDS:
                    os.unlink(path, dir_fd=self._root())


def _above(key: str) -> str:
    return key.rpartition("/")[0] or "."


def _take_rights(handle: int, mode: int) -> None:
    with contextlib.suppress(OSError):
        os.fchmod(handle, mode)


def _rename_new(root: int, old: str, new: str) -> bool:
    """Rename unless ``new`` exists. Raises OSError where the system cannot do that."""
    library = ctypes.CDLL(None, use_errno=True)
    name = "renameatx_np" if sys.platform == "darwin" else "renameat2"
    rename = getattr(library, name, None)
    refuse_existing = 4 if sys.platform == "darwin" else 1  # RENAME_EXCL, RENAME_NOREPLACE
    if rename is None:
        code = errno.ENOSYS
    elif rename(root, os.fsencode(old), root, os.fsencode(new), refuse_existing) == 0:
        return True
    else:
        code = ctypes.get_errno()
    if code == errno.EEXIST:
        return False
    if code in (errno.EINVAL, errno.ENOSYS, errno.ENOTSUP, errno.EPERM):
        raise OSError(code, "its file system has neither hard links nor an exclusive rename")
    raise OSError(code, os.strerror(code))


def _words(error: OSError) -> str:
    cause = _CAUSES.get(error.errno or 0)
    said = error.strerror or str(error)
    return f"{cause} ({said})" if cause else said
