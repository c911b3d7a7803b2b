"""What a command costs does not grow faster than its history.

Counted in SQLite's own steps, not in time: a query that walks a whole chain for each event looks
quick in a young journal and makes an old one unusable. Two worlds are measured, the old one with
several times the history of the young one. What looks at a bounded part must cost the same in both;
what goes through everything must cost the same for each event. The last test takes one index after
the other away and sees that this would be noticed.
"""

from __future__ import annotations

import ast
import re
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from click.testing import CliRunner
from cxlocal_sync.stores.sqlite import SqliteStore

from cxlocal.clock import SystemIds
from cxlocal.commands import log, show, status
from cxlocal.commands.find_run import find_run
from cxlocal.commands.root import cli
from cxlocal.domain import Outcome
from cxlocal.events.document import Event, hash_of
from cxlocal.events.incidents import incident_detected
from cxlocal.events.runs import run_flagged, run_judged, run_restricted, run_resumed, run_reviewed
from cxlocal.exchange import carried, followed
from cxlocal.exchange.copies import begin_again
from cxlocal.exchange.receive import take_event
from cxlocal.exchange.redaction import is_redacted
from cxlocal.exchange.sync import synchronise
from cxlocal.journal import chains
from cxlocal.journal.file import Journal
from cxlocal.journal.read import all_events
from cxlocal.numbers.holdings import order_in_use
from cxlocal.projection.asked import CONFLICTED, UNCONFIRMED
from cxlocal.projection.queries import QUERIES
from cxlocal.projection.tables import TABLES
from cxlocal.runner import targets, turns
from cxlocal.runner.placements import UNFINISHED
from cxlocal.runner.record import OPEN_DEPLOYMENT
from cxlocal.runner.resources import OF_PLACE, UNACCOUNTED
from cxlocal.runner.retention import Rules, find_removals

YOUNG, OLD = 16, 80
"""Releases."""
EVERY = 25
"""SQLite steps between two looks of the counter."""
GROWTH_MAX = 1.15
LONG_SECONDS = 600.0


class Counter:
    """Counts the steps of every connection that is opened while it stands in for ``connect``."""

    def __init__(self) -> None:
        self.steps = 0
        self.without: tuple[str, str] = ("", "")
        """Words that are taken out of each statement, and what stands in their place."""
        self._connect = sqlite3.connect
        self._kinds: dict[type, type] = {}

    def connect(self, *arguments: Any, factory: Any = sqlite3.Connection, **rest: Any) -> Any:
        # The store sets a handler of its own, which would take the place of ours.
        own = {"set_progress_handler": lambda *_: None, "execute": self._execute}
        kind = self._kinds.setdefault(factory, type("Counted", (factory,), own))
        connection = self._connect(*arguments, factory=kind, **rest)
        sqlite3.Connection.set_progress_handler(connection, self._look, EVERY)
        return connection

    @property
    def _execute(self) -> Callable[..., Any]:
        def execute(connection: sqlite3.Connection, sql: str, *parameters: Any) -> Any:
            words, instead = self.without
            if words and words in sql:
                sql = sql.replace(words, instead)
            return sqlite3.Connection.execute(connection, sql, *parameters)

        return execute

    def _look(self) -> int:
        self.steps += EVERY
        return 0

    def of(self, action: Callable[[], Any]) -> int:
        before = self.steps
        action()
        return self.steps - before


def hasten(journal: Journal) -> None:
    """Nobody is going to cut the power."""
    journal.connection.execute("PRAGMA synchronous=OFF")
    journal.connection.execute("PRAGMA journal_mode=MEMORY").fetchall()


