"""The numbers of one line: a field for each number or stretch of one fate, in order. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from markupsafe import Markup

from cxlocal.values import NamedTuple
from datasette_cxlocal.svg import Picture, box, drawing, fit, label, link, text_width

FIELDS_MAX = 120
KINDS = {
    "in use, confirmed": ("good", "", "used"),
    "in use, not yet confirmed": ("wait", "◐", "used, not yet confirmed by the store"),
    "conflicted": ("bad", "⚠", "two runs hold it"),
    "skipped": ("off", "–", "skipped"),
    "reserved": ("none", "○", "held or granted, not used yet"),
}
"""State of a number: colour, shape, and the words about it."""


class Field(NamedTuple):
    """A number, or a stretch of them that share a fate."""

    text: str
    state: str
    why: str
    address: str


def number_line(fields: Sequence[Field], title: str) -> Picture | None:
    """The picture, lowest number first; None without numbers."""
    if not fields:
        return None
    kept = list(fields)[-FIELDS_MAX:]
    return Picture(_draw(kept, title, 1100, "line"), _draw(kept, title, 350, "line-s"))


def _draw(fields: Sequence[Field], title: str, width: float, id: str) -> Markup:
    x, y, parts = 2.0, 2.0, []
    for one in fields:
        kind, shape, words = KINDS.get(one.state, ("plain", "", one.state))
        text = fit(f"{shape} {one.text}".strip(), width - 30)
        room = max(text_width(text) + 14, 34)
        if x + room > width - 2 and x > 2:
            x, y = 2.0, y + 36
        parts.append(
            link(one.address, f"{one.text}: {words}" + (f"; {one.why}" if one.why else ""),
                 box(x, y, room, 28, f"cx-box cx-fill-{kind}"),
                 label(x + room / 2, y + 18, text, "", "middle"))
        )  # fmt: skip
        x += room + 4
    return drawing(id, title, "Numbers in order, with what became of each.", width, y + 32, parts)
