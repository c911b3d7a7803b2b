"""Receipts: what the store says to machines that reached it through a bundle, in a file.

A receipt holds how far the store has each history this journal carried, and the store's answers to
what those machines asked: other machines' histories, and a reserve. It is written by whoever carried
the bundle and taken by the machine itself.

A machine believes of a receipt what it can check. An acknowledgement must name an event it has. An
answer must be to a question of its own that still waits: asked by the present node id with the
present contact token, while the journal lay where it lies now. So one answer takes effect once, and
in one copy of the journal. Numbers must be what was asked for, and overlap nothing known.
"""

from __future__ import annotations

from hashlib import sha256
from pathlib import Path
from typing import Any

from cxlocal.bundles.form import BundleWriter, Frame, damaged
from cxlocal.bundles.intake import check_lineage
from cxlocal.bundles.reader import Header, frames_of
from cxlocal.bundles.writer import RECEIPT, write_file, write_header
from cxlocal.errors import CxError, NotSynced
from cxlocal.exchange import carried as carrying
from cxlocal.exchange import state as known
from cxlocal.exchange.answers import Answer, Item, Refusal, read_answer
from cxlocal.exchange.breaker import remember_failure
from cxlocal.exchange.carried import Question
from cxlocal.exchange.contact import ANSWER_SECONDS, ask, reserves_told
from cxlocal.exchange.followed import read_with
from cxlocal.exchange.messages import PROTOCOL, BadMessage, text_of, whole_of
from cxlocal.exchange.reply import Reply, Wish, apply, meet_store
from cxlocal.exchange.store import Store, StoreUnreachable
from cxlocal.exchange.sync import LEAST_SECONDS, project_pulled
from cxlocal.exchange.token import token_in
from cxlocal.journal.file import Journal
from cxlocal.journal.whereabouts import file_hint, same_place
from cxlocal.numbers.log import Entry, entry_hash
from cxlocal.text import utc_text
from cxlocal.values import NamedTuple

PAGES_MAX = 1000
"""Parts of the feed in one answer, a MiB each at most; the next round goes on where it ends."""


class Written(NamedTuple):
    """What a receipt holds."""

    path: str
    machines: int
    """Machines it speaks to."""
    answers: int
    """Machines whose questions the store answered."""
    unanswered: tuple[str, ...]
    """Why the store did not answer the others."""
    bytes: int


class Received(NamedTuple):
    """What a receipt brought."""

    acknowledged: int = 0
    """Events we did not know the store to have."""
    pulled: int = 0
    """Events of other machines that were not here."""
    reserves: tuple[str, ...] = ()
    """Reserves received, such as ``webshop 2.7: 114 to 116``."""
    old: bool = False
    """Nothing of it was new here."""
    unanswered: str = ""
    """Why the store did not answer what we asked."""


def write_receipt(journal: Journal, store: Store, path: Path, budget_seconds: float) -> Written:
    """Ask the store what the machines ask, and write what it says.

    Raises NotSynced where there is nothing to say yet, UsageError and Trouble as ``packing.pack``.
    """
    state = known.store_state(journal.connection)
    deadline = journal.clock.monotonic() + budget_seconds
    chains = carrying.chains(journal.connection, state.lineage)
    acks = [
        {"node": chain.node, "sequence": ack.sequence, "hash": ack.hash}
        for chain in chains
        if (ack := known.ack_of(journal.connection, chain.node, chain.branch)).sequence
    ]
    questions = [
        question
        for question in carrying.questions(journal.connection)
        if question.request["contact"]["lineage"] in ("", state.lineage)
    ]
    if not acks and not questions:
        raise NotSynced(
            "there is nothing to say in a receipt yet",
            why="no bundle of another machine was imported here"
            if not chains
            else "the store has none of what was imported here",
            hint="cxlocal import FILE; cxlocal sync",
            name="no-receipt",
        )
    unanswered: list[str] = []

    def fill(writer: BundleWriter) -> int:
        write_header(journal, writer, RECEIPT)
        writer.message({"protocol": PROTOCOL, "acks": acks})
        told = 0
        for question in questions:
            try:
                why = _write_answer(journal, store, writer, question, deadline)
            except CxError as problem:
                why = problem.why or problem.what
            if why:
                unanswered.append(f"{question.node[:8]}: {why}")
            told += not why
        return told

    answers, size = write_file(path, fill)
    machines = {chain.node for chain in chains} | {question.node for question in questions}
    return Written(str(path), len(machines), answers, tuple(unanswered), size)


