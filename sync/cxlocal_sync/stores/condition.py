"""How a store is, for those who watch over it: part ``look`` of a message, which changes nothing but to
stop where the store finds that it went back."""

from __future__ import annotations

from typing import Any

from cxlocal.events.types import VERSION_USED
from cxlocal.exchange.messages import STORE_LEFT
from cxlocal_sync.stores.session import Session

POSITIONS = 10_000
"""How far back in the feed numbers are looked for of which no word came: a look is quick in every store."""

COMING = "being moved here from "
GONE = "was moved to "
"""How the hint of a closed store begins; what follows is an address."""

# sql: a constant, so that the index over such events alone is used
_UNREPORTED = f"""
SELECT count(*) FROM grant_entry g WHERE g.position > ? AND g.kind = 'online' AND g.run <> ''
AND NOT EXISTS (
  SELECT 1 FROM event e WHERE e.run = g.run AND e.type = '{VERSION_USED}'
  AND e.deliverable = g.deliverable
)
"""
_STOPPED = """
SELECT count(DISTINCT CASE WHEN deliverable <> '' THEN deliverable END),
  count(CASE WHEN deliverable = '' THEN 1 END)
FROM stop WHERE NOT (cause = ? AND deliverable <> '')
"""


def look(session: Session, position: int) -> dict[str, Any]:
    """Whether numbers are stopped for all, for how many deliverables, and how many numbers were handed
    out lately of whose runs nothing came yet. ``position`` is the head of the feed. No names: whoever
    reaches a server may ask."""
    some, everything = session.execute(_STOPPED, (STORE_LEFT,)).fetchone()
    unreported = session.execute(_UNREPORTED, (position - POSITIONS,)).fetchone()[0]
    return {
        "stopped": everything > 0,
        "stopped_deliverables": some,
        "unreported": unreported,
        "position": position,
    }


def closed(hint: str) -> str:
    """Why a store answers nobody, of which ``hint`` is remembered; empty where it answers."""
    if hint.startswith(GONE):
        return f"this store {hint}"
    return f"this store is {hint}, which is not done" if hint.startswith(COMING) else ""
