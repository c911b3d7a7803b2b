"""What ran where: a strip for each environment, a piece for each stay of a version. Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta

from markupsafe import Markup

from cxlocal.values import NamedTuple
from datasette_cxlocal.svg import STRONG, Picture, box, drawing, fit, label, line, link, text_width
from datasette_cxlocal.words import day_text

ROWS_MAX = 12


class Stay(NamedTuple):
    """A version in an environment. Times are seconds since 1970."""

    row: str
    version: str
    start: float
    end: float
    back: bool
    """It came by a rollback."""
    live: bool
    """It is still there."""
    words: str
    address: str


class _Form(NamedTuple):
    width: float
    names: float
    row: float


_WIDE = _Form(1100, 170, 38)
_NARROW = _Form(350, 0, 52)
_HEIGHT = 26


def strips(stays: Sequence[Stay], rows: Sequence[str], title: str) -> Picture | None:
    """The picture; ``rows`` in the order in which they are drawn. None where nothing ran."""
    kept = list(rows)[:ROWS_MAX]
    if not stays or not kept:
        return None
    return Picture(
        _draw(stays, kept, title, _WIDE, "strips"), _draw(stays, kept, title, _NARROW, "strips-s")
    )


def _draw(stays: Sequence[Stay], rows: Sequence[str], title: str, form: _Form, id: str) -> Markup:
    first = min(one.start for one in stays)
    last = max(max(one.end for one in stays), first + 1)
    left, right = form.names + 2, form.width - 2
    height = form.row * len(rows) + 24

    def at(seconds: float) -> float:
        return left + (min(max(seconds, first), last) - first) / (last - first) * (right - left)

    parts: list[Markup] = []
    for x, words in _ticks(first, last, at, right):
        parts.append(line([(x, 2), (x, height - 20)], "cx-rule"))
        parts.append(label(x + 3, height - 6, words, "cx-small"))
    for place, row in enumerate(rows):
        y = place * form.row + (2 if form.names else 18)
        if form.names:
            parts.append(label(2, y + 17, fit(row, form.names - 10, STRONG), "cx-strong"))
        else:
            parts.append(label(2, y - 4, fit(row, form.width, STRONG), "cx-strong"))
        own = sorted((one for one in stays if one.row == row), key=lambda one: one.start)
        parts += [_piece(one, number, at, y) for number, one in enumerate(own)]
    description = "A piece is the time in which a version ran there; ↩ came by a rollback."
    return drawing(id, title, description, form.width, height, parts)


def _piece(one: Stay, number: int, at: Callable[[float], float], y: float) -> Markup:
    x, end = at(one.start), at(one.end)
    kind = "cx-fill-wait" if one.back else "cx-fill-good" if one.live else "cx-fill-plain"
    shade = " cx-pale" if number % 2 and not one.back and not one.live else ""
    parts = [box(x, y, max(end - x, 2), _HEIGHT, f"cx-box {kind}{shade}", 2)]
    text = f"{'↩ ' if one.back else ''}{one.version}"
    if text_width(text) + 8 <= end - x:
        parts.append(label(x + 4, y + 17, text))
    return link(one.address, f"{one.version}: {one.words}", *parts)


def _ticks(
    first: float, last: float, at: Callable[[float], float], right: float
) -> list[tuple[float, str]]:
    """Beginnings of days, as many as have room."""
    day = datetime.fromtimestamp(first).replace(hour=0, minute=0, second=0, microsecond=0)
    days = (last - first) / 86400
    step = next((one for one in (1, 2, 7, 14, 30, 91, 365) if (right / 62) * one >= days), 3650)
    found: list[tuple[float, str]] = []
    end = right - 60
    while len(found) < 40:
        day += timedelta(days=step)
        if day.timestamp() > last:
            break
        x = at(day.timestamp())
        if x <= end and (not found or x - found[-1][0] >= 62):
            found.append((x, day_text(day)))
    return found
