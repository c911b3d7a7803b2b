"""One round trip with a store: what we send, and what its answer changes here.

``talk`` sends and returns the answer; nothing of it has taken effect here yet. ``apply`` does that
inside a write transaction of the caller, so that for example a granted number and the event that
uses it become durable in one commit.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple

from cxlocal.errors import CxError, NotSignedIn, Refused
from cxlocal.exchange import carried as carrying
from cxlocal.exchange import followed as following
from cxlocal.exchange import standing
from cxlocal.exchange import state as known
from cxlocal.exchange.answers import Answer, Refusal, Stop, read_answer
from cxlocal.exchange.copies import ensure_node, go_on_as_copy
from cxlocal.exchange.messages import (
    BATCH_BYTES_MAX,
    BATCH_EVENTS_MAX,
    PROTOCOL,
    PULL_MAX,
    SPAN_MAX,
    STORE_MOVED,
    BadMessage,
    decode,
    encode,
    event_out,
)  # fmt: skip
from cxlocal.exchange.receive import Taken, take_items
from cxlocal.exchange.rewritten import notice
from cxlocal.exchange.store import StoreUnreachable
from cxlocal.exchange.token import token_out
from cxlocal.journal.read import node_events
from cxlocal.journal.whereabouts import file_hint, same_place
from cxlocal.journal.witness import note_head, was_put_back
from cxlocal.numbers import holdings
from cxlocal.numbers.log import RESERVE, Entry, entry_hash
from cxlocal.text import utc_text

if TYPE_CHECKING:
    from cxlocal.exchange.store import Store
    from cxlocal.journal.file import Journal, Transaction

ANSWER_SECONDS = 2.0
"""How long one answer is waited for (connecting takes 2 s at most)."""

TURNS_MAX = 6
"""Times one contact is begun anew because another process of the journal was faster, or because
the journal went on under a new id. Each turn needs another contact in between."""


class Wish(NamedTuple):
    """Numbers asked for in a contact."""

    kind: str
    """``online`` or ``reserve``."""
    deliverable: str
    line: str
    nonce: str
    """Drawn by the asking process and held in its memory only."""
    run: str = ""
    above: int = -1
    first: int = 0
    tagged: int = -1
    size: int = 1
    ahead: int = 1
    held: tuple[int, int] | None = None


class Reply(NamedTuple):
    """An answer, and what it answers."""

    answer: Answer
    sent: known.ContactRow
    wishes: tuple[Wish, ...]
    url: str
    position: int
    """The cursor that was sent."""
    follows: list[str] | None = None
    """The deliverables whose history was asked for; None for every one."""
    followed: standing.LeftOut | None = None
    """What was left out before, and was sent now."""


class Batch(NamedTuple):
    """Events of one chain, as they travel."""

    events: list[dict[str, Any]]
    in_part: bool = False
    """Some that may not be pushed are left out before them or between them."""
    followed: standing.LeftOut | None = None

    def as_part(self) -> list[dict[str, Any]]:
        """The part ``push`` of a message."""
        if not self.events:
            return []
        return [{"events": self.events, **({"in_part": True} if self.in_part else {})}]


class Applied(NamedTuple):
    """What an answer changed here."""

    pulled: int = 0
    pushed: int = 0
    more: bool = False
    """There is more to pull."""
    lacking: bool = False
    """Whole items are to be asked for (``receive.Taken``)."""
    granted: Mapping[str, Entry] = MappingProxyType({})
    """By nonce."""
    refused: Mapping[str, Refusal] = MappingProxyType({})
    stopped: tuple[Stop, ...] = ()
    """Why the store hands out no numbers."""
    rewritten: tuple[str, ...] = ()
    """What is another one than was acknowledged, in sentences."""


def reserves_told(wishes: Sequence[Wish], applied: Applied) -> tuple[str, ...]:
    """The reserves an answer brought, such as ``webshop 2.7: 114 to 116``."""
    return tuple(
        f"{wish.deliverable} {wish.line}: {entry.lo} to {entry.hi}"
        for wish in wishes
        if (entry := applied.granted.get(wish.nonce)) is not None
    )


def talk(
    journal: Journal,
    store: Store,
    *,
    wishes: Sequence[Wish] = (),
    push: bool = True,
    batch: Sequence[dict[str, Any]] = (),
    timeout: float = ANSWER_SECONDS,
    parts: Mapping[str, Any] = MappingProxyType({}),
    whole: bool = False,
) -> Reply:
    """Carry out one contact. Raises StoreUnreachable, Refused, NotSignedIn.

    ``parts`` are further parts of the message. ``batch`` holds events to bring instead of our own: what another machine gave us to carry. A
    journal that the store takes for a copy goes on under a new node id and tries again.
    """
    refuse_elsewhere(journal, store)
    if "recover" not in parts:
        _check_memory(journal, store, timeout)
    for _ in range(TURNS_MAX):
        row = prepare(journal)
        sent = Batch(list(batch)) if batch else _batch(journal) if push else Batch([])
        message = build(journal, row, wishes, sent)
        message.update(parts)
        if whole:
            message["pull"]["whole"] = True
        answer = ask(store, message, timeout)[1]
        if isinstance(answer, Answer):
            position = message["pull"]["cursor"]["position"]
            follows = message["pull"].get("deliverables")
            return Reply(
                answer, row, tuple(wishes), store.url, position, follows, sent.followed
            )  # fmt: skip
        if answer.name == "copy":
            go_on_as_copy(journal, row)
        elif batch or not _is_news(journal, answer):
            raise as_error(answer)
    raise StoreUnreachable(
        "the store cannot be used just now",
        why=f"{TURNS_MAX} contacts in a row were overtaken by other processes of this machine",
        hint="run the command again",
        url=store.url,
    )


def _check_memory(journal: Journal, store: Store, timeout: float) -> None:
    """Raises Refused where a journal that does not remember its store meets one without a history:
    what is in use would be handed out again."""
    forgot = journal.value(known.LOST_MEMORY) and not known.store_state(journal.connection).lineage
    if not forgot:
        return
    message = build(journal, prepare(journal), (), Batch([]))
    answer = ask(store, message, timeout)[1]
    if isinstance(answer, Answer) and not (answer.pull.items or answer.pull.void):
        raise Refused(
            "the store is empty, and this journal lost its memory",
            why="it was recovered from a file in which nothing could be read; numbers that are in use"
            " would be handed out again",
            hint="bring the store back, or set [store] url to where it is now; if it is gone for good,"
            " set [version] from above every number in use, then run 'cxlocal store recover'",
            name="empty-store",
        )


def told_in(refusal: Refusal) -> standing.Standing | None:
    """What a refusal says of our rights; None where it says nothing that can be read."""
    try:
        return standing.read_standing(refusal.data.get("rights"))
    except ValueError:
        return None


def _is_news(journal: Journal, refusal: Refusal) -> bool:
    """Whether a refusal says that we may do less than we knew: the message is then made anew."""
    told = told_in(refusal)
    if told is None:
        return False
    with journal.write() as transaction:
        return standing.note_standing(transaction, told)


def refuse_elsewhere(journal: Journal, store: Store) -> None:
    """A journal's history is shown to the store it belongs to, at the address where that was met, and
    its numbers mean nothing at another. Raises Refused."""
    state = known.store_state(journal.connection)
    if state.lineage and state.url and state.url != store.url:
        raise Refused(
            f"the journal here belongs to the store at {state.url}, not to one at {store.url}",
            why="it holds the history and the numbers of that store, and is shown to no other",
            hint=f"is it the same store, moved: cxlocal store moved {store.url}; to move this machine"
            f" over: cxlocal store adopt {store.url}; to use both: a home for each (CXLOCAL_HOME)",
            name="wrong-lineage",
            known=state.url,
        )


def bind_address(journal: Journal, url: str) -> str:
    """Let the journal's store be the one at ``url``; where it was before."""
    with journal.write() as transaction:
        state = known.store_state(transaction.connection)
        known.save_store_state(transaction.connection, state._replace(url=url))
    return state.url


