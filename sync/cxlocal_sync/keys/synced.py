"""A folder that a sync program carries (Dropbox and the like): there nobody can be first, since
every machine has its own copy of the folder and learns of the others' files later.

So one node alone writes the log and hands out numbers: the one named when the store was made, or the
one that last recovered it. The others leave batches of events and wishes for reserves as files that
nobody else writes; the granter takes them in when it is next in contact, and its log, carried back,
is everybody's receipt. A file that has not arrived, or only in part, is waited for.
"""

from __future__ import annotations

from typing import Any

from cxlocal.events.document import Event
from cxlocal.exchange.messages import (
    GRANTS_ELSEWHERE,
    BadMessage,
    entry_out,
    event_out,
    read_part,
    refusal,
)
from cxlocal.numbers.log import RESERVE, Entry
from cxlocal.text import is_hexadecimal
from cxlocal_sync.keys import names, tokens
from cxlocal_sync.keys.cache import events_in, stand, writing
from cxlocal_sync.keys.carry_out import Tools, carry_out, put_change
from cxlocal_sync.keys.effects import batch_of, change_since, look
from cxlocal_sync.keys.follow import Follower
from cxlocal_sync.keys.form import Damaged, Marker, seal, unseal
from cxlocal_sync.keys.space import SpaceError, keep_content
from cxlocal_sync.stores.answer import answer, read_contact
from cxlocal_sync.stores.chains import Chains, check_hash, read_batch
from cxlocal_sync.stores.feed import Feed, read_store
from cxlocal_sync.stores.grants import Granter, read_wish
from cxlocal_sync.stores.session import SqliteSession


def exchange_synced(
    tools: Tools, message: dict[str, Any], marker: Marker, deadline: float
) -> dict[str, Any]:
    """The answer in a synced folder. Raises SpaceError, sqlite3.Error and CxError."""
    who = read_contact(message)
    follower = Follower(tools.space, tools.connection, tools.clock, deadline)
    followed = follower.catch_up(forgive=True)
    granter = followed.recoverer or marker.granter
    if read_part(message, "recover") is not None:
        return carry_out(tools, message, deadline)
    if who["node"] != granter:
        return _by_files(tools, message, who, granter)
    if followed.damage is not None:
        raise followed.damage  # the granter wrote the log itself: nothing of it is still to come
    _gather(tools, deadline)
    return carry_out(tools, message, deadline)


def _gather(tools: Tools, deadline: float) -> None:
    """Take in what other machines left in the folder, as far as it has arrived."""
    for node in names.nodes(tools.space.names(names.JOURNALS)):
        for _, _, name in names.spans(tools.space.names(f"{names.JOURNALS}/{node}")):
            if tools.clock.monotonic() > deadline:
                return
            _take_batch(tools, node, f"{names.JOURNALS}/{node}/{name}")
    for node in names.nodes(tools.space.names(names.WISHES)):
        for nonce in names.nodes(tools.space.names(f"{names.WISHES}/{node}")):
            _grant_wish(tools, node, names.wish_key(node, nonce), nonce)


def _take_batch(tools: Tools, node: str, key: str) -> None:
    connection = tools.connection
    with writing(connection):
        if connection.execute("SELECT 1 FROM taken WHERE key = ?", (key,)).fetchone():
            return
        try:
            events = events_in(unseal(tools.space.get(key) or b"", "batch"))
        except Damaged:
            return  # torn: it may still be arriving
        at, before = stand(connection), look(connection)
        store = read_store(connection)
        feed = Feed(connection, store)
        chains = Chains(connection, feed, Granter(connection, store, feed), node)
        told: dict[str, Any] = {"gap": False}
        try:
            if {event.node for event in events} == {node}:
                told = chains.push(read_batch({"events": [event_out(event) for event in events]}))
        except BadMessage:
            pass  # sealed as it was written, so it will never be better
        feed.close()
        if not told["gap"]:
            connection.execute("INSERT INTO taken VALUES (?)", (key,))
        change = change_since(connection, before, at, node, tools.ids.token())
        if change is not None:
            put_change(tools, change)


def _grant_wish(tools: Tools, node: str, key: str, nonce: str) -> None:
    connection = tools.connection
    with writing(connection):
        if connection.execute("SELECT 1 FROM grant_entry WHERE nonce = ?", (nonce,)).fetchone():
            return
        at, before = stand(connection), look(connection)
        store = read_store(connection)
        feed = Feed(connection, store)
        try:
            wish = unseal(tools.space.get(key) or b"", "wish")["wish"]
            if read_wish(wish)["nonce"] != nonce or wish["kind"] != RESERVE:
                return
            Granter(connection, store, feed).answer(read_wish(wish), node)
        except (Damaged, KeyError, BadMessage):
            return
        feed.close()
        change = change_since(connection, before, at, node, tools.ids.token())
        if change is not None:
            put_change(tools, change)


