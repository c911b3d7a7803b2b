"""Single cells: readable, and escaped whatever another machine wrote."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import pytest
from datasette_cxlocal.cells import CellPlace, show_cell, size_text

COLUMNS = ("run", "outcome", "state", "started_at", "revision", "version", "id", "planned", "node",
           "deliverable", "duration_seconds", "size_bytes", "anything")  # fmt: skip


def place(column: str, run: str | None = None) -> CellPlace:
    return CellPlace(column, "run", run, lambda key: f"/journal/story?run={len(key)}")


@pytest.mark.parametrize("column", COLUMNS)
@pytest.mark.parametrize("kind", ["plain", "label", "key", "run"])
def test_nothing_from_outside_becomes_markup(column: str, kind: str, journals: ModuleType) -> None:
    hostile = journals.HOSTILE + "<img src=x onerror=alert(1)>"
    values: dict[str, Any] = {
        "plain": hostile,
        "label": {"value": "key", "label": hostile},
        "key": {"value": hostile, "label": None},
        "run": hostile,
    }
    shown = show_cell(values[kind], place(column, hostile if kind == "run" else None))
    text = str(shown or "")  # None: Datasette shows it, escaped
    assert "<script" not in text and "<img" not in text
    assert '"x"' not in text


@pytest.mark.parametrize(
    ("column", "value", "part"),
    [
        ("duration_seconds", 185.0, ">3 min 5 s<"),
        ("waiting_seconds", -3, ">-3.0 s<"),
        ("size_bytes", 20_480, ">20.5 kB<"),
        ("planned", 0, "no"),
        ("outcome", "failure", "failure"),
        ("state", "something new", "something new"),
        ("started_at", "2026-11-23T23:13:20.000Z", "2026-11-24 04:58:20"),
        ("started_at", "2026-11-23T23:13:20.000Z", "2026-11-23 23:13 UTC"),
        ("started_at", "9999-99-99T99:99:99Z", "9999-99-99"),
        ("revision", "a" * 40, ">aaaaaaaaaaaa…<"),
        ("run", "066c54d5-b002", ">066c54d5<"),
    ],
)
def test_values_are_readable(column: str, value: Any, part: str) -> None:
    assert part in str(show_cell(value, place(column)))


@pytest.mark.parametrize("value", ["a word", 5, 1.5])
def test_other_values_are_left_to_datasette(value: Any) -> None:
    assert show_cell(value, place("anything")) is None


def test_sizes() -> None:
    found = [size_text(size) for size in (0, 999, 1_000, 5_000_000, 10**15)]
    assert found == ["0 B", "999 B", "1.0 kB", "5.0 MB", "1000.0 TB"]