class World:
    """Two machines that release two products, and talk of both by turns; a third that has all."""

    def __init__(self, folder: Path, releases: int, kit: ModuleType, counter: Counter) -> None:
        self.folder, self.kit, self.count, self.counter = folder, kit, counter.of, counter
        (folder / "central").mkdir(parents=True)
        self.store = SqliteStore("sqlite:", folder / "central")
        ada = kit.Machine(folder / "ada", kit.HandClock(), "ada")
        bob = kit.Machine(folder / "bob", kit.HandClock(), "bob")
        ada.run("long ago", "oldtimer").take(1).end()
        live = ""
        for machine in (ada, bob):
            hasten(machine.journal)
        for number in range(releases):
            for machine in (ada, bob):
                live = self._release(machine, number, live)
        self.runs = 2 * releases
        self.pushed = self.count(lambda: [self.sync(each.journal) for each in (ada, bob)])
        self.ada, self.bob = ada.journal, bob.journal
        self.sync(self.ada)
        self.all = self.journal("all")
        self.pulled = self.count(lambda: self.sync(self.all))
        self.pulled /= self.all.one("SELECT count(*) AS n FROM event")["n"]  # type: ignore[index]
        jobs = list(self._passing(releases))
        for journal in (self.ada, self.all):
            kit.take_in(journal, jobs)
        self.events = self.all.one("SELECT count(*) AS n FROM event")["n"]  # type: ignore[index]
        self.project = folder / "project"
        self.project.mkdir()
        (self.project / "cx.toml").write_text(
            'cx = 1\n[deliverable]\nname = "webshop"\n[version]\nline = "1.0"\n'
            '[stages.build]\ncommand = "true"\n'
        )

    def count_often(self, action: Callable[[], Any]) -> float:
        """Of what takes less steps than pass between two looks."""
        return self.count(lambda: [action() for _ in range(2 * EVERY)]) / (2 * EVERY)

    def _release(self, machine: Any, number: int, live: str) -> str:
        number, name = 2 * number + (machine.host == "bob"), f"{machine.host}{number}"
        story = machine.run(name, ("webshop", "other")[number // 2 % 2]).release(number)
        if number // 2 % 2 == 0:
            live, replaced = f"p-{name}", live
            story.deploy("production", id=live, replaces=(replaced,) if replaced else ())
        story.say(
            run_judged(
                story.ref, gate="freeze", verdict="allow", reason="", stage="unit",
                environment="", promotion="", data_age_seconds=None,
            )
        )  # fmt: skip
        plugin = {"name": "chat", "distribution": "cx-chat", "version": "1", "how": "-p no:chat"}
        story.say(run_restricted(story.ref, plugins=[plugin]))
        story.attempt(f"site {name}", id=f"s-{name}")
        story.stage(f"site {name}", environment=f"site {name}")
        story.make(f"site {name}", resource=f"r-{name}", serves=f"s-{name}")
        story.place(f"site {name}").deploy(f"site {name}", id=f"s-{name}").end()
        story.say(
            run_resumed(story.ref, after=[], actor=story.actor, reason=""),
            run_reviewed(story.ref, actor=story.actor, words="seen"),
            incident_detected(
                story.ref,
                incident=f"i-{name}",
                version=story.version,
                environment="production",
                actor=story.actor,
                words="down",
            ),
        )
        trial = machine.run(f"{name} tried", "unlucky", kind="rehearsal").stage("unit")
        trial.say(
            run_flagged(
                kind="unreadable-report", subject="unit", text="t", deliverable="unlucky",
                run=trial.id,
            )
        ).end(Outcome.FAILURE)  # fmt: skip
        machine.run(f"{name} failed", "other").take(1000 + number).stage("unit").end(
            Outcome.FAILURE
        )
        for each in ("webshop", "other", "webshop", "other"):
            for kind in ("changed-outside", "uncommitted-changes"):
                story.say(
                    run_flagged(
                        kind=kind, subject="production", text="t", deliverable=each, run=story.id
                    )
                )
        return live

    def _passing(self, count: int) -> Iterator[Event]:
        """What many CI jobs leave behind, each under an id of its own."""
        with self.journal("jobs") as journal:
            for _ in range(count):
                with journal.write() as transaction:
                    begin_again(transaction, None, "a job")
            for _, event in all_events(journal):
                yield event

    def journal(self, name: str, drop: str = "") -> Journal:
        """A new journal; ``drop`` is an index that somebody took away, or with a plus before it but a name."""
        journal = Journal.open(
            self.folder / name / "journal.db", clock=self.kit.HandClock(), ids=SystemIds()
        )
        hasten(journal)
        if drop and drop[0] != "+":
            journal.connection.execute(f"DROP INDEX {drop}")
        return journal

    def sync(self, journal: Journal) -> None:
        assert synchronise(journal, self.store, budget_seconds=LONG_SECONDS).reached

    def command(self, *arguments: str, home: str = "all", code: int = 0) -> None:
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("CXLOCAL_HOME", str(self.folder / home))
            patch.chdir(self.project)
            result = CliRunner().invoke(cli, list(arguments), standalone_mode=False)
        assert result.exception is None, result.exception

    @property
    def bundle(self) -> Path:
        path = self.folder / "all.bundle"
        if not path.exists():
            self.command("export", "--bundle", str(path), "--all")
        return path


@pytest.fixture(scope="module")
def worlds(
    tmp_path_factory: pytest.TempPathFactory, journals: ModuleType
) -> Iterator[tuple[World, World]]:
    counter, folder = Counter(), tmp_path_factory.mktemp("growing")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sqlite3, "connect", counter.connect)
        patch.setenv("HOME", str(folder))
        made = [World(folder / str(size), size, journals, counter) for size in (YOUNG, OLD)]
        yield made[0], made[1]
        for world in made:
            for each in (world.ada, world.bob, world.all, world.store):
                each.close()


Cost = Callable[[World, str], float]


def an_idle_sync(world: World, _: str) -> float:
    world.sync(world.ada)
    return world.count(lambda: world.sync(world.ada))


def a_sync_of_one_event(world: World, _: str) -> float:
    world.ada.append(run_flagged(kind="k", subject="s", text="t", deliverable="webshop"))
    return world.count(lambda: world.sync(world.ada))


def what_is_to_be_carried(world: World, drop: str) -> float:
    """The first and the second history of a machine."""
    journal = world.journal(f"carrying {drop}", drop)
    world.sync(journal)
    events = fork(world)
    with journal.write() as transaction:
        for event in events:
            take_event(transaction, event, None)
        for branch in (0, 1):
            carried.note_relayed(transaction.connection, events[0].node, branch, "", "2027")
    steps = world.count_often(lambda: carried.chains(journal.connection, ""))
    assert [each.head for each in carried.chains(journal.connection, "")][1] == len(events) + 1
    journal.close()
    return steps


def the_last_release(world: World, _: str) -> float:
    return world.count_often(lambda: world.all.query(status.LAST))


def the_last_release_of_a_product_released_long_ago(world: World, _: str) -> float:
    named = {"name": "oldtimer"}
    assert world.all.query(status.LAST_HERE, named)
    return world.count_often(lambda: world.all.query(status.LAST_HERE, named))


def what_is_open(world: World, _: str) -> float:
    return world.count_often(lambda: world.all.query(status.OPEN, {"name": None}))


def the_log(world: World, _: str) -> float:
    return world.count(lambda: world.command("log", "--all"))


def the_log_of_a_product_released_long_ago(world: World, _: str) -> float:
    wanted = {"kinds": 0, "outcome": None, "limit": 20, "deliverable": "oldtimer"}
    assert world.all.query(log.RUNS_OF, wanted)
    return world.count_often(lambda: world.all.query(log.RUNS_OF, wanted))


def a_run_shown(world: World, _: str) -> float:
    return world.count(lambda: world.command("show", "1.0.4", "--json"))


def one_more_event_of_a_run(world: World, _: str) -> float:
    """It names the one before it, if there is one."""

    def append() -> None:
        world.all.heads = None
        run = world.all.ids.uuid()
        world.all.append(run_flagged(kind="k", subject="s", text="t", run=run))

    append()
    return world.count_often(append)


def a_run_found_by_the_beginning_of_its_id(world: World, _: str) -> float:
    wanted = world.kit.run_id("ada0")[:8]
    return world.count_often(lambda: find_run(world.all, wanted))


def what_failed_in_one_place(world: World, _: str) -> float:
    return world.count_often(lambda: world.all.query(UNFINISHED, ("webshop", "site ada0")))


def whether_a_stage_began_to_deploy(world: World, _: str) -> float:
    return world.count_often(lambda: world.all.query(OPEN_DEPLOYMENT, ("run/stage/1",)))


def made_last(world: World) -> dict[str, str]:
    asked = (
        "SELECT deliverable, instance, environment AS name, run FROM resource ORDER BY rowid DESC"
    )
    found: dict[str, str] = world.all.query(f"{asked} LIMIT 1")[0]
    return found


def what_exists_in_one_place(world: World, _: str) -> float:
    last = made_last(world)
    place = (last["deliverable"], last["instance"])
    return world.count_often(lambda: world.all.query(OF_PLACE, place))


def what_a_run_made(world: World, _: str) -> float:
    last = made_last(world)
    return world.count_often(lambda: world.all.query(UNACCOUNTED, last))


def page_of(name: str, **given: str) -> Cost:
    """What a page of a stored query costs, in the middle of a history."""

    def page(world: World, _: str) -> float:
        query = QUERIES[name]
        asked = {**dict.fromkeys((*query.parameters, "page"), ""), **given}
        return world.count_often(lambda: world.all.query(query.paged, asked))

    page.__name__ = f"the_page_{name}"
    return page


what_was_unusual = page_of("unusual")
a_story = page_of("story", run="1.0.4", deliverable="webshop")
a_version = page_of("version-history", version="1.0.4", deliverable="webshop")
what_failed = page_of("failed-runs")
what_was_numbered_offline = page_of("offline-numbers")
what_a_run_was = page_of("one-run", run="1.0.4")
lead_times = page_of("lead-time")
a_day = page_of("diary", since="2026-11-23 02:13", until="2026-11-23 02:40")


def the_page_of_late(name: str) -> Cost:
    """What a page costs that looks at the newest runs alone."""

    def page(world: World, _: str) -> float:
        rows = world.all.query("SELECT queued_at FROM run ORDER BY queued_at DESC LIMIT 1 OFFSET 9")
        return page_of(name, since=rows[0]["queued_at"])(world, "")

    page.__name__ = f"the_late_page_{name}"
    return page


late_times = the_page_of_late("stage-times")
late_failures = the_page_of_late("stage-failure-rate")
late_slow_ones = the_page_of_late("slowest-stages")
open_runs = page_of("open-runs")
within_reach = page_of("within-reach")


def among(world: World, rows: str, ask: Callable[[], Any]) -> float:
    """What ``ask`` costs while a table also holds ``rows``, a few for each run: what most products never have
    is made for the moment."""
    connection = world.all.connection
    connection.execute("SAVEPOINT among")
    try:
        connection.execute(f"INSERT INTO {rows}")
        return world.count_often(ask)
    finally:
        connection.execute("ROLLBACK TO among")
        connection.execute("RELEASE among")


def whose_turn_it_is(world: World, _: str) -> float:
    rows = (
        "turn (id, deliverable, instance, run, asked_at, ended_at)"
        " SELECT id, 'webshop', 'p', id, '2026', '2026' FROM run"
    )
    return among(world, rows, lambda: world.all.query(turns.OPEN, ("webshop", "p")))


_PUBLISHED = (
    "publication (run, target, deliverable, wanted_at, state, found_at)"
    " SELECT id, 'pypi', 'webshop', '2026', 'there', queued_at FROM run"
)


def what_is_published(world: World, _: str) -> float:
    return among(world, _PUBLISHED, lambda: world.all.query(targets.HOLDS, ("webshop", "pypi")))


def what_is_half_published(world: World, _: str) -> float:
    return among(world, _PUBLISHED, lambda: world.all.query(targets.OPEN, ("webshop", "npm")))


_REDACTED = "redaction (id, run, sha256, deliverable) SELECT id, id, hex(id), 'webshop' FROM run"


def whether_bytes_are_redacted(world: World, _: str) -> float:
    return among(world, _REDACTED, lambda: is_redacted(world.all, "0" * 64))


def a_story_among_redacted_ones(world: World, _: str) -> float:
    asked = dict.fromkeys((*QUERIES["story"].parameters, "page"), "")
    asked |= {"run": "1.0.4", "deliverable": "webshop"}
    return among(world, _REDACTED, lambda: world.all.query(QUERIES["story"].paged, asked))


def the_final_version_of_a_run(world: World, _: str) -> float:
    return world.count_often(lambda: world.all.query(show.FINAL, ("x",)))


def whether_a_version_is_taken(world: World, _: str) -> float:
    return world.count_often(lambda: order_in_use(world.all.connection, "webshop", "x"))


def the_page_of_what_to_look_at(world: World, _: str) -> float:
    query = QUERIES["look-at"]
    asked = {**dict.fromkeys((*query.parameters, "page"), ""), "deliverable": "oldtimer"}
    return world.count(lambda: world.all.query(query.paged, asked))


def one_more_deployment(world: World, _: str) -> float:
    """Whether something has taken over from it is asked."""

    def write() -> None:
        with world.all.write() as transaction:
            transaction.connection.execute(
                "UPDATE deployment SET deployed_at = deployed_at WHERE id = 'p-ada0'"
            )

    return world.count_often(write)


def one_more_machine(world: World, _: str) -> float:
    """Whether another one has that host name is asked."""
    node = world.all.query("SELECT max(node) AS node FROM machine WHERE cause = 'a job'")[0]["node"]

    def write() -> None:
        with world.all.write() as transaction:
            transaction.connection.execute("UPDATE machine SET host = host WHERE node = ?", (node,))

    return world.count_often(write)


def the_unconfirmed_numbers(world: World, _: str) -> float:
    """The store has all of them; each machine is looked at."""
    with world.all.write() as transaction:
        transaction.connection.execute(
            "INSERT OR IGNORE INTO ack SELECT n.name, 0, max(e.sequence), '', 1 FROM event e"
            " JOIN node_lookup n ON n.id = e.node GROUP BY n.name"
        )
    question = f"SELECT count(*) FROM number_uses WHERE {UNCONFIRMED}"
    return world.count_often(lambda: world.all.query(question)) / world.runs


def the_conflicting_numbers(world: World, _: str) -> float:
    question = f"SELECT count(*) FROM number_uses WHERE {CONFLICTED}"
    return world.count_often(lambda: world.all.query(question))


BOUNDED: list[Cost] = [
    whose_turn_it_is, what_is_published, what_is_half_published, whether_bytes_are_redacted,
    a_story_among_redacted_ones, the_final_version_of_a_run, whether_a_version_is_taken, open_runs, within_reach,
    late_times, late_failures, late_slow_ones,
    what_was_unusual, what_a_run_was, a_story, a_version, a_day, what_failed, what_was_numbered_offline,
    one_more_deployment, one_more_machine, the_conflicting_numbers,
    what_exists_in_one_place, what_a_run_made,
    what_failed_in_one_place, whether_a_stage_began_to_deploy,
    an_idle_sync, a_sync_of_one_event, what_is_to_be_carried, the_last_release,
    the_last_release_of_a_product_released_long_ago, what_is_open, the_log,
    the_log_of_a_product_released_long_ago, a_run_shown, a_run_found_by_the_beginning_of_its_id,
    one_more_event_of_a_run,
]  # fmt: skip


def events_pushed(world: World, _: str) -> float:
    return world.pushed / world.events


def events_pulled(world: World, _: str) -> float:
    return world.pulled


def events_pulled_in_part(world: World, drop: str) -> float:
    """Every second event follows a gap."""
    journal = world.journal(f"part {drop}", drop)
    followed.choose(journal, ["other"])
    steps = world.count(lambda: world.sync(journal))
    held = journal.query("SELECT count(*) AS n FROM event")[0]["n"]
    journal.close()
    assert 0 < held < world.events
    return steps / held


def a_bundle_imported(world: World, drop: str) -> float:
    name = f"importing {drop}"
    world.journal(name, drop).close()
    words = ("import", "--offline", str(world.bundle))
    return world.count(lambda: world.command(*words, home=name)) / world.events


def a_bundle_imported_again(world: World, _: str) -> float:
    words = ("import", "--offline", str(world.bundle))
    return world.count(lambda: world.command(*words)) / world.events


def a_bundle_exported(world: World, _: str) -> float:
    words = ("export", "--bundle", str(world.folder / "x.bundle"), "--all")
    return world.count(lambda: world.command(*words)) / world.events


def own_events(journal: Journal) -> list[Event]:
    return [event for _, event in all_events(journal) if event.node == journal.node]


def fork(world: World) -> list[Event]:
    """A second history of the other machine, from its beginning on."""
    events = own_events(world.bob)
    previous, again = events[0].hash, []
    previous_of: dict[str | None, tuple[int, bytes]] = {}
    for event in events[1:]:
        sequence, before = previous_of.get(event.deliverable, (0, bytes(32)))
        other = event._replace(
            document=event.document.replace('"timestamp":"2026', '"timestamp":"2025', 1),
            previous=previous, previous_in_deliverable=before if event.deliverable else bytes(32),
            deliverable_sequence=sequence + 1 if event.deliverable else None,
        )  # fmt: skip
        other = other._replace(hash=hash_of(other))
        previous = other.hash
        previous_of[event.deliverable] = (sequence + 1, other.hash)
        again.append(other)
    return again


def a_second_history_taken_in_part(world: World, drop: str) -> float:
    journal = world.journal(f"forked {drop}", drop)
    both = [own_events(world.bob), fork(world)]
    wanted = [[each for each in events if each.deliverable == "other"] for events in both]

    def take() -> None:
        with journal.write() as transaction:
            for events in wanted:
                for event in events:
                    take_event(transaction, event, 1)

    steps = world.count(take)
    journal.close()
    return steps / sum(map(len, wanted))


def a_check(world: World, _: str) -> float:
    return world.count(lambda: world.command("verify")) / world.events


def whether_chains_are_whole(world: World, _: str) -> float:
    """The part of a check that looks for the event before each."""
    connection = world.all.connection
    return (
        world.count(lambda: list(chains.unlinked_in_deliverable(connection, 0, 2 * world.events)))
        / world.events
    )


def a_rebuild(world: World, _: str) -> float:
    return world.count(lambda: world.command("journal", "rebuild")) / world.events


def the_status(world: World, _: str) -> float:
    return world.count(lambda: world.command("status")) / world.runs


def the_flags(world: World, _: str) -> float:
    return world.count(lambda: world.all.query(status.FLAGS, {"name": None})) / world.runs


def what_may_be_pruned(world: World, _: str) -> float:
    rules = Rules(0, 0, 5, 3)
    steps = world.count(
        lambda: find_removals(world.all, "webshop", rules, world.all.clock.now_ms())
    )
    return steps / world.runs


def the_versions(world: World, _: str) -> float:
    return world.count(lambda: world.command("version", "list")) / world.runs


def when_numbers_were_confirmed(world: World, _: str) -> float:
    """Each was in a contact of its own."""
    rows = "SELECT node, 1, sequence, '2026' FROM version WHERE true ON CONFLICT DO NOTHING"
    with world.all.write() as transaction:
        transaction.connection.execute(f"INSERT INTO ack_step {rows}")
    question = "SELECT max(confirmed_at) AS at FROM number_uses"
    assert world.all.query(question)[0]["at"]
    return world.count(lambda: world.all.query(question)) / world.runs


EACH: list[Cost] = [
    events_pushed, events_pulled, events_pulled_in_part, a_bundle_imported,
    a_bundle_imported_again, a_bundle_exported, a_second_history_taken_in_part, a_check, whether_chains_are_whole, a_rebuild,
    the_unconfirmed_numbers, the_status, the_flags, what_may_be_pruned, the_versions, when_numbers_were_confirmed,
]  # fmt: skip


@pytest.mark.parametrize("cost", BOUNDED + EACH, ids=lambda cost: cost.__name__.replace("_", "-"))
def test_an_old_journal_costs_no_more(worlds: tuple[World, World], cost: Cost) -> None:
    young, old = (cost(world, "") for world in worlds)
    assert old > 0
    assert old < GROWTH_MAX * young, (
        f"{young:.0f} steps in a young journal, {old:.0f} in an old one"
    )


NOTICED = {
    "event_by_deliverable": [events_pulled_in_part, a_bundle_imported],
    "event_beside": [a_second_history_taken_in_part],
    "event_by_run": [one_more_event_of_a_run],
    "run_by_time": [the_log, the_last_release],
    "run_by_deliverable": [
        the_last_release_of_a_product_released_long_ago, the_log_of_a_product_released_long_ago,
    ],
    "run_by_version": [a_run_shown],
    "environment_by_run": [a_run_shown],
    "flag_by_run": [a_run_shown],
    "run_open": [what_is_open],
    "run_released": [the_flags],
    "stage_run_by_run": [a_run_shown],
    "report_by_run": [a_run_shown],
    "promotion_by_run": [a_run_shown],
    "verdict_by_run": [a_run_shown],
    "left_out_by_run": [a_run_shown],
    "run_change_by_revision": [lead_times],
    "run_asked_by_run": [a_run_shown],
    "review_by_run": [a_run_shown],
    "run_unusual": [what_was_unusual],
    "run_fixing": [what_a_run_was],
    "incident_by_run": [a_run_shown],
    "attempt_bad": [what_failed],
    "version_offline": [what_was_numbered_offline],
    "version_shared": [the_conflicting_numbers],
    "version_by_chain": [the_unconfirmed_numbers],
    "deployment_by_time": [lead_times],
    "deployment_by_version": [a_version],
    "deployment_live": [what_a_run_made],
    "attempt_open": [what_failed_in_one_place],
    "promotion_overridden": [what_was_unusual],
    "version_by_run": [the_log],
    "deployment_by_environment": [the_flags],
    "deployment_by_run": [a_run_shown],
    "deployment_replaced": [one_more_deployment],
    "resource_by_place": [what_exists_in_one_place],
    "deployment_resource_by_resource": [what_exists_in_one_place],
    "resource_by_run": [what_a_run_made],
    "run_by_place": [what_exists_in_one_place],
    "machine_by_host": [one_more_machine],
    "promotion_by_hand": [a_day],
    "attempt_by_stage_run": [whether_a_stage_began_to_deploy],
    "attempt_by_run": [a_story],
    "flag_by_subject": [the_flags],
    "event_ahead": [the_page_of_what_to_look_at],
    "stage_run_bad": [the_page_of_what_to_look_at],
    "stage_run_elsewhere": [the_page_of_what_to_look_at],
    "version_by_order": [whether_a_version_is_taken],
    "run_final": [the_final_version_of_a_run],
    "turn_open": [whose_turn_it_is],
    "publication_there": [what_is_published],
    "publication_open": [what_is_half_published],
    "redaction_by_digest": [whether_bytes_are_redacted],
    "redaction_by_run": [a_story_among_redacted_ones],
}  # fmt: skip
"""By index: what would grow without it."""


@pytest.mark.parametrize("index", NOTICED)
def test_an_index_that_is_taken_away_is_noticed(worlds: tuple[World, World], index: str) -> None:
    made = [
        world.all.query("SELECT sql FROM sqlite_master WHERE name = ?", (index,))
        for world in worlds
    ]
    # What is only read is compared with itself; what is taken in can be so once, and is compared with
    # a young journal.
    reads = not index.startswith("event_")
    with_it = {cost: cost(worlds[1], index) for cost in NOTICED[index] if reads}
    for world in worlds:
        world.all.connection.execute(f"DROP INDEX {index}")
    try:
        for cost in NOTICED[index]:
            less = with_it[cost] if reads else cost(worlds[0], index)
            more = cost(worlds[1], index)
            assert more > GROWTH_MAX * less, f"{cost.__name__} does without it: {less} to {more}"
    finally:
        for world, ((row,)) in zip(worlds, made, strict=True):
            world.all.connection.execute(row["sql"])


def test_every_index_has_something_that_would_grow(worlds: tuple[World, World]) -> None:
    asked = "SELECT name, tbl_name FROM sqlite_master WHERE type = 'index' AND sql IS NOT NULL"
    shared = {"event", *TABLES}
    found = {row["name"] for row in worlds[0].all.query(asked) if row["tbl_name"] in shared}
    assert found == NOTICED.keys()


STEERED = {
    ("exchange/state.py", "AND +sequence"): events_pulled_in_part,
    ("journal/chains.py", "AND +b.sequence"): whether_chains_are_whole,
    ("projection/oversight_questions.py", "AND +d.deployed_at"): within_reach,
    ("projection/page_questions.py", "AND +r.queued_at"): open_runs,
    ("projection/page_questions.py", "ORDER BY +r.queued_at"): open_runs,
    ("projection/queries.py", "GROUP BY +r.deliverable"): late_failures,
    ("projection/queries.py", "PARTITION BY +r.deliverable"): late_slow_ones,
    ("projection/questions.py", "GROUP BY +r.deliverable"): late_times,
}
"""Where a plus keeps SQLite's planner from an index that it would take and that makes it go through a history:
what would grow without it. Those of stores: ``tests/stores/test_growth.py``."""


@pytest.mark.parametrize("place", STEERED, ids=lambda place: "-".join(place).replace(" ", "-"))
def test_a_plus_that_is_taken_away_is_noticed(
    worlds: tuple[World, World], place: tuple[str, str]
) -> None:
    world, cost, words = worlds[1], STEERED[place], place[1]
    instead = words.replace("+", "")
    with_it = cost(world, f"+ with {words}")
    world.counter.without = words, instead
    try:
        assert cost(world, f"+ without {words}") > GROWTH_MAX * with_it
    finally:
        world.counter.without = "", ""


def test_every_plus_has_something_that_would_grow() -> None:
    package = Path(status.__file__).parents[1]
    found = set()
    for path in sorted(package.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                said = re.findall(r"\b(?:AND|OR|WHERE|ON|(?:\w+ )?BY) \+[a-z_.]+", node.value)
                found |= {(str(path.relative_to(package)), words) for words in said}
    assert found == STEERED.keys()
