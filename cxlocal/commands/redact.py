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
from cxlocal.sinks.cursor import delivered, is_of_another, keys_of_logs
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
    if one.stage:
        _tell_sinks(journal, Around(*outlets_of(app, project)).targets, one)


def _tell_sinks(journal: Journal, targets: list[Target], one: Meant) -> None:
    """What each sink has of it, of those that are named and of those that once were."""
    named = [target for target in targets if target.kind == "logs"]
    for target in named:
        has = delivered(journal, target.key, one.deliverable, one.run, one.stage)
        if has is False and is_of_another(journal, target, one.run, one.stage):
            words = f"may have it from the machine that ran it: {_where(one)}"
        else:
            words = _words(has, one)
        say(f"{target.to}: {words}")
    for key in keys_of_logs(journal):
        has = delivered(journal, key, one.deliverable, one.run, one.stage)
        if has is not False and key not in [target.key for target in named]:
            say(f"{key.removeprefix('logs ')} (named no more): {_words(has, one)}")


def _words(has: bool | None, one: Meant) -> str:
    if has is False:
        return "nothing of it was ever sent there; one line will say how much was left out"
    return f"{'has it' if has else 'may have some of it'}: {_where(one)}"


def _where(one: Meant) -> str:
    return f"remove run {one.run} stage {one.stage} there"
