"""``cxlocal store adopt``: a project, or all of this machine, counts on in another store."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

from cxlocal.address import argument_address
from cxlocal.commands.context import App, pass_app
from cxlocal.commands.frame import command
from cxlocal.commands.journals import place_of
from cxlocal.commands.output import json_option, write_document
from cxlocal.commands.prepare import wanted_reserve
from cxlocal.commands.project import Project, agreed, load_project, open_project_store
from cxlocal.commands.sync import describe
from cxlocal.commands.terminal import say
from cxlocal.domain import deliverable_id
from cxlocal.errors import CxError, UsageError
from cxlocal.exchange.adoption import Moved, move
from cxlocal.exchange.destination import EMBEDDED
from cxlocal.exchange.journals import Kept, Wanted, claim, further, look, open_for
from cxlocal.exchange.open import is_own, reserve_size
from cxlocal.exchange.parting import Journals, part
from cxlocal.exchange.state import store_state
from cxlocal.exchange.store import Store
from cxlocal.exchange.sync import ReserveWish, SyncReport, synchronise
from cxlocal.journal.file import Journal
from cxlocal.journal.rebuild import catch_up
from cxlocal.plan.resolve import resolve
from cxlocal.runner.source import today
from cxlocal.text import counted

SYNC_SECONDS = 60.0


@command(
    examples=[
        ("cxlocal store adopt https://store.example.org:8377", "move there, after 'store join'"),
        ("cxlocal store adopt sqlite:///srv/cx/store.db", "a file that several homes share"),
        ("cxlocal store adopt URL webshop engine", "these two; whatever else is here stays"),
        ("cxlocal store adopt URL --all", "everything that the journal holds"),
    ]
)
@click.argument("url")
@click.argument("deliverables", nargs=-1, metavar="[DELIVERABLE]...")
@click.option("--all", "everything", is_flag=True, help="All that the journal holds.")
@click.option("--with-others", is_flag=True, help="More machines use the old store, and follow.")
@click.option(
    "--conflicts-known", is_flag=True, help="Both may have counted the same numbers: show them so."
)
@json_option
@pass_app
def adopt(
    app: App, url: str, deliverables: tuple[str, ...], everything: bool, with_others: bool,
    conflicts_known: bool, as_json: bool,
) -> None:  # fmt: skip
    """Move history and counters of deliverables to a shared store.

    Those that are named, else that of this project, else all. The old store hands out no more numbers
    of them, the new one counts above everything it ever handed out, and gets their history; of other
    deliverables nothing changes, and nothing is told. Set [store] url to the new one afterwards, in
    their projects. A move that was cut off goes on when it is given again.
    """
    argument_address(url)  # raises where it holds a password
    project = load_project(app)
    names = _names(project, deliverables, everything=everything)
    how = {"others": with_others, "conflicts": conflicts_known}
    before, moved, report = Adoption(app, project, url, how).carry_out(names)
    agreed(app, url, "store adopt")
    if as_json:
        write_document({**moved._asdict(), "from": before, "to": url, "sync": report._asdict()})
    else:
        _tell(moved, report, url, configured=project.settings.store_url == url)


def _names(
    project: Project, deliverables: tuple[str, ...], *, everything: bool
) -> frozenset[str] | None:
    """Of which deliverables; None for all."""
    if deliverables and everything:
        raise UsageError(
            "name deliverables or give --all",
            why="both were given",
            hint="cxlocal store adopt URL --all",
            name="bad-options",
        )
    chosen = deliverables or tuple(filter(None, [project.deliverable]))
    return frozenset(map(deliverable_id, chosen)) if chosen and not everything else None


class Adoption:
    """One move to the store at ``url``. ``how`` says what is known (``adoption.move``)."""

    def __init__(self, app: App, project: Project, url: str, how: dict[str, bool]) -> None:
        self.app = app
        self.project = project
        self.url = url
        self.how: Any = how
        self.place = place_of(app)
        self.address = self.place.address(url)

    def carry_out(self, names: frozenset[str] | None) -> tuple[str, Moved, SyncReport]:
        """The address before it, what moved, and the exchange with the new store after it."""
        new = open_project_store(self.app, self.project, self.url)
        try:
            return self._move(names, new)
        finally:
            new.close()

    def _move(self, names: frozenset[str] | None, new: Store) -> tuple[str, Moved, SyncReport]:
        done, before, unmet = Moved(0, 0, already=True), "", None
        for source, group in self._sources(names):
            before, unmet = source.url, None if source.lineage or group else source.path
            moved = self._from(source, group, new)
            if not moved.already:
                done = Moved(done.lines + moved.lines, done.events + moved.events)
        with self._target(names, unmet) as journal:
            catch_up(journal)
            report = synchronise(
                journal, new, use_breaker=False, budget_seconds=SYNC_SECONDS,
                wanted=self._reserve(names, journal),
            )  # fmt: skip
            catch_up(journal)
        return before, done, report

    def _reserve(self, names: frozenset[str] | None, journal: Journal) -> list[ReserveWish]:
        """What this machine is to hold of the project's line from now on: it must not wait for its
        next release to be ready for a day without the new store."""
        config, settings = self.project.config, self.project.settings
        if config is None:
            return []
        plan = resolve(config, today=today(self.app.clock))
        if names is not None and deliverable_id(plan.deliverable) not in names:
            return []
        count = reserve_size(config, settings._replace(store_url=self.url))
        return wanted_reserve(plan, journal, count)

    def _sources(
        self, names: frozenset[str] | None
    ) -> Iterator[tuple[Kept, frozenset[str] | None]]:
        """The journals that count what is to move, and what of it each counts; None for all."""
        if names is None:
            with self.app.journal() as journal:
                path = journal.path
            yield next(one for one in look(self.place) if one.path == path), None
            return
        groups: dict[Path, tuple[Kept, frozenset[str]]] = {}
        for name in sorted(names):
            for one in look(self.place, name):
                if one.counts and one.address != self.address:
                    _, group = groups.get(one.path, (one, frozenset()))
                    groups[one.path] = one, group | {name}
        yield from groups.values()

    def _from(self, source: Kept, group: frozenset[str] | None, new: Store) -> Moved:
        own = [one for one in look(self.place) if one.address == self.address]
        with self.app.journal(path=source.path) as journal:
            old = open_project_store(self.app, self.project, source.url or EMBEDDED)
            try:
                catch_up(journal)
                if (
                    source.address == self.address
                    or not own
                    and source.holds <= (group or source.holds)
                ):
                    return self._as_a_whole(journal, old, new, source, group)
                names = source.holds if group is None else group
                with self._beside(own[0].path if own else None) as target:
                    return part(Journals(journal, target), old, new, names, **self.how)
            finally:
                old.close()

    def _as_a_whole(
        self, journal: Journal, old: Store, new: Store, source: Kept, group: frozenset[str] | None
    ) -> Moved:
        # A store of one's own is asked again, by what else will be released here.
        own = group is None and is_own(source.url)
        names = source.holds if own else group
        return move(journal, old, new, names=names, **self.how)

    @contextmanager
    def _beside(self, path: Path | None) -> Iterator[Journal]:
        """The journal of the new store; one that was made for nothing goes again."""
        made = path is None
        path = path or further(self.place, self.address)
        with self.app.journal(path=path) as target:
            claim(target, self.place, Wanted(self.url, ""))
            try:
                yield target
            except CxError as problem:
                met = store_state(target.connection).lineage
                if made and (problem.name == "same-store" or not met):
                    shutil.rmtree(path.parent)
                raise

    def _target(self, names: frozenset[str] | None, unmet: Path | None) -> Journal:
        if unmet is not None:
            return self.app.open_path(unmet)
        return open_for(self.place, Wanted(self.url, min(names) if names else ""))


def _tell(moved: Moved, report: SyncReport, url: str, *, configured: bool) -> None:
    if moved.already:
        say("This belongs to that store, or to none yet: there is nothing to move.")
    else:
        lines = counted(moved.lines, "line")
        say(f"{url} goes on counting {lines} and gets {counted(moved.events, 'event')}.")
    say(describe(report))
    if not configured:
        say(f'To do: [store] url = "{url}" in cx.toml or cx.local.toml of their projects')
