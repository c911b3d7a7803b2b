"""The page Figures: how often, how long, how safe, by month; each number leads to its rows."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from datetime import date
from typing import Any

from markupsafe import Markup

from cxlocal.projection.figures import MONTHS
from cxlocal.text import duration_text
from datasette_cxlocal.bars import Bar, bars
from datasette_cxlocal.diary import (
    HOW_MONTH,
    asked_for,
    asked_month,
    month_after,
    month_before,
    utc_of_day,
)
from datasette_cxlocal.parts import Part, Place
from datasette_cxlocal.sections import Cell, Section, led
from datasette_cxlocal.words import brief, local, moment, month_text, person, plain, shown, today

NOTHING = "nothing was recorded"
Row = Mapping[str, Any]


async def figures_page(place: Place, what: str, asked: Mapping[str, str]) -> dict[str, Any]:
    """What ``cxlocal_sections.html`` shows of the deliverable that is asked for, or that ran last."""
    wanted = asked.get("deliverable", "") or what
    if wanted and not await _is_known(place, wanted):
        return {"title": "Figures", "live": False,
                "missing": f"{place.holder.capitalize()} knows of no product “{plain(wanted)}”."}  # fmt: skip
    last = asked_for(asked, "until", asked_month, HOW_MONTH) or await _newest(place, wanted)
    months = months_until(last)
    given = {"deliverable": wanted, "months": json.dumps(months)}
    figures = await place.ask("figures", given)
    incidents = await place.ask(
        "incidents", {"deliverable": str(figures.first.get("deliverable") or wanted)}
    )
    gone = await place.ask("gone-live", given)
    products = await place.ask("products")
    name = str(figures.first.get("deliverable") or wanted)
    title = next(
        (brief(row["title"]) for row in products.rows if row["deliverable"] == name), brief(name)
    )
    made = {one: await place.ways(one) for one in ("gone-live", "commits-live")}
    ways = _Ways(made, name, months)
    return {
        "title": f"Figures: {title}" if title else "Figures",
        "beside": [(place.page("figures", deliverable=row["deliverable"]), brief(row["title"], 40))
                   for row in products.rows if row["deliverable"] != name][:12] + ([
                   (place.page("figures", deliverable=wanted, until=f"{month_before(_first(months)):%Y-%m}"), "Earlier")]
                   if name else []),
        "sentences": figures_sentences(title, figures) + (
            ["Which other products there are could not be found out in time."] if products.late else []),
        "sections": [*_told(figures, gone, ways, place), _incidents(place, incidents)],
        "live": False,
    }  # fmt: skip


async def _is_known(place: Place, deliverable: str) -> bool:
    for question in ("runs", "product-places", "numbers"):
        part = await place.ask(question, {"deliverable": deliverable}, 1)
        if part.rows or part.late:
            return True
    return False


async def _newest(place: Place, deliverable: str) -> date:
    part = await place.ask("gone-live", {"deliverable": deliverable}, 1)
    at = local(part.first.get("at"))
    return (at.date() if at else today(place.now_ms)).replace(day=1)


def months_until(last: date) -> list[tuple[str, str, str]]:
    """The months up to that one, oldest first: name, beginning and end (UTC), of the zone of the page."""
    found, first = [], last
    for _ in range(MONTHS):
        found.append((f"{first:%Y-%m}", utc_of_day(first), utc_of_day(month_after(first))))
        if first <= date(1970, 2, 1):
            break
        first = month_before(first)
    return found[::-1]


def _first(months: Sequence[tuple[str, str, str]]) -> date:
    return date.fromisoformat(f"{months[0][0]}-01")


class _Ways:
    """Where the numbers of a month lead to."""

    def __init__(self, made: Mapping[str, Callable[[Mapping[str, str]], tuple[str, str, str]]],
                 deliverable: str, months: Sequence[tuple[str, str, str]]) -> None:  # fmt: skip
        self.made, self.deliverable = made, deliverable
        self.months = {one[0]: json.dumps([one]) for one in months}

    def rows(self, question: str, month: str) -> str:
        """The address of the rows of a month."""
        given = {"deliverable": self.deliverable, "months": self.months[month]}
        return self.made[question](given)[0]


def figures_sentences(title: str, part: Part) -> list[str]:
    """The newest month in which something went live. Pure."""
    if part.late:
        return []
    if part.rows and not part.first["environment"]:
        return [
            f"What is live of {title or 'it'} is not known: no plan names an environment that lasts."
        ]
    row = next((one for one in reversed(part.rows) if one["deployments"]), None)
    if row is None:
        return ["Nothing went live in these months."]
    times = _times(row["deployments"])
    back = f" and was rolled back {_times(row['rollbacks'])}" if row["rollbacks"] else ""
    said = [f"In {_name(row)} {title} went live {times}{back}."]
    if row["commits"]:
        said.append(f"Half of its commits were live within {duration_text(row['lead_median_seconds'])},"
                    f" nine of ten within {duration_text(row['lead_slow_tenth_seconds'])}.")  # fmt: skip
    if row["failed"]:
        right = "it is not put right yet"
        if row["recovered"]:
            them = "it was" if row["failed"] == 1 else "half of them were"
            right = f"{them} put right within {duration_text(row['recovery_median_seconds'])}"
        said.append(f"{row['failed']} of {row['deployments']} went wrong; {right}.")
    else:
        said.append("Whether any of them went wrong was not recorded.")
    return said


def _times(count: int) -> str:
    return "once" if count == 1 else f"{count} times"


def _name(row: Row) -> str:
    first = asked_month(str(row["month"]))
    return month_text(first) if first else plain(row["month"])


def _told(figures: Part, gone: Part, ways: _Ways, place: Place) -> list[Section]:
    """None where the first sentence has said that there is nothing to tell."""
    if figures.late or gone.late or gone.rows:
        return [*_pictured(figures, ways), _gone(place, gone)]
    return []


def _pictured(part: Part, ways: _Ways) -> list[Section]:
    """A section for each of the five figures."""

    def times(row: Row) -> str:
        return f"{row['deployments']}" + (f", {row['rollbacks']} back" if row["rollbacks"] else "")

    def lead(row: Row) -> str:
        return (
            duration_text(row["lead_median_seconds"])
            if row["commits"]
            else "not known"
            if row["deployments"]
            else ""
        )

    def failed(row: Row) -> str:
        return _share(row, "fail_share", "failed")

    def mended(row: Row) -> str:
        return (
            duration_text(row["recovery_median_seconds"])
            if row["recovered"]
            else "not yet"
            if row["failed"]
            else NOTHING
            if row["deployments"]
            else ""
        )

    def rework(row: Row) -> str:
        return _share(row, "rework_share", "rework")

    return [
        _section(part, ways, "How often it goes live", "gone-live", "deployments", times, "good",
                 ("Month", "Went live", "Rolled back"), lambda row: (str(row["deployments"]), str(row["rollbacks"])),
                 "Deployments to the environment in which it is live; rollbacks are not among them."),
        _section(part, ways, "How long from commit to live", "commits-live", "lead_median_seconds", lead, "plain",
                 ("Month", "Commits", "Half within", "Nine of ten within"), lambda row: (
                     str(row["commits"]), lead(row), _seconds(row["lead_slow_tenth_seconds"])),
                 "Each commit once, from when it was made until it was live first; the line above a bar is nine of ten.",
                 mark="lead_slow_tenth_seconds"),
        _section(part, ways, "How often it goes wrong", "gone-live", "fail_share", failed, "bad",
                 ("Month", "Went wrong", "Share"), lambda row: (str(row["failed"]) if row["failed"] else "", failed(row)),
                 "What was rolled back, repaired by a release that says so (run --fixes VERSION), or named by an incident"
                 " (cxlocal incident open)."),
        _section(part, ways, "How long until it is put right", "gone-live", "recovery_median_seconds", mended, "wait",
                 ("Month", "Put right", "Half within"), lambda row: (
                     f"{row['recovered']} of {row['failed']}" if row["failed"] else "", mended(row)),
                 "From the deployment that went wrong to the one that ended it; to the end of the incident where there was"
                 " none."),
        _section(part, ways, "How much is rework", "gone-live", "rework_share", rework, "wait",
                 ("Month", "Rework", "Share"), lambda row: (str(row["rework"]) if row["rework"] else "", rework(row)),
                 "Unplanned releases (run --unplanned) that repair another, or were asked for while an incident was open."),
    ]  # fmt: skip


def _section(part: Part, ways: _Ways, heading: str, question: str, value: str, words: Callable[[Row], str],
             kind: str, columns: Sequence[str], cells: Callable[[Row], tuple[str, ...]], note: str,
             mark: str = "") -> Section:  # fmt: skip
    drawn = [
        Bar(_name(row), row[value], words(row), ways.rows(question, row["month"]), row[mark] if mark else None)
        for row in since_first(part.rows)
    ]  # fmt: skip
    rows: list[tuple[Cell, ...]] = [
        (led(ways.rows(question, row["month"]), _name(row)), *(plain(one) for one in cells(row)))
        for row in reversed(part.rows)
        if row["deployments"] or row["rollbacks"]
    ]
    return Section(heading, part, columns, rows, "Nothing went live in these months.", heading, note,
                   bars(drawn, heading, note, value, kind), ways=value == "rework_share")  # fmt: skip


def since_first(rows: Sequence[Row]) -> Sequence[Row]:
    """The months from the first on in which something went live. Pure."""
    busy = [n for n, row in enumerate(rows) if row["deployments"] or row["rollbacks"]]
    return rows[min(busy) :] if busy else rows


def _seconds(value: float | None) -> str:
    return "" if value is None else duration_text(value)


def _share(row: Row, share: str, count: str) -> str:
    if row[share] is None:
        return NOTHING if row["deployments"] else ""
    return f"{round(100 * row[share])} %, {row[count]} of {row['deployments']}"


def _gone(place: Place, part: Part) -> Section:
    rows: list[tuple[Cell, ...]] = [
        (led(place.run(row["run"]), shown(row["version"] or "no version", 40)), plain(row["what"]),
         moment(row["at"], place.now_ms), plain(row["why"] or ""),
         duration_text(row["recovery_seconds"]) if row["recovery_seconds"] is not None else "not yet" if row["failed"] else "",
         shown(row["fixes"], 40), "yes" if row["rework"] else "", shown(person(row["actor"])))
        for row in part.rows
    ]  # fmt: skip
    return Section(
        "What went live", part,
        ("Version", "What", "When", "What went wrong", "Put right after", "Repairs", "Rework", "By"), rows,
        "Nothing went live in these months.", "What went live",
    )  # fmt: skip


def _incidents(place: Place, part: Part) -> Section:
    rows: list[tuple[Cell, ...]] = [
        (led(place.run(row["run"]), shown(row["version"] or "no version", 40)), shown(row["words"]),
         moment(row["opened_at"], place.now_ms), shown(person(row["actor"])),
         moment(row["closed_at"], place.now_ms) if row["closed_at"] else "not over", shown(row["closed_words"]))
        for row in part.rows
    ]  # fmt: skip
    return Section(
        "Incidents", part, ("Version", "What was wrong", "Since", "Said by", "Over", "What put it right"), rows,
        Markup("None was recorded; <code>cxlocal incident open</code> does."), "Which incidents there were",
    )  # fmt: skip
