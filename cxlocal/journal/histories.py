"""Second histories of a chain: found, compared, and their disputes written to the projected tables.

Branches are numbered as they arrive, so nothing here depends on the numbers: a history is a path from
the first event to one of the ends, and is named by the first event that no other has. What comes out is a
function of the events held, in whatever order they came (decision 24).
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from itertools import combinations
from typing import Any

from cxlocal.events.document import Event
from cxlocal.journal.forks import forked_chains
from cxlocal.journal.read import PAGE_EVENTS, SELECT, event_of
from cxlocal.journal.schema import NAME_DIGITS
from cxlocal.projection.apply import count_attempts, plain
from cxlocal.projection.disputes import (
    SETTLED,
    Claim,
    Disagreement,
    claims_of,
    decide,
    disagreements,
)
from cxlocal.projection.tables import TABLES
from cxlocal.values import NamedTuple

Stretch = tuple[int, int, int]
"""Branch, first and last sequence."""
END = 2**63 - 1
Row = tuple[str, tuple[Any, ...], str]
"""Table, key, group."""


class Pair(NamedTuple):
    """Two histories of one chain."""

    node: str
    names: tuple[str, str]
    """In the order of the alphabet."""
    parts: tuple[list[Stretch], list[Stretch]]
    """What each has for itself."""
    position: int
    """The first sequence where they differ."""


class Settled(NamedTuple):
    """What a person's word covers of a chain."""

    deliverable: str | None
    kept: list[Stretch]
    dropped: list[Stretch]
    runs: frozenset[str]

    def covers(self, event: Event) -> bool:
        """Whether the event was known when it was said: it is compared with nothing any more."""
        return event.deliverable == self.deliverable and (
            _lies_in(event, self.kept) or _lies_in(event, self.dropped)
        )

    def drops(self, event: Event) -> bool:
        """Whether what the event says does not count."""
        return (
            event.deliverable == self.deliverable
            and event.run in self.runs
            and _lies_in(event, self.dropped)
            and not _lies_in(event, self.kept)
        )


def judge(source: sqlite3.Connection, target: sqlite3.Connection) -> None:
    """Write to the projected tables of ``target`` what the histories in ``source`` disagree about,
    and what a row says because of it. Every event is projected there already."""
    rows: dict[tuple[Any, ...], Disagreement] = {}
    touched: dict[Row, set[str]] = {}
    disputed: dict[Row, set[str]] = {}
    dropped: set[bytes] = set()
    for what, subject, field, run in target.execute(
        "SELECT what, subject, field, run FROM disputed"
    ).fetchall():
        _touch(touched, what, tuple(json.loads(subject)), field, run)
    places: dict[tuple[Any, ...], Pair] = {}
    for node_id, node in forked_chains(source):
        paths = _paths(source, node_id)
        words = _settled(source, target, (node_id, node), paths)
        dropped |= _dropped(source, node, words, touched)
        for pair in _pairs(source, (node_id, node), paths):
            for each in _compare(source, node_id, pair, words):
                key = (node, *pair.names, each.what, _text(each.subject), each.field)
                rows[key], places[key] = each, pair
                _touch(touched, each.what, each.subject, each.field, each.event.run)
                for claim in each.claims:
                    name = (claim.fact.table, tuple(map(plain, claim.fact.key)), claim.fact.group)
                    disputed.setdefault(name, set()).add(claim.stamp)
    target.execute("DELETE FROM disputed")
    for key, each in sorted(rows.items()):
        _write(target, key, each, places[key])
    _correct(source, target, touched, disputed, dropped)


def _touch(
    touched: dict[Row, set[str]], what: str, subject: tuple[Any, ...], field: str, run: str | None
) -> None:
    """Note the groups of a row that are to be decided anew."""
    table = TABLES.get(what)
    if what not in SETTLED or table is None or len(subject) != len(table.key) or run is None:
        return
    key = tuple(map(plain, subject))
    groups = [table.columns[field].group] if field else list(table.groups)
    for group in groups:
        touched.setdefault((what, key, group), set()).add(run)


