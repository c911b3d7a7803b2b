"""Taking a bundle into a journal: relaying the histories of other machines.

Events are accepted where they continue what is known of their node; what is here already is
skipped, what disagrees is kept beside it as a branch. Each batch is one transaction, so that a cut
costs nothing: importing again goes on where it ended. The journal then brings to the store whatever
the store lacks of it (``relay``).
"""

from __future__ import annotations

from hashlib import sha256
from pathlib import Path

from cxlocal.bundles.form import PIECE, damaged
from cxlocal.bundles.reader import (
    Blob,
    Contents,
    Header,
    blob_of,
    events_of,
    frames_of,
    question_of,
)
from cxlocal.errors import Refused
from cxlocal.events.document import NO_HASH, Event
from cxlocal.exchange import carried as carrying
from cxlocal.exchange import state as known
from cxlocal.exchange.blobs import keep_bytes
from cxlocal.exchange.contact import prepare
from cxlocal.exchange.copies import go_on_as_copy
from cxlocal.exchange.followed import chosen
from cxlocal.exchange.messages import BadMessage
from cxlocal.exchange.receive import refuse_untrue, take_event
from cxlocal.exchange.redaction import is_redacted
from cxlocal.journal.blobs import blob_path
from cxlocal.journal.file import Journal, Transaction
from cxlocal.journal.rebuild import catch_up
from cxlocal.text import utc_text
from cxlocal.values import NamedTuple

_SPOKEN_OF = """
SELECT 1 FROM report WHERE sha256 = :sha256
UNION ALL SELECT 1 FROM stage_run WHERE tail_sha256 = :sha256 LIMIT 1
"""


class TakenBundle(NamedTuple):
    """What an import brought into the journal."""

    new: int = 0
    """Events that were not here."""
    known: int = 0
    """Events that were."""
    branches: int = 0
    """Events that disagree with what was here; both are kept."""
    machines: int = 0
    """Other machines whose events these are."""
    reports: int = 0
    """Raw reports that were not here."""
    asks: int = 0
    """Machines that ask something of the store."""
    restored: bool = False
    """The bundle held events of this very journal that it had lost: it goes on under a new id."""


def take_bundle(journal: Journal, path: Path, contents: Contents) -> TakenBundle:
    """Take in what ``contents`` was a look at.

    Raises Refused where it belongs to another store or leaves something out before its first
    event; nothing was taken then.
    """
    check_lineage(journal, contents.header)
    for event in contents.firsts:
        _check_before(journal, event)
    restored = _notice_restored(journal, contents)
    taken = TakenBundle(machines=len(contents.firsts), restored=restored)
    frames = frames_of(path)
    next(frames)
    for frame in frames:
        events = events_of(frame, path)
        if events:
            taken = _take_batch(journal, path, contents.header, events, taken)
        question = question_of(frame, path)
        if question is not None and question.node != journal.node:
            with journal.write() as transaction:
                at = utc_text(journal.clock.now_ms())
                carrying.keep_question(transaction.connection, question, at)
            taken = taken._replace(asks=taken.asks + 1)
        blob = blob_of(frame, path)
        if blob is not None:
            pieces = [next(frames, None) for _ in range(blob.pieces)]
            parts = [piece.piece for piece in pieces if piece is not None and piece.kind == PIECE]
            kept = _keep_blob(journal, path, blob, parts)
            taken = taken._replace(reports=taken.reports + kept)
    return taken


def check_lineage(journal: Journal, header: Header) -> None:
    """Raises Refused for a bundle of another store: its numbers mean something else here."""
    ours = known.store_state(journal.connection).lineage
    if header.lineage and ours and header.lineage != ours:
        raise Refused(
            "the bundle belongs to another store",
            why=f"its machine speaks to the store {header.lineage[:8]}…, this journal to"
            f" {ours[:8]}…; both hand out the same numbers",
            hint="import it on a machine of that store, or into a journal of its own:"
            " CXLOCAL_HOME=DIR cxlocal import FILE",
            name="wrong-lineage",
        )


def _check_before(journal: Journal, event: Event) -> None:
    """Raises Refused where something is missing before the first event of a node."""
    if event.sequence == 1 and event.previous == NO_HASH:
        return
    here = known.branch_at(journal.connection, event.node, event.sequence - 1, event.previous.hex())
    if here is not None:
        return
    have = journal.one(
        "SELECT max(e.sequence) AS last FROM event e JOIN node_lookup l ON l.id = e.node"
        " WHERE l.name = ?",
        (event.node,),
    )
    last = (have["last"] if have else None) or 0
    raise Refused(
        "the bundle continues something that is not here",
        why=f"it begins with event {event.sequence} of machine {event.node[:8]}, and this journal"
        f" has its events up to {last}; nothing was taken",
        hint="import the bundle before it first, or run 'cxlocal sync'"
        + ("" if chosen(journal) is None else " after 'cxlocal store follow --all'")
        + "; there, 'cxlocal export --bundle FILE --all' writes everything",
        name="bundle-gap",
        node=event.node,
        first=event.sequence,
        last=last,
    )


def _notice_restored(journal: Journal, contents: Contents) -> bool:
    """A bundle with events of our own node that we do not have: this journal is a restored backup,
    or a copy. It goes on under a new id, before it spends what it may have spent already."""
    lost = any(
        known.branch_at(journal.connection, event.node, event.sequence, event.hash.hex()) is None
        for event in contents.own_lasts
    )
    return lost and go_on_as_copy(journal, prepare(journal))


def _take_batch(
    journal: Journal, path: Path, header: Header, events: list[Event], taken: TakenBundle
) -> TakenBundle:
    new, branch = 0, 0
    try:
        with journal.write() as transaction:
            for event in events:
                _check_deliverable(transaction, event)
                refuse_untrue(event)
                new += take_event(transaction, event, None)
            last = events[-1]
            branch = (
                known.branch_at(transaction.connection, last.node, last.sequence, last.hash.hex())
                or 0
            )
            if branch or not known.is_ours(transaction.connection, last.node):
                at = utc_text(journal.clock.now_ms())
                carrying.note_relayed(transaction.connection, last.node, branch, header.lineage, at)
    except BadMessage as error:
        raise damaged(
            str(path),
            f"{error.what}: {error.why}" if error.why else error.what,
            f"the {taken.new} new events before it were taken, they are sound",
        ) from error
    return taken._replace(
        new=taken.new + new,
        known=taken.known + len(events) - new,
        branches=taken.branches + (new if branch else 0),
    )


def _check_deliverable(transaction: Transaction, event: Event) -> None:
    """The store checks the chain within the deliverable too: what it would refuse must not wait
    here to be sent. Raises BadMessage."""
    if not known.continues_deliverable(transaction.connection, event):
        raise BadMessage(
            f"event {event.sequence} does not continue its chain",
            why="its place within the deliverable is wrong",
        )


def _keep_blob(journal: Journal, path: Path, blob: Blob, pieces: list[bytes]) -> int:
    """Keep a raw report, or last lines, that an event here speaks of; 1 where it was not here."""
    content = b"".join(pieces)
    if len(content) != blob.size or sha256(content).hexdigest() != blob.sha256:
        raise damaged(str(path), "a report in it has other bytes than its name says")
    catch_up(journal)
    wanted = journal.one(_SPOKEN_OF, {"sha256": blob.sha256})
    if wanted is None or blob_path(journal.home, blob.sha256).exists():
        return 0
    if is_redacted(journal, blob.sha256):
        return 0
    keep_bytes(journal, content, private=True)
    return 1
