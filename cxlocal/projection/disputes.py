"""Where two histories of one chain disagree, and what a row says until a person has named one. Pure.

Two histories come about honestly (a copied journal, a restored backup: each goes on with work of its
own) and by rewriting. What only one of them speaks of is no disagreement: facts are only ever added.
They disagree where both say something of one row, and not the same; and where one event, told by its
id, is written differently.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from cxlocal.events.document import Event
from cxlocal.projection.apply import plain
from cxlocal.projection.facts import Fact
from cxlocal.projection.project import project, stamp
from cxlocal.values import NamedTuple

_WORSE = {"success": 0, "cancel": 1, "error": 2, "failure": 3}
_STRICTER = {"granted": 0, "overridden": 1, "undecided": 2, "denied": 3}
RANKED: dict[tuple[str, str], tuple[str, dict[Any, int]]] = {
    ("run", "finished"): ("outcome", _WORSE),
    ("run", "reverified"): ("reverified", {1: 0, 0: 1}),
    ("stage_run", "finished"): ("outcome", _WORSE),
    ("report", "finished"): ("outcome", _WORSE),
    ("promotion", "decided"): ("decision", _STRICTER),
}
"""Table and group: the column that decides, and what counts more in a dispute. Anything else that
stands there counts most."""

SETTLED = (
    "run", "stage_run", "artifact", "report", "promotion", "promotion_artifact", "version",
    "deployment", "deployment_attempt", "deployment_replaces",
)  # fmt: skip
"""Tables whose rows follow the history that a person named: each row is spoken of by events of its
own run. The others are unions, or keep what was said last."""

_COMPARED = {
    ("run", "queued"): ("kind", "revision", "plan_sha256"),
    ("run", "started"): ("version", "line", "number"),
    ("run", "finished"): ("outcome",),
    ("run", "reverified"): ("reverified",),
    ("stage_run", "started"): ("stage", "kind", "environment"),
    ("stage_run", "finished"): ("outcome",),
    ("report", "finished"): ("outcome", "total", "failed", "errors"),
}
"""What of a row is compared where it is two events that speak of it, not one that was rewritten: two
copies of a journal that go on with one run say other times, hosts and logs, and rightly so."""

_HERE_ALONE = ("received_at", "removed_received_at")
"""Columns that differ between machines by nature."""


class Claim(NamedTuple):
    """A fact, and which event states it."""

    stamp: str
    fact: Fact
    event: Event


class Disagreement(NamedTuple):
    """A value on which two histories differ."""

    what: str
    """The table."""
    subject: tuple[Any, ...]
    """Key of the row, or what several rows are about."""
    field: str
    """The column; empty where only one of them has the row."""
    values: tuple[Any, Any]
    claims: tuple[Claim, ...]

    @property
    def event(self) -> Event:
        """One of the events that say so."""
        return self.claims[0].event


def disagreements(one: Sequence[Event], other: Sequence[Event]) -> list[Disagreement]:
    """Where two histories disagree, given the events that each has for itself."""
    found = [*_of_events(one, other), *_of_rows(one, other)]
    unique: dict[tuple[Any, ...], Disagreement] = {}
    for each in found:
        unique.setdefault((each.what, each.subject, each.field), each)
    return list(unique.values())


def claims_of(events: Iterable[Event]) -> list[Claim]:
    """Every fact that writes columns."""
    return [
        Claim(stamp(event), fact, event)
        for event in events
        for fact in project(event)
        if fact.group
    ]


def decide(claims: Sequence[Claim], disputed: frozenset[str]) -> dict[str, Any]:
    """What one group of one row says, by all claims that count. ``disputed``: the stamps of those that
    two histories disagree on; of these the worse is taken. Empty for no claim."""
    if not claims:
        return {}
    last = max(claims)
    rank = RANKED.get((last.fact.table, last.fact.group))
    if rank is None or last.stamp not in disputed:
        return last.fact.values
    column, order = rank
    worst = max(
        (each for each in claims if each.stamp in disputed),
        key=lambda each: (order.get(each.fact.values.get(column), len(order)), each.stamp),
    )
    return worst.fact.values


def _of_events(one: Sequence[Event], other: Sequence[Event]) -> Iterable[Disagreement]:
    """By the id of an event: written twice, and not alike."""
    again = {_id_of(event): event for event in other}
    for event in one:
        twin = again.get(_id_of(event))
        if twin is None or twin.document == event.document or not _id_of(event):
            continue
        here, there = ({each.fact[:3]: each for each in claims_of([e])} for e in (event, twin))
        for name in {**here, **there}:
            yield from _of_claims(here.get(name), there.get(name))


def _of_claims(one: Claim | None, other: Claim | None) -> Iterable[Disagreement]:
    claims = tuple(each for each in (one, other) if each is not None)
    fact = claims[0].fact
    if one is None or other is None:
        said = (None if one is None else "said", None if other is None else "said")
        yield Disagreement(fact.table, fact.key, "", said, claims)
        return
    for field in fact.values:
        pair = (plain(one.fact.values.get(field)), plain(other.fact.values.get(field)))
        if pair[0] != pair[1] and field not in _HERE_ALONE:
            yield Disagreement(fact.table, fact.key, field, pair, claims)


def _of_rows(one: Sequence[Event], other: Sequence[Event]) -> Iterable[Disagreement]:
    """By what is spoken of: by both, last of all, and not alike."""
    here, there = _last_words(one), _last_words(other)
    documents = ({event.document for event in one}, {event.document for event in other})
    for name, (claim, values) in here.items():
        if name not in there:
            continue
        answer, others = there[name]
        # What the other history has too it has gone on from: that is no disagreement.
        if claim.event.document in documents[1] or answer.event.document in documents[0]:
            continue
        table, subject = name[0], name[1]
        for field, value in values.items():
            if value != others[field]:
                pair = (value, others[field])
                yield Disagreement(table, subject, field, pair, (claim, answer))


def _last_words(
    events: Sequence[Event],
) -> dict[tuple[Any, ...], tuple[Claim, dict[str, Any]]]:
    """By table, subject and group: the claim that counts in this history, and what is compared of it."""
    found: dict[tuple[Any, ...], tuple[Claim, dict[str, Any]]] = {}
    for claim in sorted(claims_of(events), key=_turn):
        told = _compared(claim.fact)
        if told is not None:
            subject, values = told
            found[claim.fact.table, subject, claim.fact.group] = (claim, values)
    return found


def _turn(claim: Claim) -> tuple[int, str]:
    turn = claim.fact.values.get("turn")
    return (turn if type(turn) is int else 0, claim.stamp)


def _compared(fact: Fact) -> tuple[tuple[Any, ...], dict[str, Any]] | None:
    """What a fact is about, and what is compared of it; None for nothing."""
    values = fact.values
    columns = _COMPARED.get((fact.table, fact.group))
    if columns is not None:
        return fact.key, {name: plain(values.get(name)) for name in columns}
    if fact.table == "artifact":
        return fact.key[:2], {"sha256": plain(fact.key[2])}
    if fact.table == "promotion":
        about = (plain(values.get("run")), plain(values.get("name")))
        return about, {"decision": plain(values.get("decision"))}
    if fact.table == "version":
        deliverable, line, number, run = fact.key
        return (deliverable, run), {"line": plain(line), "number": plain(number)}
    return None


def _id_of(event: Event) -> str:
    try:
        return str(event.parsed()["context"]["id"])
    except (KeyError, TypeError, ValueError, RecursionError):
        return ""
