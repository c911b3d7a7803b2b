"""One message, carried out on the copy and made the store's by one key.

The message is answered by the rules all stores share, in a transaction of the copy that is
up to date. What it changed becomes the next entry of the log. Whoever puts that key first has it;
the others roll back, fold the winner's entry in, and answer again.
"""

from __future__ import annotations

import time
from typing import Any

from cxlocal.clock import Clock, Ids
from cxlocal.exchange.messages import read_part
from cxlocal.values import NamedTuple
from cxlocal_sync.keys import names, tokens
from cxlocal_sync.keys.cache import note_folded, stand, writing
from cxlocal_sync.keys.effects import Change, change_since, look
from cxlocal_sync.keys.follow import Followed, Follower
from cxlocal_sync.keys.space import KeySpace, SpaceError, claim, keep_content
from cxlocal_sync.stores.answer import answer, read_contact
from cxlocal_sync.stores.session import SqliteSession

PAUSE_SECONDS = 0.01
"""After a lost race, times how often it was lost and a random part: lets the others get through."""


class LostRace(Exception):
    """Another machine's entry took the place; ``n`` is where."""

    def __init__(self, n: int = 0) -> None:
        super().__init__(n)
        self.n = n


class Tools(NamedTuple):
    """What carrying out needs."""

    space: KeySpace
    connection: SqliteSession
    clock: Clock
    ids: Ids


def carry_out(tools: Tools, message: dict[str, Any], deadline: float) -> dict[str, Any]:
    """The answer to ``message``, all of it in effect. Raises SpaceError, sqlite3.Error, and CxError
    for a message that is refused."""
    who = read_contact(message)
    recovering = read_part(message, "recover") is not None
    follower = Follower(tools.space, tools.connection, tools.clock, deadline)
    known, lost = 0, 0
    while True:
        followed = follower.catch_up(known, forgive=recovering)
        asked = _with_evidence(message, followed) if recovering else message
        try:
            with writing(tools.connection):
                return _decide(tools, followed, asked, who)
        except LostRace as error:
            known, lost = max(known, error.n), lost + 1
        if tools.clock.monotonic() > deadline:
            raise SpaceError(f"other machines were faster {lost} times in a row")
        time.sleep(PAUSE_SECONDS * lost * int(tools.ids.token()[:4], 16) / 65536)


def _decide(
    tools: Tools, followed: Followed, message: dict[str, Any], who: dict[str, Any]
) -> dict[str, Any]:
    """Answer in the caller's transaction and write the keys. Raises LostRace."""
    connection, space = tools.connection, tools.space
    at = stand(connection)
    if at != followed.stand:
        raise LostRace(at.n)  # another process of this machine folded more in meanwhile
    before = look(connection)
    stored = tokens.stored_token(space, who, before.generation)
    tokens.load_token(connection, who["node"], stored)
    reply = answer(connection, message, "")
    change = change_since(connection, before, at, who["node"], tools.ids.token())
    recovered = change is not None and change.entry.recovered
    taken = tokens.token_of(connection, who["node"]) == who["proposal"]
    # A new generation knows no tokens, not even one that was kept before its recovery was repeated.
    accepted = taken and (recovered or who["proposal"] != stored)
    generation = int(reply["store"]["generation"])
    follows = stored == who["token"] and not recovered
    if change is not None and recovered:
        put_change(tools, change)
    if accepted and not tokens.keep_token(space, who, generation, follows=follows):
        raise LostRace
    if change is not None and not recovered:
        put_change(tools, change)
        _check_generation(space, followed.newest_generation)
    return reply


def put_change(tools: Tools, change: Change) -> None:
    """Write the batches, then the entry that refers to them. Raises LostRace."""
    for key, content in change.batches.items():
        keep_content(tools.space, key, content)
    if not claim(tools.space, change.key, change.content):
        raise LostRace(0 if change.entry.recovered else change.entry.n)
    note_folded(tools.connection, change.entry)


def _check_generation(space: KeySpace, newest: int) -> None:
    """Nothing is granted any more by a generation that a recovery has ended meanwhile."""
    listed = names.counts(space.names(names.GENERATIONS))
    if listed and listed[-1] > newest:
        raise LostRace


def _with_evidence(message: dict[str, Any], followed: Followed) -> dict[str, Any]:
    """A recovery that also goes above what the log says beyond its damage."""
    part = message["recover"]
    if not isinstance(part, dict) or not isinstance(part.get("evidence"), list):
        return message  # the rules refuse it
    told = part.get("generation", 0)
    generation = max(told, followed.newest_generation) if isinstance(told, int) else told
    evidence = [*part["evidence"], *(list(each) for each in followed.orphans)]
    return {**message, "recover": {**part, "evidence": evidence, "generation": generation}}
