"""The last weeks as a calendar: from the board to the day of an outage in one step."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, timedelta
from typing import Any

from cxlocal.projection.page_questions import COUNTED_MAX
from datasette_cxlocal.diary import Day, counted, days_given, field_of, weeks_of
from datasette_cxlocal.parts import Part, Place
from datasette_cxlocal.words import State

WEEKS = 5
UNUSUAL = State("out of the ordinary", "⚑", "wait")
COLUMNS = {
    "went_out": "went out", "rolled_back": "rolled back", "did_not_go_out": "did not go out", "unusual": "",
}  # fmt: skip
"""Columns of the stored question, and what the diary calls it."""


async def lately(place: Place, newest: date) -> tuple[Part, list[list[Day | None]]]:
    """The weeks up to the day of the newest event: the answer, and its days from Monday to Sunday."""
    first = newest - timedelta(days=newest.weekday() + 7 * (WEEKS - 1))
    count = (newest - first).days + 1
    part = await place.ask("lately", {"days": days_given(first, count)})
    told = {str(row["day"]): row for row in part.rows}
    days = [first + timedelta(days=n) for n in range(count)]
    counts = {day: counts_of(told.get(f"{day}", {})) for day in days}
    # Weeks in which nothing had happened yet are left out.
    begun = next((day for day in days if counts[day]), days[-1])
    shown = [day for day in days if day >= begun - timedelta(days=begun.weekday())]
    fields = {day: field_of(place, day, counts[day]) for day in shown}
    for day in shown:
        if day.day == 1 or day == shown[0]:
            fields[day] = fields[day]._replace(number=fields[day].name.partition(" ")[2])
    return part, weeks_of(shown[0], fields)


def counts_of(row: Mapping[str, Any]) -> list[tuple[State, str]]:
    """What happened on a day, and how often as far as it was counted. Pure."""
    found = []
    for name, what in COLUMNS.items():
        if count := row.get(name):
            state = counted(what, count) if what else UNUSUAL
            found.append((state, f"{count}+" if count >= COUNTED_MAX else str(count)))
    return found
