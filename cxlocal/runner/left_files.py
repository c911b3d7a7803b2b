"""Looking at the checkout that stages share: what is there before a stage and after it."""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cxlocal.plan.types import Stage
    from cxlocal.plan.working_files import Left, Mark, Seen
    from cxlocal.runner.work import Work


GIT, OF_GIT = ".git", ("HEAD", "refs")
"""Of the repository itself: a tag or a commit that a stage makes there is a working file, too."""


def look(folder: Path, marked: Collection[str] | None = None) -> dict[str, Mapping[str, Mark]]:
    """The names in ``folder`` and below it. Files are marked in the folders ``marked`` (all if None):
    where dependencies lie by the ten thousand, their names must do."""
    from cxlocal.plan.working_files import BY_PRODUCTS

    seen: dict[str, Mapping[str, Mark]] = {}
    waiting = [""]
    while waiting:
        name = waiting.pop()
        marks = marked is None or name in marked
        names: dict[str, Mark] = {}
        try:
            entries = os.scandir(folder / name)
        except OSError:
            continue  # gone meanwhile, or nobody's to read
        with entries:
            for entry in entries:
                if entry.name in BY_PRODUCTS or (name == GIT and entry.name not in OF_GIT):
                    continue
                is_folder = entry.is_dir(follow_symlinks=False)
                names[entry.name] = _mark(entry) if marks and not is_folder else None
                if is_folder:
                    waiting.append(f"{name}/{entry.name}" if name else entry.name)
        seen[name] = names
    return seen


def _mark(entry: os.DirEntry[str]) -> Mark:
    try:
        status = entry.stat(follow_symlinks=False)
    except OSError:
        return None
    return status.st_ino, status.st_mtime_ns, status.st_size


class LeftFiles:
    """Knows what each stage of a run leaves in the checkout they share.

    Of stages that run at the same time each is taken to have left what came meanwhile, but for what
    the plan says is another's: one of them too many is repeated on resume, never one too few.
    """

    def __init__(self, work: Work) -> None:
        self._plan = plan = work.plan
        shared = [stage for stage in plan.stages if not stage.isolated]
        # Nobody goes on with a rehearsal; a tree that is worked in stays as it is; and nothing waits
        # for a single stage.
        self._looks = (
            work.record.kind == "release" and not work.workspace.in_place and len(shared) > 1
        )
        self._folder, self._prefix = work.workspace.source, work.workspace.repository.prefix
        self._seen: Seen = {}
        self._tracked: Collection[str] = ()

    def before(self, stage: Stage) -> Seen:
        """What is there as a stage begins; empty where nobody will ask."""
        if not self._looks or stage.isolated:
            return {}
        if not self._seen:
            self._seen = look(self._folder)
            self._tracked = frozenset(self._seen)
        return self._seen

    def after(self, stage: Stage, earlier: Seen) -> Left | None:
        """What came since, as the stage has succeeded; None where nobody looked."""
        if not earlier:
            return None
        from cxlocal.plan.working_files import compare, planned_beside

        self._seen = look(self._folder, self._tracked)
        theirs = planned_beside(self._plan, stage)
        left = compare(earlier, self._seen, lambda path: theirs(self._from_project(path)))
        new, changed = (tuple(map(self._from_project, paths)) for paths in (left.new, left.changed))
        return left._replace(new=new, changed=changed)

    def _from_project(self, path: str) -> str:
        """As a path of cx.toml is, from its folder; what lies elsewhere in the repository begins with
        ``/``."""
        prefix = self._prefix.rstrip("/") + "/" if self._prefix else ""
        return path.removeprefix(prefix) if path.startswith(prefix) else f"/{path}"
