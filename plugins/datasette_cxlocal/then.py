"""The page Then: what was live at a time, as it was known then, and as it is known now."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, time
from typing import Any

from datasette_cxlocal.diary import asked_day
from datasette_cxlocal.parts import Place
from datasette_cxlocal.words import ZONE, moment, moment_text, person, shown, there

_MINUTE = re.compile(r"(\d{4}-\d\d-\d\d)T(\d\d):(\d\d)(?::\d\d(?:\.\d+)?)?", re.ASCII)
"""What a field for a time sends."""


def asked_time(text: str) -> str:
    """A time of the zone of this machine (a day: its end) as a stored question takes it; empty for what
    is none. Pure but for the zone."""
    found = _MINUTE.fullmatch(text)
    day = asked_day(found[1] if found else text)
    if day is None:
        return ""
    try:
        at = time(int(found[2]), int(found[3])) if found else time(23, 59, 59)
    except ValueError:
        return ""
    moment = there(datetime.combine(day, at))
    offset = f"{moment:%z}"
    return f"{moment:%Y-%m-%d %H:%M:%S}{offset[:3]}:{offset[3:5]}"


async def then_page(place: Place, what: str, asked: Mapping[str, str]) -> dict[str, Any]:
    """What ``cxlocal_then.html`` shows."""
    now = datetime.fromtimestamp(place.now_ms / 1000, UTC).astimezone(ZONE.get())
    given = asked.get("at", "")
    at = asked_time(given)
    known = asked_time(asked.get("known", "")) or at
    if not at:
        at = known = asked_time(f"{now:%Y-%m-%dT%H:%M}")
    if asked_time(given):
        then = await place.ask("live-at", {"at": at, "known": known})
        later = await place.ask("live-at", {"at": at, "known": ""})
    else:  # now, as it is known now
        then = later = await place.ask("live-at")
    said = next((str(row["words"]) for row in then.rows if row["deliverable"] is None), "")
    rows = compared(
        [row for row in then.rows if row["deliverable"] is not None],
        [row for row in later.rows if row["deliverable"] is not None],
    )
    when = moment_text(at.replace(" ", "T"))
    return {
        "title": f"What was live, {when}",
        "at": at[:16].replace(" ", "T"), "known": known[:16].replace(" ", "T"),
        "odd": bool(given) and not asked_time(given),
        "then": then, "later": later, "said": said, "when": when,
        "known_when": moment_text(known.replace(" ", "T")),
        "rows": [_row(place, row, mark) for row, mark in rows],
        "remarks": any(row["words"] for row, _ in rows),
        "sentence": then_sentence(rows, said) if given or not rows else NOW, "live": False,
    }  # fmt: skip


SAME, LATER, GONE = (
    "known then and now",
    "only known later",
    "thought so then, and known to be otherwise now",
)
NOW = "This is what is live now; choose a time to see what was live then."


def compared(
    then: Sequence[Mapping[str, Any]], later: Sequence[Mapping[str, Any]]
) -> list[tuple[Mapping[str, Any], str]]:
    """What was known then and what is known now, each row with what holds of it. Pure."""

    def key(row: Mapping[str, Any]) -> tuple[str, ...]:
        return tuple(str(row[one]) for one in ("deliverable", "environment", "version", "since"))

    before, now = {key(row): row for row in then}, {key(row): row for row in later}
    every = {**before, **now}
    return [
        (every[one], SAME if one in before and one in now else LATER if one in now else GONE)
        for one in sorted(every)
    ]


def then_sentence(rows: Sequence[tuple[Mapping[str, Any], str]], said: str) -> str:
    """The first sentence. Pure."""
    if said:
        return f"{said[0].upper()}{said[1:]}."
    if not rows:
        return "Nothing was live, as far as is known here."
    different = sum(mark != SAME for _, mark in rows)
    if not different:
        return "What was known then is what is known now."
    return f"{different} of {len(rows)} {'is' if different == 1 else 'are'} known otherwise now."


def _row(place: Place, row: Mapping[str, Any], mark: str) -> dict[str, Any]:
    return {
        "product": shown(row["title"]), "environment": shown(row["environment_title"]),
        "version": shown(row["version"], 40), "run": place.run(row["run"]),
        "since": moment(row["since"], place.now_ms), "by": shown(person(row["actor"])),
        "known": mark, "same": mark == SAME, "words": shown(row["words"]),
    }  # fmt: skip
