"""``cxlocal sync``: bring copies upstream, fetch what others recorded, refresh the reserve."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cxlocal.clock import Ids
from cxlocal.commands.context import App, pass_app
from cxlocal.commands.frame import command
from cxlocal.commands.journals import words_for
from cxlocal.commands.output import json_option, json_text, put, write_document
from cxlocal.commands.project import (
    Project,
    bytes_here_alone,
    how_to_send,
    leave,
    load_project,
    open_project_store,
    outlets_of,
)
from cxlocal.commands.terminal import say, warn
from cxlocal.errors import CxError, NotSynced, UsageError
from cxlocal.exchange.blobs import Carried, carry
from cxlocal.exchange.breaker import AFTER_SECONDS_MAX
from cxlocal.exchange.followed import include
from cxlocal.exchange.standing import words_of_staying
from cxlocal.exchange.store import Store, StoreUnreachable
from cxlocal.exchange.sync import SyncReport, synchronise, why_no_numbers
from cxlocal.journal.file import Journal
from cxlocal.journal.machine import goes_away
from cxlocal.journal.rebuild import catch_up
from cxlocal.runner.handover import send_patiently
from cxlocal.runner.needed import all_needed
from cxlocal.runner.signals import SignalCame, Signals, note_only
from cxlocal.runner.waiting import here_alone
from cxlocal.text import counted, parse_duration
from cxlocal.values import NamedTuple

if TYPE_CHECKING:
    from cxlocal.sinks.delivery import Delivered

BUDGET_SECONDS = 60.0
"""A person who says ``sync`` waits longer than a run does; still not for ever."""


@command(
    examples=[
        ("cxlocal sync", "send what is new here, fetch what is new there"),
        ("cxlocal sync --require-sync", "exit code 6 unless everything arrived"),
        ("cxlocal sync --watch", "go on doing so, and say what moved"),
    ]
)
@click.option("--require-sync", is_flag=True, help="Fail (6) unless the store has everything.")
@click.option("--watch", is_flag=True, help="Keep doing so until a signal ends it.")
@click.option(
    "--every", metavar="DURATION", default="30s", show_default=True, help="Watch: how often."
)
@json_option
@pass_app
def sync(app: App, require_sync: bool, watch: bool, every: str, as_json: bool) -> None:
    """Send and fetch history, and refresh the reserve of numbers.

    In a project with its store; outside of one with the store of each journal that is here.

    The artifacts of what is live or waits to be deployed go along, so that other machines can roll back to them ('cxlocal
    prepare' there). What came here in bundles of other machines ('cxlocal import') is brought to the store too.
    With --watch a line is written whenever something moved, and when the store goes away or comes
    back.
    """
    if watch and require_sync:
        raise UsageError(
            "--watch and --require-sync exclude each other",
            why="a watch ends only by a signal",
            hint="cxlocal sync --require-sync, when it has to be done",
            name="bad-options",
        )
    project = load_project(app)
    if watch:
        _watch(app, project, every, as_json=as_json)
        return
    named = app.journals()
    done: list[tuple[str, Synced | CxError]] = []
    for where, path in named:
        try:
            done.append((where, _synchronise(app, project, path, require_sync)))
        except CxError as problem:
            if len(named) == 1:
                raise
            done.append((where, problem))
    if as_json:
        documents = [_document(where, one) for where, one in done]
        write_document({"stores": documents} if len(named) > 1 else documents[0])
    first = project.deliverable or ""
    found = [
        (
            where,
            one
            if isinstance(one, CxError)
            else _said(where, one, require_sync, first, quiet=as_json),
        )
        for where, one in done
    ]
    bad = [(where, problem) for where, problem in found if problem is not None]
    for where, further in bad[1:]:
        warn(f"{words_for(where)}: {str(further).replace(chr(10), ': ')}")
    if bad:
        raise bad[0][1]


class Synced(NamedTuple):
    """What came of one exchange, and of what else a contact is good for."""

    report: SyncReport
    carried: Carried
    settled: list[str]
    staying: list[str]
    bundle: str
    undelivered: list[str]
    """What sinks still lack, a sentence each."""
    alone: NotSynced | None
    """Bytes that wait for somebody to go on with are nowhere else, and have to be."""


def _watch(app: App, project: Project, every: str, *, as_json: bool) -> None:
    with _met(app, project, None) as (journal, store):
        watched = Watch(
            journal, store, app.ids, max(EVERY_SECONDS_MIN, parse_duration(every)),
            lambda: _look_after(app, project, journal, store)[1],
            lambda reached: words_of_sinks(
                _deliver(app, project, journal, store if reached else None, watching=True)
            ),
        )  # fmt: skip
        own = partial(describe, first=project.deliverable or "")
        watch_store(watched, own, as_json=as_json)


@contextmanager
def _met(app: App, project: Project, path: Path | None) -> Iterator[tuple[Journal, Store]]:
    """A journal and its store."""
    with app.journal(path=path) as journal:
        if project.deliverable is not None:
            include(journal, project.deliverable)
        store = open_project_store(app, project, journal=journal)
        try:
            yield journal, store
        finally:
            store.close()


def _synchronise(app: App, project: Project, path: Path | None, require_sync: bool) -> Synced:
    with _met(app, project, path) as (journal, store):
        report = _exchange(project, journal, store)
        carried = Carried()
        settled: list[str] = []
        if report.reached:
            carried, settled = _look_after(app, project, journal, store)
        if settled:
            # What the remote said is an event too: "in step" is to be true of it as well.
            report = _both(report, _exchange(project, journal, store))
        undelivered = words_of_sinks(
            _deliver(app, project, journal, store if report.reached else None)
        )
        bundle = leave(journal, project.root or app.directory)
        staying = words_of_staying(journal.connection, report.staying)
        alone = bytes_here_alone(app, journal, "the history is sent", must=require_sync)
    return Synced(report, carried, settled, staying, bundle, undelivered, alone)


def _deliver(
    app: App, project: Project, journal: Journal, store: Store | None, *, watching: bool = False
) -> list[Delivered]:
    """Bring the sinks what they lack, and to ``store``, if it was reached, what another machine is to
    deliver; nothing where no sink is named."""
    if not project.settings.sinks:
        return []
    from cxlocal.runner.outlets import LOG_SECONDS, hand_over_logs
    from cxlocal.sinks.delivery import COMMAND_SECONDS, Around, deliver

    outlets = outlets_of(app, project)
    seconds = ROUND_SECONDS if watching else COMMAND_SECONDS
    done = deliver(journal, Around(*outlets), seconds, use_breaker=watching, store=store)
    if store is not None:
        hand_over_logs(journal, outlets, store, LOG_SECONDS)
    return done


def words_of_sinks(done: list[Delivered]) -> list[str]:
    """What is to be said of them."""
    if not done:
        return []
    from cxlocal.sinks.delivery import words_of

    return words_of(done)


def _document(where: str, one: Synced | CxError) -> dict[str, Any]:
    named = {"store": where} if where else {}
    if isinstance(one, CxError):
        return {**named, "reached": False, "why": one.what}
    told = {**one.report._asdict(), "artifacts_sent": one.carried.sent}
    return {
        **named, **told, "reverified": one.settled, "bundle": one.bundle,
        "undelivered": one.undelivered,
    }  # fmt: skip


def _said(
    where: str, one: Synced, require_sync: bool, first: str, *, quiet: bool
) -> CxError | None:
    """Say what was done, unless ``quiet``; what is to be raised in the end."""
    report = one.report
    if not quiet:
        if one.bundle:
            put(one.bundle)
        if report.reached:  # else the error below says so
            words = describe(report, first)
            say(f"{words_for(where)}: {words}" if where else words)
        if one.carried.sent:
            say(f"{counted(one.carried.sent, 'artifact')} of what is live or waits sent.")
        for line in one.settled:
            say(line)
        for why in _troubles(one):
            warn(why)
        for words in one.undelivered:
            say(f"To be delivered: {words}")
    try:
        _end(report, require_sync, one.bundle)
    except CxError as problem:
        return problem
    return one.alone


def _troubles(one: Synced) -> list[str]:
    sent = [
        f"an artifact of what is live or waits was not sent: {why}" for why in one.carried.problems
    ]
    changed = [f"{why}; 'cxlocal status' says what is disputed" for why in one.report.rewritten]
    left = [f"redacted, and still here: {why}" for why in one.report.unremoved]
    return [*sent, *changed, *left, *map(_not_taken, one.report.not_taken), *one.staying]


def _not_taken(why: str) -> str:
    return f"the store does not take the history of another machine: {why}"


def _exchange(project: Project, journal: Journal, store: Store) -> SyncReport:
    """One exchange; a passing machine has its patience, as what it does not send is lost."""
    if goes_away(journal):
        return send_patiently(journal, store, float(project.settings.store_patience_seconds))
    return synchronise(journal, store, budget_seconds=BUDGET_SECONDS, use_breaker=False, again=True)


def _both(first: SyncReport, second: SyncReport) -> SyncReport:
    """What two exchanges moved together, and how the second left things."""
    return second._replace(
        pushed=first.pushed + second.pushed,
        pulled=first.pulled + second.pulled,
        relayed=first.relayed + second.relayed,
        reserves=first.reserves + second.reserves,
        rewritten=first.rewritten + second.rewritten,
    )


def describe(report: SyncReport, first: str = "") -> str:
    """What moved, in one line; what is of the deliverable ``first`` comes first, of others only a
    count."""
    if not report.reached:
        waiting = (
            f"{counted(report.pending, 'event waits', 'events wait')} here"
            if report.pending
            else "nothing waits here"
        )
        return f"The store cannot be reached ({report.why}); {waiting}."
    parts = [f"{counted(report.pushed, 'event')} sent", f"{report.pulled} received"]
    own = [text for text in report.reserves if not first or text.startswith(f"{first} ")]
    parts += [f"reserve {text}" for text in own]
    if others := len(report.reserves) - len(own):
        parts.append(f"{counted(others, 'reserve')} of other deliverables")
    if report.relayed:
        parts.append(f"{report.relayed} of other machines brought")
    if report.to_relay:
        parts.append(f"{report.to_relay} of other machines still to bring")
    if report.pending:
        parts.append(f"{report.pending} still to send")
    if report.stopped:
        parts.append(f"but it hands out no numbers: {why_no_numbers(report)}")
    whose = f"{first}: in" if first else "In"
    return f"{whose} step with the store: {', '.join(parts)}."


def _look_after(
    app: App, project: Project, journal: Journal, store: Store
) -> tuple[Carried, list[str]]:
    """What else a contact is good for: artifacts of what is live or waits for others, and proofs."""
    catch_up(journal)
    wanted = {one.sha256: one for one in [*all_needed(journal), *here_alone(journal)]}
    carried = carry(journal, store, list(wanted.values()), BUDGET_SECONDS, fetch=False)
    return carried, _reverify(app, project, journal)


def _reverify(app: App, project: Project, journal: Journal) -> list[str]:
    """Ask the remote again about runs whose proof was not confirmed."""
    if project.root is None or project.config is None:
        return []
    from cxlocal.runner.reverify import reverify_runs

    return reverify_runs(journal, project.root, project.config, app.clock)


def _end(report: SyncReport, require_sync: bool, bundle: str) -> None:
    if bundle:
        raise NotSynced(
            f"{counted(report.pending, 'event is', 'events are')} still to be sent",
            why=report.why or "one exchange takes a bounded time",
            hint=how_to_send(bundle),
            pending=report.pending,
            bundle=bundle,
        )
    if not report.reached:
        raise StoreUnreachable(
            "the store cannot be reached",
            why=f"{report.why}; nothing is lost: {counted(report.pending, 'event waits', 'events wait')} here",
            hint="run 'cxlocal sync' again later; 'cxlocal run' works without it",
            pending=report.pending,
        )
    staying = sum(report.staying.values())
    waiting = report.pending + report.to_relay + staying
    if require_sync and waiting:
        no_right = "this machine may not push all of its history; see above" if staying else ""
        raise NotSynced(
            f"{counted(waiting, 'event is', 'events are')} still to be sent",
            why="; ".join(report.not_taken) or no_right or "one exchange takes a bounded time",
            hint="run 'cxlocal sync' again" + (", when it has the right" if staying else ""),
            pending=waiting,
        )


ROUND_SECONDS = 5.0
"""For one exchange: what moves more goes on with the next one at once, and a signal is heeded in
between."""
EVERY_SECONDS_MIN = 1
REVERIFY_SECONDS = 600.0
"""Between two times that remotes are asked about runs whose proof was not confirmed."""


class Watch(NamedTuple):
    """What is watched."""

    journal: Journal
    store: Store
    ids: Ids
    every_seconds: float
    settle: Callable[[], list[str]]
    """Asks the remotes again; returns a line for each run that was settled."""
    deliver: Callable[[bool], list[str]] = lambda reached: []
    """Brings the sinks what they lack, told whether the store was reached; a line for each that still
    lacks something."""


def watch_store(watch: Watch, describe: Callable[[SyncReport], str], *, as_json: bool) -> None:
    """Exchange about every ``every_seconds`` until a signal comes; a round that has begun is ended.

    Raises Refused where the store answers and says no, Trouble where the journal cannot be used.
    """
    said = Said(describe, as_json=as_json)
    asked = -REVERIFY_SECONDS
    with Signals() as signals:
        try:
            while not signals.number:
                signals.wake = note_only
                more, reached, after = _round(watch, said)
                if reached and watch.journal.clock.monotonic() - asked >= REVERIFY_SECONDS:
                    asked = watch.journal.clock.monotonic()
                    for line in watch.settle():
                        say(line)
                said.tell_sinks(watch.deliver(reached))
                signals.wake = None
                if not signals.number and not more:
                    # Nothing is held while nothing is to do.
                    watch.store.close()
                    share = int(watch.ids.token()[:4], 16) / 65536
                    time.sleep(pause(watch.every_seconds, after, share))
        except SignalCame:
            signals.wake = note_only  # how one leaves this command: no error
    say("Ended.")


def pause(every_seconds: float, after_seconds: float, share: float) -> float:
    """How long a watch rests before its next round, in seconds. ``after_seconds``: how long a busy store
    asked to be left alone. ``share`` is drawn anew each time, from 0 to 1: up to a quarter more or less, so
    that many machines do not come in step, and never earlier than they were asked. Pure."""
    asked = min(after_seconds, AFTER_SECONDS_MAX) * (1 + share / 4)
    return max(every_seconds * (0.75 + share / 2), asked)


def _round(watch: Watch, said: Said) -> tuple[bool, bool, int]:
    """One exchange: whether more is to move at once, whether the store was reached, and how many seconds it
    asks to be left alone."""
    journal = watch.journal
    began = journal.clock.monotonic()
    try:
        report = synchronise(journal, watch.store, budget_seconds=ROUND_SECONDS, use_breaker=False)
        catch_up(journal)
    except CxError as problem:
        if problem.name != "journal-busy":
            raise
        warn(str(problem).replace("\n", ": "))
        return False, False, 0
    said.tell(report)
    moved = report.pushed + report.pulled + report.relayed > 0
    cut = journal.clock.monotonic() - began >= ROUND_SECONDS / 2
    more = report.reached and moved and (cut or report.pending > 0)
    return more, report.reached, report.after_seconds


class Said:
    """Says what is new since the last time, one line each."""

    def __init__(self, describe: Callable[[SyncReport], str], *, as_json: bool) -> None:
        self._describe = describe
        self._as_json = as_json
        self._before: tuple[object, ...] = (True, "", ())
        self._sinks: list[str] = []

    def tell_sinks(self, lines: list[str]) -> None:
        """What is new about the sinks."""
        new, self._sinks = [one for one in lines if one not in self._sinks], lines
        for line in new:
            say(f"To be delivered: {line}")

    def tell(self, report: SyncReport) -> None:
        """A line if something moved, or if how the store answers has changed."""
        now = (report.reached, report.stopped, report.not_taken)
        changed, self._before = now != self._before, now
        if not (changed or report.pushed or report.pulled or report.relayed or report.reserves):
            return
        if self._as_json:
            put(json_text(report._asdict()))
        else:
            say(self._describe(report))
        if changed and not self._as_json:
            for why in report.not_taken:
                warn(_not_taken(why))
