"""Moving from one store to another: the old one hands out nothing more, the new one counts above it.
All of a store moves, or some deliverables, and the others stay.

The old store says how far its lines were counted when it stops: nothing was granted above that,
and nothing is granted after. The new store raises its cursors to there by entries that name
the old one's lineage. A number of that lineage that lies below such an entry is then expected.
"""

from __future__ import annotations

from typing import Any

from cxlocal.errors import Refused
from cxlocal.exchange.messages import STORE_LEFT, BadMessage, text_of, whole_of
from cxlocal.numbers import log
from cxlocal.numbers.schemes import NUMBER_MAX
from cxlocal.text import quoted
from cxlocal_sync.stores.grants import Granter
from cxlocal_sync.stores.session import Session

LINES_MAX = 100_000
"""Lines in one adoption: more than a store of one person ever counts."""
WORDS_MAX = 300
_ADOPT = "cxlocal store adopt"


NAMES_MAX = 1000
"""Deliverables that leave together: more is a mistake."""

_IN_CONTACT = """
SELECT node FROM node WHERE token_count IS NOT NULL
UNION SELECT n.node FROM node n WHERE EXISTS (SELECT 1 FROM event e WHERE e.carrier = n.id)
UNION SELECT node FROM grant_entry WHERE kind <> 'raise'
"""
"""Who spoke to this store. Not every kind of store keeps the tokens of all in one place."""


_WORKS_ON = """
SELECT n.node FROM event e JOIN node n ON n.id = e.node WHERE e.deliverable = ?
UNION SELECT node FROM grant_entry WHERE kind <> 'raise' AND deliverable = ?
"""
"""Who recorded something of a deliverable, or was granted numbers of it."""


def retire(session: Session, granter: Granter, part: Any, node: str) -> list[list[Any]]:
    """Hand out nothing more; (deliverable, line, highest number ever granted) of every line.

    Raises Refused where other machines use this store, unless the message says that they are known.
    """
    to, others, own = _read_farewell(part, node)
    users = {row[0] for row in session.execute(_IN_CONTACT).fetchall()}
    _refuse_strangers(users - own, to, others=others)
    granter.stop("", STORE_LEFT, f"its history and its numbers go on at {to}: {_ADOPT} {to}")
    found = session.execute(
        "SELECT deliverable, line, online, high FROM cursor ORDER BY deliverable, line"
    ).fetchall()
    return _highest(found)


def leave(session: Session, granter: Granter, part: Any, node: str) -> list[list[Any]]:
    """The same for some deliverables alone; of the others everything goes on."""
    to, others, own = _read_farewell(part, node)
    names = part.get("deliverables")
    if not isinstance(names, list) or not 0 < len(names) <= NAMES_MAX:
        raise BadMessage("the message holds a malformed farewell", why="deliverables")
    found: list[Any] = []
    for name in sorted({text_of(each) for each in names}):
        users = {row[0] for row in session.execute(_WORKS_ON, (name, name)).fetchall()}
        _refuse_strangers(users - own, to, others=others, name=name)
        why = f"the history and the numbers of {name} go on at {to}: {_ADOPT} {to}"
        granter.stop(name, STORE_LEFT, why)
        found += session.execute(
            "SELECT deliverable, line, online, high FROM cursor WHERE deliverable = ? ORDER BY line",
            (name,),
        ).fetchall()
    return _highest(found)


def _read_farewell(part: Any, node: str) -> tuple[str, bool, set[str]]:
    """Where it goes on, whether others are known to follow, and whose machine is leaving."""
    try:
        to, others = text_of(part["to"])[:WORDS_MAX], part.get("others") is True
        return to, others, {text_of(each) for each in part.get("own", [])} | {node}
    except (KeyError, TypeError, AttributeError) as error:
        raise BadMessage("the message holds a malformed farewell", why=repr(error)) from error


