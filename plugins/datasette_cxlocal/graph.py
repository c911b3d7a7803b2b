"""The stages of a run as its plan had them: boxes in columns, what waits for what. Pure.

Columns by the longest way, rows by two sweeps to the middle of what they wait for. A line that passes a
column has a place of its own in it, so that none runs below a box. What follows from other lines is not
drawn.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

from markupsafe import Markup

from cxlocal.values import NamedTuple
from datasette_cxlocal.svg import (
    STRONG,
    Picture,
    box,
    drawing,
    element,
    fit,
    label,
    line,
    link,
    number,
)
from datasette_cxlocal.words import state_of

STAGES_MAX = 30
"""More boxes than this are a tangle: a list says it better."""


class Box(NamedTuple):
    """A stage."""

    name: str
    state: str
    note: str
    """Below its name: how long it took, or why it did not run."""
    place: str
    """Environment; empty for none."""
    waits_for: tuple[str, ...]
    decided: tuple[str, ...]
    """Stages that earn what it needs to be decided: another kind of line."""
    address: str


class _Form(NamedTuple):
    """Sizes; ``down`` lays the columns out from top to bottom."""

    box_width: float
    box_height: float
    gap_along: float
    gap_across: float
    thin: float
    """Room of a line that passes a column."""
    down: bool


_WIDE = _Form(150, 46, 44, 18, 14, False)
_NARROW = _Form(108, 52, 30, 8, 10, True)


def stage_graph(boxes: Sequence[Box], title: str) -> Picture | None:
    """The picture; None where there is nothing to draw, or too much."""
    if not boxes or len(boxes) > STAGES_MAX:
        return None
    return Picture(_draw(boxes, title, _WIDE, "graph"), _draw(boxes, title, _NARROW, "graph-s"))


def _draw(boxes: Sequence[Box], title: str, form: _Form, id: str) -> Markup:
    edges = _edges(boxes)
    columns = _sweep(_columns(boxes, edges), edges)
    where = _placed(columns, form)
    known = {one.name: one for one in boxes}
    along = len(columns) * (_length(form) + form.gap_along) - form.gap_along
    across = max(end for _, (_, end) in where.items())
    size = (across + 4, along + 4) if form.down else (along + 4, across + 4)
    lines = [_edge(edge, where, form) for edge in edges]
    shapes = [_box(known[name], where[name], form) for column in columns for name in column if name in known]  # fmt: skip
    description = "Stages in the order of the plan that this run had; lines lead to what waits."
    return drawing(id, title, description, *size, [*lines, *shapes])


class Edge(NamedTuple):
    """From a stage to one that waits for it, through places in the columns between."""

    start: str
    end: str
    decided: bool
    through: tuple[str, ...] = ()


def _edges(boxes: Sequence[Box]) -> list[Edge]:
    names = {one.name for one in boxes}
    direct = {one.name: [name for name in one.waits_for if name in names] for one in boxes}
    decided = {one.name: [name for name in one.decided if name in names] for one in boxes}
    before: dict[str, set[str]] = {}

    def reach(name: str, seen: tuple[str, ...] = ()) -> set[str]:
        if name not in before:
            found: set[str] = set()
            for one in (*direct[name], *decided[name]):
                if one not in seen and one != name:
                    found |= {one} | reach(one, (*seen, name))
            before[name] = found
        return before[name]

    made = []
    for one in boxes:
        wanted = dict.fromkeys(direct[one.name], False) | {
            name: True for name in decided[one.name] if name not in direct[one.name]
        }
        for name, by_decision in wanted.items():
            follows = any(name in reach(other) for other in wanted if other != name)
            if not follows and name != one.name:
                made.append(Edge(name, one.name, by_decision))
    return made


def _columns(boxes: Sequence[Box], edges: list[Edge]) -> list[list[str]]:
    """The names in each column; ``edges`` get their places in the columns they pass."""
    level = {one.name: 0 for one in boxes}
    for _ in boxes:  # a circle, which no plan has, ends here all the same
        for edge in edges:
            level[edge.end] = min(max(level[edge.end], level[edge.start] + 1), len(boxes) - 1)
    columns: list[list[str]] = [[] for _ in range(max(level.values()) + 1)]
    for one in boxes:
        columns[level[one.name]].append(one.name)
    for place, edge in enumerate(edges):
        through = []
        for passed in range(level[edge.start] + 1, level[edge.end]):
            name = f"\0{place}.{passed}"
            columns[passed].append(name)
            through.append(name)
        edges[place] = edge._replace(through=tuple(through))
    return [column for column in columns if column]


def _sweep(columns: list[list[str]], edges: Sequence[Edge]) -> list[list[str]]:
    """Each column in the order of the middles of what it hangs on: forth, back and forth."""
    hangs: dict[str, list[str]] = {}
    leads: dict[str, list[str]] = {}
    for edge in edges:
        way = (edge.start, *edge.through, edge.end)
        for one, other in itertools.pairwise(way):
            hangs.setdefault(other, []).append(one)
            leads.setdefault(one, []).append(other)
    for beside, order in ((hangs, range(1, len(columns))), (leads, range(len(columns) - 2, -1, -1)),
                          (hangs, range(1, len(columns)))):  # fmt: skip
        for place in order:
            near = columns[place + (1 if beside is leads else -1)]
            rank = {name: (at + 0.5) / len(near) for at, name in enumerate(near)}
            own = {name: (at + 0.5) / len(columns[place]) for at, name in enumerate(columns[place])}

            def middle(name: str, beside: dict[str, list[str]] = beside, rank: dict[str, float] = rank,
                       own: dict[str, float] = own) -> float:  # fmt: skip
                found = [rank[one] for one in beside.get(name, ()) if one in rank]
                return sum(found) / len(found) if found else own[name]

            columns[place].sort(key=middle)
    return columns


def _length(form: _Form) -> float:
    return form.box_height if form.down else form.box_width


def _placed(columns: list[list[str]], form: _Form) -> dict[str, tuple[float, float]]:
    """For each name where it begins along, and where it ends across."""
    breadth = form.box_width if form.down else form.box_height
    totals = [
        sum(form.thin if name[0] == "\0" else breadth for name in column)
        + form.gap_across * (len(column) - 1)
        for column in columns
    ]
    found = {}
    for place, column in enumerate(columns):
        across = 2 + (max(totals) - totals[place]) / 2
        for name in column:
            across += form.thin if name[0] == "\0" else breadth
            found[name] = (2 + place * (_length(form) + form.gap_along), across)
            across += form.gap_across
    return found


def _middle(name: str, where: dict[str, tuple[float, float]], form: _Form) -> float:
    breadth = form.thin if name[0] == "\0" else form.box_width if form.down else form.box_height
    return where[name][1] - breadth / 2


def _edge(edge: Edge, where: dict[str, tuple[float, float]], form: _Form) -> Markup:
    length = _length(form)
    points = [(where[edge.start][0] + length, _middle(edge.start, where, form))]
    for name in edge.through:
        at, middle = where[name][0], _middle(name, where, form)
        points += [(at, middle), (at + length, middle)]
    points.append((where[edge.end][0] - 5, _middle(edge.end, where, form)))

    def turned(along: float, across: float) -> str:
        return (
            f"{number(across)} {number(along)}"
            if form.down
            else f"{number(along)} {number(across)}"
        )

    path = [f"M{turned(*points[0])}"]
    for (x, y), (to_x, to_y) in itertools.pairwise(points):
        half = (x + to_x) / 2
        straight = y == to_y
        path.append(
            f"L{turned(to_x, to_y)}"
            if straight
            else f"C{turned(half, y)} {turned(half, to_y)} {turned(to_x, to_y)}"
        )
    end, across = where[edge.end][0], points[-1][1]
    tip = [(end - 6, across - 3.5), (end - 0.5, across), (end - 6, across + 3.5)]
    if form.down:
        tip = [(y, x) for x, y in tip]
    kind = "cx-edge cx-decided" if edge.decided else "cx-edge"
    return element("path", d=" ".join(path), class_=kind) + line(tip, "cx-tip")


def _box(one: Box, where: tuple[float, float], form: _Form) -> Markup:
    along, end = where
    breadth = form.box_width if form.down else form.box_height
    x, y = (end - breadth, along) if form.down else (along, end - breadth)
    state = state_of(one.state)
    room = form.box_width - 16
    words = [part for part in (one.note, one.place) if part]
    title = f"{one.name}: {state.word}" + "".join(f", {part}" for part in words)
    lines = [label(x + 8, y + 19, fit(f"{state.shape} {one.name}", room, STRONG), "cx-strong")]
    if form.down and len(words) > 1:
        lines += [label(x + 8, y + 33, fit(words[0], room, 11), "cx-small"),
                  label(x + 8, y + 46, fit(words[1], room, 11), "cx-small")]  # fmt: skip
    elif words:
        lines.append(label(x + 8, y + 36, fit(" · ".join(words), room, 11), "cx-small"))
    shape = box(x, y, form.box_width, form.box_height, f"cx-box cx-fill-{state.kind}", 5)
    return link(one.address, title, shape, *lines)
