"""Sections of a page: a heading, a picture where there is one, the rows of one part as a table. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from markupsafe import Markup

from cxlocal.values import NamedTuple
from datasette_cxlocal.parts import Part
from datasette_cxlocal.svg import Picture

Cell = Markup | str


class Section(NamedTuple):
    """What ``cxlocal_sections.html`` shows under one heading."""

    heading: str
    part: Part
    columns: Sequence[str]
    """The first is that of the row's own name."""
    rows: Sequence[Sequence[Cell]]
    none: str
    """A sentence for no rows."""
    late: str
    """What could not be found out, at the beginning of a sentence."""
    note: Cell = ""
    """Below the table."""
    picture: Picture | None = None
    text: Cell = ""
    """Before the table."""
    ways: bool = True
    """Whether this is where the rows are led to, of several sections of one part."""


def led(address: str, text: Cell) -> Cell:
    """A text that leads somewhere; the text alone without an address."""
    return Markup('<a href="{}">{}</a>').format(address, text) if address and text else text