def _write(
    target: sqlite3.Connection, key: tuple[Any, ...], each: Disagreement, pair: Pair
) -> None:
    values = tuple(None if value is None else str(value) for value in each.values)
    target.execute(
        "INSERT INTO disputed (node, one, other, what, subject, field, position, deliverable, run,"
        " one_value, other_value, found_from) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            *key, pair.position, each.event.deliverable, each.event.run, *values,
            max(claim.stamp for claim in each.claims),
        ),
    )  # fmt: skip


def _correct(
    source: sqlite3.Connection,
    target: sqlite3.Connection,
    touched: dict[Row, set[str]],
    disputed: dict[Row, set[str]],
    dropped: set[bytes],
) -> None:
    """Let each touched row say what all events that speak of it come to."""
    claims: dict[Row, list[Claim]] = {}
    for run in sorted(set().union(*touched.values())):
        for event in _run_events(source, run):
            for claim in claims_of([event]):
                name = (claim.fact.table, tuple(map(plain, claim.fact.key)), claim.fact.group)
                if name in touched:
                    claims.setdefault(name, []).append(claim)
    for (table, key, group), known in claims.items():
        where = " AND ".join(f"{column} = ?" for column in TABLES[table].key)
        # sql: names out of TABLES; values are marks
        found = target.execute(f"SELECT {group}_from FROM {table} WHERE {where}", key).fetchone()
        # What another run's event says there later on is not touched.
        if found is None or found[0] not in {claim.stamp for claim in known}:
            continue
        counting = [claim for claim in known if claim.event.hash not in dropped]
        values = decide(counting, frozenset(disputed.get((table, key, group), ())))
        columns = TABLES[table].groups[group]
        marks = ", ".join(f'"{column}" = ?' for column in columns)
        # sql: the same
        target.execute(
            f"UPDATE {table} SET {marks} WHERE {where}",
            (*(plain(values.get(column)) for column in columns), *key),
        )
        if table == "stage_run" and not counting:
            # A bare row is of no stage, and counts for none.
            target.execute("UPDATE stage_run SET counts = NULL WHERE id = ? AND run IS NULL", key)
    for run in set().union(*touched.values()):
        _count_again(target, run)


def _count_again(target: sqlite3.Connection, run: str) -> None:
    """Say anew which attempts of a run's stages count, as rows of them have changed."""
    for (stage_run,) in target.execute(
        "SELECT min(id) FROM stage_run WHERE run = ? GROUP BY stage", (run,)
    ).fetchall():
        count_attempts(target, stage_run)


def pairs_of(connection: sqlite3.Connection, node: str) -> list[Pair]:
    """Every two histories of a chain that are known here."""
    return [
        pair
        for node_id, name in forked_chains(connection)
        if name == node
        for pair in _pairs(connection, (node_id, name), _paths(connection, node_id))
    ]


def end_of(
    connection: sqlite3.Connection, node: str, part: list[Stretch], deliverable: str | None
) -> tuple[int, str] | None:
    """The last event of a deliverable (None: of none) in a part of a history: sequence and hash."""
    for branch, first, last in part:
        row = connection.execute(
            "SELECT e.sequence, e.hash FROM event e"
            " LEFT JOIN deliverable_lookup d ON d.id = e.deliverable"
            " WHERE e.node = (SELECT id FROM node_lookup WHERE name = ?) AND e.branch = ?"
            " AND e.sequence BETWEEN ? AND ? AND d.name IS ? ORDER BY e.sequence DESC LIMIT 1",
            (node, branch, first, last, deliverable),
        ).fetchone()
        if row is not None:
            return int(row[0]), row[1].hex()
    return None


