"""Submodules of a commit, and where this machine already has them.

Their commits are part of what is released: each must have come from a remote like the commit that
names it, and each is brought into a checkout from this machine, never from the network.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

from cxlocal.errors import CxError, Refused, UsageError
from cxlocal.patterns import compile_late
from cxlocal.revision.git import ask, decode, git
from cxlocal.revision.reach import first_containing, known_objects
from cxlocal.revision.repository import (
    Repository,
    contents_world,
    open_repository,
    shallow_commits,
)
from cxlocal.values import NamedTuple

GITMODULES = ".gitmodules"

DEPTH_MAX = 16
"""Submodules within submodules; deeper is taken for a loop."""


class Submodule(NamedTuple):
    """A folder of a commit that is a commit of another repository."""

    name: str
    path: str
    """Where it belongs, relative to the top of the repository that names it."""
    commit: str
    source: Repository | None
    """The repository on this machine that has the commit; None when there is none."""
    wanted: bool = True
    """False where the commit says ``update = none``: git leaves it out, and so do we."""


def list_submodules(repository: Repository, commit: str) -> tuple[Submodule, ...]:
    """The submodules that ``commit`` names in ``.gitmodules``, without those inside them."""
    named = _named(repository, commit)
    if not named:
        return ()
    raw = ask(
        repository.root, "--literal-pathspecs", "ls-tree", "-z", "--full-tree",
        "--end-of-options", commit, "--", *named, world=contents_world(repository),
    )  # fmt: skip
    found = []
    for entry in raw.split(b"\0"):
        about, _, path_bytes = entry.partition(b"\t")
        path = os.fsdecode(path_bytes)
        if not about.startswith(b"160000 ") or path not in named:
            continue
        name, update = named[path]
        commit_there = about.split(b" ")[2].decode("ascii")
        if update == "none":
            found.append(Submodule(name, path, commit_there, None, wanted=False))
        else:
            source = _source(repository, name, path, commit_there)
            found.append(Submodule(name, path, commit_there, source))
    return tuple(found)


def _named(repository: Repository, commit: str) -> dict[str, tuple[str, str]]:
    """Path to name and way of updating, out of the commit's ``.gitmodules``."""
    world = contents_world(repository)
    answer = git(repository.root, *about_submodules(commit), world=world)
    said: dict[str, dict[str, str]] = {}
    for entry in filter(None, os.fsdecode(answer.stdout).split("\0")):
        key, _, value = entry.partition("\n")
        name, _, kind = key.removeprefix("submodule.").rpartition(".")
        said.setdefault(name, {})[kind] = value
    return {
        one["path"]: (name, one.get("update", ""))
        for name, one in said.items()
        if _PATH.fullmatch(one.get("path", ""))
    }


_PATH = compile_late(r"(?!/)(?!(?:.*/)?\.\.?(?:/|$))[^\0]+(?<!/)", re.DOTALL)
"""Of a folder in the tree; a commit may say anything."""


def about_submodules(commit: str) -> tuple[str, ...]:
    """The first question ``list_submodules`` asks git."""
    pattern = r"^submodule\..*\.(path|update)$"
    return "config", f"--blob={commit}:{GITMODULES}", "-z", "--get-regexp", pattern


def _source(repository: Repository, name: str, path: str, commit: str) -> Repository | None:
    """The repository here that holds the commit of a submodule."""
    for folder in _candidates(repository, name, path):
        if not folder.is_dir():
            continue
        try:
            found = open_repository(folder)
        except CxError:
            continue
        # A folder that is no repository of its own answers for the one around it.
        if found.common_dir != repository.common_dir and commit in known_objects(found, [commit]):
            return found
    return None


def _candidates(repository: Repository, name: str, path: str) -> Iterator[Path]:
    # The name comes from the commit: it must not lead out of the folder of modules.
    parts = name.split("/")
    if name and not any(part in ("", ".", "..", ".git") for part in parts) and "\\" not in name:
        yield repository.git_dir / "modules" / name
        yield repository.common_dir / "modules" / name
    if not repository.bare and ".." not in path.split("/"):
        yield repository.root / path


def require_pushed(repository: Repository, commit: str, depth: int = 0) -> None:
    """Refuse a commit that names a submodule's commit which came from no remote.

    Judged by what this machine knows (tracking refs, what was fetched): asking each remote of each
    submodule would take longer than a release may. A submodule that is not here is left to the
    checkout, which needs it. Raises Refused ``submodule-not-pushed``.
    """
    if depth > DEPTH_MAX:
        raise UsageError(
            "submodules lie too deep within each other",
            why=f"more than {DEPTH_MAX} levels; one of them may hold itself",
            hint="look at .gitmodules of the submodules",
            name="submodule-loop",
        )
    for module in list_submodules(repository, commit):
        if module.source is None:
            continue
        if not _came_from_remote(module.source, module.commit):
            raise Refused(
                f"the submodule {decode(os.fsencode(module.path))} stands at commit "
                f"{module.commit[:12]}, which has not been pushed",
                why="no remote of the submodule is known to hold it",
                hint=f"git -C {decode(os.fsencode(module.path))} push origin HEAD:refs/heads/NAME",
                name="submodule-not-pushed",
                commit=module.commit,
            )
        require_pushed(module.source, module.commit, depth + 1)


def _came_from_remote(source: Repository, commit: str) -> bool:
    raw = ask(
        source.root, "for-each-ref", "--count=1", f"--contains={commit}", "--format=%(refname)",
        "refs/remotes/",
    )  # fmt: skip
    # A boundary of a shallow clone was fetched, it cannot have been made here.
    return bool(raw.strip()) or commit in shallow_commits(source) or _fetched(source, commit)


def _fetched(source: Repository, commit: str) -> bool:
    try:
        lines = decode((source.git_dir / "FETCH_HEAD").read_bytes()).splitlines()
    except FileNotFoundError:
        return False
    tips = [line.partition("\t")[0] for line in lines]
    known = known_objects(source, [commit, *tips])
    return bool(first_containing(source, commit, [(tip, tip) for tip in tips if tip in known]))
