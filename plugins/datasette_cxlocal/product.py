"""The page of a product: where its versions ran, what became of its numbers, what is not live yet."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from markupsafe import Markup

from cxlocal.address import TICKET
from cxlocal.projection.asked import PAGE_ROWS
from datasette_cxlocal.number_line import KINDS, Field, number_line
from datasette_cxlocal.parts import Part, Place
from datasette_cxlocal.strips import Stay, strips
from datasette_cxlocal.words import (
    State,
    age,
    brief,
    listed,
    local,
    moment,
    moment_text,
    person,
    plain,
    shown,
    state_mark,
    state_text,
)

TICKETS_MAX = 8


async def product_page(place: Place, what: str, asked: Mapping[str, str]) -> dict[str, Any]:
    """What ``cxlocal_product.html`` shows of the deliverable that is asked for, or that ran last."""
    given = {"deliverable": asked.get("deliverable", "") or what}
    if not given["deliverable"]:
        newest = await place.ask("runs", rows=1)
        given["deliverable"] = str(newest.first.get("deliverable") or "")
    runs = await place.ask("runs", given)
    places = await place.ask("product-places", given)
    numbers = await place.ask("numbers", given, 200)
    coming = await place.ask("not-live-yet", given)
    title = brief((runs.first or places.first).get("title") or given["deliverable"])
    rows = rows_of_places(places.rows)
    fields, line = fields_of(numbers.rows, place)
    known = bool(runs.rows or places.rows or numbers.rows)
    late = runs.late or places.late
    return {
        "title": title or "A product",
        "missing": not known and not late,
        "asked": plain(given["deliverable"]),
        "sentences": [
            one for one in (now_live(places.rows), not_live(coming, place.now_ms)) if one
        ],
        "places": places,
        "strips": strips(stays_of(places.rows, place), rows, f"What ran where: {title}"),
        "place_rows": [_place(place, row) for row in places.rows],
        "numbers": numbers,
        "line": number_line(fields, f"Numbers of line {line}"),
        "line_name": brief(line, 40),
        "other_lines": any(row["line"] != line for row in numbers.rows),
        "number_rows": [_number(place, row) for row in of_line(numbers.rows, line)],
        "coming": coming,
        "coming_rows": [_commit(place, row) for row in coming.rows],
        "runs_part": runs,
        "run_rows": [_run(place, row) for row in runs.rows],
        "live": False,
    }


def rows_of_places(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Environments in the order of the plan, with their services where there are several. Pure."""
    found: dict[str, tuple[bool, int, str]] = {}
    for row in rows:
        found[_name(row, rows)] = (row["position"] is None, row["position"] or 0, _name(row, rows))
    return sorted(found, key=lambda name: found[name])


def _name(row: Mapping[str, Any], rows: Sequence[Mapping[str, Any]]) -> str:
    services = {one["service"] for one in rows if one["environment"] == row["environment"]}
    name = brief(row["environment_title"], 60)
    return f"{name}, {brief(row['service'], 40)}" if len(services) > 1 else name


def stays_of(rows: Sequence[Mapping[str, Any]], place: Place) -> list[Stay]:
    """The pieces of the picture. Pure."""
    found = []
    for row in rows:
        start, end = local(row["since"]), local(row["until"])
        if start is None:
            continue
        words = f"since {moment_text(row['since'])}"
        words += f" until {moment_text(row['until'])}" if end else ", still there"
        last = end.timestamp() if end else max(place.now_ms / 1000, start.timestamp())
        found.append(
            Stay(_name(row, rows), brief(row["version"], 40), start.timestamp(),
                 max(last, start.timestamp()), row["kind"] == "rolledback", end is None, words,
                 place.run(row["run"]))
        )  # fmt: skip
    return found


