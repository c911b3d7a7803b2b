"""The last lines of a stage that failed, where they lie beside the journal."""

from __future__ import annotations

from pathlib import Path

from cxlocal.errors import CxError
from cxlocal.journal.blobs import blob_path
from datasette_cxlocal.words import plain

BYTES_MAX = 8192
"""Twice what is kept: a file of that name may be any other."""


def last_lines(journal: str | None, digest: str) -> str | None:
    """The text; None where it is not on this machine (another one ran the stage, or it was pruned)."""
    if not journal:
        return None
    # The journals of further stores lie in folders of their own below the home.
    for home in (Path(journal).parent, Path(journal).parent.parent.parent):
        try:
            with blob_path(home, digest).open("rb") as file:
                content = file.read(BYTES_MAX)
        except (OSError, CxError):
            continue
        return plain(content.decode("utf-8", "replace"), keep="\n\t")
    return None