def prepare(journal: Journal) -> known.ContactRow:
    """Our token with a proposal that is durable before it is sent."""
    with journal.write() as transaction:
        row = ensure_node(transaction)
        following.settle(transaction)
        proposing = known.proposing_contact(row, journal.ids)
        if proposing != row:
            known.save_contact(transaction.connection, proposing)
    return proposing


def ask(
    store: Store, message: dict[str, Any], timeout: float
) -> tuple[dict[str, Any], Answer | Refusal]:
    """The answer to one message, as it came and as it was read. Raises StoreUnreachable."""
    raw = store.exchange(encode(message), timeout=timeout)
    try:
        message_back = decode(raw)
        return message_back, read_answer(message_back)
    except BadMessage as error:
        raise _unreadable(store.url, error) from error


def _unreadable(url: str, error: CxError) -> StoreUnreachable:
    return StoreUnreachable(
        "the store's answer cannot be used",
        why=f"{error.what}: {error.why}" if error.why else error.what,
        hint="see 'cxlocal doctor'; releases go on from the reserve",
        url=url,
    )


def build(
    journal: Journal,
    row: known.ContactRow,
    wishes: Sequence[Wish],
    batch: Batch,
) -> dict[str, Any]:
    """The request."""
    connection = journal.connection
    state = known.store_state(connection)
    lines = {(wish.deliverable, wish.line) for wish in wishes}
    heads = [[*line, *holdings.log_head(connection, *line)] for line in sorted(lines)]
    message: dict[str, Any] = {
        "protocol": PROTOCOL,
        "contact": {
            "lineage": state.lineage,
            "generation": state.generation,
            "node": row.node,
            "token": token_out(row.token),
            "proposal": token_out(row.proposal),
            "hint": file_hint(journal.path),
            "cursor": {"position": state.position, "hash": state.hash},
            "heads": heads,
        },
        "push": batch.as_part(),
        "grant": [wish._asdict() for wish in wishes],
        "pull": {
            "cursor": {"position": state.position, "hash": state.hash}, "limit": PULL_MAX
        },
    }  # fmt: skip
    if journal.value(known.LOST_MEMORY):
        message["contact"]["founds"] = False
    follows = following.read_with(journal)
    if follows is not None:
        message["pull"]["deliverables"] = follows
    return message


