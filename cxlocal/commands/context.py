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
        self._told_local = False

    @property
    def directory(self) -> Path:
        """Where the command was called (after ``-C``)."""
        from pathlib import Path

        return Path.cwd()

    def find_project(self) -> Path | None:
        """The folder of the nearest ``cx.toml`` upward, or None."""
        from pathlib import Path

        from cxlocal.config.locate import find_config

        found = find_config(os.getcwd())
        return None if found is None else Path(found).parent

    def project(self) -> Path:
        """The folder of the nearest ``cx.toml`` upward. Raises UsageError if there is none."""
        found = self.find_project()
        if found is None:
            raise UsageError(
                "There is no cx.toml here or in any folder above",
                why=f"Looked from {self.directory} upward",
                hint="cxlocal init writes one; cxlocal -C DIR starts elsewhere",
                name="no-project",
            )
        return found

    def home(self) -> Path:
        """The folder of the journal, logs and artifacts, as set or as the platform has it."""
        from pathlib import Path

        from cxlocal.config.locate import home_setting
        from cxlocal.journal.home import home_folder

        chosen = home_setting(self.environ, self.local())
        return Path(chosen) if chosen else home_folder(self.environ, self.ids)

    def local(self) -> str | None:
        """The ``cx.local.toml`` of the project, if there is one that counts; one that does not is
        named once."""
        project = self.find_project()
        if project is None or not os.path.lexists(project / "cx.local.toml"):
            return None
        from cxlocal.commands.terminal import warn
        from cxlocal.revision.local_file import effective, find_local

        found = find_local(project, self.environ, self.ids)
        if found is not None and found.ignored and not self._told_local:
            self._told_local = True
            warn(f"cx.local.toml is not used: {found.ignored}")
        return effective(found)

    def journal_paths(self) -> list[Path]:
        """The journals that there are in the home."""
        from cxlocal.journal.home import journal_files

        return journal_files(self.home())

    def open_path(self, path: Path, *, create: bool = True) -> Journal:
        """The journal of the home at ``path``, to be closed by the caller. Raises as ``Journal.open``."""
        from cxlocal.journal.file import Journal
        from cxlocal.journal.witness import witness_folder

        home = self.home()
        return Journal.open(
            path, clock=self.clock, ids=self.ids, create=create, home=home,
            witness=witness_folder(self.environ, home),
        )  # fmt: skip

    def open_journal(self, *, create: bool = True) -> Journal:
        """The journal this command works with, to be closed by the caller: that of the project's
        store; the only one outside of a project, or that of the store the settings name.

        Raises as ``Journal.open``, and UsageError where there are several and nothing says which.
        """
        from cxlocal.journal.home import journal_file

        found = self.journal_paths()
        if not create and len(found) <= 1:
            return self.open_path(*found or [journal_file(self.home())], create=False)
        from cxlocal.commands.journals import open_here

        return open_here(self, create=create)

    def open_of_run(self, run: str, *, create: bool = True) -> Journal:
        """The journal that knows ``run``, else as ``open_journal``; to be closed by the caller."""
        from cxlocal.journal.read import journal_of_run

        known = journal_of_run(self.journal_paths(), run, self.open_path) if run else None
        return known or self.open_journal(create=create)

    @contextmanager
    def journal(
        self, *, create: bool = True, run: str = "", path: Path | None = None
    ) -> Iterator[Journal]:
        """The journal (``open_journal``), opened for the length of a ``with`` block; the one that
        knows ``run``, or the one at ``path``.

        Made when absent; with ``create=False`` an absent one raises Trouble, which is right for
        commands that only look.
        """
        import sqlite3

        from cxlocal.journal.file import explain_sqlite_error, is_fault_of_the_file

        if path is not None:
            opened = self.open_path(path, create=create)
        else:
            opened = self.open_of_run(run, create=create)
        try:
            yield opened
        except sqlite3.Error as problem:
            # Reading may meet a full or failing disk too: what a killed writer left is put right
            # by whoever reads next.
            if not is_fault_of_the_file(problem):
                raise
            raise explain_sqlite_error(problem, opened.path) from problem
        finally:
            opened.close()

    def journals(self) -> list[tuple[str, Path | None]]:
        """What ``journal`` takes as ``path``: in a project its journal (None), outside of one each of the
        home. Before it stands the address of its store, empty where there is one alone."""
        if len(self.journal_paths()) <= 1:
            return [("", None)]
        from cxlocal.commands.journals import several

        return several(self)


pass_app = click.make_pass_decorator(App)
