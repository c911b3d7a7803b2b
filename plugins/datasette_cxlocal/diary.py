"""The Diary: what went out on a day, and a month in which to find that day."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import date, datetime, time, timedelta
from typing import Any, TypeVar

from markupsafe import Markup

from cxlocal.values import NamedTuple
from datasette_cxlocal.parts import Place
from datasette_cxlocal.words import (
    ZONE,
    State,
    brief,
    clock_time,
    day_text,
    listed,
    month_text,
    person,
    plain,
    shown,
    state_text,
    today,
    utc_of,
)

HAPPENED = {
    "went out": State("went out", "✓", "good"),
    "rolled back": State("rolled back", "↩", "wait"),
    "did not go out": State("did not go out", "✗", "bad"),
    "run failed": State("a run began that failed", "✗", "bad"),
    "was decided": State("decided by a person", "●", "plain"),
    "emergency": State("emergency release", "⚑", "wait"),
    "without the store": State("made without the store", "◐", "wait"),
}
"""What the stored question calls it, and how it is shown."""
COUNTED = {
    "went out": ("deployment", "deployments"),
    "rolled back": ("rolled back", "rolled back"),
    "did not go out": ("did not go out", "did not go out"),
    "run failed": ("run failed", "runs failed"),
    "was decided": ("decision", "decisions"),
    "emergency": ("in an emergency", "in an emergency"),
    "without the store": ("without the store", "without the store"),
}
"""The words behind a count of one, and of more."""
_DAY = re.compile(r"(?:19[7-9]|2\d\d)\d-\d\d-\d\d", re.ASCII)
FEED_ROWS = 50
T = TypeVar("T")


class Day(NamedTuple):
    """A field of the calendar."""

    number: str
    """Of the day in its month, with the month where it begins."""
    name: str
    """In words."""
    address: str
    counts: tuple[tuple[State, str], ...]
    here: bool
    """The day that the page shows."""


def asked_day(text: str) -> date | None:
    """A day as ``2026-11-23``; None for anything else, and where no zone or calendar goes. Pure."""
    try:
        return date.fromisoformat(text) if _DAY.fullmatch(text) else None
    except ValueError:
        return None


def asked_month(text: str) -> date | None:
    """The first day of a month as ``2026-11``; None for anything else. Pure."""
    return asked_day(f"{text}-01")


class NoTime(Exception):
    """What was asked for is no time; its words say how to write one."""


def asked_for(
    asked: Mapping[str, str], name: str, read: Callable[[str], T | None], how: str
) -> T | None:
    """What ``read`` makes of a value that a page was asked with, None where there is none. Raises NoTime:
    a page of another time would be taken for the one that was meant."""
    text = asked.get(name, "").strip()
    found = read(text) if text else None
    if text and found is None:
        raise NoTime(f"“{plain(text)}” is no time; {how}.")
    return found


HOW_DAY, HOW_MONTH = "write a day as 2026-11-23", "write a month as 2026-11"


def month_before(first: date) -> date:
    """The first day of the month before. Pure."""
    return (first - timedelta(days=1)).replace(day=1)


def month_after(first: date) -> date:
    """The first day of the month after. Pure."""
    return (first + timedelta(days=31)).replace(day=1)


def weeks_of(first: date, days: Mapping[date, Day]) -> list[list[Day | None]]:
    """Days from the first on in weeks from Monday; None where a week has none of them. Pure."""
    fields: list[Day | None] = [None] * first.weekday()
    fields += [days[one] for one in sorted(days)]
    fields += [None] * (-len(fields) % 7)
    return [fields[at : at + 7] for at in range(0, len(fields), 7)]


def sentence(day: date, rows: Iterable[Mapping[str, Any]]) -> str:
    """What a day was like. Pure."""
    counts: dict[str, int] = {}
    for row in rows:
        counts[row["what"]] = counts.get(row["what"], 0) + 1
    if not counts:
        return f"{long_day(day)}: nothing was recorded."
    versions = len(
        {(row["deliverable"], row["version"]) for row in rows if row["what"] == "went out"}
    )
    parts = []
    if versions:
        parts.append(f"{versions} version{'' if versions == 1 else 's'} went out")
    parts += [
        f"{count} {counted(what, count).word}"
        for what in COUNTED
        if what not in ("went out", "was decided") and (count := counts.get(what))
    ]
    return f"{long_day(day)}: {listed(parts) or 'people decided something'}."


def counted(what: str, count: int | str) -> State:
    """How so many of a kind are told; a count that is no number is more than one. Pure."""
    return HAPPENED[what]._replace(word=COUNTED[what][str(count) != "1"])


def long_day(day: date) -> str:
    """``Mon 23 Nov 2026``. Pure."""
    return f"{day_text(day)} {day.year}"


async def diary_page(place: Place, what: str, asked: Mapping[str, str]) -> dict[str, Any]:
    """What ``cxlocal_diary.html`` shows."""
    day = asked_for(asked, "day", asked_day, HOW_DAY)
    first = asked_for(asked, "month", asked_month, HOW_MONTH)
    first = day.replace(day=1) if day else first
    month = await place.ask("diary-days", _month_given(first), 400)
    if first is None:
        newest = asked_day(str(month.rows[-1]["day"])) if month.rows else None
        first = newest.replace(day=1) if newest else today(place.now_ms).replace(day=1)
        if ZONE.get() is not None:
            month = await place.ask("diary-days", _month_given(first), 400)
    if day is None:
        busy = [found for row in month.rows if (found := asked_day(str(row["day"])))]
        day = max(
            busy,
            default=today(place.now_ms) if today(place.now_ms).replace(day=1) == first else first,
        )
    given = {"since": utc_of_day(day), "until": utc_of_day(day + timedelta(days=1))}
    diary = await place.ask("diary", given)
    return {
        "title": f"Diary: {long_day(day)}",
        "sentence": "" if diary.late else sentence(day, diary.rows),
        "month": month,
        "month_name": month_text(first),
        "weeks": weeks_of(first, _days(place, first, day, month.rows)),
        "earlier": (month_text(month_before(first)), place.page("diary", month=f"{month_before(first):%Y-%m}")),
        "later": (month_text(month_after(first)), place.page("diary", month=f"{month_after(first):%Y-%m}")),
        "day": long_day(day),
        "diary": diary,
        "rows": [_row(place, row) for row in diary.rows],
        "feeds": (place.page("diary.ics"), place.page("diary.atom")),
        "live": False,
    }  # fmt: skip


def _month_given(first: date | None) -> dict[str, str]:
    """What the question about a month is given; the days of the page's zone, where it has one of its own."""
    if first is None:
        return {}
    if ZONE.get() is None:
        return {"month": f"{first:%Y-%m}"}
    return {"days": days_given(first, (month_after(first) - first).days)}