def _batch(journal: Journal) -> Batch:
    """What is to be sent next of our own: what was left out before and may go now, then the tails."""
    connection = journal.connection
    late = standing.to_follow(connection)
    if late is not None:
        events = next_batch(journal, late.node, late.first - 1, only=late.deliverable)
        last = known.ack_of(connection, late.node).sequence
        return Batch([each for each in events if each["sequence"] <= last], True, late)
    tails = known.unsent(connection)
    if not tails:
        return Batch([])
    node, acked = tails[0].node, tails[0].acked
    told = standing.standing_of(connection)
    push = None if told is None else told.rights.push
    events = next_batch(journal, node, acked, push=push)
    in_part = events[-1]["sequence"] - acked > len(events)
    if in_part:
        # Before it is sent: the store may have taken it although its answer never comes.
        with journal.write() as transaction:
            standing.note_left_out(transaction, told, node, acked, events[-1]["sequence"])
    return Batch(events, in_part)


def next_batch(
    journal: Journal, node: str, after: int, branch: int = 0, *,
    push: Collection[str] | None = None, only: str | None = None,
) -> list[dict[str, Any]]:  # fmt: skip
    """The events of a chain that follow sequence ``after``, as they travel: one batch at most.

    ``push``: without events of other deliverables than these. ``only``: those of this one alone.
    """
    batch: list[dict[str, Any]] = []
    size = 0
    wanted = (push, True) if only is None else ((only,), False)
    for event in node_events(journal, node, after + 1, BATCH_EVENTS_MAX, branch, *wanted):
        size += len(event.document)
        if batch and (size > BATCH_BYTES_MAX or event.sequence - batch[0]["sequence"] >= SPAN_MAX):
            break
        batch.append(event_out(event))
    return batch