def _by_files(
    tools: Tools, message: dict[str, Any], who: dict[str, Any], granter: str
) -> dict[str, Any]:
    """The answer to a machine that is not the granter: what it brings becomes files of its own."""
    connection, node = tools.connection, who["node"]
    connection.execute("BEGIN")
    try:
        if who["position"] > read_store(connection).position:
            raise SpaceError("what this machine has seen of it before has not arrived here yet")
        # Nobody keeps its token here: copies of a journal show as branches (see docs/stores.md).
        tokens.load_token(connection, node, who["token"])
        kept = ("protocol", "contact", "pull")
        bare = {name: part for name, part in message.items() if name in kept}
        reply = answer(connection, bare, "")
        reply["push"] = [_leave(tools, batch, node) for batch in read_part(message, "push") or []]
        wishes = read_part(message, "grant") or []
        reply["grant"] = [_wish(tools, wish, who, granter) for wish in wishes]
    finally:
        connection.execute("ROLLBACK")
    return reply


def _leave(tools: Tools, batch: Any, carrier: str) -> dict[str, Any]:
    """Write what of a batch is neither in the log nor in a file yet; the answer says how far the
    log has the chain."""
    events, in_part = read_batch(batch)
    if in_part:
        raise BadMessage(
            "a store that a sync program carries takes no history in part",
            why="what is left out of it could not be told from what is still on its way",
            hint="serve the store on the machine that hands out its numbers",
        )
    connection, node = tools.connection, events[0].node
    store = read_store(connection)
    feed = Feed(connection, store)
    head = Chains(connection, feed, Granter(connection, store, feed), carrier).head(node)
    left = _left(tools, node)
    new = [event for event in events if event.hash not in left and not _in_log(connection, event)]
    for event in new:
        check_hash(event)
    if new:
        keep_content(tools.space, *batch_of(new))
    return {**head, "appended": len(new), "gap": False}


def _left(tools: Tools, node: str) -> set[bytes]:
    """The events of a node in files that are not in the log yet."""
    found: set[bytes] = set()
    for _, _, name in names.spans(tools.space.names(f"{names.JOURNALS}/{node}")):
        key = f"{names.JOURNALS}/{node}/{name}"
        row = tools.connection.execute("SELECT 1 FROM taken WHERE key = ?", (key,)).fetchone()
        if row is None:
            try:
                content = unseal(tools.space.get(key) or b"", "batch")
                found.update(event.hash for event in events_in(content))
            except Damaged:
                continue
    return found


def _in_log(connection: SqliteSession, event: Event) -> bool:
    row = connection.execute(
        "SELECT 1 FROM event e JOIN node n ON n.id = e.node"
        " WHERE n.node = ? AND e.sequence = ? AND e.hash = ?",
        (event.node, event.sequence, event.hash),
    ).fetchone()
    return row is not None


def _wish(tools: Tools, want: Any, who: dict[str, Any], granter: str) -> dict[str, Any]:
    """A number is refused by name; a reserve is asked for by a file, and taken from the log."""
    wish = read_wish(want)
    nonce = wish["nonce"]
    if wish["kind"] != RESERVE:
        no = refusal(
            GRANTS_ELSEWHERE,
            f"a sync program carries this store, so one machine alone hands out its numbers: the one"
            f" whose history is {granter[:8]}",
            "run 'cxlocal sync' here, there, and here again: it brings a reserve; or release there",
        )
        return {"nonce": nonce, "entry": None, "refusal": no}
    if not is_hexadecimal(nonce, 32):
        raise BadMessage("the message holds a malformed wish", why="its nonce would name a file")
    entry = _granted(tools.connection, wish, who)
    shown = entry and entry_out(wish["deliverable"], wish["line"], entry)
    if entry is not None:
        tools.space.remove(names.wish_key(who["node"], entry.nonce))
    elif not _asked(tools, wish, who["node"]):
        content = seal({"kind": "wish", "wish": want})
        keep_content(tools.space, names.wish_key(who["node"], nonce), content)
    return {"nonce": nonce, "entry": shown, "refusal": None}


def _granted(connection: SqliteSession, wish: dict[str, Any], who: dict[str, Any]) -> Entry | None:
    """The newest reserve on the line that the log holds for the speaker beyond its cursor."""
    row = connection.execute(
        "SELECT k, kind, lo, hi, node, run, nonce, generation, why, previous, hash"
        " FROM grant_entry WHERE deliverable = ? AND line = ? AND node = ? AND kind = 'reserve'"
        " AND position > ? AND generation = (SELECT generation FROM store)"
        " ORDER BY position DESC LIMIT 1",
        (wish["deliverable"], wish["line"], who["node"], who["position"]),
    ).fetchone()
    return Entry(*row) if row else None


def _asked(tools: Tools, wish: dict[str, Any], node: str) -> bool:
    """Whether a file of ours asks for a reserve on this line already."""
    for nonce in names.nodes(tools.space.names(f"{names.WISHES}/{node}")):
        content = tools.space.get(names.wish_key(node, nonce))
        try:
            asked = unseal(content or b"", "wish")["wish"]
            if (asked["deliverable"], asked["line"]) == (wish["deliverable"], wish["line"]):
                return True
        except (Damaged, KeyError, TypeError):
            continue
    return False
