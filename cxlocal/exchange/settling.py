"""A person names which of two histories of a machine counts. Recorded, and so true on every machine.

What a chain's histories say of each deliverable is settled by an event of that deliverable: whoever may not
push its history may not settle it either, and who follows that deliverable alone learns of it.
"""

from __future__ import annotations

from cxlocal.domain import Actor
from cxlocal.errors import UsageError
from cxlocal.events.document import Draft
from cxlocal.events.machines import node_settled
from cxlocal.exchange.standing import require
from cxlocal.journal.file import Journal
from cxlocal.journal.histories import Pair, end_of, pairs_of
from cxlocal.values import NamedTuple

PREFIX_MIN = 4
"""Digits of an id or a hash that may stand for it."""

_IN_QUESTION = """
SELECT q.node, coalesce(m.host, '') AS host FROM (
  SELECT node FROM disputed UNION SELECT subject FROM open_flags WHERE kind = 'store-changed') q
LEFT JOIN machine m ON m.node = q.node ORDER BY q.node
"""


class Question(NamedTuple):
    """A machine whose histories a person can settle, and the two or more of them."""

    node: str
    host: str
    pairs: list[Pair]

    @property
    def histories(self) -> list[str]:
        """Their names."""
        return sorted({name for pair in self.pairs for name in pair.names})


def questions(journal: Journal) -> list[Question]:
    """Everything that is to be settled. Call after ``catch_up``."""
    found = []
    for row in journal.query(_IN_QUESTION):
        pairs = pairs_of(journal.connection, row["node"])
        disputed = {
            (one["one"], one["other"])
            for one in journal.query(
                "SELECT DISTINCT one, other FROM disputed WHERE node = ?", (row["node"],)
            )
        }
        pairs = [pair for pair in pairs if pair.names in disputed] or pairs
        if pairs:
            found.append(Question(row["node"], row["host"], pairs))
    return found


def settle(journal: Journal, machine: str, keep: str, reason: str, actor: Actor) -> Question:
    """Record that of the histories of ``machine`` (its name or id) the one called ``keep`` counts.

    Raises UsageError where one of them is not to be settled, Refused where nobody is named or the store
    does not let this machine push what it is about.
    """
    actor.require_named("settling")
    question = _find(questions(journal), machine)
    kept = _history(question, keep)
    drafts = _drafts(journal, question, kept, reason, actor)
    for draft in drafts:
        if draft.deliverable is not None:
            require(journal, draft.deliverable, "push")
    journal.append(*drafts)
    return question


def _find(known: list[Question], machine: str) -> Question:
    found = [
        each
        for each in known
        if machine == each.host or (len(machine) >= PREFIX_MIN and each.node.startswith(machine))
    ]
    if len(found) == 1:
        return found[0]
    names = ", ".join(f"{each.host} ({each.node[:8]})" for each in known) or "none"
    raise UsageError(
        f"{machine!r} names {len(found)} machines whose histories are to be settled",
        why=f"two histories that disagree have: {names}",
        hint="name one by the beginning of its id"
        if known
        else "'cxlocal status' lists open flags",
        name="no-such-dispute",
    )


def _history(question: Question, keep: str) -> str:
    found = [name for name in question.histories if keep and name.startswith(keep)]
    if len(found) == 1 and len(keep) >= PREFIX_MIN:
        return found[0]
    raise UsageError(
        f"{keep!r} names {len(found) if len(keep) >= PREFIX_MIN else 'no'} history of"
        f" {question.host} ({question.node[:8]})",
        why=f"it has these: {', '.join(question.histories)}",
        hint="'cxlocal status' says which of them the store had first, and in what they differ",
        name="no-such-history",
    )


def _drafts(
    journal: Journal, question: Question, kept: str, reason: str, actor: Actor
) -> list[Draft]:
    pairs = [pair for pair in question.pairs if kept in pair.names]
    rows = journal.query(
        "SELECT DISTINCT deliverable, run FROM disputed WHERE node = ? AND ? IN (one, other)"
        " ORDER BY deliverable, run",
        (question.node, kept),
    )
    about: dict[str | None, list[str]] = {}
    for row in rows:
        runs = about.setdefault(row["deliverable"], [])
        if row["run"] is not None:
            runs.append(row["run"])
    return [
        _draft(journal, pairs, kept, deliverable, runs, reason, actor)
        for deliverable, runs in (about or {None: []}).items()
    ]


def _draft(
    journal: Journal, pairs: list[Pair], kept: str, deliverable: str | None, runs: list[str],
    reason: str, actor: Actor,
) -> Draft:  # fmt: skip
    ends: tuple[list[list[object]], list[list[object]]] = ([], [])
    for pair in pairs:
        for name, part in zip(pair.names, pair.parts, strict=True):
            end = end_of(journal.connection, pair.node, part, deliverable)
            side = ends[0] if name == kept else ends[1]
            if end is not None and list(end) not in side:
                side.append(list(end))
    return node_settled(
        node=pairs[0].node, deliverable=deliverable, first=min(pair.position for pair in pairs),
        kept=ends[0], dropped=ends[1], runs=runs, reason=reason, actor=actor._asdict(),
    )  # fmt: skip
