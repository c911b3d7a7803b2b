"""``cxlocal show``: the story of one run."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from cxlocal.commands.context import App, pass_app
from cxlocal.commands.find_run import find_run
from cxlocal.commands.frame import command
from cxlocal.commands.links import elsewhere
from cxlocal.commands.output import json_option, put, write_document, write_rows
from cxlocal.commands.status import TARGETS, deliverable_here, is_published, named_here
from cxlocal.commands.terminal import harmless
from cxlocal.errors import ConfigError, UsageError
from cxlocal.events.types import RUN_BUMPED, RUN_REPEATED
from cxlocal.journal.blobs import blob_path
from cxlocal.journal.file import Journal
from cxlocal.journal.logs import log_here
from cxlocal.journal.rebuild import catch_up
from cxlocal.text import counted, duration_text, quoted

TAB = "\t"
FINAL = "SELECT id, version FROM run WHERE final_of = ?"
PARTS = {
    "timeline": "SELECT at, what, name, result, environment, waiting_seconds, duration_seconds,"
    " words FROM run_timeline WHERE run = ? ORDER BY at, what",
    "asked": "SELECT resumed, up_to, stages, kept, actor, reason, asked_at FROM run_asked WHERE run = ?"
    " ORDER BY asked_at",
    "reviews": "SELECT actor, words, reviewed_at FROM review WHERE run = ? ORDER BY reviewed_at",
    "changes": "SELECT revision, subject, author, committed_at FROM run_change WHERE run = ?"
    " ORDER BY position",
    "artifacts": "SELECT name, file_name, size_bytes, sha256, purl FROM artifact WHERE run = ?"
    " AND replaced_at IS NULL ORDER BY name",
    "reports": "SELECT id, stage, suite, outcome, total, passed, failed, errors, skipped, flaky,"
    " problem, sha256 FROM report WHERE run = ? ORDER BY id",
    "cases": "SELECT report, suite, name, outcome, message FROM report_case WHERE report IN"
    " (SELECT id FROM report WHERE run = ?) ORDER BY report, suite, name",
    "parts": "SELECT stage, part, attempt, outcome, counts, place, job, run_attempt, job_attempt,"
    " started_at, finished_at FROM stage_run WHERE run = ? ORDER BY stage, part, attempt, id",
    "promotions": "SELECT name, decision, actor, reason, decided_at, contradicted_by"
    " FROM promotion_board WHERE run = ? ORDER BY name",
    "publications": "SELECT p.target, p.tool, CASE WHEN p.withdrawn_at IS NULL THEN"
    " coalesce(p.state, iif(p.begun_at IS NULL, 'not begun', 'not known')) ELSE 'withdrawn' END AS state,"
    " iif(p.files_total, p.files_there || ' of ' || p.files_total, '') AS files,"
    " coalesce(p.withdrawn_at, p.found_at, p.begun_at) AS since, coalesce(p.withdrawn_why, p.why) AS why,"
    " p.withdrawn_by, p.withdrawn_how, p.begun_by, p.reason FROM publication p WHERE p.run = ?"
    " AND coalesce(p.withdrawn_at, p.found_at, p.wanted_at) IS NOT NULL ORDER BY p.target",
    "published_files": "SELECT target, name, state, wanted, held, location, why, found_at, published_at"
    " FROM publication_file WHERE run = ? ORDER BY target, name",
    "logs": "SELECT stage, attempt, log, log_bytes, log_sha256, host FROM stage_run WHERE run = ?"
    " AND log IS NOT NULL ORDER BY started_at",
    "verdicts": "SELECT gate, verdict, reason, stage, environment, judged_at FROM verdict"
    " WHERE run = ? ORDER BY judged_at",
    "left_out": "SELECT plugin, distribution, version, how, at FROM left_out WHERE run = ?"
    " ORDER BY at, plugin",
    "repeated": "SELECT e.document ->> '$.context.timestamp' AS at,"
    " e.document ->> '$.customData.cxlocal.stage' AS stage,"
    " e.document ->> '$.customData.cxlocal.outcome' AS outcome,"
    " e.document ->> '$.customData.cxlocal.missing' AS missing,"
    " e.document ->> '$.customData.cxlocal.other_bytes' AS other_bytes,"
    " e.document ->> '$.customData.cxlocal.log.path' AS log FROM event e"
    " JOIN run_lookup r ON r.id = e.run JOIN type_lookup t ON t.id = e.type"
    f" WHERE r.name = ? AND t.name = '{RUN_REPEATED}' ORDER BY e.id",
    "bumps": "SELECT e.document ->> '$.customData.cxlocal.commit' AS revision,"
    " e.document ->> '$.customData.cxlocal.branch' AS branch,"
    " e.document ->> '$.customData.cxlocal.remote' AS remote,"
    " e.document ->> '$.customData.cxlocal.aside' AS aside FROM event e"
    " JOIN run_lookup r ON r.id = e.run JOIN type_lookup t ON t.id = e.type"
    f" WHERE r.name = ? AND t.name = '{RUN_BUMPED}' ORDER BY e.id",
    "disputed": "SELECT what, subject, field, one, one_value, other, other_value, node FROM disputed"
    " WHERE run = ? ORDER BY what, subject, field",
    "flags": "SELECT kind, text, raised_at FROM flag WHERE run = ? ORDER BY raised_at",
}


@command(
    examples=[
        ("cxlocal show", "the latest release"),
        ("cxlocal show 2.7.14", "the run that made a version"),
        ("cxlocal show 3f2a unit --log", "what stage 'unit' of a run printed"),
        ("cxlocal show latest unit --log -f", "what it prints, while it runs"),
    ]
)
@click.argument("run", default="latest")
@click.argument("named", metavar="[STAGE]", default="")
@click.option("-d", "--deliverable", help="Where several deliverables have that version.")
@click.option(
    "--log", "stage", metavar="[STAGE]", is_flag=False, flag_value="",
    help="Print the log of a stage instead, or of all.",
)  # fmt: skip
@click.option("-f", "--follow", is_flag=True, help="Go on while the stage runs.")
@click.option("--plan", is_flag=True, help="Print the plan as it was when it ran.")
@json_option
@pass_app
def show(
    app: App, run: str, named: str, deliverable: str | None, stage: str | None, follow: bool,
    plan: bool, as_json: bool,
) -> None:  # fmt: skip
    """Tell the story of one run: why, what, where, and how it went.

    Without a name: the newest release of this folder's deliverable, of all outside a project. A log is
    shown from this machine, else from the store, else from the log repository ([sinks] logs, ask).
    """
    if stage is None and (named or follow):
        raise UsageError(
            "a stage is named, and nothing of it asked for",
            why="the story is that of the whole run",
            hint=f"cxlocal show {quoted(run)} {quoted(named)} --log".replace("'' ", ""),
            name="bad-options",
        )
    here = deliverable_here(app) if run in ("", "latest") else named_here(app)
    with app.journal(create=False, path=_where(app, run, deliverable)) as journal:
        catch_up(journal)
        found = find_run(journal, run, deliverable, here=here)
        if stage is not None:
            from cxlocal.commands.show_log import print_logs

            print_logs(app, journal, found, stage or named, follow=follow)
        elif plan:
            _print_plan(journal, found)
        elif as_json:
            parts = {name: _rows(journal, name, found["run"]) for name in PARTS}
            write_document({**found, **parts, "elsewhere": elsewhere(journal, found)})
        else:
            _tell(journal, found)


def _where(app: App, run: str, deliverable: str | None) -> Path | None:
    """Of several journals the one that holds the run, the newest where several do; None where there is
    nothing to choose. Raises UsageError, Conflict."""
    named = app.journals()
    if len(named) == 1:
        return named[0][1]
    found: list[tuple[str, Path | None]] = []
    unknown: UsageError | None = None
    for _, path in named:
        with app.journal(create=False, path=path) as journal:
            catch_up(journal)
            try:
                found.append((find_run(journal, run, deliverable)["queued_at"] or "", path))
            except UsageError as problem:
                unknown = problem
    if not found and unknown is not None:
        raise unknown
    return max(found)[1]


def _tell(journal: Journal, run: dict[str, Any]) -> None:
    for line in _story(journal, run):
        put(harmless(line))
    sections = (
        ("timeline", ("at", "what", "name", "result", "environment", "took", "words")),
        ("changes", ("revision", "subject", "author")),
        ("artifacts", ("name", "file_name", "size_bytes", "sha256", "path")),
        ("publications", ("target", "state", "files", "since", "why")),
        ("repeated", ("at", "stage", "outcome", "missing", "other_bytes")),
        ("cases", ()),
        ("reviews", ("reviewed_at", "actor", "words")),
        ("disputed", ("what", "field", "one", "one_value", "other", "other_value")),
        ("flags", ("kind", "text")),
    )
    for name, columns in sections:
        rows = _rows(journal, name, run["run"])
        if rows:
            put(f"\n{name.capitalize()}")
        if columns:
            write_rows(_of_one_day([_short(row) for row in rows]), columns)
        else:
            for row in rows:
                _put_case(row)
    _put_elsewhere(journal, run)


def _put_elsewhere(journal: Journal, run: dict[str, Any]) -> None:
    """Logs and figures of each stage where a team keeps them: a line each, to be clicked at."""
    rows = elsewhere(journal, run)
    if rows:
        put("\nElsewhere")
    for row in rows:
        for kind in ("log", "figures"):
            if row[kind]:
                put(harmless(f"{row['stage']}  {kind}  {row[kind]}"))


def _rows(journal: Journal, name: str, run: str) -> list[dict[str, Any]]:
    """One part of the story, with where on this machine artifacts and logs lie."""
    rows = journal.query(PARTS[name], (run,))
    if name == "logs":
        return [
            {**row, "path": str(log_here(journal.home, row["log"], row["log_sha256"]) or "")}
            for row in rows
        ]
    if name != "artifacts":
        return rows
    paths = [blob_path(journal.home, row["sha256"]) for row in rows]
    return [
        {**row, "path": str(path) if path.is_file() else ""}
        for row, path in zip(rows, paths, strict=True)
    ]


def _put_case(case: dict[str, Any]) -> None:
    """A test that is worth a look, with what it says on lines of its own."""
    put(harmless(f"{case['outcome']}  {case['name']}"))
    for line in (case["message"] or "").splitlines():
        put(f"    {harmless(line, keep=TAB)}".rstrip())


def _story(journal: Journal, run: dict[str, Any]) -> list[str]:
    row = journal.one("SELECT * FROM run WHERE id = ?", (run["run"],)) or {}
    title = f"{run['deliverable']} {run['version'] or '(no version)'}: {run['outcome']}"
    lines = [title, f"  run {run['run']}, {row.get('kind') or 'kind unknown'}"]
    if run["outcome_reason"]:
        lines.append(f"  because {run['outcome_reason']}")
    place = run["place"] or "a place unknown here"
    lines.append(f"  by {run['actor'] or 'unknown'} on {place} {run['host'] or ''}".rstrip())
    if run["place_url"]:
        lines.append(f"  at {run['place_url']}")
    if run["reason"]:
        lines.append(f"  reason given: {run['reason']}")
    lines.append(f"  asked for {run['queued_at']}, ended {run['finished_at'] or '(still open)'}")
    if run["revision"]:
        proof = f"{run['proof'] or 'no proof'} {row.get('proof_remote') or ''}".rstrip()
        lines.append(f"  from {run['revision'][:12]} {run['revision_subject']} ({proof})")
    for one in journal.query(PARTS["bumps"], (run["run"],)):
        where = f"on {one['branch']} of {one['remote']}"
        lines.append(f"  then committed as {(one['revision'] or '')[:12]}, {where}")
    if row.get("changes_total") is not None:
        since = row.get("changes_since") or "the beginning"
        count = row["changes_total"]
        lines.append(f"  {counted(count, 'commit')} since {since}")
    for words, other in _finals(journal, row):
        lines.append(f"  {words} {other}")
    online = {1: ", taken with the store", 0: ", taken without the store"}.get(run["online"], "")
    lines.append(f"  number: {run['number_state']}{online}")
    if run["stopped_before"] and not is_published(journal.query(TARGETS, {"run": run["run"]})):
        lines.append(
            f"  stopped before {run['stopped_before']}; go on with:"
            f" cxlocal run --resume {run['run'][:8]} --to {quoted(run['stopped_before'])}"
        )
    return lines


def _finals(journal: Journal, row: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """A pre-release and what became of it name each other."""
    if row.get("final_of"):
        former = journal.one("SELECT version FROM run WHERE id = ?", (row["final_of"],)) or {}
        yield "the final version of", former.get("version") or row["final_of"]
    for one in journal.query(FINAL, (row.get("id"),)):
        yield "its final version is", one["version"] or f"run {one['id'][:8]}, without a number"


def _short(row: dict[str, Any]) -> dict[str, Any]:
    seconds = row.get("duration_seconds")
    short = {**row, "took": duration_text(seconds) if isinstance(seconds, int | float) else None}
    if isinstance(row.get("words"), str) and len(lines := row["words"].splitlines()) > 1:
        short["words"] = f"{lines[0]} …"
    for name in ("sha256", "revision"):
        if isinstance(row.get(name), str):
            short[name] = row[name][:12]
    return short


def _of_one_day(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Times without their day where all are of one: it stands above."""
    days = {row["at"].partition("T")[0] for row in rows if isinstance(row.get("at"), str)}
    if len(days) != 1:
        return rows
    return [{**row, "at": (row.get("at") or "").partition("T")[2]} for row in rows]


def _print_plan(journal: Journal, run: dict[str, Any]) -> None:
    row = journal.one(
        "SELECT plan FROM plan JOIN run ON run.plan_sha256 = plan.sha256 WHERE run.id = ?",
        (run["run"],),
    )
    if row is None:
        raise UsageError(
            f"the plan of run {run['run'][:8]} is not known here",
            why="it is sent whole with the first run of a machine that used it",
            hint="cxlocal sync fetches it, where the store has it",
            name="no-plan",
        )
    try:
        write_document(json.loads(row["plan"]))
    except (ValueError, RecursionError) as problem:
        raise ConfigError(
            "this is not a frozen plan", why=str(problem), hint="cxlocal verify", name="bad-plan"
        ) from None
