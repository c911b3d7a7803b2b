"""What stages leave in the checkout they share, and what of it a resumed run must bring back. Pure.

A resumed run has a fresh checkout. Artifacts are put into it and caches brought back; whatever else a
stage left (a build folder, dependencies, a changed file) is only there if the stage runs again.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from fnmatch import fnmatchcase
from typing import Any

from cxlocal.config.outward import sends_outside
from cxlocal.plan.graph import before, edges, turned
from cxlocal.plan.types import Cache, Plan, Stage
from cxlocal.values import NamedTuple

BY_PRODUCTS = frozenset({
    "__pycache__", ".pytest_cache", ".mypy_cache", ".ruff_cache", ".hypothesis", ".tox",
    ".nox", ".coverage", ".nyc_output", "htmlcov", ".DS_Store",
})  # fmt: skip
"""Names that nothing later rests on: programs make them anew where they are missing."""

FEW = 20
"""Files of a new folder that are named one by one; of more only the folder is."""

MOST = 200
"""Names kept for a stage; beyond that it is only known that there were more."""

Mark = tuple[int, int, int] | None
"""Inode, time of change and size of a file of the commit; None for anything else."""

Seen = Mapping[str, Mapping[str, Mark]]
"""By folder (relative to the checkout, the top is empty): the names in it."""


class Left(NamedTuple):
    """What a stage left behind."""

    new: tuple[str, ...] = ()
    """Files, and folders with a ``/`` at the end."""
    changed: tuple[str, ...] = ()
    """Files that were there before it, changed or gone."""
    more: bool = False
    """There was more than is named."""

    def as_json(self) -> dict[str, Any]:
        """For the record."""
        return {"new": list(self.new), "changed": list(self.changed), "more": self.more}


def read_left(found: Any) -> Left | None:
    """What was recorded; None where nothing was, or another shape."""
    if not isinstance(found, dict):
        return None
    new, changed = found.get("new"), found.get("changed")
    if not isinstance(new, list) or not isinstance(changed, list):
        return None
    return Left(tuple(map(str, new)), tuple(map(str, changed)), bool(found.get("more")))


def of_nobody(path: str) -> bool:
    """For ``compare`` where no other stage was at work."""
    return False


def compare(earlier: Seen, later: Seen, of_others: Callable[[str], bool] = of_nobody) -> Left:
    """What came between two looks, but for the files that are known to be ``of_others``."""
    new: list[str] = []
    changed: list[str] = []
    for folder, names in later.items():
        if folder not in earlier:
            continue  # named by the folder it is in
        known = earlier[folder]
        for name, mark in names.items():
            path = f"{folder}/{name}" if folder else name
            if name not in known:
                new += _files(path, later, of_others)
            elif mark != known[name] and known[name] is not None:
                changed.append(path)
        changed += [f"{folder}/{name}" if folder else name for name in known if name not in names]
    changed += [folder for folder in earlier if folder and folder not in later]
    changed = [path for path in changed if not of_others(path)]
    more = len(new) + len(changed) > MOST
    return Left(tuple(sorted(new)[:MOST]), tuple(sorted(set(changed))[:MOST]), more)


def _files(path: str, seen: Seen, of_others: Callable[[str], bool]) -> list[str]:
    """What is new at ``path``: its files where it holds few, else itself."""
    if path not in seen:
        return [] if of_others(path) else [path]
    found: list[str] = []
    waiting, theirs = [path], False
    while waiting:
        folder = waiting.pop()
        for name in seen[folder]:
            inner = f"{folder}/{name}"
            if of_others(inner):
                theirs = True
            elif inner in seen:
                waiting.append(inner)
            else:
                found.append(inner)
            if len(found) > FEW:
                return [f"{path}/"]
    return found or ([] if theirs else [f"{path}/"])


def planned_beside(plan: Plan, stage: Stage) -> Callable[[str], bool]:
    """Whether a path of the plan is an artifact, a report or a cache of a stage that may run beside
    ``stage`` in the checkout they share: neither waits for the other."""
    graph = edges(plan)
    apart = before(graph, [stage.name]) | before(turned(graph), [stage.name])
    beside = [one for one in plan.stages if not one.isolated and one.name not in apart]
    own, theirs = _outputs(stage), [path for other in beside for path in _outputs(other)]

    def is_theirs(path: str) -> bool:
        return _named(path, theirs) and not _named(path, own)

    return is_theirs


def _outputs(stage: Stage) -> list[str]:
    """Patterns of the files, and the folders, that the plan says are this stage's."""
    files = [one.path for one in stage.produces if one.path]
    files += [rule.path for rule in stage.reports]
    return files + [f"{cache.path.rstrip('/')}/" for cache in stage.caches]


def _named(path: str, patterns: Collection[str]) -> bool:
    return any(
        f"{path}/".startswith(one.removeprefix("./")) if one.endswith("/") else _fits(path, one)
        for one in patterns
    )


def may_be_wanted(plan: Plan, pending: Collection[str], done: Collection[str]) -> tuple[Stage, ...]:
    """Of the ``done`` stages those whose working files a ``pending`` one may look for, in the order of
    the file: stages it waits for, directly or through others, in the checkout they share.

    Tests are not among them: what they leave is for reading, and they have said what they had to say.
    """
    shared = [name for name in pending if not plan.stage(name).isolated]
    behind = before(edges(plan), shared)
    return tuple(
        stage
        for stage in plan.stages
        if stage.name in behind
        and stage.name in done
        and stage.kind != "test"
        and not stage.isolated
    )


def may_be_repeated(stage: Stage) -> bool:
    """Whether a stage may run again for its files: deployments and publications happen once, and what
    works in an environment changes that."""
    once = stage.kind not in ("build", "task") or stage.environment or "publish" in stage.verb
    return not once and not sends_outside(stage.command)


def missing(
    stage: Stage, left: Left, artifacts: Collection[str], is_cached: Callable[[Cache], bool]
) -> tuple[str, ...]:
    """What ``stage`` left and nothing brings back. ``artifacts`` are those that are put back."""
    cached = tuple(cache.path.rstrip("/") for cache in stage.caches if is_cached(cache))
    outputs = [one.path for one in stage.produces if one.name in artifacts and puts_back(one.path)]
    reports = [rule.path for rule in stage.reports]

    def is_back(path: str) -> bool:
        inside = any(f"{path.rstrip('/')}/".startswith(f"{one}/") for one in cached)
        return inside or any(_fits(path, pattern) for pattern in (*outputs, *reports))

    gone = [path for path in left.new if not is_back(path)]
    gone += [path for path in left.changed if not is_back(path)]
    return tuple(gone or ["…"] if left.more else gone)


def _fits(path: str, pattern: str) -> bool:
    """Whether a pattern of the plan names the file: ``*`` stays within one folder."""
    if "**" in pattern:
        return fnmatchcase(path, pattern)
    words, wanted = path.split("/"), pattern.removeprefix("./").split("/")
    return len(words) == len(wanted) and all(map(fnmatchcase, words, wanted))


def puts_back(path: str) -> bool:
    """Whether an artifact that was found at ``path`` of the plan can be put back where it was: not
    where the pattern leaves its folder open."""
    return bool(path) and not any(sign in path.rpartition("/")[0] for sign in "*?")
