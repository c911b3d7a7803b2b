"""Where the log of a stage lies on this machine: where it was written, or by its digest."""

from __future__ import annotations

from pathlib import Path

from cxlocal.journal.blobs import blob_path
from cxlocal.text import is_hexadecimal

FOLDER = "logs"
"""Below the home."""


def log_here(home: Path, told: object, sha256: object = "") -> Path | None:
    """The log that an event tells of; None where it is not here. Whoever wrote the event, nothing
    outside of the folder of logs is meant by it."""
    root = (home / FOLDER).resolve()
    path = (home / str(told or "")).resolve()
    if path.is_relative_to(root) and path.is_file():
        return path
    return blob_here(home, sha256)


def blob_here(home: Path, sha256: object) -> Path | None:
    """The bytes of a digest, if they are here."""
    if not isinstance(sha256, str) or not is_hexadecimal(sha256, 64):
        return None
    path = blob_path(home, sha256)
    return path if path.is_file() else None
