"""The page Then: what was live at a time, as it was known then, and as it is known now."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, time
from typing import Any

from cxlocal.projection.asked import HOW_TO_WRITE
from datasette_cxlocal.diary import asked_day, asked_for
from datasette_cxlocal.parts import Place
from datasette_cxlocal.words import ZONE, moment, moment_text, person, shown, there

_TIME = re.compile(
    r"(\d{4}-\d\d-\d\d)(?:[T ](\d\d:\d\d)(:\d\d(?:\.\d+)?)? ?(Z|[+ -]\d\d:\d\d)?)?", re.ASCII
)
"""A day or time as ``live-at`` takes it. A plus that an address holds as it is arrives as a space."""


def asked_time(text: str) -> str | None:
    """A time with its offset, or one of the zone of the page (a day: its end), as a stored question takes
    it; None for what is none. Pure but for the zone."""
    found = _TIME.fullmatch(text)
    day = asked_day(found[1]) if found else None
    if found is None or day is None:
        return None
    try:
        clock = time.fromisoformat(found[2] + (found[3] or "")[:7]) if found[2] else DAY_END
        at = datetime.combine(day, clock)
        if found[4]:
            offset = found[4].replace("Z", "+00:00").replace(" ", "+")
            at = datetime.fromisoformat(f"{at.isoformat()}{offset}").astimezone(ZONE.get())
        else:
            at = there(at)
    except (ValueError, OverflowError):
        return None
    return at.isoformat(" ", "milliseconds")


DAY_END = time(23, 59, 59, 999_000)


async def then_page(place: Place, what: str, asked: Mapping[str, str]) -> dict[str, Any]:
    """What ``cxlocal_then.html`` shows. Raises NoTime."""
    given = asked_for(asked, "at", asked_time, HOW_TO_WRITE)
    wanted = asked_for(asked, "known", asked_time, HOW_TO_WRITE)
    now = datetime.fromtimestamp(place.now_ms / 1000, UTC).astimezone(ZONE.get())
    at = given or now.replace(second=0, microsecond=0).isoformat(" ", "milliseconds")
    known = wanted or at
    if given or wanted:
        then = await place.ask("live-at", {"at": at, "known": known})
        later = await place.ask("live-at", {"at": at, "known": ""})
    else:  # now, as it is known now
        then = later = await place.ask("live-at")
    said = next((str(row["words"]) for row in then.rows if row["deliverable"] is None), "")
    rows = compared(
        [row for row in then.rows if row["deliverable"] is not None],
        [row for row in later.rows if row["deliverable"] is not None],
    )
    return {
        "title": f"What was live, {_to_the_second(at)}",
        "at": _field(at), "known": _field(known),
        "then": then, "later": later, "said": said, "when": _to_the_second(at),
        "known_when": _to_the_second(known),
        "rows": [_row(place, row, mark) for row, mark in rows],
        "remarks": any(row["words"] for row, _ in rows),
        "sentence": then_sentence(rows, said) if given or wanted or not rows else NOW, "live": False,
    }  # fmt: skip


def _field(at: str) -> str:
    """A time as a field for it holds it."""
    return at[:19].replace(" ", "T")


def _to_the_second(at: str) -> str:
    """A time for people, with its seconds where it has some; the end of a day is written as its minute."""
    seconds = "" if at[17:23] in ("00.000", "59.999") else at[16:19]
    return moment_text(at) + seconds


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
