"""Looking after the files of a store where it lies: moving it, and backing it up.

Called by ``cxlocal store move`` and ``cxlocal store backup`` by their names.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from cxlocal.address import public_address
from cxlocal.clock import Clock
from cxlocal.errors import CxError, Refused, Trouble, UsageError
from cxlocal.exchange.store import Store
from cxlocal.extras import module_of
from cxlocal.files import rename, write_whole
from cxlocal.private import make_file, make_folder
from cxlocal.text import quoted, utc_text
from cxlocal.values import NamedTuple
from cxlocal_sync.http.management import BACKUP, members_path
from cxlocal_sync.http.members import Members
from cxlocal_sync.stores import moving
from cxlocal_sync.stores.condition import COMING, GONE
from cxlocal_sync.stores.sqlite import path_of
from cxlocal_sync.stores.sqlite_place import SqlitePlace


def place_at(url: str, home: Path) -> moving.Place:
    """Where a store lies or shall lie. Raises UsageError and ConfigError."""
    kind = url.partition(":")[0]
    if kind == "sqlite":
        path = path_of(url, home).absolute()
        return SqlitePlace(f"sqlite://{path}", path)
    if kind != "postgresql":
        raise UsageError(
            f"{public_address(url)} is no place a store can be moved from or to, or backed up",
            why="files and databases can: sqlite:///PATH and postgresql://…",
            hint="on the machine that serves it, name what is behind the server: --store sqlite:///PATH; to count on"
            " in a store of another kind: cxlocal store adopt URL",
            name="not-movable",
        )
    module = module_of("postgresql", "cxlocal_sync.postgresql.moving", "a store in PostgreSQL")
    place: moving.Place = module.PostgresqlPlace(url)
    return place


def move(
    old_url: str, new_url: str, home: Path, stores: tuple[Store, Store], clock: Clock
) -> moving.Moved:
    """Move a store, and its members if it is served. ``stores`` are the old and the new one, for blobs.
    Raises Refused, UsageError, Trouble and StoreUnreachable."""
    here, there = stores
    old, new = place_at(old_url, home), place_at(new_url, home)
    with _failing(old, new):
        if not moving.prepare(old, new):
            return moving.Moved(0, 0, 0.0)
        blobs = moving.copy_blobs(old, here, there)
        began = clock.monotonic()
        copied = moving.copy_history(old, new)
        blobs += moving.copy_blobs(old, here, there)
        _copy_members(members_path(old_url, home), members_path(new_url, home))
        moving.open_place(new)
        return moving.Moved(copied, blobs, clock.monotonic() - began)


@contextmanager
def _failing(*places: moving.Place) -> Iterator[None]:
    """Say what a database says, in words; let go of all at the end."""
    failures: tuple[type[Exception], ...] = (
        OSError,
        *(failure for place in places for failure in place.failures),
    )
    try:
        yield
    except failures as error:
        raise Trouble(
            "the store cannot be moved, and is where it was",
            why=str(error).strip() or type(error).__name__,
            hint="give the command again when that is mended: it goes on where it was cut off",
            name="move",
        ) from error
    finally:
        for place in places:
            place.close()


def _copy_members(old: Path, new: Path) -> None:
    if old.is_file() and old != new:
        _copy_database(old, new)


def _copy_database(old: Path, new: Path) -> None:
    """A copy of a SQLite file as it is at one moment, whole or not there."""
    make_folder(new.parent)
    part = new.with_name(f"{new.name}.part")
    part.unlink(missing_ok=True)
    make_file(part)
    with closing(sqlite3.connect(old)) as source, closing(sqlite3.connect(part)) as target:
        source.backup(target)
    rename(part, new)


def require_open(url: str, home: Path, command: str, *, coming: bool = True) -> None:
    """That the store at ``url`` did not move away, nor (with ``coming``) is on its way there. ``command``
    is the one that was given, of which the address is the rest. A place that cannot be asked says
    nothing. Raises Refused, which names where it went."""
    if url.partition(":")[0] not in ("sqlite", "postgresql"):
        return
    place = place_at(url, home)
    failures: tuple[type[Exception], ...] = (OSError, CxError, *place.failures)
    try:
        hint = moving.closed_at(place)
    except failures:
        hint = ""
    finally:
        place.close()
    if hint.startswith(GONE):
        there = hint.removeprefix(GONE)
        raise Refused(
            "this store was moved away", why=f"it is at {there}",
            hint=f"{command} {quoted(there)}", name="store-moved",
        )  # fmt: skip
    if hint and coming:
        old = hint.removeprefix(COMING)
        raise Refused(
            "this store is not whole", why=f"it is {hint}, which is not done",
            hint=f"cxlocal store move {quoted(place.url)} --store {quoted(old)}", name="store-moved",
        )  # fmt: skip


class BackedUp(NamedTuple):
    """What a backup holds."""

    folder: str
    files: tuple[str, ...]
    blobs: int
    """Blobs that it did not hold before."""


def back_up(url: str, home: Path, folder: Path, clock: Clock) -> BackedUp:
    """Copy a store into ``folder`` while it is in use: its file, its members, its blobs. Of a database
    the members alone, which are not in it. When it ended well is noted for health. Raises Refused and
    Trouble."""
    require_open(url, home, f"cxlocal store backup {quoted(str(folder))} --store")
    at = utc_text(clock.now_ms())
    members = members_path(url, home)
    files: list[str] = []
    blobs = 0
    try:
        make_folder(folder)
        if url.startswith("sqlite:"):
            path = path_of(url, home)
            if not path.is_file():
                raise Refused(
                    "there is no store to be backed up", why=str(path),
                    hint="name it: cxlocal store backup FOLDER --store sqlite:///srv/cx/store.db",
                    name="no-store",
                )  # fmt: skip
            _copy_database(path, folder / path.name)
            files.append(path.name)
            # After the file: what it speaks of was there before it.
            blobs = _copy_blobs(path.with_name(f"{path.name}.blobs"), folder)
        if members.is_file():
            _copy_database(members, folder / members.name)
            files.append(members.name)
            with closing(Members(members, clock=clock)) as roll:
                roll.set_value(BACKUP, at)
    except (OSError, sqlite3.Error) as error:
        raise Trouble(
            "the backup was not made",
            why=str(error),
            hint="see that there is space, and that the folder may be written; then again",
            name="backup",
        ) from error
    return BackedUp(str(folder), tuple(files), blobs)


def _copy_blobs(source: Path, folder: Path) -> int:
    """Blobs never change: what is there already stays."""
    copied = 0
    for each in sorted(source.glob("*/*")):
        target = folder / source.name / each.parent.name / each.name
        if len(each.name) == 64 and not target.exists():
            make_folder(target.parent)
            write_whole(target, each.read_bytes())
            copied += 1
    return copied
