"""Stores without a server for the tests: made in a folder, opened by machines of their own."""

from __future__ import annotations

from pathlib import Path

from cxlocal_sync.keys.open import folder_store
from cxlocal_sync.keys.store import KeyStore


def make_folder_store(folder: Path, home: Path, granter: str = "") -> KeyStore:
    """A new store in ``folder``, which is made, as the machine at ``home`` sees it."""
    folder.mkdir(parents=True, exist_ok=True)
    made = folder_store(f"folder://{folder}", home)
    made.create(granter)
    return made