def apply(transaction: Transaction, reply: Reply) -> Applied:
    """Let an answer take effect here. Raises StoreUnreachable where it does not check; the
    transaction must then be left by that exception."""
    try:
        return _apply(transaction, reply)
    except BadMessage as error:
        raise _unreadable(reply.url, error) from error


def _apply(transaction: Transaction, reply: Reply) -> Applied:
    journal, connection, answer = transaction.journal, transaction.connection, reply.answer
    state = meet_store(transaction, answer.lineage, answer.generation, reply.url)
    row = known.contact_row(connection, reply.sent.node)
    # A store that was copied along with the journal cannot vouch for it: the other pair may be
    # spending the same reserve.
    copied = any(stop.cause == STORE_MOVED for stop in answer.stopped)
    if row is not None:
        known.save_contact(
            connection,
            known.accepted_contact(
                row, reply.sent, row.hint if copied else file_hint(journal.path)
            ),
        )
    if not copied:
        if row is not None and not same_place(row.hint, file_hint(journal.path)):
            why = "the journal lies elsewhere; what it was copied from may hold the same numbers"
            holdings.give_up_reserves(transaction, why)
        elif was_put_back(journal):
            why = "the journal was put back to an earlier state; what it lost may have used them"
            holdings.give_up_reserves(transaction, why)
        holdings.lock_reserves(connection, False)
        transaction.afterwards.append(lambda: note_head(journal, settled=True))
    # Whatever was tried before: the store this journal belongs to answers.
    connection.execute("DELETE FROM breaker")
    standing.note_standing(transaction, answer.standing)
    words = notice(transaction, answer.ack)
    state = known.store_state(connection)
    pushed = _note_acks(transaction, reply, state.generation)
    granted, refused = _note_grants(transaction, reply, state)
    taken, more = _take_pulled(transaction, reply, state)
    more, lacking = more or bool(words), taken.lacking or bool(words)
    return Applied(taken.new, pushed, more, lacking, granted, refused, answer.stopped, words)


def _take_pulled(
    transaction: Transaction, reply: Reply, state: known.StoreState
) -> tuple[Taken, bool]:
    """Store what was pulled; what came of it, and whether there is more to pull."""
    part = reply.answer.pull
    if part.void:
        taken = Taken(state._replace(position=0, hash=known.NO_CURSOR_HASH), 0, False)
    elif reply.position > state.position or reply.follows != following.read_with(
        transaction.journal
    ):
        # Our cursor went back meanwhile, or more is wanted: what came does not follow it.
        return Taken(state, 0, False), True
    else:
        items = [item for item in part.items if item.position > state.position]
        taken = take_items(transaction, items, state)
    if taken.state != state:
        known.save_store_state(transaction.connection, taken.state)
    if not (part.more or part.void or taken.lacking):
        following.is_level(transaction)
    return taken, part.more or part.void or taken.lacking


def meet_store(
    transaction: Transaction, lineage: str, generation: int, url: str
) -> known.StoreState:
    """Take note of the store's lineage and generation. A new generation voids what an older one
    granted for new spending, and what it had acknowledged. Raises BadMessage for another store."""
    connection = transaction.connection
    state = known.store_state(connection)
    if state.lineage not in ("", lineage):
        raise BadMessage("another store answered", why=f"{lineage[:8]}…")
    if generation > state.generation > 0:
        # Its logs and its feed may continue differently from where we had them: begin anew.
        connection.execute("DELETE FROM ack")
        holdings.settle_open(transaction)
        connection.execute("DELETE FROM grant_entry")
        state = state._replace(position=0, hash=known.NO_CURSOR_HASH)
        why = "the store was recovered; numbers it granted before may be in use elsewhere"
        holdings.give_up_reserves(transaction, why, generation)
        carrying.offer_all(connection, lineage)
    met = state._replace(url=url, lineage=lineage, generation=max(state.generation, generation))
    if met != state:
        known.save_store_state(connection, met)
        connection.execute("DELETE FROM local_value WHERE name = ?", (known.LOST_MEMORY,))
    return met


