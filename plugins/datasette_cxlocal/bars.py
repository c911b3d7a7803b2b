"""Months beside each other: a bar for each, with its value in words. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from markupsafe import Markup

from cxlocal.values import NamedTuple
from datasette_cxlocal.svg import Picture, box, drawing, fit, label, line, link

WIDE, NARROW = 1100.0, 350.0
_HEIGHT, _ROW, _LEFT = 120.0, 26.0, 70.0
_BAR_MAX, _ROOM_MAX = 64.0, 130.0
_WORDS = 120.0
"""Beside a bar, on a phone."""


class Bar(NamedTuple):
    """A month. ``value`` is None where it is not known, which is no bar, and not a bar of nothing."""

    name: str
    value: float | None
    words: str
    """The value for people."""
    address: str
    mark: float | None = None
    """A second value, drawn as a line above the bar."""


def bars(values: Sequence[Bar], title: str, description: str, id: str, kind: str) -> Picture | None:
    """The picture, in the colour of ``kind``;
    None where nothing at all is known, and of one month alone, which has nothing beside it."""
    values = [one._replace(value=_positive(one.value), mark=_positive(one.mark)) for one in values]
    known = [one for bar in values for one in (bar.value, bar.mark) if one is not None]
    if not known or len(values) < 2:
        return None
    most = max(*known, 0) or 1.0
    return Picture(
        _across(values, most, (title, description, id, kind)),
        _down(values, most, (title, description, f"{id}-s", kind)),
    )


def _positive(value: float | None) -> float | None:
    """A clock that went wrong makes times that are less than none."""
    return None if value is None else max(value, 0)


def _across(values: Sequence[Bar], most: float, about: tuple[str, str, str, str]) -> Markup:
    title, description, id, kind = about
    room = min((WIDE - 4) / len(values), _ROOM_MAX)
    width = min(_BAR_MAX, room - 12)
    base = 22 + _HEIGHT
    parts = [line([(2, base), (2 + room * len(values), base)], "cx-rule")]
    for place, one in enumerate(values):
        middle = 2 + room * (place + 0.5)
        x, shown = middle - width / 2, []
        top = base
        if one.value is not None:
            height = _HEIGHT * one.value / most
            top = base - height
            shown.append(box(x, top, width, max(height, 1), f"cx-box cx-fill-{kind}", 2))
        if one.mark is not None:
            at = base - _HEIGHT * one.mark / most
            shown.append(line([(x, at), (x + width, at)], "cx-usual"))
            top = (
                at if top - 18 < at else top
            )  # the value stands between the two where there is room
        words = fit(one.words, room - 4, 11)
        shown += [
            label(middle, top - 6, words, "cx-small", "middle"),
            label(middle, base + 16, fit(one.name, room - 4, 11), "cx-small", "middle"),
        ]
        parts.append(link(one.address, f"{one.name}: {one.words}", *shown))
    return drawing(id, title, description, WIDE, base + 24, parts)


def _down(values: Sequence[Bar], most: float, about: tuple[str, str, str, str]) -> Markup:
    title, description, id, kind = about
    room = NARROW - _LEFT - _WORDS - 4
    parts = []
    for place, one in enumerate(values):
        y, shown = (
            2 + place * _ROW,
            [label(2, 19 + place * _ROW, fit(one.name, _LEFT - 6, 11), "cx-small")],
        )
        end = _LEFT
        if one.value is not None:
            end = _LEFT + room * one.value / most
            shown.append(
                box(_LEFT, y + 3, max(end - _LEFT, 1), _ROW - 8, f"cx-box cx-fill-{kind}", 2)
            )
        if one.mark is not None:
            at = _LEFT + room * one.mark / most
            end = max(end, at)
            shown.append(line([(at, y + 3), (at, y + _ROW - 5)], "cx-usual"))
        shown.append(label(end + 6, y + 17, fit(one.words, NARROW - end - 8, 11), "cx-small"))
        parts.append(link(one.address, f"{one.name}: {one.words}", *shown))
    return drawing(id, title, description, NARROW, len(values) * _ROW + 4, parts)
