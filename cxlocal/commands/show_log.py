"""``cxlocal show RUN [STAGE] --log``: a log from wherever it is."""

from __future__ import annotations

import io
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from cxlocal.address import stage_link
from cxlocal.commands.context import App
from cxlocal.commands.links import links_of
from cxlocal.commands.output import put
from cxlocal.commands.project import load_project, open_project_store, outlets_of
from cxlocal.commands.terminal import harmless, say, warn
from cxlocal.domain import path_part
from cxlocal.errors import CxError, Refused, Trouble, UsageError
from cxlocal.exchange.redaction import told_of
from cxlocal.journal.file import Journal
from cxlocal.journal.logs import log_here
from cxlocal.journal.rebuild import catch_up
from cxlocal.processes.stdout import data
from cxlocal.sinks.asking import Found, ask_for
from cxlocal.sinks.delivery import Around
from cxlocal.text import counted, quoted

STAGES = """
SELECT id, stage, part, attempt, outcome, environment, started_at, finished_at, host, log, log_sha256
FROM stage_run WHERE run = ? AND (log IS NOT NULL OR finished_at IS NULL) ORDER BY started_at, id
"""
LOOK_SECONDS = 0.1
"""Between two looks at a log that grows."""
FETCH_SECONDS = 30.0


def print_logs(
    app: App, journal: Journal, run: dict[str, Any], stage: str, *, follow: bool
) -> None:
    """The log of the last attempt of ``stage``; those of all stages where it is empty. ``follow``: as
    it grows, until the stage ends. Raises UsageError, Refused, Trouble."""
    known = journal.query(STAGES, (run["run"],))
    named = [row for row in known if stage in ("", row["stage"]) and (row["log"] or follow)]
    if not named:
        names = ", ".join(dict.fromkeys(row["stage"] for row in known if row["log"])) or "none"
        raise UsageError(
            f"run {run['run'][:8]} has no log" + (f" of a stage {stage!r}" if stage else ""),
            why=f"stages with a log: {names}",
            hint="name one of these stages; -f waits for the end of one that runs",
            name="no-such-log",
        )
    last = {(row["stage"], row["part"]): row for row in named}
    for row in last.values():
        if not stage and len(last) > 1:
            say(f"== {row['stage']}" + (f" ({row['part']})" if row["part"] else ""))
        if row["finished_at"] is None:
            _follow(journal, run, row)
        else:
            _show(_opened(app, journal, run, row))


def _show(lines: Iterable[str]) -> None:
    """As it was kept, control characters made visible."""
    for line in lines:
        put(harmless(line, keep="\n\t"), nl=False)


def _opened(app: App, journal: Journal, run: dict[str, Any], row: dict[str, Any]) -> Iterable[str]:
    """The lines of a log: of the file here, else of the bytes at the store. Raises Refused where they are to be
    nowhere, Trouble."""
    path = log_here(journal.home, row["log"], row["log_sha256"])
    if path is not None:
        try:
            return path.open(encoding="utf-8", errors="backslashreplace")
        except OSError as problem:
            raise Trouble(
                f"the log of {row['stage']} cannot be read",
                why=f"{problem.strerror}: {path}",
                hint="cxlocal doctor looks at the home folder",
                name="log-gone",
            ) from problem
    said = told_of(journal, row["log_sha256"], run["run"])
    if said is not None:
        same = (said["run"], said["stage"]) == (run["run"], row["stage"])
        about = "" if same else f" (of run {said['run']} stage {said['stage']}, the same bytes)"
        raise Refused(
            f"the log of {row['stage']} was removed",
            why=f"{said['actor']}, {said['redacted_at']}: {said['reason']}{about}",
            hint=f"what is known beside it: cxlocal show {run['run'][:8]}",
            name="log-redacted",
        )
    content, why = _from_store(app, journal, row["log_sha256"])
    if content is not None:
        return io.StringIO(content.decode("utf-8", "backslashreplace"))
    found = _from_repository(app, run, row)
    if found.lines:
        if found.missing:
            warn(f"{counted(found.missing, 'line')} of it {found.where} has not got")
        return (f"{line}\n" for line in found.lines)
    why = "; ".join([why, *found.problems])
    link = stage_link(links_of(journal, run), "log", run, row)
    there = f"{row['host'] or 'the machine that ran it'}, or was pruned"
    raise Trouble(
        f"the log of {row['stage']} is not on this machine",
        why=f"it was kept on {there}; {why}",
        hint=f"look at {link}" if link
        else f"there: cxlocal show {run['run'][:8]} --log {quoted(row['stage'])}",
        name="log-gone",
    )  # fmt: skip


def _from_repository(app: App, run: dict[str, Any], row: dict[str, Any]) -> Found:
    """What a log repository has of it, where one is named that can be asked."""
    project = load_project(app)
    if not any(one.ask for one in project.settings.sinks.get("logs", ())):
        return Found()
    around = Around(*outlets_of(app, project))
    return ask_for(around, app.clock, run["run"], row["stage"], row["id"])


def _from_store(app: App, journal: Journal, sha256: str | None) -> tuple[bytes | None, str]:
    """What the store has of a log, or why there is nothing."""
    if not sha256:
        return None, "nobody knows its digest"
    try:
        store = open_project_store(app, load_project(app), journal=journal)
        try:
            content = store.get_blob(sha256, timeout=FETCH_SECONDS)
        finally:
            store.close()
    except CxError as problem:
        return None, f"the store was not asked: {problem.what}"
    return content, "" if content is not None else "the store has not got it"


def _follow(journal: Journal, run: dict[str, Any], row: dict[str, Any]) -> None:
    """What a stage prints, from the beginning until it ends; it has to run on this machine."""
    path = _newest(journal.home / "logs" / path_part(run["run"]), row["stage"])
    if path is None:
        raise Trouble(
            f"stage {row['stage']} runs, and its log is not on this machine",
            why=f"it runs on {row['host'] or 'another machine'}",
            hint=f"wait for its end, or there: cxlocal show {run['run'][:8]} {quoted(row['stage'])} --log -f",
            name="log-elsewhere",
        )
    with path.open(encoding="utf-8", errors="backslashreplace", newline="\n") as file:
        while True:
            # First the question, then the rest: what is written before the end is shown.
            ended = _has_ended(journal, row["id"])
            _show(file)
            data().flush()
            if ended:
                return
            time.sleep(LOOK_SECONDS)


def _has_ended(journal: Journal, stage_run: str) -> bool:
    catch_up(journal)
    found = journal.one("SELECT finished_at FROM stage_run WHERE id = ?", (stage_run,))
    return found is None or found["finished_at"] is not None


def _newest(folder: Path, stage: str) -> Path | None:
    """The log that a stage writes now: that of its last attempt."""
    name = path_part(stage)
    found = [
        path for path in (folder / f"{name}.log", *folder.glob(f"{name}.*.log")) if path.is_file()
    ]
    return max(found, key=lambda path: path.stat().st_mtime_ns, default=None)