def _write_answer(
    journal: Journal, store: Store, writer: BundleWriter, question: Question, deadline: float
) -> str:
    """Speak to the store as the machine that asked, page by page, and write what it answers; why it
    did not, or an empty text.

    Every page is the same contact again, which is harmless: the store has its proposal already.
    """
    request = question.request
    position = request["pull"]["cursor"]["position"]
    for _ in range(PAGES_MAX):
        left = deadline - journal.clock.monotonic()
        if left < LEAST_SECONDS:
            return "the time for all questions was used up; the next receipt goes on"
        try:
            says, answer = ask(store, request, min(left, ANSWER_SECONDS))
        except StoreUnreachable as problem:
            remember_failure(journal, store.url, problem.why or problem.what)
            raise
        told = {"id": question.id, "node": question.node, "after": position, "says": says}
        writer.message({"protocol": PROTOCOL, "answer": told})
        if isinstance(answer, Refusal):
            # Whoever asked hears it too: the store's words are for them.
            return answer.cause
        items = answer.pull.items
        if not answer.pull.more or not items:
            return ""
        position = items[-1].position
        running = _running(request["pull"]["cursor"]["hash"], items)
        cursor = {"position": position, "hash": running}
        request = {**request, "grant": [], "pull": {**request["pull"], "cursor": cursor}}
    return ""


def _running(start: str, items: tuple[Item, ...]) -> str:
    """The running hash of the feed after ``items`` (sync/README.md, 3.1)."""
    value = bytes.fromhex(start)
    for item in items:
        value = sha256(value + bytes.fromhex(item.hash)).digest()
    return value.hex()


def take_receipt(journal: Journal, path: Path, header: Header) -> Received:
    """Let a receipt take effect. Raises Refused for one of another store, Trouble for one that does
    not check."""
    check_lineage(journal, header)
    state = known.store_state(journal.connection)
    if header.generation < state.generation or not header.lineage:
        return Received(old=True)
    received, answering = Received(), ""
    frames = frames_of(path)
    next(frames)
    for frame in frames:
        try:
            if "acks" in frame.message:
                count = _take_acks(journal, header, frame)
                received = received._replace(acknowledged=received.acknowledged + count)
            elif "answer" in frame.message:
                received, answering = _take_answer(journal, header, frame, received, answering)
        except BadMessage as error:
            raise damaged(
                str(path), f"{error.what}: {error.why}" if error.why else error.what
            ) from error
        except StoreUnreachable as error:
            raise damaged(str(path), error.why) from error
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise damaged(str(path), f"what the store said cannot be read: {error!r}") from error
    if received.pulled:
        project_pulled(journal)
    nothing = not (received.acknowledged or received.pulled or received.reserves or answering)
    return received._replace(old=nothing and not received.unanswered)


def _take_acks(journal: Journal, header: Header, frame: Frame) -> int:
    """Note how far the store has what is here. A receipt may be older than what we know: it never
    takes an acknowledgement back, as the store itself may. And a file alone is no word of a recovery:
    what it says of a later generation waits for an answer of the store."""
    count = 0
    with journal.write() as transaction:
        connection = transaction.connection
        before_it = known.store_state(connection)
        if before_it.lineage and header.generation > before_it.generation:
            return 0
        url = before_it.url
        state = meet_store(transaction, header.lineage, header.generation, url)
        now = utc_text(journal.clock.now_ms())
        for item in frame.message["acks"]:
            node = text_of(item["node"])
            ack = known.Ack(whole_of(item["sequence"]), text_of(item["hash"]))
            branch = known.branch_at(connection, node, *ack)
            if branch is None:
                continue
            before = known.ack_of(connection, node, branch).sequence
            if ack.sequence <= before:
                continue
            known.save_ack(connection, node, branch, ack, state.generation)
            if not branch:
                known.save_ack_step(connection, node, ack.sequence, state.generation, now)
            count += ack.sequence - before
    return count


