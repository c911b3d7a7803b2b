"""``cxlocal serve --lend``: what stands behind the server, and keeping the reserve fresh meanwhile."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from cxlocal.commands.context import App
from cxlocal.commands.terminal import say, warn
from cxlocal.errors import CxError, Refused, UsageError

if TYPE_CHECKING:
    from cxlocal.commands.project import Project
    from cxlocal.numbers.schemes import Scheme

LENDING = "lend:"
"""What ``--store`` names where members of the lender are looked after on the lender itself."""
EVERY_SECONDS = 30.0
"""Between two exchanges with the store."""
ROUND_SECONDS = 5.0
"""For one exchange, and for ending."""


class Lending:
    """The journal of this machine, as something that lends. Raises UsageError and Refused where it
    has nothing anybody could borrow."""

    def __init__(self, app: App, url: str | None) -> None:
        from cxlocal.commands.project import load_project
        from cxlocal.exchange.open import is_own

        if url:
            raise UsageError(
                "--lend and --store exclude each other",
                why="what is lent are numbers of this machine's reserve, which [store] url gave",
                hint="cxlocal serve --lend, beside cx.toml",
                name="bad-options",
            )
        self.app = app
        self.project: Project = load_project(app)
        if is_own(self.project.settings.store_url):
            raise Refused(
                "there is nothing to lend",
                why="this machine counts by itself: no other counts on with its numbers",
                hint="set [store] url to the store of the CI jobs",
                name="own-store",
            )
        self._why = ""

    def open(self) -> Any:
        """What the server asks."""
        from cxlocal.commands.serve import server_part

        return server_part("lending").LendingStore(self.app.journal, self._scheme)

    @contextmanager
    def kept_fresh(self) -> Iterator[None]:
        """Exchange with the store now, and again and again until the end of the block."""
        ended = threading.Event()

        def go_on() -> None:
            while not ended.wait(EVERY_SECONDS):
                self.exchange()

        self.exchange()
        thread = threading.Thread(target=go_on, name="cxlocal-fresh", daemon=True)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join(2 * ROUND_SECONDS)

    def exchange(self) -> None:
        """One exchange, with the reserve of the project's line of today. What goes wrong is said
        once and ends nothing: lending is for the time when the store is away."""
        try:
            why = self._exchange()
        except CxError as problem:
            why = str(problem)
        if why and why != self._why:
            warn(f"the reserve is not refreshed: {why}")
        elif self._why and not why:
            say("The reserve is kept fresh again.")
        self._why = why

    def _exchange(self) -> str:
        from cxlocal.commands.prepare import wanted_reserve
        from cxlocal.commands.project import open_project_store
        from cxlocal.exchange.sync import synchronise
        from cxlocal.journal.rebuild import catch_up
        from cxlocal.plan.resolve import resolve
        from cxlocal.runner.source import today

        store = open_project_store(self.app, self.project)
        try:
            with self.app.journal() as journal:
                report = synchronise(
                    journal, store, budget_seconds=ROUND_SECONDS, use_breaker=False
                )
                if report.reached and self.project.config is not None:
                    plan = resolve(self.project.config, today=today(self.app.clock))
                    wanted = wanted_reserve(plan, journal, self.project.settings.store_lends)
                    report = synchronise(
                        journal, store, budget_seconds=ROUND_SECONDS, use_breaker=False,
                        wanted=wanted,
                    )  # fmt: skip
                catch_up(journal)
        finally:
            store.close()
        return report.why or report.stopped

    def _scheme(self, name: str) -> Scheme:
        from cxlocal.numbers.schemes import scheme_named

        further = [
            scheme
            for _, found in self.project.manager.each("cxlocal_register_version_schemes")
            for scheme in found
        ]
        return scheme_named(name, further)