def days_given(first: date, count: int) -> str:
    """What a question about days is given: each with its beginning and end in UTC."""
    days = [first + timedelta(days=n) for n in range(count)]
    told = [(f"{one}", utc_of_day(one), utc_of_day(one + timedelta(days=1))) for one in days]
    return json.dumps(told)


def utc_of_day(day: date) -> str:
    """When a day begins in the zone of the page, in UTC."""
    return utc_of(datetime.combine(day, time()))


def _days(
    place: Place, first: date, here: date, rows: Iterable[Mapping[str, Any]]
) -> dict[date, Day]:
    counts: dict[str, list[tuple[State, str]]] = {}
    order = list(HAPPENED)
    for row in sorted(rows, key=lambda row: order.index(row["what"])):
        told = counted(row["what"], row["times"]), str(row["times"])
        counts.setdefault(row["day"], []).append(told)
    days = [first + timedelta(days=n) for n in range((month_after(first) - first).days)]
    return {day: field_of(place, day, counts.get(f"{day}", ()), day == here) for day in days}


def field_of(
    place: Place, day: date, counts: Sequence[tuple[State, str]], here: bool = False
) -> Day:
    """A field of a calendar, which leads to its day where something happened. Pure."""
    address = place.page("diary", day=f"{day}") if counts else ""
    return Day(str(day.day), day_text(day), address, tuple(counts), here)


