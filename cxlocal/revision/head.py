"""Which commit is checked out, told by git's own files: for commands that are called often, as a
question to git takes longer than all else they do.
"""

from __future__ import annotations

import os
from pathlib import Path

from cxlocal.errors import CxError
from cxlocal.patterns import compile_late

_COMMIT = compile_late(r"[0-9a-f]{40}(?:[0-9a-f]{24})?")
READ_BYTES = 4096
PACKED_BYTES = 1 << 20
"""A longer list of packed refs is left to git."""
LINKS_MAX = 5


def commit_of(root: Path) -> str:
    """The commit that is checked out around ``root``; empty where there is no repository."""
    found = checked_out(root)
    if found:
        return found
    from cxlocal.revision.repository import open_repository, resolve

    try:
        return resolve(open_repository(root)).commit
    except CxError:
        return ""


def checked_out(folder: Path) -> str:
    """The commit that HEAD of the repository around ``folder`` stands for; empty where these files do
    not say (no repository, no commit yet, another kind of refs): git may know."""
    for place in (folder, *folder.parents):
        found = place / ".git"
        if found.is_dir():
            return _head_of(found, found)
        if found.is_file():
            git_dir = Path(os.path.join(place, _read(found).removeprefix("gitdir:").strip()))
            common = _read(git_dir / "commondir").strip()
            return _head_of(git_dir, Path(os.path.join(git_dir, common)) if common else git_dir)
    return ""


def _head_of(git_dir: Path, common: Path) -> str:
    text = _read(git_dir / "HEAD").strip()
    for _ in range(LINKS_MAX):
        if _COMMIT.fullmatch(text):
            return text
        name = text.removeprefix("ref: ")
        if name == text or not name.startswith("refs/") or ".." in name:
            return ""
        text = _read(common / name).strip() or _packed(common, name)
    return ""


def _packed(common: Path, name: str) -> str:
    packed = _read(common / "packed-refs", PACKED_BYTES)
    if len(packed) >= PACKED_BYTES:
        return ""
    for line in packed.splitlines():
        commit, _, ref = line.partition(" ")
        if ref == name:
            return commit
    return ""


def _read(path: Path, limit: int = READ_BYTES) -> str:
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read(limit)
    except OSError:
        return ""
