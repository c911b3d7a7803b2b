"""Bytes by digest, beside the exchange of events: only what the other side lacks.

A blob is named by its SHA-256, so nobody has to be trusted with it. What is cut off is sent or
fetched again as a whole.
"""

from __future__ import annotations

from collections.abc import Sequence

from cxlocal.errors import CxError
from cxlocal.exchange.messages import BLOB_BYTES_MAX
from cxlocal.exchange.redaction import is_redacted
from cxlocal.exchange.state import store_state
from cxlocal.exchange.store import Store, StoreUnreachable
from cxlocal.journal.blobs import blob_path, keep_chunks
from cxlocal.journal.file import Journal
from cxlocal.values import NamedTuple, Protocol

BLOB_SECONDS = 60.0
"""For one blob: 64 MiB over a line of ten megabits a second."""
LEAST_SECONDS = 0.5
STORED = "stored "
"""Local value of a digest that the store of the lineage it names has."""


class Bytes(Protocol):
    """What is to be here and there."""

    @property
    def sha256(self) -> str:
        """Its digest."""

    @property
    def executable(self) -> bool:
        """Whether it is a program."""


class Carried(NamedTuple):
    """What was moved."""

    sent: int = 0
    fetched: int = 0
    lacking: tuple[str, ...] = ()
    """Digests that neither side has."""
    problems: tuple[str, ...] = ()
    """Why something was not moved."""


def carry(
    journal: Journal, store: Store, wanted: Sequence[Bytes], seconds: float, *, fetch: bool = True
) -> Carried:
    """Send of ``wanted`` what the store lacks, ``fetch`` what is not here, for so many seconds.

    Raises nothing of the store: what went wrong is in the answer.
    """
    carried = Carried()
    wanted = [one for one in wanted if not is_redacted(journal, one.sha256)]
    if not fetch:
        wanted = [one for one in wanted if blob_path(journal.home, one.sha256).is_file()]
    if not wanted:
        return carried
    deadline = journal.clock.monotonic() + seconds
    lineage = store_state(journal.connection).lineage
    try:
        missing = frozenset(
            store.missing_blobs([one.sha256 for one in wanted], timeout=_left(journal, deadline))
        )
        stored = [one.sha256 for one in wanted if one.sha256 not in missing]
        _note_stored(journal, lineage, stored)
        for one in wanted:
            carried = _carry_one(journal, store, one, one.sha256 in missing, deadline, carried)
    except StoreUnreachable as problem:
        why = problem.why or problem.what
        return carried._replace(problems=(*carried.problems, why))
    return carried


def _carry_one(
    journal: Journal, store: Store, one: Bytes, lacks: bool, deadline: float, carried: Carried
) -> Carried:
    path = blob_path(journal.home, one.sha256)
    here = path.is_file()
    if not here and lacks:
        return carried._replace(lacking=(*carried.lacking, one.sha256))
    if here != lacks:
        return carried  # on both sides already
    try:
        if here:
            if path.stat().st_size > BLOB_BYTES_MAX:
                why = f"{one.sha256[:12]}… has more than {BLOB_BYTES_MAX} bytes"
                return carried._replace(problems=(*carried.problems, why))
            store.put_blob(one.sha256, path.read_bytes(), timeout=_left(journal, deadline))
            _note_stored(journal, store_state(journal.connection).lineage, [one.sha256])
            return carried._replace(sent=carried.sent + 1)
        content = store.get_blob(one.sha256, timeout=_left(journal, deadline))
        if content is None:
            return carried._replace(lacking=(*carried.lacking, one.sha256))
        keep_bytes(journal, content, executable=one.executable)
        return carried._replace(fetched=carried.fetched + 1)
    except StoreUnreachable:
        raise
    except CxError as problem:
        why = f"{one.sha256[:12]}…: {problem.why or problem.what}"
        return carried._replace(problems=(*carried.problems, why))


def is_stored(journal: Journal, sha256: str) -> bool:
    """Whether the store had these bytes when it was asked last."""
    return journal.value(STORED + sha256) == store_state(journal.connection).lineage != ""


def _note_stored(journal: Journal, lineage: str, digests: Sequence[str]) -> None:
    new = [one for one in digests if journal.value(STORED + one) != lineage]
    if new and lineage:
        with journal.write() as transaction:
            for one in new:
                transaction.set_value(STORED + one, lineage)


def keep_bytes(
    journal: Journal, content: bytes, *, executable: bool = False, private: bool = False
) -> str:
    """Keep what arrived; returns its digest. ``private``: as ``keep_file``. Raises Trouble where it
    cannot be written."""
    kept = keep_chunks(
        journal.home, [content], "what arrived", executable=executable, private=private
    )
    return kept[0]


def _left(journal: Journal, deadline: float) -> float:
    left = deadline - journal.clock.monotonic()
    if left < LEAST_SECONDS:
        raise StoreUnreachable(
            "the time for files is used up",
            why="the time for files is used up",
            hint="run the command again",
        )
    return min(left, BLOB_SECONDS)
