"""Which commits have another one in their history."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from cxlocal.revision.git import ask, decode
from cxlocal.revision.reach import known_objects
from cxlocal.revision.repository import open_repository, resolve


def having(folder: Path, name: str, commits: Collection[str]) -> frozenset[str]:
    """Those of ``commits`` that are the commit ``name``, or have it in their history, as far as the clone
    around ``folder`` knows them. Raises UsageError where it knows no such commit."""
    repository = open_repository(folder)
    wanted = resolve(repository, name).commit
    known = known_objects(repository, commits) if commits else frozenset()
    if not known:
        return known
    lines = [*known, f"^{wanted}"]
    # What lies between: descendants of the one, ancestors of the others.
    between = ask(
        repository.root, "rev-list", "--ancestry-path", "--stdin",
        input="\n".join(lines).encode() + b"\n",
    )  # fmt: skip
    return known & {wanted, *decode(between).split()}
