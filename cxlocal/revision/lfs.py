"""Files kept by Git LFS, brought in from the objects this machine has.

A commit holds a small text in place of such a file: its digest and size. The file itself lies in
``lfs/objects`` of the repository once git-lfs has fetched it. It is copied from there and checked
against its digest; neither git-lfs nor the network is needed.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterable
from pathlib import Path

from cxlocal.errors import Trouble
from cxlocal.patterns import compile_late
from cxlocal.revision.git import World, ask, decode, git
from cxlocal.revision.repository import Repository

POINTER_BYTES_MAX = 1024
"""The specification of LFS: a pointer is smaller than this."""

_POINTER = compile_late(
    rb"version https://(?:git-lfs\.github\.com/spec/v1|hawser\.github\.com/spec/v1)\n"
    rb"(?:ext-[^\n]*\n)*oid sha256:([0-9a-f]{64})\nsize (\d+)\n"
)
_COPY_BYTES = 1024 * 1024


def bring_in(source: Repository, target: Path, names: Iterable[str]) -> int:
    """Put the files that LFS keeps, of those called ``names``, into the checkout ``target``; how
    many there were.

    Raises Trouble ``lfs-missing`` when one is not on this machine, ``lfs-damaged`` when its bytes
    are not those the commit names.
    """
    pointers = [(name, pointer) for name in names if (pointer := pointer_in(target / name))]
    if not pointers:
        return 0
    store = _store(source)
    for name, digest in pointers:
        _copy(store / digest[:2] / digest[2:4] / digest, target / name, name, digest)
    # Without git-lfs the filled-in files would look changed to tools that ask `git describe`.
    listed = b"".join(os.fsencode(name) + b"\0" for name, _ in pointers)
    ask(
        target, "update-index", "--assume-unchanged", "-z", "--stdin",
        input=listed, world=World.ALONE,
    )  # fmt: skip
    return len(pointers)


def pointer_in(path: Path) -> str:
    """The digest named by an LFS pointer, or nothing when the file is none."""
    try:
        about = path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return ""
    if not stat.S_ISREG(about.st_mode) or about.st_size >= POINTER_BYTES_MAX:
        return ""
    match = _POINTER.fullmatch(path.read_bytes())
    return match[1].decode("ascii") if match else ""


def _store(source: Repository) -> Path:
    """Where LFS objects lie: ``lfs.storage``, by default ``lfs`` in the git folder."""
    configured = os.fsdecode(git(source.root, "config", "--path", "lfs.storage").stdout).strip("\n")
    return source.common_dir / (configured or "lfs") / "objects"


def _copy(found: Path, place: Path, name: str, digest: str) -> None:
    shown = decode(os.fsencode(name))
    try:
        origin = found.open("rb")
    except (FileNotFoundError, NotADirectoryError) as error:
        raise Trouble(
            f"the file {shown} is kept by Git LFS and is not on this machine",
            why="a checkout is made without network",
            hint="git lfs fetch --all",
            name="lfs-missing",
            file=shown,
            sha256=digest,
        ) from error
    check = hashlib.sha256()
    # Written in place: the file was just made by git, and keeps its mode.
    with origin, place.open("wb") as copy:
        while chunk := origin.read(_COPY_BYTES):
            check.update(chunk)
            copy.write(chunk)
    if check.hexdigest() != digest:
        raise Trouble(
            f"the copy of {shown} in Git LFS's folder is damaged",
            why=f"its digest is {check.hexdigest()[:12]}…, the commit says {digest[:12]}…",
            hint="git lfs fsck, then git lfs fetch --all",
            name="lfs-damaged",
            file=shown,
        )
