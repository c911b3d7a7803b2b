"""``cxlocal export --site``: the pages as plain files, in a folder or in one zip file."""

from __future__ import annotations

import asyncio
import json
import shutil
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime
from importlib import import_module
from pathlib import Path
from typing import Any

from cxlocal.commands.browse import PAGES_PACKAGE, make_datasette, zone_here
from cxlocal.commands.context import App
from cxlocal.commands.terminal import say
from cxlocal.errors import Refused, UsageError
from cxlocal.exchange.state import store_state
from cxlocal.files import fresh_folder, rename
from cxlocal.journal.rebuild import catch_up
from cxlocal.text import counted
from cxlocal.values import NamedTuple
from cxlocal.zones import zone_of

RELEASES = 200
MARK = "site.json"
"""Says of a folder that it holds such a site, which may be replaced."""
TIME_LIMIT_MS = 60_000
BEGINNING = (1980, 1, 1, 0, 0, 0)
"""The first time a zip file can name: its members have none, so that equal sites are equal bytes."""


class Wanted(NamedTuple):
    """What is to be written."""

    folder: Path
    deliverable: str
    since: str
    """A day; empty for none."""
    everything: bool
    log_lines: bool
    zip: bool


class Wrote(NamedTuple):
    """What was written."""

    path: str
    files: int
    bytes: int


def write_site(app: App, wanted: Wanted) -> Wrote:
    """Write the pages, and say before they are put in place how much that is. Raises UsageError, Refused
    where the place holds something else, and Trouble."""
    zone = zone_here(app)
    since = _since(wanted.since, zone)
    target = wanted.folder.with_name(f"{wanted.folder.name}.zip") if wanted.zip else wanted.folder
    _check_free(target)
    with app.journal(create=False) as journal:
        catch_up(journal)
        stores = {journal.path: store_state(journal.connection).url}
        if wanted.deliverable and not journal.query(
            "SELECT 1 FROM run WHERE deliverable = ? LIMIT 1", (wanted.deliverable,)
        ):
            raise UsageError(
                f"no release of {wanted.deliverable!r} is known here",
                why="a site of one product needs its name",
                hint="cxlocal sql -q products   lists them",
                name="no-deliverable",
            )
    pages = make_datasette(stores, without=app.blocked, zone=zone, limit_ms=TIME_LIMIT_MS)
    makers = import_module(f"{PAGES_PACKAGE}.site")
    scope = makers.Scope(
        deliverable=wanted.deliverable, since=since, log_lines=wanted.log_lines, zone=zone,
        releases=-1 if wanted.everything or since else RELEASES,
    )  # fmt: skip
    with fresh_folder(target.parent) as made:
        files, size = asyncio.run(_fill(makers.make_site(pages, scope), made))
        _mark(made, wanted, files)
        say(f"{counted(files, 'file')}, {size} bytes, into {target}")
        with _replaced(target):
            if wanted.zip:
                _pack(made, target)
            else:
                shutil.copytree(made, target)
    return Wrote(str(target), files, size)


async def _fill(files: Any, folder: Path) -> tuple[int, int]:
    count = size = 0
    async for name, content in files:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        count, size = count + 1, size + len(content)
    return count, size


def _mark(folder: Path, wanted: Wanted, files: int) -> None:
    told = {
        "cxlocal": "site",
        "files": files,
        "deliverable": wanted.deliverable,
        "since": wanted.since,
    }
    (folder / MARK).write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")


def _since(day: str, zone: str) -> str:
    """The beginning of a day of the zone, in UTC; empty for none. Raises UsageError."""
    if not day:
        return ""
    try:
        first = datetime.combine(date.fromisoformat(day), datetime.min.time())
    except ValueError:
        first = None
    if first is None or len(day) != 10 or not 1971 <= first.year <= 9000:
        raise UsageError(
            f"{day[:40]!r} is no day",
            why="--since names the first day",
            hint="write it as 2026-11-23",
            name="no-day",
        )
    known = zone_of(zone)
    there = first.astimezone() if known is None else first.replace(tzinfo=known)
    return f"{there.astimezone(UTC):%Y-%m-%dT%H:%M:%S}.000Z"


def _check_free(target: Path) -> None:
    """Raises Refused where there is something that is no site of ours."""
    if not target.is_symlink() and not target.exists():
        if target.parent.is_dir():
            return
        why, hint = "there is no folder to put it into", f"mkdir -p {target.parent}"
    elif target.is_symlink():
        why, hint = "it is a link", "name the folder itself"
    elif (
        target.suffix == ".zip"
        and target.is_file()
        and _is_site(target)
        or target.is_dir()
        and ((target / MARK).is_file() or not any(target.iterdir()))
    ):
        return
    else:
        why, hint = "what is there is no such site, and would be lost", "name a folder that is new"
    raise Refused(f"{target} is not written", why=why, hint=hint, name="place-taken")


def _is_site(path: Path) -> bool:
    try:
        with zipfile.ZipFile(path) as found:
            return MARK in found.namelist()
    except (OSError, zipfile.BadZipFile):
        return False


@contextmanager
def _replaced(target: Path) -> Iterator[None]:
    """What was there is away while the new one is written, and comes back where that fails."""
    if not target.exists():
        yield
        return
    with fresh_folder(target.parent) as aside:
        rename(target, aside / "old", durable=False)
        try:
            yield
        except BaseException:
            if target.exists():
                shutil.rmtree(target) if target.is_dir() else target.unlink()
            rename(aside / "old", target, durable=False)
            raise


def _pack(folder: Path, target: Path) -> None:
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as out:
        for path in sorted(one for one in folder.rglob("*") if one.is_file()):
            member = zipfile.ZipInfo(path.relative_to(folder).as_posix(), BEGINNING)
            member.compress_type, member.external_attr = zipfile.ZIP_DEFLATED, 0o644 << 16
            out.writestr(member, path.read_bytes())
