"""What ``cxlocal journal redact`` does and says."""

from __future__ import annotations

from cxlocal.commands.context import App
from cxlocal.commands.find_run import find_run
from cxlocal.commands.project import Project, load_project, open_project_store, outlets_of
from cxlocal.commands.status import named_here
from cxlocal.commands.terminal import say, warn
from cxlocal.errors import CxError, NotSynced, Refused
from cxlocal.exchange.redaction import drop_redacted
from cxlocal.exchange.sync import pending, synchronise
from cxlocal.journal.file import Journal
from cxlocal.journal.rebuild import catch_up
from cxlocal.runner.redaction import Meant, kept_bytes, of_digest, of_stage, redact, same_bytes
from cxlocal.runner.source import find_actor_at
from cxlocal.sinks.chosen import Target
from cxlocal.sinks.cursor import delivered, is_of_another, keys_of_logs
from cxlocal.sinks.delivery import Around
from cxlocal.text import counted, is_hexadecimal

PLACES_NAMED = 8
HAS = "has it"
MAY_HAVE = "may have some of it"
MAY_HAVE_OF = "may have it from the machine that ran it"
HAS_NOT = "nothing of it was ever sent there; one line will say how much was left out"


def carry_out(app: App, what: str, stage: str, reason: str, deliverable: str | None) -> None:
    """Record it, remove what is here and at the store, and say what is left. Raises CxError."""
    project = load_project(app)
    actor = find_actor_at(app.find_project() or app.directory, app.environ)
    with app.journal(create=False) as journal:
        catch_up(journal)
        wanted = _meant(app, journal, what, stage, deliverable)
        for one in wanted:
            redact(journal, one, actor, reason)
        kept = {digest: why for one in wanted for digest, why in kept_bytes(journal, one).items()}
        gone = any(digest not in kept for one in wanted for digest in one.sha256)
        problems, stay = _remove(app, project, journal, gone=gone)
        if gone:
            _tell(app, project, journal, wanted)
    for digest, why in kept.items():
        warn(f"{digest[:12]}… stays: {why}")
    if not gone:
        raise Refused(
            "nothing was removed: others need these bytes",
            why="; ".join(dict.fromkeys(kept.values())),
            hint="change the secret; what was said is kept, and counts when the other says the same",
            name="bytes-stay",
        )
    if stay:
        raise Refused(
            "not all of it could be removed here",
            why="; ".join(stay),
            hint="wait for the end of the run, then the same once more; or remove that folder by hand",
            name="left-here",
        )
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


def _remove(
    app: App, project: Project, journal: Journal, *, gone: bool
) -> tuple[list[str], tuple[str, ...]]:
    """Why something may be left at the store, and what is left here. ``gone``: whether anything is to go."""
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
    if gone:
        left = "." if problems else ", and what the store had."
        say(f"{counted(dropped.files, 'file')} removed here{left}")
    for folder in dropped.kept:
        say(
            f"What the run had left in {folder} is gone, too: what it printed may stand in any file of it."
        )
    return problems, dropped.stay


def _tell(app: App, project: Project, journal: Journal, wanted: list[Meant]) -> None:
    """What went with it, and what is left elsewhere."""
    places = [(one.run, one.stage) for one in wanted if one.stage]
    if more := [place for one in wanted for place in same_bytes(journal, one)]:
        more = [one for one in dict.fromkeys(more) if one not in places]
        logs = counted(len(more), "other log")
        if more:
            say(f"{logs} had the same bytes and went, too: {_listed(more)}")
    targets = Around(*outlets_of(app, project)).targets
    if places:
        _tell_sinks(journal, targets, wanted[0].deliverable, places + more)
    events = [one.to for one in targets if one.kind == "events"]
    where = " and ".join(["in the journal", *(f"at {to}" for to in events)])
    say(f"Events stay as they are {where}: reasons, and messages of tests, are not removed.")


def _tell_sinks(
    journal: Journal, targets: list[Target], deliverable: str, places: list[tuple[str, str]]
) -> None:
    """What each sink has of it, of those that are named and of those that once were."""
    named = {target.key: target for target in targets if target.kind == "logs"}
    for key in dict.fromkeys((*named, *keys_of_logs(journal))):
        target = named.get(key)
        found: dict[str, list[tuple[str, str]]] = {}
        for run, stage in places:
            has = delivered(journal, key, deliverable, run, stage)
            if has is not False:
                found.setdefault(HAS if has else MAY_HAVE, []).append((run, stage))
            elif target is not None and is_of_another(journal, target, run, stage):
                found.setdefault(MAY_HAVE_OF, []).append((run, stage))
        to = key.removeprefix("logs ") + ("" if target else " (named no more)")
        for words, some in found.items():
            say(f"{to}: {words}: remove {_listed(some)} there")
        if target is not None and not found:
            say(f"{to}: {HAS_NOT}")


def _listed(places: list[tuple[str, str]]) -> str:
    words = [f"run {run} stage {stage}" for run, stage in places[:PLACES_NAMED]]
    more = len(places) - len(words)
    return ", ".join(words) + (f" and {more} more" if more else "")