def _paths(connection: sqlite3.Connection, node_id: int) -> dict[int, list[Stretch]]:
    """By branch, the history that ends with it: what is its own first, then what it follows."""
    firsts = connection.execute(
        "SELECT branch, min(sequence) FROM event WHERE node = ? AND branch <> 0"
        " GROUP BY branch ORDER BY 2, 1",
        (node_id,),
    ).fetchall()
    paths: dict[int, list[Stretch]] = {0: [(0, 1, END)]}
    for branch, first in firsts:
        parent = connection.execute(
            "SELECT p.branch FROM event e JOIN event p ON p.node = e.node"
            " AND p.sequence = e.sequence - 1 AND p.hash = e.previous"
            " WHERE e.node = ? AND e.branch = ? AND e.sequence = ?",
            (node_id, branch, first),
        ).fetchone()
        # Held in part, its beginning may be elsewhere: it then follows what all have in common.
        before = paths.get(parent[0] if parent else 0, paths[0])
        paths[branch] = [(branch, first, END), *_below(before, first)]
    return paths


def _below(path: list[Stretch], sequence: int) -> list[Stretch]:
    return [
        (branch, first, min(last, sequence - 1)) for branch, first, last in path if first < sequence
    ]


def _above(path: list[Stretch], sequence: int) -> list[Stretch]:
    return [
        (branch, max(first, sequence + 1), last) for branch, first, last in path if last > sequence
    ]


def _pairs(
    connection: sqlite3.Connection, node: tuple[int, str], paths: dict[int, list[Stretch]]
) -> Iterator[Pair]:
    common = {
        (one, other): _common(paths[one], paths[other])
        for one, other in combinations(sorted(paths), 2)
    }
    names = {}
    for branch, path in paths.items():
        # A history is named by its first event that no other one has.
        shared = max((last for pair, last in common.items() if branch in pair), default=0)
        names[branch] = _name(connection, node[0], _above(path, shared))
    for branches, last in common.items():
        one, other = sorted(branches, key=names.__getitem__)
        if names[one]:
            parts = _above(paths[one], last), _above(paths[other], last)
            yield Pair(node[1], (names[one], names[other]), parts, last + 1)


def _common(one: list[Stretch], other: list[Stretch]) -> int:
    """The last sequence up to which two histories are one."""
    theirs = {branch: last for branch, _, last in other}
    return max(
        (min(last, theirs[branch]) for branch, _, last in one if branch in theirs), default=0
    )


def _name(connection: sqlite3.Connection, node_id: int, part: list[Stretch]) -> str:
    """Empty where a history has nothing of its own."""
    for branch, first, last in reversed(part):
        row = connection.execute(
            "SELECT hash FROM event WHERE node = ? AND branch = ? AND sequence BETWEEN ? AND ?"
            " ORDER BY sequence LIMIT 1",
            (node_id, branch, first, last),
        ).fetchone()
        if row is not None:
            return str(row[0].hex()[:NAME_DIGITS])
    return ""


def _compare(
    connection: sqlite3.Connection, node_id: int, pair: Pair, words: list[Settled]
) -> list[Disagreement]:
    runs, loose = _differing(connection, node_id, pair.parts)
    sides: tuple[list[Event], list[Event]] = (loose[0], loose[1])
    for run in sorted(runs):
        for event in _run_events(connection, run):
            for side, part in zip(sides, pair.parts, strict=True):
                if event.node == pair.node and _lies_in(event, part):
                    side.append(event)
    one, other = (
        [event for event in side if not any(word.covers(event) for word in words)] for side in sides
    )
    return disagreements(one, other)


