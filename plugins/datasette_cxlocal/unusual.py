"""The page Unusual: what was out of the ordinary, what two claim, what nothing has settled yet."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from markupsafe import Markup

from cxlocal.projection.flags import settled_by
from datasette_cxlocal.parts import Part, Place
from datasette_cxlocal.sections import Cell, Section, led
from datasette_cxlocal.words import brief, listed, moment, person, plain, shown, state_mark


async def unusual_page(place: Place, what: str, asked: Mapping[str, str]) -> dict[str, Any]:
    """What ``cxlocal_sections.html`` shows of it."""
    unusual = await place.ask("unusual")
    disputes = await place.ask("disputes")
    flags = await place.ask("look-at")
    return {
        "title": "Unusual",
        "sentences": unusual_sentences(unusual, disputes, flags),
        "sections": [
            Section(
                "Releases out of the ordinary", unusual,
                ("Version", "Product", "When", "What was unusual", "By", "Reason given", "Answered for"),
                [_release(place, row) for row in unusual.rows],
                "There were none.", "Which releases were unusual",
                Markup("Who looked at one afterwards answers for it with <code>cxlocal review VERSION"
                       " -m 'what I found'</code>; that stays with it on every machine."),
            ),
            Section(
                "Two claim the same", disputes, ("Version", "Product", "Claims", "Since", "By"),
                [_dispute(place, row) for row in disputes.rows],
                "No two versions claim one place, and no two runs one number.", "What is in dispute",
                Markup("A person ends it: <code>cxlocal env confirm</code> says which version is really"
                       " there; of a number, name the run or the digest from now on."),
            ),
            Section(
                "Noticed, and not settled yet", flags, ("What", "When", "Product", "Version", "What settles it"),
                [_flag(place, row) for row in flags.rows],
                "Nothing.", "What somebody should look at",
            ),
        ],
        "live": False,
    }  # fmt: skip


def unusual_sentences(unusual: Part, disputes: Part, flags: Part) -> list[str]:
    """The answer first. Pure."""
    said = []
    if not unusual.late:
        count, open_ = len(unusual.rows), sum(not row["reviewed_by"] for row in unusual.rows)
        least = "At least " if unusual.more else ""
        if not count:
            said.append("No release was out of the ordinary.")
        else:
            was = "release was" if count == 1 else "releases were"
            of_them = (
                "it" if count == 1 else f"{open_} of them" if 0 < open_ < count else "any of them"
            )
            answered = f"nobody has answered for {of_them}"
            if not open_:
                answered = f"somebody has answered for {'it' if count == 1 else 'each of them'}"
            said.append(f"{least}{count} {was} out of the ordinary; {answered}.")
    also = [
        words
        for part, one, many in ((disputes, "1 dispute", "{} disputes"),
                                (flags, "1 thing somebody should look at", "{} things somebody should look at"))
        if (words := _counted(part, one, many))
    ]  # fmt: skip
    if also:
        said.append(f"Not settled: {listed(also)}.")
    return said


def _counted(part: Part, one: str, many: str) -> str:
    count = len(part.rows)
    if not count:
        return ""
    return one if count == 1 else many.format(f"at least {count}" if part.more else count)


def _release(place: Place, row: Mapping[str, Any]) -> tuple[Cell, ...]:
    if row["reviewed_by"]:
        answered: Cell = Markup("{} {}: {}").format(
            shown(person(row["reviewed_by"])), moment(row["reviewed_at"], place.now_ms), shown(row["words"])
        )  # fmt: skip
    else:
        answered = state_mark("open", "nobody yet")
    return (
        led(place.run(row["run"]), shown(row["version"] or "no version", 40)), shown(row["title"]),
        moment(row["queued_at"], place.now_ms), shown(row["unusual"]), shown(person(row["actor"])),
        shown(row["reason"] or "none"), answered,
    )  # fmt: skip


def _dispute(place: Place, row: Mapping[str, Any]) -> tuple[Cell, ...]:
    kind = "its place in" if row["what"] == "place" else "its number"
    return (
        led(place.run(row["run"]), shown(row["version"] or "no version", 40)), shown(row["title"]),
        Markup("{} {}").format(kind, shown(row["claims"], 40)), moment(row["at"], place.now_ms),
        shown(person(row["actor"])),
    )  # fmt: skip


def _flag(place: Place, row: Mapping[str, Any]) -> tuple[Cell, ...]:
    return (
        shown(row["text"], 200), moment(row["raised_at"], place.now_ms), shown(row["title"]),
        led(place.run(row["run"]), shown(row["version"] or ("the run" if row["run"] else ""), 40)),
        plain(settled_by(brief(row["kind"]))),
    )  # fmt: skip
