"""Folders brought into the checkout because making them anew takes long.

A cache is named by its path and the content of its key files (a lock file), so a checkout never
gets one that was made for other inputs. It is a copy in both directions: what a stage does to its
folder cannot harm the kept one. A stage that failed keeps nothing.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cxlocal.domain import path_part
from cxlocal.files import rename
from cxlocal.private import make_folder
from cxlocal.runner.workspace import inside

if TYPE_CHECKING:
    from cxlocal.plan.types import Cache, Stage
    from cxlocal.runner.work import Work


def key_of(folder: Path, cache: Cache) -> str:
    """The name of a cache: a digest over its path and its key files as they are in the checkout."""
    total = sha256(cache.path.encode() + b"\0")
    for name in cache.key_files:
        path = inside(folder, name)
        content = path.read_bytes() if path.is_file() else b""
        total.update(f"{name}\0{len(content)}\0".encode() + content)
    return total.hexdigest()[:32]


def bring_in(work: Work, stage: Stage, folder: Path) -> list[dict[str, Any]]:
    """Copy the caches of a stage to their places; what was found, for the record."""
    found = []
    for cache in stage.caches:
        key = key_of(folder, cache)
        kept, target = _kept(work, key), inside(folder, cache.path)
        hit = kept.is_dir() and not target.exists()
        if hit:
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copytree(kept, target, symlinks=True)
        found.append({"path": cache.path, "key": key, "hit": hit})
    return found


def keep(work: Work, stage: Stage, folder: Path, found: Sequence[dict[str, Any]]) -> None:
    """Keep what a successful stage left where a cache was missing."""
    for cache, entry in zip(stage.caches, found, strict=True):
        kept, source = _kept(work, entry["key"]), inside(folder, cache.path)
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