def _differing(
    connection: sqlite3.Connection, node_id: int, parts: tuple[list[Stretch], list[Stretch]]
) -> tuple[set[str], tuple[list[Event], list[Event]]]:
    """The runs that the histories may disagree about, and events of no run that differ.

    Where documents are alike position by position, there is nothing to compare; behind the end of the
    shorter one there is nothing to compare with.
    """
    runs: set[str] = set()
    loose: tuple[list[Event], list[Event]] = ([], [])
    streams = (_walk(connection, node_id, parts[0]), _walk(connection, node_id, parts[1]))
    one, other = next(streams[0], None), next(streams[1], None)
    while one is not None and other is not None:
        lower = min(one.sequence, other.sequence)
        now = [event if event.sequence == lower else None for event in (one, other)]
        if one.sequence != other.sequence or one.document != other.document:
            for side, event in zip(loose, now, strict=True):
                if event is not None and event.run is not None:
                    runs.add(event.run)
                elif event is not None:
                    side.append(event)
        one = one if now[0] is None else next(streams[0], None)
        other = other if now[1] is None else next(streams[1], None)
    return runs, loose


def _walk(connection: sqlite3.Connection, node_id: int, part: list[Stretch]) -> Iterator[Event]:
    sql = SELECT + (
        " WHERE event.node = ? AND event.branch = ? AND event.sequence BETWEEN ? AND ?"
        " ORDER BY event.sequence LIMIT ?"
    )
    for branch, first, last in reversed(part):
        after = first
        while True:
            rows = connection.execute(sql, (node_id, branch, after, last, PAGE_EVENTS)).fetchall()
            yield from map(event_of, rows)
            if len(rows) < PAGE_EVENTS:
                break
            after = rows[-1][2] + 1


def _run_events(connection: sqlite3.Connection, run: str) -> list[Event]:
    sql = SELECT + " WHERE event.run = (SELECT id FROM run_lookup WHERE name = ?) ORDER BY event.id"
    return [event_of(row) for row in connection.execute(sql, (run,)).fetchall()]


def _settled(
    source: sqlite3.Connection,
    target: sqlite3.Connection,
    node: tuple[int, str],
    paths: dict[int, list[Stretch]],
) -> list[Settled]:
    rows = target.execute(
        "SELECT deliverable, first, kept, dropped, runs FROM settlement"
        " WHERE node = ? AND settled_at IS NOT NULL",
        (node[1],),
    ).fetchall()
    return [
        Settled(
            deliverable,
            _up_to(source, node[0], paths, first, json.loads(kept)),
            _up_to(source, node[0], paths, first, json.loads(dropped)),
            frozenset(json.loads(runs)),
        )
        for deliverable, first, kept, dropped, runs in rows
    ]


def _up_to(
    connection: sqlite3.Connection,
    node_id: int,
    paths: dict[int, list[Stretch]],
    first: int,
    ends: list[list[Any]],
) -> list[Stretch]:
    """What lies from sequence ``first`` up to these ends, of those that are here."""
    found: list[Stretch] = []
    for sequence, value in ends:
        row = connection.execute(
            "SELECT branch FROM event WHERE node = ? AND sequence = ? AND hash = ?",
            (node_id, sequence, bytes.fromhex(value)),
        ).fetchone()
        if row is not None:
            found += _above(_below(paths[row[0]], sequence + 1), first - 1)
    return found


def _dropped(
    connection: sqlite3.Connection, node: str, words: list[Settled], touched: dict[Row, set[str]]
) -> set[bytes]:
    """The events that do not count any more; what they say of rows is to be decided anew."""
    found: set[bytes] = set()
    for run in sorted(set().union(*(word.runs for word in words))):
        for event in _run_events(connection, run):
            if event.node == node and any(word.drops(event) for word in words):
                found.add(event.hash)
                for claim in claims_of([event]):
                    fact = claim.fact
                    key = (fact.table, tuple(map(plain, fact.key)), fact.group)
                    if fact.table in SETTLED:
                        touched.setdefault(key, set()).add(run)
    return found


def _lies_in(event: Event, part: list[Stretch]) -> bool:
    return any(
        branch == event.branch and first <= event.sequence <= last for branch, first, last in part
    )


def _text(subject: tuple[Any, ...]) -> str:
    return json.dumps([plain(each) for each in subject], ensure_ascii=False)
