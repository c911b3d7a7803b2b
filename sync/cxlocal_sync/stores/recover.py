"""Recovering a store: it forgets nothing that is left, and continues above everything that may be
in use.

The generation rises, every cursor goes above all evidence by a margin, contact tokens are set anew
at each machine's first contact, and reserves of older generations are void for new spending. What
machines still hold of the lost history comes back with their next pushes.
"""

from __future__ import annotations

from typing import Any

from cxlocal.errors import Refused
from cxlocal.exchange.messages import STORE_LEFT, BadMessage, text_of, whole_of
from cxlocal.numbers.schemes import NUMBER_MAX
from cxlocal_sync.stores.feed import Feed, StoreRow, read_store
from cxlocal_sync.stores.grants import Granter
from cxlocal_sync.stores.session import Session

MARGIN = 1000
"""How far above the highest number known a recovered line continues: what was granted after the
backup was taken and is known to nobody who has called yet lies below it. A reserve lies at most
``AHEAD_MAX`` ahead and has at most ``COUNT_MAX`` numbers, so hundreds of lost numbers are covered."""


def recover(session: Session, store: StoreRow, part: Any, node: str, here: str) -> None:
    """Begin the next generation of the store, within the caller's transaction."""
    margin, told, generation = _read_recovery(part)
    _refuse_left(session)
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
    for (deliverable, line), number in sorted(highest.items()):  # the same order in every store
        target = min(number + margin, NUMBER_MAX)
        why = f"the store was recovered; numbers up to {target} may have been in use before"
        granter.raise_to(deliverable, line, target, node=node, why=why)
    feed.close()
    session.execute("DELETE FROM stop")
    session.execute("UPDATE node SET token = '' WHERE token_count IS NOT NULL")


def _refuse_left(session: Session) -> None:
    """Raises Refused where another store counts on above this one: both would count one line."""
    row = session.execute("SELECT why FROM stop WHERE cause = ?", (STORE_LEFT,)).fetchone()
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
