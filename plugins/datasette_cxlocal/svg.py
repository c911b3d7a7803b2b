"""Pieces of pictures: SVG text out of plain values, everything escaped. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from markupsafe import Markup, escape

from cxlocal.values import NamedTuple
from datasette_cxlocal.words import plain

FONT = 12
STRONG = 13.5
"""What a strong text of that size is as wide as."""
_WIDE, _NARROW = "MWmw@%&QGODÜÖÄ—…", "iljtfr.,:;'|!()[] I1"


def text_width(text: str, size: float = FONT) -> float:
    """About how wide a text is, on the safe side: no font is known here."""
    units = sum(
        1.05 if ord(char) > 0x2E7F else 0.86 if char in _WIDE else 0.4 if char in _NARROW else 0.66
        for char in text
    )
    return units * size


def fit(text: str, width: float, size: float = FONT) -> str:
    """As much of it as fits into a width, with ``…`` where something was cut."""
    text = plain(text)
    if text_width(text, size) <= width:
        return text
    while text and text_width(text + "…", size) > width:
        text = text[:-1]
    return text.rstrip() + "…"


def wrap(text: str, width: float, size: float = FONT) -> list[str]:
    """One line, or two where it does not fit into one: at a space where there is one. Cut where two are not
    enough."""
    text = plain(text)
    if text_width(text, size) <= width:
        return [text]
    words = text.split(" ")
    first = 0
    while first < len(words) and text_width(" ".join(words[: first + 1]), size) <= width:
        first += 1
    if not first:
        return [fit(text, width, size)]
    return [" ".join(words[:first]), fit(" ".join(words[first:]), width, size)]


def number(value: float) -> str:
    """A coordinate."""
    return f"{value:.1f}".rstrip("0").rstrip(".")


def element(name: str, body: str = "", **attributes: object) -> Markup:
    """``body`` is Markup, or is escaped. ``class_`` is written class, ``aria_label`` aria-label."""
    given = Markup("").join(
        Markup(' {}="{}"').format(
            key.rstrip("_").replace("_", "-"),
            number(value) if isinstance(value, float) else plain(value),
        )
        for key, value in attributes.items()
        if value is not None
    )
    return Markup("<{0}{1}>{2}</{0}>").format(Markup(name), given, escape(body))


def label(x: float, y: float, text: str, class_: str = "", anchor: str = "start") -> Markup:
    """A line of text; ``y`` is its base line."""
    return element(
        "text", plain(text), x=float(x), y=float(y), class_=class_ or None,
        text_anchor=None if anchor == "start" else anchor,
    )  # fmt: skip


def box(x: float, y: float, width: float, height: float, class_: str, round_: float = 4) -> Markup:
    """A rectangle."""
    return element(
        "rect", x=float(x), y=float(y), width=float(max(width, 0)), height=float(height),
        rx=float(min(round_, max(width, 0) / 2)), class_=class_,
    )  # fmt: skip


def line(points: Iterable[tuple[float, float]], class_: str) -> Markup:
    """Through points."""
    path = "M" + " L".join(f"{number(x)} {number(y)}" for x, y in points)
    return element("path", d=path, class_=class_)


def link(address: str, title: str, *body: Markup) -> Markup:
    """What leads somewhere, and what it is, in words."""
    inside = Markup("").join((element("title", plain(title)), *body))
    return element("a", inside, href=address) if address else element("g", inside)


class Picture(NamedTuple):
    """A picture in two forms: for a screen, and for one that a hand holds."""

    wide: Markup
    narrow: Markup


def drawing(
    id: str, title: str, description: str, width: float, height: float, body: Iterable[Markup]
) -> Markup:
    """A whole picture. Its links can be reached, so it is a group, not an image."""
    inside = Markup("").join(
        (
            element("title", plain(title), id=f"{id}-t"),
            element("desc", plain(description), id=f"{id}-d"),
            *body,
        )
    )
    return element(
        "svg", inside, class_="cx-picture", viewBox=f"0 0 {number(width)} {number(height)}",
        width=number(width), height=number(height), role="group",
        aria_labelledby=f"{id}-t", aria_describedby=f"{id}-d",
    )  # fmt: skip