def _row(place: Place, row: Mapping[str, Any]) -> dict[str, Any]:
    state = HAPPENED[row["what"]]
    return {
        "at": clock_time(row["at"]),
        "what": state_text(state),
        "title": shown(row["title"]),
        "version": shown(row["version"], 40),
        "run": place.run(row["run"]),
        "environment": shown(row["environment"]),
        "by": shown(person(row["actor"])),
        "words": shown(row["words"]),
    }


async def feed(place: Place, form: str, base: str = "", since: str = "") -> tuple[str, str]:
    """The newest of what happened as ``ics`` or ``atom``: its text and media type. ``base`` is the address
    of this server; among plain files there is none: an Atom feed then leads to the files beside it, and a
    calendar, which may not, nowhere."""
    part = await place.ask("diary", {"since": since, "until": ""}, FEED_ROWS * 4)
    rows = [one for one in part.rows if one["what"] != "was decided"][-FEED_ROWS:]
    entries = [
        Entry(
            plain(f"{row['at']}-{row['what']}-{row['run']}-{row['environment']}"), plain(row["at"]),
            f"{brief(row['title'])} {brief(row['version'], 40)} {HAPPENED[row['what']].word}"
            + (f", {brief(row['environment'])}" if row["environment"] else ""),
            brief(row["words"], 300), _led_from_feed(place, form, base, place.run(row["run"])),
        )
        for row in rows
    ]  # fmt: skip
    if form == "ics":
        return calendar(entries), "text/calendar; charset=utf-8"
    page = _led_from_feed(place, form, base, place.page("diary"))
    return atom(entries, page), "application/atom+xml; charset=utf-8"


def _led_from_feed(place: Place, form: str, base: str, path: str) -> str:
    return "" if not path or (place.files is not None and form == "ics") else base + path


class Entry(NamedTuple):
    """Of a feed."""

    id: str
    at: str
    title: str
    words: str
    address: str


def calendar(entries: Iterable[Entry]) -> str:
    """An iCalendar (RFC 5545). Pure."""
    lines = ["BEGIN:VCALENDAR", "VERSION:2.0", "PRODID:-//cxlocal//diary//EN"]
    for one in entries:
        stamp = re.sub(r"\.\d+", "", re.sub(r"[-:]", "", one.at))
        lines += [
            "BEGIN:VEVENT", f"UID:{_escaped(one.id)}@cxlocal", f"DTSTAMP:{stamp}", f"DTSTART:{stamp}",
            f"SUMMARY:{_escaped(one.title)}", f"DESCRIPTION:{_escaped(one.words)}",
            *([f"URL:{one.address}"] if one.address else []), "END:VEVENT",
        ]  # fmt: skip
    lines.append("END:VCALENDAR")
    return "".join(f"{folded}\r\n" for each in lines for folded in _folded(each))


def _escaped(text: str) -> str:
    return re.sub(r"([\\;,])", r"\\\1", re.sub(r"[\r\n]+", " ", text))


def _folded(text: str) -> list[str]:
    """Lines of at most 75 bytes; one that goes on begins with a space."""
    lines, line = [], ""
    for char in text:
        if len((line + char).encode()) > 75:
            lines.append(line)
            line = " "
        line += char
    return [*lines, line]


def atom(entries: Iterable[Entry], address: str) -> str:
    """An Atom feed (RFC 4287). Pure."""
    found = sorted(entries, key=lambda one: one.at, reverse=True)
    body = Markup("").join(
        Markup(
            "<entry><id>urn:cxlocal:{}</id><title>{}</title><updated>{}</updated>"
            "{}<summary>{}</summary></entry>\n"
        ).format(one.id, one.title, one.at, _link(one.address), one.words)
        for one in found
    )
    updated = found[0].at if found else "1970-01-01T00:00:00Z"
    return str(
        Markup(
            '<?xml version="1.0" encoding="utf-8"?>\n<feed xmlns="http://www.w3.org/2005/Atom">'
            "<title>Releases</title><id>urn:cxlocal:diary</id><updated>{}</updated>"
            "<author><name>cxlocal</name></author>{}\n{}</feed>\n"
        ).format(updated, _link(address), body)
    )


def _link(address: str) -> Markup:
    return Markup('<link href="{}"/>').format(address) if address else Markup("")
