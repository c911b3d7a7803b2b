"""What ``cxlocal journal redact`` does and says."""

from __future__ import annotations

from cxlocal.commands.context import App
from cxlocal.commands.find_run import find_run
from cxlocal.commands.project import Project, load_project, open_project_store, outlets_of
from cxlocal.commands.status import named_here
from cxlocal.commands.terminal import say, warn
from cxlocal.errors import CxError, NotSynced
from cxlocal.exchange.redaction import drop_redacted
from cxlocal.exchange.sync import pending, synchronise
from cxlocal.journal.file import Journal
from cxlocal.journal.rebuild import catch_up
from cxlocal.runner.redaction import Meant, kept_for_others, of_digest, of_stage, redact
from cxlocal.runner.source import find_actor_at
from cxlocal.sinks.chosen import Target
from cxlocal.sinks.cursor import delivered
from cxlocal.sinks.delivery import Around
from cxlocal.text import counted, is_hexadecimal


def carry_out(app: App, what: str, stage: str, reason: str, deliverable: str | None) -> None:
    """Record it, remove what is here and at the store, and say what is left. Raises CxError."""
    project = load_project(app)
    actor = find_actor_at(app.find_project() or app.directory, app.environ)
    with app.journal(create=False) as journal:
        catch_up(journal)
        wanted = _meant(app, journal, what, stage, deliverable)
        for one in wanted:
            redact(journal, one, actor, reason)
        problems = _remove(app, project, journal)
        for one in wanted:
            _tell(app, project, journal, one)
    if problems:
        raise NotSynced(
            "the store may still have some of it",
            why="; ".join(problems),
            hint="cxlocal sync   removes it there as soon as a machine that may reaches the store",
            name="redacted-here",
        )


def _meant(
    app: App, journal: Journal, what: str, stage: str, deliverable: str | None
) -> list[Meant]:
    if is_hexadecimal(what, 64):
        return of_digest(journal, what)
    found = find_run(journal, what, deliverable, here=named_here(app))
    return [of_stage(journal, found["run"], stage)]


def _remove(app: App, project: Project, journal: Journal) -> list[str]:
    """Why something may be left at the store."""
    problems: list[str] = []
    try:
        store = open_project_store(app, project, journal=journal)
    except CxError as problem:
        dropped = drop_redacted(journal, None)
        problems.append(problem.what)
    else:
        try:
            dropped = drop_redacted(journal, store)
            problems += dropped.problems
            if not problems:
                synchronise(journal, store, use_breaker=False)
            if waiting := pending(journal):
                problems.append(f"{counted(waiting, 'event waits', 'events wait')} to be sent")
        finally:
            store.close()
    say(
        f"{counted(dropped.files, 'file')} removed here"
        + ("." if problems else ", and what the store had.")
    )
    return problems


def _tell(app: App, project: Project, journal: Journal, one: Meant) -> None:
    """What is left elsewhere."""
    if kept := kept_for_others(journal, one):
        names = ", ".join(f"{digest[:12]}…" for digest in kept)
        warn(f"{names} stays: another deliverable has the same bytes; redact it there, too")
    around = Around(*outlets_of(app, project))
    for target in around.targets:
        if target.kind == "logs" and one.stage:
            say(_words(target, one, delivered(journal, target, one.run, one.stage)))


def _words(target: Target, one: Meant, has: bool | None) -> str:
    about = f"{target.to}: "
    if has is False:
        return f"{about}nothing of it was delivered; one line will say how much was left out"
    might = "has it" if has else "may have it from the machine that ran it"
    return f"{about}{might}: remove run {one.run} stage {one.stage} there"
