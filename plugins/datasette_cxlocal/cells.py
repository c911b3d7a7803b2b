"""How a value of a journal is shown: pure functions from value to HTML.

Everything comes from other machines; all of it is escaped by ``Markup.format``.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import datetime
from typing import Any

from markupsafe import Markup

from cxlocal.text import duration_text
from cxlocal.values import NamedTuple

_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z")
_HEX = re.compile(r"[0-9a-f]{32,64}")
RUN_COLUMNS = ("run", "version_run", "created_by_run")
YES_NO = ("planned", "online", "protected", "automatic", "disputed", "kept", "reverified")
HEX_COLUMNS = ("revision", "hash", "node", "parent", "repository_root", "location")
STATE_COLUMNS = ("outcome", "result", "state", "number_state", "decision", "verdict")
DIGEST_CHARACTERS = 12
ID_CHARACTERS = 8

# State: shape and colour class. The word itself always stands beside the shape.
STATES = {
    "success": ("✓", "good"),
    "granted": ("✓", "good"),
    "allow": ("✓", "good"),
    "deployed": ("✓", "good"),
    "upgraded": ("✓", "good"),
    "in use, confirmed": ("●", "good"),
    "failure": ("✗", "bad"),
    "failed": ("✗", "bad"),
    "denied": ("✗", "bad"),
    "deny": ("✗", "bad"),
    "conflicted": ("⚠", "bad"),
    "disputed": ("⚠", "bad"),
    "error": ("!", "bad"),
    "cancel": ("⊘", "off"),
    "skipped": ("–", "off"),
    "no number": ("–", "off"),
    "undecided": ("?", "wait"),
    "overridden": ("⚑", "wait"),
    "rolledback": ("↩", "wait"),
    "flaky": ("~", "wait"),
    "open": ("…", "wait"),
    "running": ("…", "wait"),
    "not yet seen": ("…", "wait"),
    "reserved": ("○", "wait"),
    "in use, not yet confirmed": ("◐", "wait"),
}


class CellPlace(NamedTuple):
    """Where a value stands, and how to link from there."""

    column: str
    table: str | None
    run: str | None
    """The run the whole row is about, in the table of runs."""
    story: Callable[[str], str]
    """Address of a run's story."""


def show_cell(value: Any, place: CellPlace) -> Markup | None:
    """HTML for a cell, or None where Datasette shows it well."""
    column = place.column
    if isinstance(value, dict):
        return _show_reference(value, place)
    if isinstance(value, str):
        if column in RUN_COLUMNS:
            return show_run(value, value[:ID_CHARACTERS], place.story(value))
        if place.run and column in ("id", "version"):
            return show_run(place.run, value, place.story(place.run))
        if column in STATE_COLUMNS:
            return show_state(value)
        if _TIME.fullmatch(value):
            return show_time(value)
        if _is_digest(column, value):
            return Markup('<code title="{}">{}…</code>').format(value, value[:DIGEST_CHARACTERS])
        return None
    if isinstance(value, int) and column in YES_NO:
        return Markup("yes") if value else Markup("no")
    if isinstance(value, int | float) and column.endswith("_seconds"):
        return show_duration(value)
    if isinstance(value, int) and column.endswith("_bytes"):
        return Markup('<span title="{} bytes">{}</span>').format(value, size_text(value))
    return None


def _is_digest(column: str, value: str) -> bool:
    named = column.endswith("sha256") or column in HEX_COLUMNS
    return named and _HEX.fullmatch(value) is not None


def _show_reference(value: dict[str, Any], place: CellPlace) -> Markup | None:
    """A foreign key with its label. Datasette would show a missing label as ``None``."""
    key, label = value.get("value"), value.get("label")
    if not isinstance(key, str):
        return None
    if place.column in RUN_COLUMNS:
        text = key[:ID_CHARACTERS] if label in (None, "", key) else label
        return show_run(key, text, place.story(key))
    if place.column in ("node", "parent", "machine"):
        return Markup("{}").format(label or key[:ID_CHARACTERS])
    if label in (None, ""):
        return Markup("{}").format(key)
    return None


def show_run(run: str, text: Any, address: str) -> Markup:
    """A run by its version or the beginning of its id, leading to its story."""
    return Markup('<a class="cx-run" href="{}" title="Story of run {}">{}</a>').format(
        address, run, text
    )


def show_state(value: str) -> Markup:
    """A state as word, shape and colour."""
    shape, kind = STATES.get(value, ("", "plain"))
    mark = Markup('<span aria-hidden="true">{}</span> ').format(shape) if shape else ""
    return Markup('<span class="cx-state cx-{}">{}{}</span>').format(kind, mark, value)


def show_time(value: str) -> Markup:
    """Local time with UTC beside it."""
    try:
        local = datetime.fromisoformat(value).astimezone()
    except (ValueError, OverflowError):
        return Markup("{}").format(value)
    offset = local.utcoffset()
    beside = "UTC"
    if offset:
        utc_day = value[:10] if value[:10] != f"{local:%Y-%m-%d}" else ""
        beside = f"{utc_day} {value[11:16]} UTC".strip()
    return Markup('<time datetime="{}" title="{}">{} <span class="cx-utc">{}</span></time>').format(
        value, value, f"{local:%Y-%m-%d %H:%M:%S}", beside
    )


def show_duration(seconds: float) -> Markup:
    """A duration for people, the exact seconds on hover."""
    text = ("-" if seconds < 0 else "") + duration_text(abs(seconds))
    return Markup('<span class="cx-duration" title="{} s">{}</span>').format(seconds, text)


def size_text(size: int) -> str:
    """Bytes for people, in powers of 1000."""
    amount, unit = float(size), "B"
    for name in ("kB", "MB", "GB", "TB"):
        if abs(amount) < 1000:
            break
        amount, unit = amount / 1000, name
    return f"{size} B" if unit == "B" else f"{amount:.1f} {unit}"
