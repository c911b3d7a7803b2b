"""The sheet of a version, for somebody who has to answer for it, on one page of paper."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from markupsafe import Markup

from cxlocal.projection.evidence import CONTRADICTED, TOPICS, evidence_sentences, result_words
from datasette_cxlocal.parts import Part, Place
from datasette_cxlocal.run_page import LATEST
from datasette_cxlocal.sections import Cell, Section
from datasette_cxlocal.words import State, brief, moment, person, plain, shown, state_of, state_text

ROWS_MAX = 300
COLUMNS = {
    ("commit", "Name"): "Commit", ("commit", "By"): "Author", ("commit", "Result"): "Pushed, as far as is known",
    ("run", "Name"): "Run", ("run", "SHA-256"): "Digest of its plan", ("tests", "Name"): "Suite",
    ("tests", "By"): "Stage", ("tests", "SHA-256"): "Digest of the report", ("artifact", "Result"): "Size",
    ("record", "Name"): "Machine", ("record", "SHA-256"): "Hash of that event", ("deployed", "Name"): "Environment",
    ("commit", "Said"): "Message", ("run", "Said"): "Where, and why", ("artifact", "Said"): "File",
    ("tests", "Said"): "Problem", ("decision", "Said"): "Reason", ("gate", "Said"): "Reason",
    ("deployed", "Said"): "Reason", ("review", "Said"): "What was found", ("record", "Result"): "How far",
}  # fmt: skip
"""What a column is called where a topic has a better word for it."""
RESULTS = {
    "the bytes that were made": State("the bytes that were made", "✓", "good"),
    "other bytes than were made": State("other bytes than were made", "✗", "bad"),
    "which bytes is not known": State("which bytes is not known", "?", "wait"),
    "answered for": State("answered for", "✓", "good"),
    "over": State("is over", "✓", "good"),
    "not over": State("is not over", "✗", "bad"),
    CONTRADICTED: State(CONTRADICTED, "⚠", "bad"),
    "noticed": State("noticed", "⚑", "wait"),
}


async def evidence_page(place: Place, what: str, asked: Mapping[str, str]) -> dict[str, Any]:
    """What ``cxlocal_sections.html`` shows of the version that ``what`` names, as for a run."""
    given = {"run": "" if what == LATEST else what, "deliverable": asked.get("deliverable", "")}
    head = await place.ask("one-run", given, 1)
    context: dict[str, Any] = {"title": "What proves a version", "live": False}
    if head.late:
        return {**context, "head_late": "Which version this is"}
    if not head.rows:
        known = f"This machine knows of no run that made version “{plain(what)}”." if given["run"] else "There was no run yet."  # fmt: skip
        return {**context, "missing": known}
    run = head.first
    part = await place.ask("evidence", {"run": run["run"]}, ROWS_MAX)
    said = [brief(one, 300) for one in evidence_sentences(part.rows)] if part.rows else []
    name = f"{brief(run['title'])} {brief(run['version'], 40)}".strip()
    return {
        **context,
        "title": f"What proves {name}",
        "beside": [(place.run(run["run"]), "Its run"), (place.page("way", run["run"]), "Its way")],
        "sentences": said,
        "sections": sections_of(place, part, brief(run["version"] or run["run"][:8], 40)),
    }


def sections_of(place: Place, part: Part, version: str) -> list[Section]:
    """A section for each topic that there is something of; columns that say nothing are left out. Pure."""
    found = []
    for topic, heading in TOPICS.items():
        rows = [_row(place, row) for row in part.rows if row["topic"] == topic]
        names = [
            COLUMNS.get((topic, name), name)
            for name in ("Name", "Result", "By", "When", "Said", "SHA-256")
        ]
        told = [n for n in range(len(names)) if not n or any(row[n] for row in rows)]
        if rows:
            found.append(
                Section(
                    heading,
                    part,
                    [names[n] for n in told],
                    [[row[n] for n in told] for row in rows],
                    "",
                    "",
                    ways=False,
                )
            )
    last = found[-1:] or [
        Section("Line by line", part, (), (), "Nothing is known of it.", "What proves it")
    ]
    note = Markup("To check it: <code>cxlocal verify</code> recomputes every hash of the record; <code>sha256sum"
                  " FILE</code> gives the digest of a file; <code>cxlocal export evidence {}</code> prints this"
                  " sheet.").format(version)  # fmt: skip
    return [*found[:-1], last[0]._replace(ways=True, note=note)]


def _row(place: Place, row: Mapping[str, Any]) -> tuple[Cell, ...]:
    topic, result = str(row["topic"]), plain(row["result"] or "")
    first, comma, rest = result.partition(", ")
    state = RESULTS.get(result) or state_of(first)
    told: Cell = state_text(state._replace(word=state.word + comma + brief(rest, 100)))
    if topic in ("commit", "artifact", "record"):
        told = shown(result_words(topic, result))
    by = shown(person(row["who"]))
    if topic == "decision" and not row["who"]:
        by = Markup("earned by its stages")
    digest = plain(row["sha256"] or "")
    name = shown(row["name"] or "An answer")
    return (
        Markup("<code>{}</code>").format(brief(row["name"], 64)) if topic in ("commit", "run") else name, told,
        by, moment(row["at"], place.now_ms) if row["at"] else "", shown(row["words"], 200),
        Markup("<code>{}</code>").format(digest) if digest else "",
    )  # fmt: skip
