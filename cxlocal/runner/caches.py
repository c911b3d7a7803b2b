"""Folders brought into the checkout because making them anew takes long.

A cache is named by its path and the content of its key files (a lock file), so a checkout never
gets one that was made for other inputs. That is their content in the commit: what a run stamps into
them, or a stage writes there, is another in every run. It is a copy in both directions: what a stage
does to its folder cannot harm the kept one. A stage that failed keeps nothing.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from cxlocal.domain import path_part
from cxlocal.files import rename
from cxlocal.private import make_folder
from cxlocal.runner.workspace import inside
from cxlocal.values import NamedTuple

if TYPE_CHECKING:
    from cxlocal.plan.types import Cache, Plan, Stage
    from cxlocal.runner.work import Work
    from cxlocal.runner.workspace import Workspace


def key_contents(folder: Path, plan: Plan) -> dict[str, bytes]:
    """What the key files of all caches hold in a checkout that nothing was written into yet."""
    names = {name for stage in plan.stages for cache in stage.caches for name in cache.key_files}
    paths = {name: inside(folder, name) for name in sorted(names)}
    return {name: path.read_bytes() for name, path in paths.items() if path.is_file()}


def key_of(folder: Path, cache: Cache, known: Mapping[str, bytes]) -> str:
    """The name of a cache: a digest over its path and its key files. Those that are not ``known`` were
    made since (a lock file that a stage writes): they are read as they are."""
    total = sha256(cache.path.encode() + b"\0")
    for name in cache.key_files:
        content = known.get(name)
        if content is None:
            path = inside(folder, name)
            content = path.read_bytes() if path.is_file() else b""
        total.update(f"{name}\0{len(content)}\0".encode() + content)
    return total.hexdigest()[:32]


SAMPLE_MIN, SAMPLE_MAX = 3, 100

FileMark = tuple[int, int] | None
"""Inode, and when it last changed in nanoseconds; None for one that is gone."""


class Brought(NamedTuple):
    """What became of one cache before its stage."""

    path: str
    key: str
    hit: bool
    sample: Mapping[str, FileMark] = MappingProxyType({})
    """Some of the files that were brought in."""

    def as_json(self) -> dict[str, Any]:
        """For the record."""
        return {"path": self.path, "key": self.key, "hit": self.hit}


def is_kept(home: Path, plan: Plan, workspace: Workspace, cache: Cache) -> bool:
    """Whether a cache is here for the commit of a run."""
    key = key_of(workspace.project, cache, workspace.key_contents)
    return kept_folder(home, plan.deliverable, key).is_dir()


def bring_in(work: Work, stage: Stage, folder: Path) -> list[Brought]:
    """Copy the caches of a stage to their places; what was found, for the record."""
    found = []
    for cache in stage.caches:
        key = key_of(folder, cache, work.workspace.key_contents)
        kept, target = _kept(work, key), inside(folder, cache.path)
        hit = kept.is_dir() and not target.exists()
        if hit:
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copytree(kept, target, symlinks=True)
        found.append(Brought(cache.path, key, hit, _sample(target) if hit else {}))
    return found


def _sample(folder: Path) -> dict[str, FileMark]:
    """Some files of a folder; an inode alone may be another file's by now."""
    found: dict[str, FileMark] = {}
    for place, _, names in os.walk(folder):
        for name in names:
            path = os.path.join(place, name)
            found[path] = _mark(path)
        if len(found) > SAMPLE_MAX:
            break
    return found


def _mark(path: str) -> FileMark:
    try:
        status = os.lstat(path)
    except OSError:
        return None
    return status.st_ino, status.st_ctime_ns


def _was_emptied(one: Brought) -> bool:
    """Whether a command made anew what was brought in: no file of the sample is the same any more.
    A few files may all have been written to, so they tell nothing."""
    return len(one.sample) >= SAMPLE_MIN and all(
        _mark(path) != mark for path, mark in one.sample.items()
    )


def told(folder: Path, found: Sequence[Brought]) -> tuple[str, ...]:
    """What is said of the caches of a stage that has ended."""
    return tuple(f"cache {one.path}: {_words(folder, one)}" for one in found)


def _words(folder: Path, one: Brought) -> str:
    if not one.hit:
        return "miss" + (", kept now" if inside(folder, one.path).is_dir() else "")
    if _was_emptied(one):
        return (
            "hit, but the command emptied it first and made it anew; keep what it downloads instead"
            " (docs/running.md, Caches)"
        )
    return "hit"


def keep(work: Work, stage: Stage, folder: Path, found: Sequence[Brought]) -> None:
    """Keep what a successful stage left where a cache was missing."""
    for cache, entry in zip(stage.caches, found, strict=True):
        kept, source = _kept(work, entry.key), inside(folder, cache.path)
        if kept.exists() or not source.is_dir():
            continue
        make_folder(kept.parent)
        fresh = kept.with_name(f"{kept.name}.{work.record.journal.ids.token()}")
        shutil.copytree(source, fresh, symlinks=True)
        try:
            rename(fresh, kept, durable=False)
        except OSError:
            # Another run kept the same cache meanwhile; one copy is enough.
            shutil.rmtree(fresh)


def _kept(work: Work, key: str) -> Path:
    return kept_folder(work.home, work.plan.deliverable, key)


def kept_folder(home: Path, deliverable: str, key: str) -> Path:
    """Where a cache is kept."""
    return home / "caches" / path_part(deliverable) / key
