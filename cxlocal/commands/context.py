"""What commands share: where they are, the project, the journal, the clock.

Everything is found when first asked for, so that a command pays only for what it uses.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click

from cxlocal.clock import Clock, Ids, SystemClock, SystemIds
from cxlocal.errors import UsageError

if TYPE_CHECKING:
    from pathlib import Path

    from cxlocal.journal.file import Journal

CONFIG_NAME = "cx.toml"


def find_project(start: str) -> str | None:
    """The nearest folder at or above ``start`` that holds a ``cx.toml``; None if there is none."""
    folder = os.path.abspath(start)
    while not os.path.isfile(os.path.join(folder, CONFIG_NAME)):
        above = os.path.dirname(folder)
        if above == folder:
            return None
        folder = above
    return folder


class App:
    """One command line: its global options and what it has opened so far."""

    def __init__(
        self,
        *,
        environ: Mapping[str, str],
        clock: Clock | None = None,
        ids: Ids | None = None,
        verbosity: int = 0,
        debug: bool = False,
        blocked: tuple[str, ...] = (),
    ) -> None:
        self.environ = environ
        self.clock: Clock = clock or SystemClock()
        self.ids: Ids = ids or SystemIds()
        self.verbosity = verbosity
        self.debug = debug
        self.blocked = blocked

    @property
    def directory(self) -> Path:
        """Where the command was called (after ``-C``)."""
        from pathlib import Path

        return Path.cwd()

    def find_project(self) -> Path | None:
        """The folder of the nearest ``cx.toml`` upward, or None."""
        from pathlib import Path

        found = find_project(os.getcwd())
        return None if found is None else Path(found)

    def project(self) -> Path:
        """The folder of the nearest ``cx.toml`` upward. Raises UsageError if there is none."""
        found = self.find_project()
        if found is None:
            raise UsageError(
                f"There is no {CONFIG_NAME} here or in any folder above",
                why=f"Looked from {self.directory} upward",
                hint="cxlocal init writes one; cxlocal -C DIR starts elsewhere",
                name="no-project",
            )
        return found

    def journal_path(self) -> Path:
        """Where the journal of this machine is (or will be) for this project."""
        from cxlocal.journal.home import journal_path

        return journal_path(self.environ, self.find_project())

    @contextmanager
    def journal(self) -> Iterator[Journal]:
        """The journal, opened for the length of a ``with`` block; made when absent."""
        from cxlocal.journal.file import Journal

        opened = Journal.open(self.journal_path(), clock=self.clock, ids=self.ids)
        try:
            yield opened
        finally:
            opened.close()


pass_app = click.make_pass_decorator(App)
