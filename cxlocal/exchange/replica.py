"""A journal that only reads what a store has of some deliverables, for pages.

It is no machine: it has no id and no token, brings nothing, takes no numbers, and the store does not
remember it. What it holds is what anybody would be told who may read these deliverables, checked as any
other journal checks it.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from cxlocal.exchange import state as known
from cxlocal.exchange.answers import Looked, read_look
from cxlocal.exchange.contact import as_error
from cxlocal.exchange.messages import PROTOCOL, PULL_MAX, BadMessage, decode, encode
from cxlocal.exchange.receive import take_items
from cxlocal.exchange.reply import meet_store
from cxlocal.exchange.store import Store
from cxlocal.exchange.sync import project_pulled
from cxlocal.journal.file import Journal

NOBODY = "0" * 32
"""The machine that a message names which only looks."""


class Outdated(BadMessage):
    """The store has another history than what was read of it: the file is to be made anew."""


def look(lineage: str, **parts: Any) -> dict[str, Any]:
    """A message that only looks, and that a store of another lineage refuses by name. A store with a
    lineage is not made anew by it."""
    token, proposal = {"count": 0, "value": ""}, {"count": 1, "value": "look"}
    contact = {"lineage": lineage, "node": NOBODY, "token": token, "proposal": proposal}
    return {"protocol": PROTOCOL, "contact": contact, "look": {}, **parts}


def read_on(
    journal: Journal,
    store: Store,
    lineage: str,
    names: Collection[str] | None,
    timeout: float,
) -> bool:
    """Take in the next batch of what the store ``lineage`` has of the deliverables ``names`` (None: of
    every one); whether there is more. Always with the same names for one journal.

    Raises StoreUnreachable, Outdated and BadMessage.
    """
    before = known.store_state(journal.connection)
    cursor = {"position": before.position, "hash": before.hash}
    pull: dict[str, Any] = {"cursor": cursor, "limit": PULL_MAX}
    if names is not None:
        pull["deliverables"] = sorted(names)
    asked = encode(look(before.lineage or lineage, pull=pull))
    answer = read_look(decode(store.exchange(asked, timeout=timeout)))
    if not isinstance(answer, Looked):
        raise as_error(answer, store.url)
    if answer.pull.void or 0 < before.generation < answer.generation:
        raise Outdated("the store has another history than what was read of it")
    with journal.write() as transaction:
        if known.store_state(transaction.connection) != before:
            return True  # another process was faster
        state = meet_store(transaction, answer.lineage, answer.generation, store.url)
        taken = take_items(transaction, answer.pull.items, state)
        if taken.state != state:
            known.save_store_state(transaction.connection, taken.state)
    if taken.new:
        project_pulled(journal)
    return answer.pull.more