def _refuse_strangers(strangers: set[str], to: str, *, others: bool, name: str = "") -> None:
    if not strangers or others:
        return
    raise Refused(
        f"other machines work on {name} with this store"
        if name
        else "other machines use this store",
        why=f"{len(strangers)} of them were in contact, such as {min(strangers)[:8]}; none of them"
        f" would get a number {f'of {name} ' if name else ''}from it any more",
        hint=f"cxlocal store adopt {quoted(to)} --with-others, and then the same on each of them",
        name="not-alone",
    )


def _highest(rows: list[Any]) -> list[list[Any]]:
    # Reserves too, given up or not: what was granted once is never granted again.
    return [[deliverable, line, max(online, high)] for deliverable, line, online, high in rows]


def adopt(session: Session, granter: Granter, part: Any, node: str) -> bool:
    """Count above what another store counted. Whether anything was, or with ``only_ask`` would be,
    new here.

    Raises Refused where this store has counted one of the lines itself: two runs could hold the same
    number then, and both are kept and shown as conflicted, so a person has to say that it is known.
    """
    lineage, lines, known, only_ask = _read_adoption(part)
    for name in sorted({each[0] for each in lines}):
        _refuse_left(granter, name)
    fresh = [each for each in lines if not granter.adopted(*each, lineage)]
    counted = [each for each in fresh if _counted_here(session, lineage, *each[:2])]
    if counted and not known:
        deliverable, line, number = counted[0]
        raise Refused(
            f"this store counts line {line!r} of {deliverable} already",
            why=f"the other one counted it up to {number}: the same numbers may be in use twice",
            hint="set another [version] line; or adopt it all the same, with such numbers shown as"
            " conflicted: cxlocal store adopt URL --conflicts-known",
            name="counted-already",
        )
    if only_ask:
        return bool(fresh)
    for deliverable, line, number in fresh:
        state = granter.state(deliverable, line)
        # Where it is above already, one number is skipped to say whose numbers are expected.
        span = (state.online + 1, max(number, state.online + 1))
        why = f"numbers up to {number} were counted by another store, which was adopted"
        granter.append(deliverable, line, state, log.RAISE, *span, node=node, run=lineage, why=why)
    session.execute("UPDATE store SET parent_lineage = ? WHERE parent_lineage = ''", (lineage,))
    return bool(fresh)


def _refuse_left(granter: Granter, name: str) -> None:
    """What left a store never comes back: machines that did not follow may still be led away."""
    cause, why = granter.stopped(name) or ("", "")
    if cause == STORE_LEFT:
        raise Refused(
            f"this store counts {name} no more",
            why=why,
            hint="set [store] url to where it went on, or adopt a store that never counted it",
            name="store-left",
        )


def _counted_here(session: Session, lineage: str, deliverable: str, line: str) -> bool:
    """Whether this store granted numbers of a line before it heard of that lineage."""
    row = session.execute(
        "SELECT 1 FROM grant_entry WHERE deliverable = ? AND line = ? AND kind <> 'raise'"
        " AND NOT EXISTS (SELECT 1 FROM grant_entry a WHERE a.deliverable = ? AND a.line = ?"
        " AND a.kind = 'raise' AND a.run = ?) LIMIT 1",
        (deliverable, line, deliverable, line, lineage),
    ).fetchone()
    return row is not None


def _read_adoption(part: Any) -> tuple[str, list[tuple[str, str, int]], bool, bool]:
    try:
        lineage = text_of(part["lineage"])
        lines = [(text_of(one[0]), text_of(one[1]), whole_of(one[2])) for one in part["lines"]]
        known, only_ask = part.get("conflicts_known") is True, part.get("only_ask") is True
    except (KeyError, TypeError, AttributeError, IndexError) as error:
        raise BadMessage("the message holds a malformed adoption", why=repr(error)) from error
    if not lineage or len(lines) > LINES_MAX:
        raise BadMessage("the message holds a malformed adoption", why="lineage or lines")
    if any(not 0 <= number <= NUMBER_MAX for _, _, number in lines):
        raise BadMessage("the message holds a malformed adoption", why="a number out of range")
    return lineage, lines, known, only_ask
