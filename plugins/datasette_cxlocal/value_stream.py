"""The way of a version: its steps from the commit on, and how long it was between them. Pure.

Waiting for people is drawn apart from what machines took: it is most of the time, and nobody sees it.
"""

from __future__ import annotations

from collections.abc import Sequence

from markupsafe import Markup

from cxlocal.values import NamedTuple
from datasette_cxlocal.svg import STRONG, Picture, box, drawing, fit, label, line, link, wrap

STEPS_MAX = 24


class Step(NamedTuple):
    """Something that happened. Times are seconds since 1970."""

    name: str
    note: str
    at: float
    kind: str
    """Colour: good, bad, wait or plain."""
    shape: str
    people: bool
    """It was people's turn until it happened."""
    took: str
    """How long after the step before; empty for the first."""


WIDE, NARROW = 1100.0, 350.0
_BOX, _GAP, _HEIGHT = 170.0, 92.0, 52.0
_BELOW = 40.0
"""Between two rows."""
_SECOND = 17.0
"""How much higher boxes are where a name needs a second line."""
_INSIDE = 14
_LEAD = 84.0
"""Before the rows, where there are several: for the line that comes from the row above."""
_DOWN_GAP = 40.0


def value_stream(steps: Sequence[Step], title: str) -> Picture | None:
    """The picture; None where nothing is known."""
    if not steps:
        return None
    kept = list(steps)[:STEPS_MAX]
    return Picture(_across(kept, title), _down(kept, title))


def _across(steps: Sequence[Step], title: str) -> Markup:
    """Rows from left to right; the last row as long as it is."""
    a_row = int((WIDE - _LEAD - _BOX) // (_BOX + _GAP)) + 1
    lead = _LEAD if len(steps) > a_row else 2.0
    height = _height(steps, _BOX)
    per_row = height + _BELOW
    parts: list[Markup] = []
    for place, one in enumerate(steps):
        row, column = divmod(place, a_row)
        x, y = lead + column * (_BOX + _GAP), 6 + row * per_row
        if place:  # the line to the first of a row comes from the row above, and begins at the edge
            end, start = y + height / 2, x - _GAP + 2 if column else 2.0
            kind = "cx-way cx-people" if one.people else "cx-way"
            took = fit(one.took, x - start - 2, 11)
            parts += [
                line([(start, end), (x - 2, end)], kind),
                line([(x - 8, end - 4), (x - 2, end), (x - 8, end + 4)], "cx-tip"),
                label((start + x) / 2, end - 7, took, "cx-small", "middle"),
            ]
        parts.append(_box(one, x, y, _BOX, height))
    rows = -(-len(steps) // a_row)
    return drawing("way", title, DESCRIPTION, WIDE, rows * per_row - _BELOW + 12, parts)


DESCRIPTION = "Steps in order; a thick broken line is time in which it waited for people."


def _down(steps: Sequence[Step], title: str) -> Markup:
    parts: list[Markup] = []
    height = _height(steps, NARROW - 4)
    for place, one in enumerate(steps):
        y = 4 + place * (height + _DOWN_GAP)
        if place:
            kind = "cx-way cx-people" if one.people else "cx-way"
            parts += [
                line([(60, y - _DOWN_GAP), (60, y - 2)], kind),
                line([(56, y - 8), (60, y - 2), (64, y - 8)], "cx-tip"),
                label(74, y - _DOWN_GAP / 2 + 4, fit(one.took, NARROW - 80, 11), "cx-small"),
            ]
        parts.append(_box(one, 2, y, NARROW - 4, height))
    whole = len(steps) * (height + _DOWN_GAP) - _DOWN_GAP + 8
    return drawing("way-s", title, DESCRIPTION, NARROW, whole, parts)


def _names(one: Step, width: float) -> list[str]:
    return wrap(f"{one.shape} {one.name}".strip(), width - _INSIDE, STRONG)


def _height(steps: Sequence[Step], width: float) -> float:
    """One height for all boxes: a row of several looks like a mistake."""
    return _HEIGHT + _SECOND * any(len(_names(one, width)) > 1 for one in steps)


def _box(one: Step, x: float, y: float, width: float, height: float) -> Markup:
    title = f"{one.name}: {one.note}" if one.note else one.name
    lines = [
        label(x + 8, y + 21 + n * _SECOND, text, "cx-strong")
        for n, text in enumerate(_names(one, width))
    ]
    if one.note:
        lines.append(label(x + 8, y + height - 12, fit(one.note, width - _INSIDE, 11), "cx-small"))
    return link("", title, box(x, y, width, height, f"cx-box cx-fill-{one.kind}", 5), *lines)
