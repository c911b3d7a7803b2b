"""Checks of the machine: disk, SQLite, git, the journal, plugins."""

from __future__ import annotations

import os
import sqlite3
from contextlib import suppress
from pathlib import Path

from cxlocal.doctor.check import BAD, NOTE, OK, PLUGIN, Check
from cxlocal.errors import ConfigError, CxError
from cxlocal.hooks.manager import Manager
from cxlocal.hooks.plugin_row import NOT_INSTALLED
from cxlocal.hooks.registered import FORMER, KINDS, gives, registered
from cxlocal.journal.file import Journal
from cxlocal.journal.home import WAY_OUT
from cxlocal.revision.repository import open_repository
from cxlocal.text import counted

FREE_BYTES_MIN = 2_000_000_000
"""A run refuses below this: a full disk in mid-release helps nobody."""


def check_disk(home: Path) -> Check:
    """Free space where the journal lives."""
    stat = os.statvfs(home if home.exists() else home.anchor)
    free = stat.f_bavail * stat.f_frsize
    found = f"{free / 1e9:.1f} GB free in {home}"
    if free < FREE_BYTES_MIN:
        return Check("disk", BAD, found, "cxlocal prune, or free some space", offline=True)
    return Check("disk", OK, found, offline=True)


def check_sqlite() -> Check:
    """The library; our journal mode avoids the WAL-reset defect of older ones (3.7.0 to 3.51.2)."""
    return Check("SQLite", OK, f"version {sqlite3.sqlite_version}, journal without WAL")


def check_journal(journal: Journal) -> Check:
    """The file and its last events. The whole chain is the work of ``cxlocal verify``."""
    try:
        (answer,) = journal.connection.execute("PRAGMA quick_check(1)").fetchone()
    except sqlite3.DatabaseError as problem:
        answer = str(problem)
    if answer != "ok":
        return Check("journal", BAD, answer, "cxlocal verify", offline=True)
    if not (os.access(journal.path, os.W_OK) and os.access(journal.home, os.W_OK | os.X_OK)):
        found = f"{journal.path} or its folder is read-only for this user"
        return Check("journal", BAD, found, WAY_OUT, offline=True)
    row = journal.one("SELECT count(*) AS events FROM event") or {"events": 0}
    return Check(
        "journal", OK, f"{counted(row['events'], 'event')} in {journal.path}", offline=True
    )


def check_plugins(manager: Manager) -> list[Check]:
    """Every plugin that could not be loaded, or registers what cannot be used, by name."""
    for hook in KINDS:
        with suppress(ConfigError):  # a broken one of the project; its row says it
            registered(manager, hook)
    absent = [row for row in manager.rows if row.state == NOT_INSTALLED]
    broken = [row for row in manager.rows if row.error and row not in absent]
    # What a project uses of these fails where its tools are looked at.
    notes = [
        Check(f"{PLUGIN}{row.name}", NOTE, "needs libraries that are not installed, where a project uses it",
              row.error)
        for row in absent
    ] + [
        Check(f"plugin {plugin}", NOTE, f"brings a {one}, which a later cxlocal will not serve",
              "take a release of it for the newest interface (docs/developing.md)")
        for plugin, given in gives(manager).items()
        for one in given
        if FORMER in one and manager.row(plugin).origin != "shipped"
    ]  # fmt: skip
    if not broken:
        return [Check("plugins", OK, f"{len(manager.rows) - len(absent)} loaded"), *notes]
    return notes + [
        Check(
            f"{PLUGIN}{row.name}",
            BAD,
            str(row.error),
            f"repair or remove {row.distribution or row.name}, or block it: [plugins] block",
            offline=row.origin == "project",
        )
        for row in broken
    ]


def check_git(root: Path) -> Check:
    """git itself, by using it."""
    try:
        repository = open_repository(root)
    except CxError as problem:
        return Check("git", BAD, problem.what, problem.hint, offline=True)
    words = f"repository {repository.root}"
    if repository.shallow:
        return Check("git", NOTE, f"{words} is shallow: changes since the last release may be cut")
    return Check("git", OK, words, offline=True)