def _note_acks(transaction: Transaction, reply: Reply, generation: int) -> int:
    """Store how far the store has our chains, as it says, where it speaks of our history."""
    connection = transaction.connection
    best: dict[tuple[str, int], known.Ack] = {}
    for held in (*reply.answer.push, reply.answer.ack):
        node, ack = held.node, known.Ack(held.sequence, held.hash)
        branch = known.branch_at(connection, node, *ack) if ack.sequence else 0
        if branch is None and not held.gap:
            continue
        if branch is None or not ack.sequence:
            # It has nothing, or another history here: begin where both agree.
            branch, ack = 0, known.Ack(0, "")
        if ack.sequence >= best.get((node, branch), known.Ack(-1)).sequence:
            best[node, branch] = ack
    for (node, branch), ack in best.items():
        if known.ack_of(connection, node, branch) != ack:
            known.save_ack(connection, node, branch, ack, generation)
            if branch:
                continue
            at = utc_text(transaction.journal.clock.now_ms())
            known.save_ack_step(connection, node, ack.sequence, generation, at)
    if reply.followed is not None and reply.answer.push:
        held = reply.answer.push[0]
        standing.note_followed(transaction, reply.followed, held.sequence, gap=held.gap)
    return sum(held.appended for held in reply.answer.push)


def _note_grants(
    transaction: Transaction, reply: Reply, state: known.StoreState
) -> tuple[dict[str, Entry], dict[str, Refusal]]:
    by_nonce = {wish.nonce: wish for wish in reply.wishes}
    granted: dict[str, Entry] = {}
    refused: dict[str, Refusal] = {}
    for nonce, deliverable, line, entry, refusal in reply.answer.grant:
        wish = by_nonce.get(nonce)
        if wish is None:
            raise BadMessage("the answer grants what nobody asked for")
        if refusal is not None:
            refused[nonce] = refusal
        if entry is None:
            continue
        if (deliverable, line, entry.kind) != (wish.deliverable, wish.line, wish.kind):
            raise BadMessage("the answer grants what nobody asked for")
        if entry.generation != state.generation:
            raise BadMessage("the answer grants numbers of another life of the store")
        if entry_hash(state.lineage, deliverable, line, entry) != entry.hash:
            raise BadMessage("a grant was changed on the way", why="its hash does not match")
        granted[nonce] = entry
        if entry.kind == RESERVE and reply.sent.node == transaction.journal.node:
            holdings.keep_entry(transaction.connection, deliverable, line, entry, open_=False)
            holdings.install_reserve(transaction, deliverable, line, entry, state.lineage)
    return granted, refused


def as_error(refusal: Refusal) -> CxError:
    """The error for a refusal in an answer."""
    kind = NotSignedIn if refusal.name == "not-signed-in" else Refused
    taken = ("why", "hint", "name", "what")
    extra = {key: value for key, value in refusal.data.items() if key not in taken}
    return kind(
        "the store says no", why=refusal.cause, hint=refusal.fix, name=refusal.name, **extra
    )


def reserve_wish(
    journal: Journal,
    deliverable: str,
    line: str,
    count: int,
    ahead: int,
    first: int = 0,
    tagged: int = -1,
) -> Wish:
    """The wish for a reserve on a line, which the store grants only when one is due.

    One that was granted smaller than what is wanted now is not mentioned, so that it is exchanged.
    """
    connection = journal.connection
    state = known.store_state(connection)
    held = holdings.reserve_of(connection, deliverable, line)
    left = held is not None and held.left > 0 and held.generation == state.generation
    large = held is not None and held.hi - held.lo + 1 >= count
    return Wish(
        RESERVE, deliverable, line, journal.ids.token(),
        above=holdings.highest_known(connection, deliverable, line),
        first=first, tagged=tagged, size=count, ahead=ahead,
        held=(held.next, held.hi) if held is not None and left and large else None,
    )  # fmt: skip
