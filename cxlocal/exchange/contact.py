"""One round trip with a store: what we send, and what its answer changes here.

``talk`` sends and returns the answer; nothing of it has taken effect here yet. ``apply`` does that
inside a write transaction of the caller, so that for example a granted number and the event that
uses it become durable in one commit.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from types import MappingProxyType
from typing import Any

from cxlocal.errors import CxError, NotSignedIn, Refused
from cxlocal.exchange import followed as following
from cxlocal.exchange import standing
from cxlocal.exchange import state as known
from cxlocal.exchange.answers import ABOUT_THE_REQUEST, Answer, Refusal, read_answer
from cxlocal.exchange.copies import ensure_node, go_on_as_copy
from cxlocal.exchange.messages import (
    BATCH_BYTES_MAX,
    BATCH_EVENTS_MAX,
    PROTOCOL,
    PULL_MAX,
    SPAN_MAX,
    BadMessage,
    decode,
    encode,
    event_out,
)  # fmt: skip
from cxlocal.exchange.open import is_own
from cxlocal.exchange.reply import Applied, Reply, Wish, unreadable_answer
from cxlocal.exchange.store import Store, StoreUnreachable, cannot_serve
from cxlocal.exchange.token import token_out
from cxlocal.journal.file import Journal, Transaction
from cxlocal.journal.read import node_events
from cxlocal.journal.whereabouts import file_hint
from cxlocal.numbers import holdings
from cxlocal.numbers.log import RESERVE
from cxlocal.text import quoted
from cxlocal.values import NamedTuple

ANSWER_SECONDS = 2.0
"""How long one answer is waited for (connecting takes 2 s at most)."""

TURNS_MAX = 6
"""Times one contact is begun anew because another process of the journal was faster, or because
the journal went on under a new id. Each turn needs another contact in between."""


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
    in_part: bool = False,
    timeout: float = ANSWER_SECONDS,
    parts: Mapping[str, Any] = MappingProxyType({}),
    whole: bool = False,
) -> Reply:
    """Carry out one contact. Raises StoreUnreachable, Refused, NotSignedIn.

    ``parts`` are further parts of the message. ``batch`` holds events to bring instead of our own: what
    another machine gave us to carry, ``in_part`` where something is left out before or between them. A
    journal that the store takes for a copy goes on under a new node id and tries again.
    """
    refuse_elsewhere(journal, store)
    if "recover" not in parts:
        _check_memory(journal, store, timeout)
    for _ in range(TURNS_MAX):
        row = prepare(journal)
        sent = Batch(list(batch), in_part) if batch else _batch(journal) if push else Batch([])
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
            raise as_error(answer, store.url)
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


def is_shared(journal: Journal) -> bool:
    """Whether the store that a journal belongs to is more than this machine's own."""
    url = known.store_state(journal.connection).url
    return bool(url) and not is_own(url)


def refuse_elsewhere(journal: Journal, store: Store) -> None:
    """A journal's history is shown to the store it belongs to, at the address where that was met, and
    its numbers mean nothing at another. Raises Refused."""
    state = known.store_state(journal.connection)
    if state.lineage and state.url and state.url != store.url:
        raise elsewhere(state.url, store.url)


def elsewhere(known: str, asked: str) -> Refused:
    """What is said where a journal belongs to the store at ``known`` and ``asked`` is named."""
    return Refused(
        f"the journal here belongs to the store at {known}"
        f"{' (this machine alone)' * is_own(known)}, not to one at {asked}",
        why="it holds the history and the numbers of that store, and is shown to no other",
        hint=f"is it the same store, moved: cxlocal store moved {quoted(asked)}; to let this project count on"
        f" there: cxlocal store adopt {quoted(asked)}; else set [store] url to {known}",
        name="wrong-lineage",
        known=known,
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
        return propose(transaction)


def propose(transaction: Transaction) -> known.ContactRow:
    """As ``prepare``, beside what else becomes durable before the contact. It must follow at once: two
    copies of a journal with one proposal are not told apart until one of them has used it up."""
    row = ensure_node(transaction)
    following.settle(transaction)
    proposing = known.proposing_contact(row, transaction.journal.ids)
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
        raise unreadable_answer(store.url, error) from error


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


def as_error(refusal: Refusal, url: str) -> CxError:
    """The error for a refusal in an answer: as if the store were away, where it only says that it
    cannot serve us."""
    if refusal.name not in ABOUT_THE_REQUEST:
        return cannot_serve(url, refusal.name, refusal.cause, refusal.fix)
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
