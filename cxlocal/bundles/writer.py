"""Writing a bundle: what of this journal goes into it, and the file, which appears whole or not.

By default it holds what the push part of an exchange would send: the events of this machine that
the store is not known to have, and those it carries for others. Nothing is taken for sent because
it was written; only the store's word, directly or by a receipt, says that it has something.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, TypeVar

from cxlocal.bundles.form import FAMILY, PIECE_BYTES_MAX, BundleWriter
from cxlocal.errors import Trouble, UsageError
from cxlocal.exchange import carried as carrying
from cxlocal.exchange import state as known
from cxlocal.exchange.carried import Question
from cxlocal.exchange.contact import Batch, build, next_batch, prepare, reserve_wish
from cxlocal.exchange.messages import BLOB_BYTES_MAX, PROTOCOL
from cxlocal.exchange.reply import Wish
from cxlocal.files import fresh_file, open_plain, take_name
from cxlocal.journal.blobs import blob_path
from cxlocal.journal.file import Journal
from cxlocal.journal.read import partial_nodes
from cxlocal.journal.whereabouts import file_hint
from cxlocal.numbers import holdings
from cxlocal.text import is_hexadecimal, utc_text
from cxlocal.values import NamedTuple
from cxlocal.version import VERSION

Filled = TypeVar("Filled")

JOURNAL = "journal"
RECEIPT = "receipt"

UNSENT = "unsent"
"""What the store is not known to have."""
OWN = "own"
"""Everything this machine ever recorded: what a passing one leaves behind."""
ALL = "all"
"""Everything in the journal, other machines' histories too."""

_EVERY_CHAIN = """
SELECT DISTINCT l.name, e.branch, 0 FROM event e JOIN node_lookup l ON l.id = e.node
ORDER BY l.id, e.branch
"""
_REPORTS = """
SELECT sha256 FROM report WHERE run = :run AND sha256 IS NOT NULL
UNION SELECT tail_sha256 FROM stage_run WHERE run = :run AND tail_sha256 IS NOT NULL
"""
"""Raw reports of a run, and the last lines of its stages that failed."""


class Packed(NamedTuple):
    """What a bundle holds."""

    path: str
    events: int
    machines: int
    """Machines whose events these are."""
    reports: int
    """Raw reports."""
    asks: tuple[str, ...]
    """Lines of which a reserve is asked for, such as ``webshop 2.7``."""
    bytes: int
    left_out: int = 0
    """Machines whose histories are here in part only and are therefore not in it."""


def pack(
    journal: Journal,
    path: Path,
    *,
    scope: str = UNSENT,
    reports: bool = False,
    ask: bool = True,
    first_wishes: Sequence[Wish] = (),
) -> Packed:
    """Write a bundle. ``ask``: let it ask the store for history and reserves too.

    ``first_wishes`` are reserves of lines on which this machine has none to refresh. Raises
    UsageError where ``path`` is another kind of file, Trouble where it cannot be written.
    """
    question = _ask(journal, first_wishes) if ask else None
    chains = list(_chains(journal, scope))

    def fill(writer: BundleWriter) -> tuple[int, int]:
        writer.message(_header(journal, JOURNAL))
        runs: dict[str, None] = {}
        events = sum(_write_chain(journal, writer, chain, runs) for chain in chains)
        if question is not None:
            told = {"id": question.id, "node": question.node, "request": question.request}
            writer.message({"protocol": PROTOCOL, "ask": told})
        return events, _write_reports(journal, writer, runs) if reports else 0

    (events, blobs), size = write_file(path, fill)
    if question is not None:
        now = utc_text(journal.clock.now_ms())
        with journal.write() as transaction:
            hint = file_hint(journal.path)
            carrying.note_asked(transaction.connection, question, hint, now)
    wishes = question.request["grant"] if question is not None else []
    asks = tuple(f"{wish['deliverable']} {wish['line']}" for wish in wishes)
    left_out = len(partial_nodes(journal)) if scope == ALL else 0
    machines = len({node for node, _, _ in chains})
    return Packed(str(path), events, machines, blobs, asks, size, left_out)


