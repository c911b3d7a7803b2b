"""Lending: a kept machine numbers the run of another machine out of its own reserve.

It is the spending of every day, for somebody else's run: one transaction with the event that says so,
which names the borrower. So the number counts as used from that moment, whatever becomes of the
answer: the same run asking again gets the same one, and no other run ever does.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from cxlocal.allocation.allocator import take_offline
from cxlocal.allocation.request import NumberRequest, number_of_run
from cxlocal.domain import deliverable_id
from cxlocal.errors import CxError, Refused, StoreNeeded, UsageError
from cxlocal.exchange.copies import why_doubtful
from cxlocal.journal.file import Journal
from cxlocal.journal.witness import note_head
from cxlocal.numbers import holdings
from cxlocal.numbers.schemes import Scheme
from cxlocal.text import is_hexadecimal

TEXT_MAX = 200
"""Characters of a name that somebody else sends; runs have 36."""

ACTOR_MAX = 10
"""Things said of an actor; cxlocal says three."""


def lend(
    journal: Journal, asked: Any, find_scheme: Callable[[str], Scheme], member: str
) -> dict[str, Any]:
    """The number of a run of another machine, durable when this returns, and who granted it.

    ``asked`` is what came over the wire: deliverable, line, scheme, run, node, actor, above.
    Raises UsageError for a malformed question, Refused where nothing is left or the reserve is
    locked, ConfigError for a scheme or line nobody here can count on.
    """
    request = _read(asked, find_scheme, member)
    request.scheme.check_line(request.line)
    found = number_of_run(journal, request.deliverable, request.run)
    if found is None:
        try:
            found = take_offline(journal, request)
        except StoreNeeded as error:
            raise _empty(journal, request) from error
    else:
        note_head(journal)  # whoever took it may have been cut off before
    if found.number is None:
        raise Refused(
            "the run has a version without a number",
            why=f"{found.text} was made where no number was left",
            hint="begin a new run",
            name="no-number-to-lend",
        )
    lineage, generation, k = _granted(journal, request, found.line, found.number)
    return {
        "line": found.line, "number": found.number, "text": found.text, "lineage": lineage,
        "generation": generation, "k": k, "node": journal.node,
    }  # fmt: skip


def left_to_lend(journal: Journal, asked: Any) -> dict[str, Any]:
    """How many numbers of a line could be lent now. Raises UsageError."""
    deliverable, line = _deliverable(asked), _text(asked, "line", least=0)
    reserve = holdings.reserve_of(journal.connection, deliverable, line)
    locked = reserve is not None and (reserve.locked or bool(why_doubtful(journal)))
    return {"left": 0 if reserve is None else reserve.left, "locked": locked}


def _read(asked: Any, find_scheme: Callable[[str], Scheme], member: str) -> NumberRequest:
    deliverable, node = _deliverable(asked), _text(asked, "node")
    above, actor = asked.get("above"), asked.get("actor")
    if not is_hexadecimal(node, 32) or type(above) is not int or not -1 <= above < 2**63:
        raise malformed("node or above")
    if (
        not isinstance(actor, dict)
        or len(actor) > ACTOR_MAX
        or not all(
            isinstance(part, str) and len(part) <= TEXT_MAX
            for pair in actor.items()
            for part in pair
        )
    ):
        raise malformed("actor")
    return NumberRequest(
        deliverable, _text(asked, "line", least=0), find_scheme(_text(asked, "scheme")),
        _text(asked, "run"), actor, above=above, lent={"to": node, "member": member},
    )  # fmt: skip


def _deliverable(asked: Any) -> str:
    try:
        return deliverable_id(_text(asked, "deliverable"))
    except CxError as error:
        raise malformed("deliverable") from error


def _text(asked: Any, key: str, least: int = 1) -> str:
    value = asked.get(key) if isinstance(asked, dict) else None
    if not isinstance(value, str) or not least <= len(value) <= TEXT_MAX or not value.isprintable():
        raise malformed(key)
    return value


def malformed(key: str) -> UsageError:
    """The error for a question that no client of cxlocal asks."""
    return UsageError(
        "the request for a number is malformed",
        why=f"{key} is missing or of the wrong form",
        hint="see docs/numbers.md, 'Lent numbers'",
        name="bad-request",
    )


def _granted(
    journal: Journal, request: NumberRequest, line: str, number: int
) -> tuple[str, int, int]:
    """(lineage, generation, k) of the grant the number is out of; k is 0 where it was not ours."""
    row = journal.connection.execute(
        "SELECT lineage, generation FROM version WHERE deliverable = ? AND line = ? AND number = ?"
        " AND run = ?",
        (request.deliverable, line, number, request.run),
    ).fetchone()
    reserve = holdings.reserve_of(journal.connection, request.deliverable, line)
    if reserve is not None and reserve.lo <= number <= reserve.hi:
        return reserve.lineage, reserve.generation, reserve.k
    return (row[0] or "", row[1] or 0, 0) if row else ("", 0, 0)


def _empty(journal: Journal, request: NumberRequest) -> Refused:
    reserve = holdings.reserve_of(journal.connection, request.deliverable, request.line)
    if reserve is None:
        why = f"it never held one of line {request.line!r} of {request.deliverable!r}"
    else:
        why = f"of {reserve.lo} to {reserve.hi} on line {request.line!r} none above {request.above}"
        why += " is left"
    return Refused(
        "the lender holds no number for this run",
        why=why,
        hint="on the lender, 'cxlocal sync' once the store answers; more at once: [store] lends"
        " in cx.local.toml there",
        name="lender-empty",
    )
