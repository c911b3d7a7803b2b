"""``cxlocal import``: bundles and receipts of other machines; versions from tags."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from cxlocal.bundles.intake import TakenBundle, take_bundle
from cxlocal.bundles.reader import Contents, lineage_of, look
from cxlocal.bundles.receipts import Received, take_receipt
from cxlocal.bundles.writer import RECEIPT
from cxlocal.commands.context import App, pass_app
from cxlocal.commands.frame import command
from cxlocal.commands.import_tags import adopt_tags
from cxlocal.commands.journals import place_of
from cxlocal.commands.output import json_option, write_document
from cxlocal.commands.project import load_project, open_project_store
from cxlocal.commands.terminal import say, warn
from cxlocal.errors import NotSynced, Refused, UsageError
from cxlocal.exchange.journals import look as look_for
from cxlocal.exchange.state import store_state
from cxlocal.exchange.sync import SyncReport, pending, synchronise, to_relay
from cxlocal.journal.file import Journal
from cxlocal.journal.machine import goes_away
from cxlocal.journal.rebuild import catch_up
from cxlocal.runner.handover import send_patiently
from cxlocal.runner.source import find_place, is_passing
from cxlocal.text import counted

SYNC_SECONDS = 60.0


@command(
    "import",
    examples=[
        ("cxlocal import /media/stick/a.bundle", "take it in and bring it to the store"),
        ("cxlocal import /media/stick/a.receipt", "what the store said to a bundle of ours"),
        ("cxlocal import --offline a.bundle", "take it in; the next sync brings it to the store"),
        ("cxlocal import --tags 'v*'", "count on above the versions that tags speak of"),
    ],
)
@click.argument("file", required=False, metavar="[FILE]")
@click.option("--tags", metavar="PATTERN", help="Adopt versions from the repository's tags.")
@click.option("--offline", is_flag=True, help="Do not ask the store.")
@click.option("--require-sync", is_flag=True, help="Fail (6) unless the store has everything.")
@json_option
@pass_app
def import_(
    app: App,
    file: str | None,
    tags: str | None,
    offline: bool,
    require_sync: bool,
    as_json: bool,
) -> None:
    """Take in a bundle, a receipt, or versions from tags.

    A bundle is checked as a whole before anything of it is taken. What is here already is skipped,
    what disagrees is kept beside it, and nothing is lost by importing twice. This machine then
    brings to the store what the store lacks of it, now or with the next 'cxlocal sync'.
    """
    if (file is None) == (tags is None):
        raise UsageError(
            "either a file or --tags is needed",
            why="both were given" if file else "neither was given",
            hint="cxlocal import FILE, or cxlocal import --tags 'v*'",
            name="bad-options",
        )
    if tags is not None:
        adopt_tags(app, tags, offline=offline, as_json=as_json)
        return
    _import_file(app, Path(str(file)), offline, require_sync, as_json=as_json)


def _import_file(app: App, path: Path, offline: bool, require_sync: bool, *, as_json: bool) -> None:
    passing = _is_passing(app)
    with app.journal(path=_journal_of(app, lineage_of(path))) as journal:
        journal.passing = passing
        contents = look(path, journal.node)
        if contents.header.kind == RECEIPT:
            received = take_receipt(journal, path, contents.header)
            _tell_receipt(received, as_json=as_json)
            return
        taken, report = _take(app, journal, path, contents, offline)
        waiting = _waiting(journal)
        must = require_sync or goes_away(journal)
    _tell_bundle(taken, report, waiting, as_json=as_json)
    if must and waiting:
        raise NotSynced(
            f"{counted(waiting, 'event is', 'events are')} here and not at the store yet",
            why=_why_not(report),
            hint=f"cxlocal sync --require-sync; keep {path} until then",
            pending=waiting,
        )


def _journal_of(app: App, lineage: str) -> Path | None:
    """The journal of the store that a bundle is of, where there is one; else that of the project."""
    found = [one.path for one in look_for(place_of(app)) if lineage and one.lineage == lineage]
    return found[0] if found else None


def _is_passing(app: App) -> bool:
    """A CI job with an empty home that carries others' history goes away like any other."""
    if app.journal_paths():
        return False
    place = find_place(load_project(app).manager, app.environ)
    return is_passing(app.environ, place, fresh=True)


def _take(
    app: App, journal: Journal, path: Path, contents: Contents, offline: bool
) -> tuple[TakenBundle, SyncReport | None]:
    try:
        taken = take_bundle(journal, path, contents)
    except Refused as problem:
        if offline or problem.name != "bundle-gap":
            raise
        # The store may have what comes before it.
        if not _sync(app, journal, contents).reached:
            raise
        taken = take_bundle(journal, path, contents)
    catch_up(journal)
    report = None if offline else _sync(app, journal, contents)
    catch_up(journal)
    return taken, report


def _sync(app: App, journal: Journal, contents: Contents) -> SyncReport:
    project = load_project(app)
    if store_state(journal.connection).lineage == contents.header.lineage:
        # Whatever store this folder's project has: that of the bundle.
        project = project._replace(root=None)
    store = open_project_store(app, project, journal=journal)
    try:
        if goes_away(journal):
            patience = float(project.settings.store_patience_seconds)
            return send_patiently(journal, store, patience)
        return synchronise(
            journal, store, budget_seconds=SYNC_SECONDS, use_breaker=False, again=True
        )
    finally:
        store.close()


def _waiting(journal: Journal) -> int:
    return pending(journal) + to_relay(journal)


def _why_not(report: SyncReport | None) -> str:
    if report is None:
        return "it was not to be asked"
    if not report.reached:
        return report.why
    return "; ".join(report.not_taken) or "one exchange takes a bounded time"


def _tell_bundle(
    taken: TakenBundle, report: SyncReport | None, waiting: int, *, as_json: bool
) -> None:
    if as_json:
        told: dict[str, Any] = {**taken._asdict(), "waiting": waiting}
        told["sync"] = None if report is None else report._asdict()
        write_document(told)
        return
    parts = [f"{counted(taken.new, 'event')} taken in", f"{taken.known} were here"]
    if taken.reports:
        parts.append(f"{taken.reports} raw reports")
    if taken.asks:
        parts.append("it asks the store for something: 'cxlocal export --receipt FILE' answers")
    say(f"{', '.join(parts)}.")
    if taken.branches:
        warn(
            f"{counted(taken.branches, 'event disagrees', 'events disagree')} with what was here; both are kept"
        )
    if taken.restored:
        warn(
            "the bundle held events of this very machine that its journal had lost: the journal was"
            " restored from a backup; it goes on under a new id and gave up its reserve"
        )
    if report is not None and report.reached:
        say(f"{report.relayed} of them were new to the store.")
    if waiting:
        say(
            f"{counted(waiting, 'event waits', 'events wait')} here for the store ({_why_not(report)})."
        )


def _tell_receipt(received: Received, *, as_json: bool) -> None:
    if as_json:
        write_document(received._asdict())
        return
    if received.old:
        say("Nothing in this receipt is new here.")
        return
    parts = [f"the store has {counted(received.acknowledged, 'event')} more of what is here"]
    if received.pulled:
        parts.append(f"{counted(received.pulled, 'event')} received")
    parts += [f"reserve {text}" for text in received.reserves]
    say(f"By this receipt {', '.join(parts)}.")
    if received.unanswered:
        warn(f"the store did not answer what this machine asked: {received.unanswered}")
