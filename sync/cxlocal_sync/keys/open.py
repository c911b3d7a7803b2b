"""From the addresses ``folder:`` and ``s3:`` to stores."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import unquote

from cxlocal.address import public_address
from cxlocal.errors import ConfigError
from cxlocal_sync.keys.folder import FolderSpace
from cxlocal_sync.keys.objects import ObjectSpace, parts_of
from cxlocal_sync.keys.space import KeySpace
from cxlocal_sync.keys.store import KeyStore


def folder_store(url: str, home: Path) -> KeyStore:
    """The store in the folder that ``folder:///path`` names. Raises ConfigError."""
    root = folder_of(url)
    return KeyStore(url, home, lambda _seconds: FolderSpace(root))


def object_store(url: str, home: Path) -> KeyStore:
    """The store in the bucket that ``s3://bucket/prefix`` names. Raises ConfigError."""
    parts_of(url)

    def open_space(seconds: float) -> KeySpace:
        return ObjectSpace(url, seconds)

    return KeyStore(url, home, open_space)


def folder_of(url: str) -> Path:
    """The folder of a ``folder:`` address, which must be absolute. Raises ConfigError."""
    path = Path(unquote(url.removeprefix("folder:").removeprefix("//")))
    if not path.is_absolute() or path == Path("/"):
        raise ConfigError(
            f"the store address {public_address(url)!r} names no folder",
            why="it must be absolute: the same place, wherever a command is started",
            hint="write folder:///mnt/team/releases",
            name="bad-store-url",
        )
    return path
