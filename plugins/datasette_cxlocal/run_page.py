"""The page of a run: what happened in it, as its pipeline looked then."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from markupsafe import Markup

from cxlocal.address import is_web_address, stage_link
from cxlocal.text import duration_text, parse_utc
from datasette_cxlocal.graph import Box, stage_graph
from datasette_cxlocal.kept_files import last_lines
from datasette_cxlocal.links import commit_subject, links_of, outward
from datasette_cxlocal.parts import Place
from datasette_cxlocal.run_words import sentences
from datasette_cxlocal.timeline import LEGEND, Bar, stage_timeline
from datasette_cxlocal.words import brief, moment, person, plain, shown, state_mark

LATEST = "latest"


async def run_page(place: Place, what: str, deliverable: str) -> dict[str, Any]:
    """What ``cxlocal_run.html`` shows of the run that ``what`` names: an id, the beginning of one, a
    version; empty or ``latest`` for the newest."""
    latest = what in ("", LATEST)
    given = {"run": "" if latest else what, "deliverable": deliverable}
    head = await place.ask("one-run", given, 1)
    context: dict[str, Any] = {
        "title": "A run", "asked": "" if latest else plain(what), "head": head, "latest": latest,
    }  # fmt: skip
    if not head.rows:
        return {**context, "live": False, "missing": not head.late}
    row = head.first
    given = {"run": row["run"]}
    stages = await place.ask("stages", given)
    went = await place.ask("went-to", given)
    decisions = await place.ask("decisions", given)
    links = links_of(row["links"])
    now_ms = place.now_ms
    name = f"{brief(row['title'])} {brief(row['version'], 40)}".strip()
    bars, now = bars_of(stages.rows, row["outcome"] == "open" and row["heard_of"], now_ms)
    words = sentences(row, stages.rows, went.rows, decisions.rows)
    return {
        **context,
        "title": name,
        "live": row["outcome"] == "open" and bool(row["heard_of"]),
        "yet": " yet" if row["outcome"] == "open" else "",
        "state": state_mark(row["outcome"], words[0]),
        "sentences": words,
        "facts": _facts(place, row, links),
        "before": place.run(row["run_before"]),
        "after": place.run(row["run_after"]),
        "product": place.page("product", deliverable=row["deliverable"]),
        "way": place.page("way", row["run"]),
        "evidence": place.page("evidence", row["run"]),
        "difference": row["release_before"]
        and place.page("difference", newer=row["run"], older=row["release_before"]),
        "otherwise": await place.ask("recorded-otherwise", given),
        "stages": stages,
        "legend": LEGEND,
        "graph": stage_graph(boxes_of(stages.rows), f"How {name} was made"),
        "timeline": stage_timeline(bars, f"When, and how long: {name}", now),
        "stage_rows": [_stage(place, each, row, links, n) for n, each in enumerate(stages.rows)],
        "failures": [_failure(place, each) for each in stages.rows if each["tail_sha256"]],
        "cases": await place.ask("failing-cases", given),
        "went": went,
        "went_rows": [_went(place, each) for each in went.rows],
        "decisions": decisions,
        "decision_rows": [_decision(place, each) for each in decisions.rows],
        "commits": (commits := await place.ask("commits", given)),
        "commit_rows": [_commit(place, each, links) for each in commits.rows],
        "tests": await place.ask("tests-of-version", given),
        "artifacts": await place.ask("artifacts", given),
    }


def _names(text: object) -> tuple[str, ...]:
    """A list of names as JSON, from a plan of anybody."""
    try:
        found = json.loads(str(text or "[]"))
    except (ValueError, RecursionError):
        return ()
    return tuple(one for one in found if isinstance(one, str)) if isinstance(found, list) else ()


WORST = ("running", "error", "failure", "cancel")
"""Of the parts of a stage the one that its box tells."""


def boxes_of(rows: Sequence[Mapping[str, Any]]) -> list[Box]:
    """A box for each stage: what counts of its attempts and parts. Pure."""
    found: dict[str, list[Mapping[str, Any]]] = {}
    place: dict[str, int] = {}
    for number, row in enumerate(rows):
        found.setdefault(row["stage"], []).append(row)
        place.setdefault(row["stage"], number)
    boxes = []
    for name, each in found.items():
        counted = [row for row in each if row["counts"] != 0] or each
        shown_row = min(counted, key=lambda row: WORST.index(row["result"]) if row["result"] in WORST else 9)  # fmt: skip
        seconds = [
            row["duration_seconds"] for row in counted if row["duration_seconds"] is not None
        ]
        note = duration_text(max(seconds)) if seconds else ""
        if not shown_row["stage_run"]:
            note = shown_row["result"]
        parts = len({row["part"] for row in counted})
        note += f", {parts} parts" if parts > 1 else ""
        boxes.append(
            Box(name, shown_row["result"], note, shown_row["environment"] or "",
                _names(shown_row["waits_for"]), _names(shown_row["earned_by"]),
                f"#stage-{place[name]}")
        )  # fmt: skip
    return boxes


def bars_of(
    rows: Sequence[Mapping[str, Any]], going_on: bool, now_ms: int
) -> tuple[list[Bar], float | None]:
    """A bar for each attempt that began, in order of time; and now, where the run goes on. Pure."""
    began = [
        (n, row, at) for n, row in enumerate(rows) if (at := _ms(row["started_at"])) is not None
    ]
    if not began:
        return [], None
    first = min(min(at, _ms(row["ready_at"]) or at) for _, row, at in began)
    now = max((now_ms - first) / 1000, 0) if going_on else None
    bars = []
    for n, row, started_ms in began:
        start = (started_ms - first) / 1000
        ready = ((_ms(row["ready_at"]) or started_ms) - first) / 1000
        took = row["duration_seconds"]
        if took is None:
            took = now - start if now is not None and row["result"] == "running" else 0
        name = row["stage"] + (f" ({row['part']})" if row["part"] else "")
        name += f", attempt {row['attempt']}" if (row["attempt"] or 1) > 1 else ""
        bars.append(
            Bar(name, row["result"], min(ready, start), start, start + max(took, 0),
                row["usual_seconds"], row["counts"] == 0, f"#stage-{n}")
        )  # fmt: skip
    return sorted(bars, key=lambda bar: (bar.start, bar.name)), now


def _ms(value: object) -> int | None:
    try:
        return parse_utc(str(value)) if value else None
    except ValueError:
        return None


def _facts(place: Place, row: Mapping[str, Any], links: Mapping[str, object]) -> list[tuple[str, Markup]]:  # fmt: skip
    address = outward(links, "commit", commit=row["revision"])
    commit = Markup("<code>{}</code> {}").format(
        plain(row["revision"] or "")[:12], commit_subject(row["revision_subject"], links)
    )
    if address:
        commit = Markup('<a href="{}" rel="noopener noreferrer">{}</a> {}').format(
            address, plain(row["revision"])[:12], commit_subject(row["revision_subject"], links)
        )
    kinds = {None: "a laptop", "": "a laptop", "laptop": "a laptop", "ci": "a CI server"}
    where = brief(row["place"] or kinds.get(row["place_kind"], row["place_kind"]))
    if is_web_address(row["place_url"] or ""):
        where = Markup('<a href="{}" rel="noopener noreferrer">{}</a>').format(
            row["place_url"], where
        )
    machine = Markup("{}{}").format(where, f", {brief(row['machine'])}" if row["machine"] else "")
    seconds = row["duration_seconds"]
    found = [
        ("Asked for", moment(row["queued_at"], place.now_ms) if row["queued_at"] else ""),
        ("By", shown(row["actor"])),
        ("Why", shown(row["reason"])),
        ("Repairs", shown(row["fixes"], 40)),
        ("Repaired by", shown(row["fixed_by"], 80)),
        ("At fault", shown(row["at_fault"])),
        ("On", machine),
        ("Took", Markup(duration_text(seconds)) if isinstance(seconds, int | float) else ""),
        ("Commit", commit if row["revision"] else ""),
        ("Commit by", shown(row["revision_author"])),
        ("Branch", shown(row["branch"])),
        ("Owner", shown(row["owner"])),
    ]
    return [(title, Markup(value)) for title, value in found if value]


def _stage(
    place: Place,
    row: Mapping[str, Any],
    run: Mapping[str, Any],
    links: Mapping[str, object],
    n: int,
) -> dict[str, Any]:
    seconds, usual, waited = row["duration_seconds"], row["usual_seconds"], row["waiting_seconds"]
    name = shown(row["stage"])
    if row["part"]:
        name = Markup("{} ({})").format(name, shown(row["part"]))
    elsewhere = [
        (kind, address)
        for kind, word in (("log", "Log"), ("metric", "Figures"))
        if row["stage_run"] and (address := stage_link(links, kind, run, row))
    ]
    return {
        "id": f"stage-{n}",
        "name": name,
        "attempt": row["attempt"] if (row["attempt"] or 1) > 1 else "",
        "state": state_mark(row["result"]),
        "replaced": row["counts"] == 0,
        "environment": shown(row["environment"]),
        "waited": duration_text(waited) if waited and waited > 0 else "",
        "took": duration_text(seconds) if seconds is not None else "",
        "usual": duration_text(usual) if usual is not None else "not known",
        "words": shown(row["words"]),
        "began": moment(row["started_at"], place.now_ms) if row["started_at"] else "",
        "elsewhere": elsewhere,
    }


def _failure(place: Place, row: Mapping[str, Any]) -> dict[str, Any]:
    """Where a stage failed: its last lines, and where the whole log lies."""
    path = place.datasette.get_database(place.database).path
    return {
        "stage": shown(row["stage"]),
        "words": shown(row["words"]),
        "lines": last_lines(path, row["tail_sha256"])
        if place.files is None or place.files.log_lines
        else None,
        "log": plain(row["log"] or ""),
        "host": plain(row["host"] or ""),
    }


def _went(place: Place, row: Mapping[str, Any]) -> dict[str, Any]:
    until = "still there"
    if row["until"]:
        until = Markup("{}, {}").format(
            moment(row["until"], place.now_ms),
            "removed" if row["replaced_by"] == "removed" else f"then {plain(row['replaced_by'] or 'another version')}",
        )  # fmt: skip
    return {
        "environment": shown(row["environment"]),
        "service": shown(row["service"]),
        "version": shown(row["version"]),
        "state": state_mark(row["kind"]),
        "since": moment(row["since"], place.now_ms),
        "until": until,
        "by": shown(person(row["actor"]) + (f", {brief(row['host'])}" if row["host"] else "")),
    }


def _decision(place: Place, row: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "what": shown(row["decision_about"]),
        "state": state_mark(row["decision"]),
        "by": shown(person(row["by_whom"])),
        "why": shown(row["reason"]),
        "at": moment(row["at"], place.now_ms),
    }


def _commit(place: Place, row: Mapping[str, Any], links: Mapping[str, object]) -> dict[str, Any]:
    return {
        "id": plain(row["revision"])[:12],
        "address": outward(links, "commit", commit=row["revision"]),
        "subject": commit_subject(row["subject"], links),
        "author": shown(person(row["author"])),
        "at": moment(row["committed_at"], place.now_ms),
    }
