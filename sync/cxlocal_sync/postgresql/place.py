"""Which server a store stands on, and what it means that it is another one now. Pure.

A database that was restored from a backup, or whose standby was promoted, may lack what was
committed last: numbers among it that are in use. PostgreSQL tells: a server that leaves recovery
begins a new timeline, a new server has another system identifier, and tables that were loaded from
a dump have other object identifiers. Where one of them changes, no numbers are handed out until
``cxlocal store recover``.

There is one exception, without which no failover would go by itself: a *synchronous* standby lacks
nothing that was acknowledged. It is taken for one when all this is true:

- the last commit here waited for every standby named in ``synchronous_standby_names``,
- the server that was promoted is one of those names (its ``cluster_name``, or ``cxlocal.standby``
  where that is taken for something else),
- and it was receiving from a primary until it was promoted, which a restored backup was not.

What the promoted server remembers of this is as old as its data. So a store that has once told a
standby that it has everything does not go on without any: Alone, until the standby is back on the
list or ``cxlocal store recover``.
"""

from __future__ import annotations

import json
import re
from typing import Any

from cxlocal.values import NamedTuple
from cxlocal_sync.stores.session import StorePlace

MOVED = "other-server"
"""Cause of the stop."""

CONFIRMING = ("on", "remote_apply")
"""Values of ``synchronous_commit`` with which a commit is on the disk of the standby."""


class Alone(Exception):
    """The database confirms commits without the standbys that believe they have all of them."""


class Where(NamedTuple):
    """A server as a store remembers it."""

    system: str
    timeline: int
    tables: int
    """Object identifier of the table ``store``."""
    standbys: tuple[str, ...]
    """Who has confirmed the last commit, all of them; empty where nobody had to."""
    name: str = ""
    """What this server is called among the standbys. Not remembered."""
    received: bool = False
    """Whether it received from a primary since it was started. Not remembered."""


def where_text(where: Where) -> str:
    """The hint that is remembered, or compared with what is."""
    return json.dumps(where._asdict(), sort_keys=True)


def read_where(text: str) -> Where | None:
    """The server in a hint; None where it says none."""
    try:
        told: dict[str, Any] = json.loads(text)
        return Where(
            str(told["system"]), int(told["timeline"]), int(told["tables"]),
            tuple(map(str, told["standbys"])), str(told["name"]), bool(told["received"]),
        )  # fmt: skip
    except (ValueError, KeyError, TypeError):
        return None


def judge_server(known: str, here: str) -> StorePlace:
    """What a store makes of finding itself ``here`` when it remembers ``known``. Raises Alone."""
    before, now = read_where(known), read_where(here)
    if before is None or now is None:
        return StorePlace(
            here if not known else known, None if not known else _stop("is not known")
        )
    if before.system != now.system:
        return StorePlace(known, _stop("is another one: it has another system identifier"))
    if before.tables != now.tables:
        return StorePlace(known, _stop("was filled anew: its tables are not those of before"))
    if before.timeline != now.timeline and not _lacks_nothing(before, now):
        turn = f"from {before.timeline} to {now.timeline}"
        return StorePlace(known, _stop(f"was restored or promoted: its timeline went {turn}"))
    left = [name for name in before.standbys if name != now.name]
    if left and not now.standbys:
        raise Alone(f"it no longer waits for its standby {left[0]}, which could be promoted")
    if before.timeline == now.timeline and before.standbys == now.standbys:
        return StorePlace(known)
    return StorePlace(here)


def _lacks_nothing(before: Where, now: Where) -> bool:
    promoted = now.received and now.timeline > before.timeline
    return promoted and bool(now.name) and now.name in before.standbys


def _stop(why: str) -> tuple[str, str]:
    return MOVED, f"the database server {why}; numbers it granted last may be lost to it"


def all_confirming(names: str, commit: str) -> tuple[str, ...]:
    """The standbys that all have a commit when it is acknowledged; empty where that is not certain.

    ``names`` is ``synchronous_standby_names``: a list of which some number must confirm. Only where
    that is every one on it can any one be promoted without loss.
    """
    if commit not in CONFIRMING:
        return ()
    found = re.fullmatch(
        r"\s*(?:(FIRST|ANY)\s+)?(\d+)\s*\((.*)\)\s*", names, re.IGNORECASE | re.DOTALL
    )
    needed = int(found[2]) if found else 1
    listed = _names(found[3] if found else names)
    return tuple(listed) if listed and needed >= len(listed) and "*" not in listed else ()


def _names(text: str) -> list[str]:
    # Quoted names keep their case, double quotes in them are doubled; others are folded.
    found = re.findall(r'"((?:[^"]|"")*)"|([^\s,"]+)', text)
    return [quoted.replace('""', '"') if quoted else bare.lower() for quoted, bare in found]
