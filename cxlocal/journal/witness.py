"""What a file was last seen to hold, kept outside of it: tells when it is put back to an earlier state.

A backup that is copied over a file keeps the file's inode, so that nothing about where it lies has
changed. The last place in its log and the hash there, kept elsewhere, tell: what once was there must
still be there. Of a journal it is the head of its own chain, in the platform's folder for state,
durable before a number is printed. A whole machine that is put back takes its witness along.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from cxlocal.files import fresh_file, rename, sync
from cxlocal.private import make_folder
from cxlocal.text import is_hexadecimal
from cxlocal.values import NamedTuple

if TYPE_CHECKING:
    from cxlocal.journal.file import Journal

FOLDER = "witness"
_HASH_AT = (
    "SELECT e.hash FROM event e JOIN node_lookup l ON l.id = e.node"
    " WHERE l.name = ? AND e.sequence = ? AND e.branch = 0"
)
_HEAD = (
    "SELECT e.sequence, e.hash FROM event e JOIN node_lookup l ON l.id = e.node"
    " WHERE l.name = ? AND e.branch = 0 ORDER BY e.sequence DESC LIMIT 1"
)


class Seen(NamedTuple):
    """A place in a log, from 1, and the hash that stood there (64 hexadecimal digits)."""

    place: int
    hash: str


def witness_folder(environ: Mapping[str, str], home: Path) -> Path:
    """Where witnesses are kept: outside ``home``, unless the platform has no other place."""
    chosen, user = environ.get("XDG_STATE_HOME", "").strip(), environ.get("HOME", "")
    if chosen and sys.platform != "darwin":
        return Path(chosen) / "cxlocal" / FOLDER
    if not user:
        return home / FOLDER
    if sys.platform == "darwin":
        return Path(user) / "Library" / "Application Support" / "cxlocal" / FOLDER
    return Path(user) / ".local" / "state" / "cxlocal" / FOLDER


def read_seen(path: Path) -> Seen | None:
    """What the witness at ``path`` says; None where there is none that can be read."""
    try:
        place, value = path.read_text(encoding="ascii").split()
        seen = Seen(int(place), value)
    except (OSError, ValueError):
        return None
    return seen if seen.place > 0 and is_hexadecimal(value, 64) else None


def write_seen(path: Path, seen: Seen, *, durable: bool) -> bool:
    """Replace the witness at ``path``, whole or not at all. False where nothing can be kept there: a
    number does not wait for that."""
    try:
        make_folder(path.parent)
        with fresh_file(path.parent) as file:
            file.write(f"{seen.place} {seen.hash}\n".encode())
            file.flush()
            if durable:
                sync(file.fileno())
            # Its name is not forced to the disk: the one before it tells a little less, no lie.
            rename(file.name, path, durable=False)
    except OSError:
        return False
    return True


def has_witness(journal: Journal) -> bool:
    """Whether something outside the journal tells if it was put back to an earlier state."""
    return journal.witness is None or read_seen(journal.witness / journal.node) is not None


def was_put_back(journal: Journal) -> bool:
    """Whether the journal lacks an event of its own that it once held."""
    node = journal.node
    seen = None if journal.witness is None else read_seen(journal.witness / node)
    if seen is None:
        return False
    row = journal.connection.execute(_HASH_AT, (node, seen.place)).fetchone()
    return row is None or row[0].hex() != seen.hash


def note_head(journal: Journal, *, settled: bool = False) -> None:
    """Let the witness see the journal as it is now; call when it is durable.

    What a journal that was put back no longer holds is evidence: it stays, until ``settled`` says
    that nothing depends on it any more.
    """
    node = journal.node
    if journal.witness is None or journal.passing or not node:
        return
    if not settled and was_put_back(journal):
        return
    row = journal.connection.execute(_HEAD, (node,)).fetchone()
    if row is not None:
        path, seen = journal.witness / node, Seen(row[0], row[1].hex())
        if read_seen(path) != seen:
            write_seen(path, seen, durable=True)