def fields_of(rows: Sequence[Mapping[str, Any]], place: Place) -> tuple[list[Field], str]:
    """The numbers of the line that was used last, lowest first, and that line. Pure."""
    used = [row for row in rows if row["used_at"]]
    line = max(used, key=lambda row: row["used_at"])["line"] if used else (rows[0]["line"] if rows else "")  # fmt: skip
    fields = []
    for row in sorted((one for one in rows if one["line"] == line), key=lambda one: one["lo"]):
        text = str(row["lo"]) if row["lo"] == row["hi"] else f"{row['lo']}–{row['hi']}"
        why = "" if row["state"] == "in use, confirmed" else brief(row["why"], 200)
        run = row["run"] if row["version"] else ""
        fields.append(Field(text, str(row["state"]), why, place.run(run)))
    return fields, str(line)


def of_line(rows: Sequence[Mapping[str, Any]], line: str) -> list[Mapping[str, Any]]:
    """The rows below the picture: those of its line first. Pure."""
    return sorted(rows, key=lambda row: row["line"] != line)[:PAGE_ROWS]


def now_live(rows: Sequence[Mapping[str, Any]]) -> str:
    """The first sentence: what is live in each environment now. Pure."""
    live: dict[str, list[str]] = {}
    for row in rows:
        if not row["until"]:
            live.setdefault(_name(row, rows), []).append(brief(row["version"], 40))
    order = [name for name in rows_of_places(rows) if name in live]
    if not rows:
        return ""
    if not order:
        return "Nothing of it is live."
    return listed([f"{listed(live[name])} in {name}" for name in reversed(order)]) + "."


def not_live(part: Part, now_ms: int) -> str:
    """Not live yet: how many commits, which tickets, since when. Pure."""
    if part.late or not part.rows:
        return ""
    count = len(part.rows)
    times = [str(row["committed_at"]) for row in part.rows if local(row["committed_at"])]
    oldest = age(min(times), now_ms) if times else ""
    old = (
        f", the oldest {oldest if oldest.startswith('since') else oldest + ' old'}"
        if oldest
        else ""
    )
    tickets = dict.fromkeys(
        found for row in part.rows for found in TICKET.findall(plain(row["subject"] or ""))
    )
    named = f" ({listed(list(tickets)[:TICKETS_MAX])})" if tickets else ""
    more = "at least " if part.more else ""
    return f"Not live yet: {more}{count} commit{'' if count == 1 else 's'}{named}{old}."


def _place(place: Place, row: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "environment": shown(row["environment_title"]), "service": shown(row["service"]),
        "version": shown(row["version"] or "no version", 40), "run": place.run(row["run"]),
        "how": state_mark(row["kind"]), "since": moment(row["since"], place.now_ms),
        "until": moment(row["until"], place.now_ms) if row["until"] else "still there",
        "by": shown(person(row["actor"])),
    }  # fmt: skip


def _number(place: Place, row: Mapping[str, Any]) -> dict[str, Any]:
    same = row["lo"] == row["hi"]
    return {
        "numbers": str(row["lo"]) if same else f"{row['lo']} to {row['hi']}", "line": shown(row["line"], 40),
        "state": _state(row["state"]), "why": shown(row["why"], 200), "version": shown(row["version"], 40),
        "run": place.run(row["run"]) if row["version"] else "", "machine": shown(row["machine"]),
    }  # fmt: skip


def _state(value: object) -> Markup:
    """A number is used, even by a run that failed: no state of a release."""
    kind, shape, words = KINDS.get(str(value), ("plain", "", str(value)))
    return state_text(State(plain(words), shape, kind))


def _commit(place: Place, row: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "id": plain(row["revision"])[:12], "subject": shown(row["subject"]),
        "author": shown(person(row["author"])), "at": moment(row["committed_at"], place.now_ms),
        "first": shown(row["first_in"], 40), "run": place.run(row["run"]),
    }  # fmt: skip


def _run(place: Place, row: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "version": shown(row["version"] or "no version", 40), "run": place.run(row["run"]),
        "state": state_mark(row["outcome"]), "words": shown(row["outcome_reason"]),
        "at": moment(row["queued_at"], place.now_ms), "by": shown(person(row["actor"])),
        "subject": shown(row["revision_subject"]),
    }  # fmt: skip
