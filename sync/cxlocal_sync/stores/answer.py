"""What a store says to a message: one transaction for all its parts, or a refusal for all.

The caller has begun the transaction and commits it when ``answer`` returns; when it raises, it
rolls back and sends the refusal. Order within a message: who speaks (token), what they bring
(push), what they remember of us (witness), what they wish (grant), what they lack (pull). So an
emergency number that is pushed lifts the cursor before a number is asked for.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any

from cxlocal.errors import CxError, Refused
from cxlocal.exchange import token
from cxlocal.exchange.messages import (
    PROTOCOL,
    STORE_LEFT,
    STORE_MOVED,
    WITNESS,
    BadMessage,
    decode,
    encode,
    read_part,
    refusal,
    text_of,
    whole_of,
)  # fmt: skip
from cxlocal.exchange.store import Store, StoreUnreachable
from cxlocal.journal.whereabouts import same_place
from cxlocal.numbers.schemes import NUMBER_MAX
from cxlocal.text import is_hexadecimal
from cxlocal.values import Protocol
from cxlocal_sync.stores.chains import Batch, Chains, number_of, read_batch
from cxlocal_sync.stores.condition import closed, look
from cxlocal_sync.stores.feed import Feed, Head, StoreRow, pull, read_store, running_at
from cxlocal_sync.stores.grants import RECOVER, Granter, read_wish
from cxlocal_sync.stores.recoveries import Recoveries
from cxlocal_sync.stores.session import Session, StorePlace
from cxlocal_sync.stores.witness import WENT_BACK

_KNOWS_MORE = "the store lost part of its memory: a machine knows more of it than it does itself"
_CHANGED = (
    "the store's history was changed, or it was put back and went on: a machine was told another one"
    " than it has now"
)


class Refusal(CxError):
    """A message that is refused as a whole; nothing of it takes effect."""

    default_name = "refused"


def refuse(error: CxError) -> dict[str, Any]:
    """The answer to a message that is refused as a whole."""
    cause = f"{error.what}: {error.why}" if error.why else error.what
    return {"protocol": PROTOCOL, "refusal": refusal(error.name, cause, error.hint, **error.data)}


class ServableStore(Store, Protocol):
    """A store that can stand behind a server."""

    def answer(self, message: dict[str, Any], *, timeout: float) -> dict[str, Any]:
        """The answer to one decoded message; a refusal too. Raises StoreUnreachable."""


class Answering(ABC):
    """The one way into a store: encoded messages. Who has decoded one already, to see whether it
    may come in (``cxlocal_sync.http``), goes on with ``answer``."""

    def exchange(self, request: bytes, *, timeout: float) -> bytes:
        """Answer one encoded message. Raises StoreUnreachable."""
        try:
            message = decode(request)
        except CxError as error:
            return encode(refuse(error))
        return encode(self.answer(message, timeout=timeout))

    @abstractmethod
    def answer(self, message: dict[str, Any], *, timeout: float) -> dict[str, Any]:
        """The answer to one message; a refusal too. Raises StoreUnreachable."""


def judge_file(known: str, here: str) -> StorePlace:
    """What a store in a file makes of lying elsewhere than where it was made."""
    if same_place(known, here):
        return StorePlace(known)
    why = (
        "the store's file was copied or moved since it was made;"
        " if the other copy still hands out numbers, two runs would get the same one"
    )
    return StorePlace(known, (STORE_MOVED, why))


def answer(
    session: Session,
    message: dict[str, Any],
    here: str,
    judge: Callable[[str, str], StorePlace] = judge_file,
    recoveries: Recoveries | None = None,
) -> dict[str, Any]:
    """Carry out ``message``; ``here`` is the hint of where the store lies now, ``judge`` what
    the store makes of it, and ``recoveries`` what is remembered outside of the store.

    Raises Refusal and BadMessage; the transaction must then be rolled back.
    """
    who = read_contact(message)
    batches = [read_batch(batch) for batch in read_part(message, "push") or []]
    wishes = [read_wish(want) for want in read_part(message, "grant") or []]
    recovery, moving = read_part(message, "recover"), _moving(message)
    session.hold([] if recovery is not None or moving else _touched(who["node"], batches, wishes))
    store = read_store(session)
    if who["lineage"] not in ("", store.lineage):
        raise Refusal(
            "this is another store than the one the journal belongs to",
            why=f"it was {who['lineage'][:8]}…, this is {store.lineage[:8]}…",
            hint="correct store.url, or use the journal that belongs to this store",
            name="wrong-lineage",
        )
    if closed(store.hint):
        raise StoreUnreachable(
            "the store cannot be reached", why=closed(store.hint),
            hint="'cxlocal store move' ends with what to serve from then on", 
        )  # fmt: skip
    if recovery is not None:
        recover(session, store, recovery, who["node"], here, recoveries)
        store = read_store(session)
    feed = Feed(session, store)
    granter = Granter(session, store, feed)
    if read_part(message, "look") is not None:
        _stay(session, store, granter, judge(store.hint, here))
        told = {"protocol": PROTOCOL, "store": _introduce(session, store, feed), "grant": []}
        wanted = read_part(message, "pull")
        if wanted is not None:  # who only reads needs no token, and is no machine
            told["pull"] = pull(
                session, {**wanted, "whole": True}, "", Head(feed.position, feed.hash)
            )
        return {**told, "look": look(session, feed.position)}
    chains = Chains(session, feed, granter, who["node"])
    went_back = _meet(session, store, who, chains)
    # Before anything is pushed: its numbers are expected then.
    moved = _move(session, granter, message, who["node"]) if moving else {}
    pushed = [chains.push(batch) for batch in batches]
    _stay(session, store, granter, judge(store.hint, here))
    doubt = _doubt(session, store, who, feed, went_back)
    if doubt:
        for deliverable in _believed(message):
            granter.stop(deliverable, WENT_BACK, doubt)
    granted = [granter.answer(wish, who["node"]) for wish in wishes]
    feed.close()
    reply: dict[str, Any] = {
        "protocol": PROTOCOL,
        "store": _introduce(session, store, feed),
        "ack": chains.head(who["node"]),
        "push": pushed,
        "grant": granted,
        **moved,
    }
    asked = read_part(message, "pull")
    if asked is not None:
        reply["pull"] = pull(session, asked, who["node"], Head(feed.position, feed.hash))
    return reply


def _stay(session: Session, store: StoreRow, granter: Granter, place: StorePlace) -> None:
    """Act on what the store makes of where it finds itself."""
    if place.stop is not None:
        granter.stop("", *place.stop)
    if place.hint != store.hint:
        session.execute("UPDATE store SET hint = ?", (place.hint,))


def _moving(message: dict[str, Any]) -> bool:
    return any(read_part(message, name) is not None for name in ("retire", "leave", "adopt"))


def _move(session: Session, granter: Granter, message: dict[str, Any], node: str) -> dict[str, Any]:
    """Carry out the parts ``retire``, ``leave`` and ``adopt``; what the answer says of them."""
    from cxlocal_sync.stores.adopt import adopt, leave, retire

    told: dict[str, Any] = {}
    for name, farewell in (("retire", retire), ("leave", leave)):
        leaving = read_part(message, name)
        if leaving is not None:
            told["retired"] = farewell(session, granter, leaving, node)
    coming = read_part(message, "adopt")
    if coming is not None:
        told["adopted"] = adopt(session, granter, coming, node)
    return told


def _touched(node: str, batches: list[Batch], wishes: list[dict[str, Any]]) -> set[tuple[str, ...]]:
    """What the answer depends on and changes: chains, lines, runs. Where messages are answered side
    by side, those about the same take turns."""
    names: set[tuple[str, ...]] = {("node", node)}
    for batch in batches:
        names.add(("node", batch.events[0].node))
        names.update(("line", *used[:2]) for event in batch.events if (used := number_of(event)))
    for wish in wishes:
        names.add(("line", wish["deliverable"], wish["line"]))
        if wish["run"]:
            names.add(("run", wish["deliverable"], wish["run"]))
    return names


_STOPPED = """
SELECT deliverable, cause, why FROM stop WHERE NOT (cause = ? AND deliverable <> '')
ORDER BY deliverable, cause, line, number LIMIT ?
"""
_LEFT = """
SELECT deliverable, cause, why FROM stop WHERE cause = ? AND deliverable <> ''
ORDER BY deliverable, cause, line, number LIMIT ?
"""
STOPS_TOLD = 20
"""Reasons why no numbers are given that an answer holds."""


def _introduce(session: Session, store: StoreRow, feed: Feed) -> dict[str, Any]:
    # What left is the least of troubles; each in the order of the key, so that few of many are read.
    stops: list[Any] = []
    for sql in (_STOPPED, _LEFT):
        limit = STOPS_TOLD - len(stops)
        stops += session.execute(sql, (STORE_LEFT, limit)).fetchall() if limit else []
    return {
        "lineage": store.lineage,
        "generation": store.generation,
        "head": {"position": feed.position, "hash": feed.hash.hex()},
        "stopped": [{"deliverable": d, "cause": cause, "why": why} for d, cause, why in stops],
    }


def read_contact(message: dict[str, Any]) -> dict[str, Any]:
    """The contact part of a message, checked. Raises BadMessage."""
    try:
        part = message["contact"]
        heads = [
            (text_of(each[0]), text_of(each[1]), whole_of(each[2]), text_of(each[3]))
            for each in part.get("heads", [])
        ]
        cursor = part.get("cursor") or {"position": 0, "hash": "00" * 32}
        presented, proposal = token.token_in(part["token"]), token.token_in(part["proposal"])
        if (presented.step == 0) != (not presented.value) or not token.follows(presented, proposal):
            raise ValueError("the proposal does not follow the token")
        return {
            "lineage": text_of(part.get("lineage", "")),
            "generation": whole_of(part.get("generation", 0)),
            "node": _node_name(part["node"]),
            "token": presented,
            "proposal": proposal,
            "hint": text_of(part.get("hint", ""))[:200],
            "heads": heads,
            "position": whole_of(cursor["position"]),
            "hash": bytes.fromhex(text_of(cursor["hash"])),
        }
    except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
        raise BadMessage("the message holds a malformed contact", why=repr(error)) from error


def _node_name(value: Any) -> str:
    name = text_of(value)
    if not is_hexadecimal(name, 32):
        raise ValueError("a node is named by 32 hexadecimal digits")
    return name


def _meet(session: Session, store: StoreRow, who: dict[str, Any], chains: Chains) -> bool:
    """Judge the token and keep the proposal. True when it shows that we went back.

    Raises Refusal for a copy.
    """
    row = session.execute(
        "SELECT token_count, token FROM node WHERE node = ? AND token_count IS NOT NULL",
        (who["node"],),
    ).fetchone()
    stored = token.Token(*row) if row else None
    if stored is None and who["generation"] < store.generation:
        stored = token.NO_TOKEN  # a recovery forgot all tokens: the first contact sets it anew
    verdict = token.judge(who["token"], who["proposal"], stored)
    if verdict == token.COPY:
        raise Refusal(
            "another copy of this journal has been in contact",
            why="its contact token is no longer valid: the journal was copied or restored",
            hint="the journal continues under a new id by itself; nothing is lost",
            name="copy",
        )
    # From before a recovery: what it remembers is not held against the store, which may have taken a
    # late message of it since. Its token goes on where it is, or the next contact would seem to come
    # from a store that went back (docs/model.md).
    older = 0 < who["generation"] < store.generation
    if verdict == token.STORE_WENT_BACK and not older:
        return True
    node_id = chains.node_id(who["node"])
    session.execute(
        "UPDATE node SET token_count = ?, token = ?, hint = ? WHERE id = ?",
        (who["proposal"].step, who["proposal"].value, who["hint"], node_id),
    )
    return False


def _believed(message: dict[str, Any]) -> list[str]:
    """Whose numbers stop where the speaker remembers more than we do; an empty name is everybody's.

    Whoever speaks to a store itself could also write to it. A server names what a member of few
    rights may take: it must not stop the releases of others.
    """
    named = read_part(message, WITNESS)
    if named is None:
        return [""]
    if not isinstance(named, list):
        raise BadMessage("the message cannot be read", why="its part 'witness' is malformed")
    try:
        return [text_of(name) for name in named if name]
    except TypeError as error:
        raise BadMessage("the message cannot be read", why=str(error)) from error


def _doubt(
    session: Session, store: StoreRow, who: dict[str, Any], feed: Feed, went_back: bool
) -> str:
    """Why what the speaker remembers of us is not what we are; empty where it is."""
    if who["generation"] > store.generation:
        return _KNOWS_MORE
    if 0 < who["generation"] < store.generation:
        return ""  # what it remembers is from before a recovery, which already lies above it
    if went_back or who["position"] > feed.position:
        return _KNOWS_MORE
    if running_at(session, who["position"]) not in (who["hash"], None):
        return _CHANGED
    for deliverable, line, k, value in who["heads"]:
        row = session.execute(
            "SELECT hash FROM grant_entry WHERE deliverable = ? AND line = ? AND k = ?",
            (deliverable, line, k),
        ).fetchone()
        if k > 0 and (row is None or row[0] != value):
            return _KNOWS_MORE if row is None else _CHANGED
    return ""


__all__ = ["RECOVER", "Answering", "Refusal", "ServableStore", "answer", "refuse"]


MARGIN = 1000
"""How far above the highest number known a recovered line continues: what was granted after the
backup was taken and is known to nobody who has called yet lies below it. A reserve lies at most
``AHEAD_MAX`` ahead and has at most ``COUNT_MAX`` numbers, so hundreds of lost numbers are covered."""


def recover(
    session: Session, store: StoreRow, part: Any, node: str, here: str,
    recoveries: Recoveries | None = None,
) -> None:  # fmt: skip
    """Begin the next generation of the store, within the caller's transaction."""
    margin, told, generation = _read_recovery(part)
    _refuse_left(session)
    if recoveries is not None:
        undone, lines = recoveries.known(store.lineage)
        generation = max(generation, undone)
        told += [(*line, high) for line, high in lines.items()]
    session.execute(
        "UPDATE store SET generation = ?, hint = ?", (max(store.generation, generation) + 1, here)
    )
    store = read_store(session)
    feed = Feed(session, store)
    granter = Granter(session, store, feed)
    highest: dict[tuple[str, str], int] = {}
    rows = session.execute(
        "SELECT deliverable, line, high FROM cursor"
        " UNION ALL SELECT deliverable, line, number FROM stop WHERE number >= 0"
    ).fetchall()
    for deliverable, line, number in (*rows, *told):
        key = (deliverable, line)
        highest[key] = max(highest.get(key, -1), number)
    raised = {line: min(number + margin, NUMBER_MAX) for line, number in sorted(highest.items())}
    for (deliverable, line), target in raised.items():  # the same order in every store
        why = f"the store was recovered; numbers up to {target} may have been in use before"
        granter.raise_to(deliverable, line, target, node=node, why=why)
    feed.close()
    # What left stays away: another store counts it on.
    session.execute("DELETE FROM stop WHERE cause <> ?", (STORE_LEFT,))
    session.execute("UPDATE node SET token = '' WHERE token_count IS NOT NULL")
    if recoveries is not None:
        recoveries.note(store, raised)


def _refuse_left(session: Session) -> None:
    """Raises Refused where another store counts on above this one: both would count one line."""
    row = session.execute(
        "SELECT why FROM stop WHERE cause = ? AND deliverable = ''", (STORE_LEFT,)
    ).fetchone()
    if row is not None:
        raise Refused(
            "another store has taken over from this one",
            why=row[0],
            hint="follow it there, and set [store] url; if that store is lost for good, begin a new"
            " one and adopt that: cxlocal store adopt URL",
            name="store-left",
        )


def _read_recovery(part: Any) -> tuple[int, list[tuple[str, str, int]], int]:
    try:
        told = [
            (text_of(each[0]), text_of(each[1]), whole_of(each[2])) for each in part["evidence"]
        ]
        margin = whole_of(part.get("margin", MARGIN))
        generation = whole_of(part.get("generation", 0))
    except (KeyError, TypeError, AttributeError, IndexError) as error:
        raise BadMessage("the message holds a malformed recovery", why=repr(error)) from error
    if not 1 <= margin <= 10**9:
        raise BadMessage("the message holds a malformed recovery", why=f"margin {margin}")
    return margin, told, generation
