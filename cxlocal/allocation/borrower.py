"""Borrowing: a passing machine gets the number of its run from a kept one that lends."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from cxlocal.allocation.request import (
    LENT,
    Number,
    NumberRequest,
    known_node,
    number_of_run,
    pauses,
    record_use,
    taken_of,
)
from cxlocal.errors import Conflict, Refused
from cxlocal.exchange import state as known
from cxlocal.exchange.store import StoreUnreachable
from cxlocal.journal.file import Journal
from cxlocal.numbers import holdings
from cxlocal.values import Protocol

LEND_SECONDS = 5.0
"""For one answer."""
TRIES = 3
"""An answer that got lost is asked for again: it is the same one."""


class Lender(Protocol):
    """A machine that lends numbers."""

    url: str

    def lend(self, asked: dict[str, Any], *, timeout: float) -> dict[str, Any]:
        """The number of a run (``cxlocal.allocation.lender``). Raises StoreUnreachable, Refused."""

    def close(self) -> None:
        """Let go of connections."""


def borrow(journal: Journal, find_lender: Callable[[], Lender], request: NumberRequest) -> Number:
    """The number that the lender takes for ``request.run``, durable here too when this returns.

    Raises StoreUnreachable, Refused, NotSignedIn, and Conflict for an answer that cannot be used.
    """
    lender = find_lender()
    try:
        found = _ask(journal, lender, _question(journal, request))
    finally:
        lender.close()
    return _use(journal, request, found, lender.url)


def _question(journal: Journal, request: NumberRequest) -> dict[str, Any]:
    with journal.write() as transaction:
        node = known_node(transaction)
    above = holdings.highest_known(journal.connection, request.deliverable, request.line)
    return {
        "deliverable": request.deliverable, "line": request.line, "scheme": request.scheme.name,
        "run": request.run, "node": node, "actor": request.actor, "above": above,
    }  # fmt: skip


def _ask(journal: Journal, lender: Lender, asked: dict[str, Any]) -> dict[str, Any]:
    for left, pause in zip(range(TRIES - 1, -1, -1), pauses(journal.ids), strict=False):
        try:
            return lender.lend(asked, timeout=LEND_SECONDS)
        except StoreUnreachable:
            if not left:
                raise
        time.sleep(pause)
    raise AssertionError("the last try returns or raises")


def _use(journal: Journal, request: NumberRequest, found: dict[str, Any], url: str) -> Number:
    """Record a lent number. The machine that lent it has recorded it for this run already."""
    number, generation, k = (_whole(found, key, url) for key in ("number", "generation", "k"))
    lineage, node = found.get("lineage"), found.get("node")
    if not isinstance(lineage, str) or not isinstance(node, str):
        raise _unusable(url, "it is malformed")
    if found.get("line") != request.line:
        raise _unusable(url, f"the run has {found.get('text')} on another line")
    lent = request._replace(lent={"by": node})
    taken = taken_of(lent, number, LENT, lineage)
    if found.get("text") != taken.text:
        raise _unusable(url, f"it says {found.get('text')!r} where {taken.text!r} is meant")
    already = number_of_run(journal, request.deliverable, request.run)
    if already is not None:
        return already
    with journal.write() as transaction:
        connection = transaction.connection
        ours = known.store_state(connection).lineage
        if ours and lineage != ours:
            raise Refused(
                "the lender belongs to another store",
                why=f"its numbers are of the store {lineage[:8]}…, this machine speaks to"
                f" {ours[:8]}…",
                hint="set [store] lender to a machine of the same store",
                name="wrong-lineage",
            )
        again = holdings.taken_by(connection, request.deliverable, request.run)
        if again is None:
            above = holdings.highest_known(connection, request.deliverable, request.line)
            in_use = holdings.order_in_use(connection, request.deliverable, taken.sort_key)
            if in_use or number <= above:
                raise _unusable(url, f"{taken.text} or a higher number is in use here already")
            return record_use(transaction, lent, taken, generation, k)
    found_again = number_of_run(journal, request.deliverable, request.run)
    assert found_again is not None
    return found_again


def _whole(found: dict[str, Any], key: str, url: str) -> int:
    value = found.get(key)
    if type(value) is not int or not 0 <= value < 2**63:
        raise _unusable(url, f"its {key} is malformed")
    return value


def _unusable(url: str, why: str) -> Conflict:
    return Conflict(
        "the number of the lender cannot be used",
        why=why,
        hint=f"begin a new run; 'cxlocal version list' on the lender ({url}) shows what it lent",
        name="unusable-loan",
    )
