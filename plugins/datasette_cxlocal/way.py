"""The page of a version's way: where did it get to, where did it wait, who decided."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

from cxlocal.text import duration_text
from datasette_cxlocal.parts import Place
from datasette_cxlocal.run_page import LATEST
from datasette_cxlocal.value_stream import Step, value_stream
from datasette_cxlocal.words import (
    brief,
    local,
    moment,
    person,
    plain,
    short_text,
    shown,
    state_of,
)

KINDS = {
    "commit": ("Commit", "plain", "●"), "asked for": ("Asked for", "plain", "●"),
    "went on": ("Went on", "plain", "●"), "live": ("", "good", "✓"),
    "rolled back": ("Put back into", "wait", "↩"),
}  # fmt: skip
"""What the stored question calls it: how it begins on the picture, colour, shape."""


async def way_page(place: Place, what: str, asked: Mapping[str, str]) -> dict[str, Any]:
    """What ``cxlocal_way.html`` shows of the version that ``what`` names, as for a run."""
    latest = what in ("", LATEST)
    given = {"run": "" if latest else what, "deliverable": asked.get("deliverable", "")}
    head = await place.ask("one-run", given, 1)
    context: dict[str, Any] = {
        "title": "The way of a version", "asked": "" if latest else plain(what), "head": head,
        "live": False, "missing": not head.rows and not head.late,
    }  # fmt: skip
    if not head.rows:
        return context
    run = head.first
    way = await place.ask("way", {"run": run["run"]})
    name = f"{brief(run['title'])} {brief(run['version'], 40)}".strip()
    steps = steps_of(way.rows)
    return {
        **context,
        "title": f"The way of {name}",
        "live": run["outcome"] == "open" and bool(run["heard_of"]),
        "sentences": way_sentences(steps, bool(run["revision_at"])),
        "way": way,
        "stream": value_stream(steps, f"The way of {name}"),
        "rows": [_row(place, row, step) for row, step in zip(way.rows, steps, strict=False)],
        "page_of_run": place.run(run["run"]),
        "product": place.page("product", deliverable=run["deliverable"]),
    }


def steps_of(rows: Sequence[Mapping[str, Any]]) -> list[Step]:
    """The steps, in order of time; what has no time is left out. Pure."""
    known = [(when.timestamp(), row) for row in rows if (when := local(row["at"]))]
    steps: list[Step] = []
    for at, row in known:
        before = steps[-1].at if steps else at
        begins, kind, shape = KINDS.get(row["what"], ("", "", ""))
        if not kind:
            state = state_of(str(row["what"]).removeprefix("ended: "))
            kind, shape = state.kind, state.shape
            name = ": ".join(one for one in (brief(row["name"], 60), state.word) if one)
        else:
            name = f"{begins} {brief(row['name'], 60)}".strip()
        by = person(row["actor"]) if row["whose"] == "people" else ""
        note = ", ".join(one for one in (short_text(row["at"]), by) if one)
        people = row["whose"] == "people"
        steps.append(
            Step(
                name,
                note,
                at,
                kind,
                shape,
                people,
                duration_text(max(at - before, 0)) if steps else "",
            )
        )
    return steps


def way_sentences(steps: Sequence[Step], commit_known: bool) -> list[str]:
    """How far it got, how long that took, and how much of it was waiting for people. Pure."""
    lived = [one for one in steps if one.kind == "good" and one.shape == "✓" and one.name]
    if not lived:
        return ["It has not gone live anywhere."]
    last = lived[-1]
    whole = last.at - steps[0].at
    until = [(one, other) for one, other in itertools.pairwise(steps) if other.at <= last.at]
    waited = sum(other.at - one.at for one, other in until if other.people)
    start = "From its commit" if commit_known else "From when it was asked for"
    text = [f"{start} to {last.name}: {duration_text(whole)}."]
    if whole > 0:
        share = round(100 * waited / whole)
        text.append(f"Waiting for people: {duration_text(waited)}, {share} % of it.")
    if not commit_known:
        text.append("When its commit was made is not known.")
    return text


def _row(place: Place, row: Mapping[str, Any], step: Step) -> dict[str, Any]:
    return {
        "at": moment(row["at"], place.now_ms), "what": shown(f"{step.shape} {step.name}"),
        "took": step.took, "whose": "people" if step.people else "machines",
        "by": shown(person(row["actor"])), "words": shown(row["words"]),
    }  # fmt: skip