def _take_answer(
    journal: Journal, header: Header, frame: Frame, received: Received, answering: str
) -> tuple[Received, str]:
    """One page of an answer; and the id of the question that is being answered."""
    told = frame.message["answer"]
    identity, says = text_of(told["id"]), told["says"]
    if told["node"] != journal.node:
        return received, answering
    found = carrying.asked(journal.connection, identity)
    if found is None and identity != answering:
        return received, answering
    answer = read_answer(says)
    if isinstance(answer, Refusal):
        return received._replace(unanswered=answer.cause), answering
    if found is not None:
        row = _still_waits(journal, found)
        if row is None:
            return received, answering
        wishes = tuple(_wish(wish) for wish in found[0]["grant"])
        follows = found[0]["pull"].get("deliverables")
    else:
        row, wishes, follows = _row_now(journal), (), read_with(journal)
    with journal.write() as transaction:
        before = known.ack_of(transaction.connection, journal.node)
        _check_answer(journal, header, answer, wishes)
        url = known.store_state(transaction.connection).url
        reply = Reply(answer, row, wishes, url, whole_of(told["after"]), follows)
        applied = apply(transaction, reply)
        carrying.forget_asked(transaction.connection, identity)
        after = known.ack_of(transaction.connection, journal.node)
    return (
        received._replace(
            acknowledged=received.acknowledged + max(0, after.sequence - before.sequence),
            pulled=received.pulled + applied.pulled,
            reserves=received.reserves + reserves_told(wishes, applied),
        ),
        identity,
    )


def _still_waits(journal: Journal, found: tuple[dict[str, Any], str]) -> known.ContactRow | None:
    """Our contact as it was asked with, if it still stands and the journal lies where it lay."""
    request, hint = found
    row = _row_now(journal)
    sent = (token_in(request["contact"]["token"]), token_in(request["contact"]["proposal"]))
    here = same_place(hint, file_hint(journal.path))
    return row if here and (row.token, row.proposal) == sent else None


def _row_now(journal: Journal) -> known.ContactRow:
    row = known.contact_row(journal.connection, journal.node)
    return row or known.fresh_contact(journal.node)


def _wish(item: dict[str, Any]) -> Wish:
    held = item.get("held")
    return Wish(**{**item, "held": tuple(held) if held else None})


def _check_answer(
    journal: Journal, header: Header, answer: Answer, wishes: tuple[Wish, ...]
) -> None:
    """Numbers in a file must be what was asked for and overlap nothing known. Raises BadMessage."""
    if (answer.lineage, answer.generation) != header[2:4]:
        raise BadMessage("it holds an answer of another store")
    by_nonce = {wish.nonce: wish for wish in wishes}
    for nonce, deliverable, line, entry, _ in answer.grant:
        if entry is None:
            continue
        wish = by_nonce.get(nonce)
        sound = (
            wish is not None
            and (entry.node, entry.nonce) == (journal.node, wish.nonce)
            and entry.hi - entry.lo < wish.size
            and entry_hash(header.lineage, deliverable, line, entry) == entry.hash
            and not _overlaps(journal, deliverable, line, entry)
        )
        if not sound:
            raise BadMessage("it holds numbers that cannot be ours")


def _overlaps(journal: Journal, deliverable: str, line: str, entry: Entry) -> bool:
    row = journal.connection.execute(
        "SELECT 1 FROM grant_entry WHERE deliverable = :d AND line = :l AND lo <= :hi"
        " AND hi >= :lo AND kind != 'raise' AND hash != :hash"
        " UNION ALL SELECT 1 FROM spent WHERE deliverable = :d AND line = :l"
        " AND number BETWEEN :lo AND :hi LIMIT 1",
        {"d": deliverable, "l": line, "lo": entry.lo, "hi": entry.hi, "hash": entry.hash},
    ).fetchone()
    return row is not None
