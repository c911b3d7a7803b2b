"""When, and how long: a bar for each stage of a run, waiting apart from working. Pure.

A long time in which nothing worked (somebody was asked) is drawn short, and its length is said.
"""

from __future__ import annotations

from collections.abc import Sequence

from markupsafe import Markup

from cxlocal.text import duration_text
from cxlocal.values import NamedTuple
from datasette_cxlocal.svg import STRONG, Picture, box, drawing, fit, label, line, link, text_width
from datasette_cxlocal.words import coarse, state_of

ROWS_MAX = 50
GAP_SHARE = 0.1
"""A stretch without work that is longer than this part of all is drawn short."""
GAP_WIDTH = 34.0


LEGEND = (
    "A bar is a stage at work, dotted before that while it waited for its turn; a dotted mark is how long it"
    " usually takes. A coloured stripe is time in which no stage worked: its length stands below it."
)


class Bar(NamedTuple):
    """An attempt of a stage. Times are seconds since the beginning of the picture."""

    name: str
    state: str
    ready: float
    start: float
    end: float
    usual: float | None
    """Seconds it usually works; None where that is not known."""
    replaced: bool
    """A later attempt speaks for it."""
    address: str


class _Form(NamedTuple):
    width: float
    names: float
    """Room of the names, left of the bars; 0: above them."""
    row: float
    bar: float


_WIDE = _Form(900, 190, 30, 18)
_NARROW = _Form(350, 0, 42, 14)


class Scale:
    """Seconds to places, with long stretches without work cut short."""

    def __init__(self, bars: Sequence[Bar], left: float, right: float, now: float | None) -> None:
        ends = [one.end for one in bars] + ([now] if now is not None else [])
        self.first, self.last = min(one.ready for one in bars), max(ends)
        self.gaps = _gaps(bars, self.first, self.last)
        idle = sum(end - start for start, end in self.gaps)
        room = right - left - GAP_WIDTH * len(self.gaps)
        self._factor = room / max(self.last - self.first - idle, 0.001)
        self._left = left

    def at(self, seconds: float) -> float:
        """Where a time lies."""
        place = self._left + (seconds - self.first) * self._factor
        for start, end in self.gaps:
            if seconds >= end:
                place += GAP_WIDTH - (end - start) * self._factor
            elif seconds > start:
                share = (seconds - start) / (end - start)
                place += share * GAP_WIDTH - (seconds - start) * self._factor
        return place


def _gaps(bars: Sequence[Bar], first: float, last: float) -> list[tuple[float, float]]:
    found, reached = [], first
    for one in sorted(bars, key=lambda bar: bar.ready):
        if one.ready - reached > max(GAP_SHARE * (last - first), 1):
            found.append((reached, one.ready))
        reached = max(reached, one.end)
    return found


def stage_timeline(bars: Sequence[Bar], title: str, now: float | None = None) -> Picture | None:
    """The picture, ``now`` where the run goes on; None where nothing began."""
    if not bars:
        return None
    kept = [
        one._replace(ready=min(one.ready, one.start), end=max(one.end, one.start))
        for one in bars[:ROWS_MAX]
    ]
    return Picture(
        _draw(kept, title, _WIDE, "time", now), _draw(kept, title, _NARROW, "time-s", now)
    )


def _draw(bars: Sequence[Bar], title: str, form: _Form, id: str, now: float | None) -> Markup:
    said = max(text_width(_said(one), 11) for one in bars) + 10
    scale = Scale(bars, form.names + 4, form.width - (said if form.names else 6), now)
    height = form.row * len(bars) + 40
    parts = []
    for start, end in scale.gaps:
        x = scale.at(start)
        parts.append(box(x, 4, GAP_WIDTH, height - 40, "cx-gap", 0))
        words = coarse(end - start).replace(" days", " d").replace(" day", " d")
        parts.append(label(x + GAP_WIDTH / 2, height - 22, words, "cx-small", "middle"))
    if now is not None:
        x = scale.at(now)
        parts.append(line([(x, 2), (x, height - 38)], "cx-now"))
    for row, one in enumerate(bars):
        parts.append(_row(one, 4 + row * form.row, scale, form))
    took = duration_text(max(scale.last - scale.first, 0))
    parts.append(label(form.names + 4, height - 6, "0", "cx-small"))
    parts.append(label(scale.at(scale.last), height - 6, took, "cx-small", "end"))
    return drawing(id, title, LEGEND, form.width, height, parts)


def _said(one: Bar) -> str:
    text = duration_text(max(one.end - one.start, 0))
    return f"{text}, usually {duration_text(one.usual)}" if one.usual is not None else text


def _row(one: Bar, y: float, scale: Scale, form: _Form) -> Markup:
    state = state_of(one.state)
    name = f"{state.shape} {one.name}"
    begin, start, end = scale.at(one.ready), scale.at(one.start), scale.at(one.end)
    top = y + (form.row - form.bar) / 2 if form.names else y + 18
    parts = []
    if start - begin > 1:
        parts.append(box(begin, top + 3, start - begin, form.bar - 6, "cx-waiting", 2))
    faint = " cx-faint" if one.replaced else ""
    parts.append(
        box(start, top, max(end - start, 2), form.bar, f"cx-box cx-fill-{state.kind}{faint}", 3)
    )
    if one.usual is not None:
        x = scale.at(one.start + one.usual)
        if x < form.width - 2:
            parts.append(line([(x, top - 3), (x, top + form.bar + 3)], "cx-usual"))
    if form.names:
        parts.append(label(2, top + 13, fit(name, form.names - 8, STRONG), "cx-strong"))
        parts.append(label(max(end, start + 2) + 6, top + 13, _said(one), "cx-small"))
    else:
        room = form.width - 8 - text_width(_said(one), 11)
        parts.append(label(2, y + 12, fit(name, room, STRONG), "cx-strong"))
        parts.append(label(form.width - 2, y + 12, _said(one), "cx-small cx-over", "end"))
    waited = max(one.start - one.ready, 0)
    title = f"{one.name}: {state.word}, {_said(one)}"
    title += f", waited {duration_text(waited)}" if waited >= 1 else ""
    title += "; another attempt replaced it" if one.replaced else ""
    return link(one.address, title, *parts)
