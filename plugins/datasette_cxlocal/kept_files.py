"""Files by digest, where they lie beside the journal: the last lines of a stage that failed, and what was
made."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from cxlocal.errors import CxError
from cxlocal.journal.blobs import blob_path
from datasette_cxlocal.words import plain

BYTES_MAX = 8192
"""Twice what is kept: a file of that name may be any other."""


def last_lines(journal: str | None, digest: str) -> str | None:
    """The text; None where it is not on this machine (another one ran the stage, or it was pruned)."""
    for path in _places(journal, digest):
        try:
            with path.open("rb") as file:
                content = file.read(BYTES_MAX)
        except OSError:
            continue
        return plain(content.decode("utf-8", "replace"), keep="\n\t")
    return None


def is_here(journal: str | None, digest: str) -> bool:
    """Whether the bytes of a digest lie beside the journal; whole or not is not looked at."""
    return any(path.is_file() for path in _places(journal, digest))


def _places(journal: str | None, digest: str) -> Iterator[Path]:
    # The journals of further stores lie in folders of their own below the home.
    for home in (Path(journal).parent, Path(journal).parent.parent.parent) if journal else ():
        try:
            yield blob_path(home, digest)
        except CxError:
            return