def _chains(journal: Journal, scope: str) -> Iterable[tuple[str, int, int]]:
    """(node, branch, after which sequence) of what goes in."""
    connection = journal.connection
    if scope == ALL:
        # A chain held in part is nothing that somebody else could continue.
        partial = frozenset(partial_nodes(journal))
        return [row for row in connection.execute(_EVERY_CHAIN) if row[0] not in partial]
    if scope == OWN:
        # A machine that went on under a new id has two histories, and a CI job takes both along.
        return [(node, 0, 0) for node in known.own_nodes(connection)]
    lineage = known.store_state(connection).lineage
    own = [(tail.node, 0, tail.acked) for tail in known.unsent(connection)]
    carried = carrying.waiting(connection, lineage)
    return own + [(chain.node, chain.branch, chain.acked) for chain in carried]


def _header(journal: Journal, kind: str) -> dict[str, Any]:
    state = known.store_state(journal.connection)
    return {
        "protocol": PROTOCOL,
        "bundle": {
            "kind": kind,
            "node": journal.node,
            "lineage": state.lineage,
            "generation": state.generation,
            "written_at": utc_text(journal.clock.now_ms()),
            "cxlocal": VERSION,
        },
    }


def write_header(journal: Journal, writer: BundleWriter, kind: str) -> None:
    """Write the first message, which says whose bundle this is and to which store it belongs."""
    writer.message(_header(journal, kind))


def _write_chain(
    journal: Journal, writer: BundleWriter, chain: tuple[str, int, int], runs: dict[str, None]
) -> int:
    node, branch, after = chain
    written = 0
    while batch := next_batch(journal, node, after, branch):
        writer.message({"protocol": PROTOCOL, "push": [{"events": batch}]})
        runs.update(dict.fromkeys(event["run"] for event in batch if event["run"]))
        after = batch[-1]["sequence"]
        written += len(batch)
    return written


def _write_reports(journal: Journal, writer: BundleWriter, runs: Iterable[str]) -> int:
    """Raw reports of ``runs`` that are here, each once."""
    digests = {row["sha256"]: None for run in runs for row in journal.query(_REPORTS, {"run": run})}
    written = 0
    for digest in digests:
        if not is_hexadecimal(digest or "", 64):
            continue
        path = blob_path(journal.home, digest)
        if not path.is_file() or path.stat().st_size > BLOB_BYTES_MAX:
            continue
        size = path.stat().st_size
        pieces = -(-size // PIECE_BYTES_MAX)
        told = {"sha256": digest, "size": size, "pieces": pieces}
        writer.message({"protocol": PROTOCOL, "blob": told})
        with open(path, "rb") as file:
            for _ in range(pieces):
                writer.piece(file.read(PIECE_BYTES_MAX))
        written += 1
    return written


def _ask(journal: Journal, first_wishes: Sequence[Wish]) -> Question:
    """A contact that somebody else brings to the store: our token, and what we wish for."""
    row = prepare(journal)
    lines = {(wish.deliverable, wish.line) for wish in first_wishes}
    wishes = list(first_wishes)
    wishes += [
        reserve_wish(journal, *wish)
        for wish in holdings.wishes(journal.connection)
        if wish[:2] not in lines
    ]
    request = build(journal, row, wishes, Batch([]))
    return Question(journal.ids.token(), row.node, request)


def write_file(path: Path, fill: Callable[[BundleWriter], Filled]) -> tuple[Filled, int]:
    """Write a bundle under another name and give it its own once it is whole and on the disk.

    Returns what ``fill`` returned, and the size in bytes. Raises UsageError and Trouble.
    """
    _check_place(path)
    try:
        with fresh_file(path.parent) as file:
            writer = BundleWriter(file, str(path))
            filled = fill(writer)
            writer.close()
            take_name(file, path)
            size = os.fstat(file.fileno()).st_size
    except OSError as problem:
        raise Trouble(
            f"{path} cannot be written",
            why=problem.strerror or str(problem),
            hint="name a file in a folder you can write to, with room for it",
            name="bundle-not-written",
        ) from problem
    return filled, size


def _check_place(path: Path) -> None:
    """Only a bundle is written over: a slip of the tongue must not cost anybody a file."""
    try:
        with open_plain(path) as file:
            there = file.read(len(FAMILY))
    except FileNotFoundError:
        return
    except OSError as problem:
        raise Trouble(
            f"{path} cannot be written",
            why=problem.strerror or str(problem),
            hint="name another file",
            name="bundle-not-written",
        ) from problem
    if there != FAMILY:
        raise UsageError(
            f"{path} is there already, and is no bundle",
            why="only a bundle is written over",
            hint="name another file",
            name="file-exists",
        )
