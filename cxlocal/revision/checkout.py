"""A clean checkout of a commit, made from what is on this machine.

It is what ``git clone --shared --no-checkout`` and a detached checkout give, with three git calls in
place of a clone's dozen: an empty repository that borrows the objects of the source, its tags
(version tools ask for them), and the files. Nothing is fetched; hooks, filters and attributes of the
person or the system take no part, so the bytes are the same on every machine. Submodules and LFS
files are brought in the same way, from objects that are already here.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path

from cxlocal.errors import Trouble, UsageError
from cxlocal.revision.borrowed import CHECKOUT_SECONDS, borrow
from cxlocal.revision.filters import LFS, Filter, filtered_files
from cxlocal.revision.git import World, complaint, decode, git
from cxlocal.revision.lfs import bring_in
from cxlocal.revision.removal import remove_checkout
from cxlocal.revision.repository import Repository, contents_world, is_commit_id, is_partial
from cxlocal.revision.settings import read_settings
from cxlocal.revision.submodules import DEPTH_MAX, GITMODULES, Submodule, list_submodules
from cxlocal.values import NamedTuple

FETCHES_MAX = 4
"""Of what a partial clone lacks: folders may lack folders, and then files."""

LIST_BYTES = 512 * 1024 * 1024
"""For the ids of the objects of one commit: some ten million."""

ALWAYS = ("cx.toml", ".gitattributes", ".gitmodules", ".gitignore", ".cx")
"""Present in a checkout that is limited to ``paths``: the process itself and what git reads."""


class Checkout(NamedTuple):
    """What was checked out."""

    path: Path
    commit: str
    submodules: tuple[str, ...]
    """Their folders, those inside submodules included."""
    lfs_files: int
    absent: tuple[str, ...]
    """Folders of submodules that the commit itself leaves out (``update = none``)."""
    unfiltered: tuple[str, ...]
    """Filters that attributes of the commit ask for and nobody agreed to: files that need one are
    as they were committed."""


class _Filled(NamedTuple):
    """One repository of a checkout, or several taken together."""

    submodules: tuple[str, ...] = ()
    lfs_files: int = 0
    absent: tuple[str, ...] = ()
    unfiltered: tuple[str, ...] = ()

    def plus(self, inner: _Filled, folder: str) -> _Filled:
        """With what was found in the submodule ``folder``."""
        below = tuple(f"{folder}/{one}" for one in inner.submodules)
        return _Filled(
            (*self.submodules, folder, *below),
            self.lfs_files + inner.lfs_files,
            (*self.absent, *(f"{folder}/{one}" for one in inner.absent)),
            tuple(dict.fromkeys((*self.unfiltered, *inner.unfiltered))),
        )


def checkout(
    repository: Repository,
    commit: str,
    target: Path,
    *,
    paths: Sequence[str] = (),
    filters: Sequence[Filter] = (),
    pushes: bool = True,
) -> Checkout:
    """Check out ``commit`` into ``target``, which must be absent or empty.

    ``paths`` (files or folders, relative to the top of the repository) limits it to those and
    ``ALWAYS``; ``filters`` are the only ones that work; unless it ``pushes``, nothing can be pushed
    from it or its submodules. Raises Trouble: ``checkout-failed``, ``submodule-missing``, ``lfs-missing``;
    nothing is left in ``target`` then. UsageError: ``bad-path``, ``target-in-use``.
    """
    if not is_commit_id(commit):
        raise UsageError(
            f"{commit!r} is not a full commit id",
            why="a checkout is of one commit",
            hint="give all digits, as 'git rev-parse HEAD' prints them",
            name="bad-revision-name",
        )
    if target.exists() and any(target.iterdir()):
        raise UsageError(
            f"{decode(os.fsencode(target))} is not empty",
            why="a checkout is made in a folder of its own",
            hint="name a folder that is empty or does not exist yet",
            name="target-in-use",
        )
    patterns = sparse_patterns(paths)
    try:
        done = _fill(repository, commit, target, patterns, filters, pushes)
    except BaseException:
        remove_checkout(target)
        raise
    return Checkout(target, commit, *done)


def sparse_patterns(paths: Sequence[str]) -> tuple[str, ...]:
    """Patterns of ``.git/info/sparse-checkout`` that let through exactly ``paths`` and ``ALWAYS``;
    none for the whole tree. Raises UsageError ``bad-path``."""
    cleaned = [path.strip("/") for path in paths]
    if not paths or any(path in ("", ".") for path in cleaned):
        return ()
    for path in cleaned:
        if "\n" in path or "\r" in path or "\0" in path or ".." in path.split("/"):
            raise UsageError(
                f"{path!r} cannot be one of the deliverable's paths",
                why="it leads out of the repository or holds a line break",
                hint="correct 'paths' in [deliverable] of cx.toml",
                name="bad-path",
            )
    escaped = [re.sub(r"([*?\[\]\\ ])", r"\\\1", path.removeprefix("./")) for path in cleaned]
    return tuple(f"/{path}" for path in dict.fromkeys((*ALWAYS, *escaped)))


def _fill(
    source: Repository,
    commit: str,
    target: Path,
    patterns: Sequence[str],
    filters: Sequence[Filter],
    pushes: bool,
    depth: int = 0,
) -> _Filled:
    """Make a repository in ``target`` and write the files of ``commit``, its submodules too."""
    if depth > DEPTH_MAX:
        raise Trouble(
            "submodules lie too deep within each other",
            why=f"more than {DEPTH_MAX} levels; one of them may hold itself",
            hint="look at .gitmodules of the submodules",
            name="checkout-failed",
        )
    target.mkdir(parents=True, exist_ok=True)
    borrow(source, target, filters=filters, sparse=patterns, pushes=pushes)
    _write_files(source, commit, target, filters)
    asked = filtered_files(target)
    done = _Filled(
        lfs_files=bring_in(source, target, [name for name, one in asked.items() if one == LFS]),
        unfiltered=tuple(sorted(set(asked.values()) - {LFS, *(one.name for one in filters)})),
    )
    if not (target / GITMODULES).exists():
        return done
    for module in list_submodules(source, commit):
        place = target / module.path
        # Left out by `paths`, or led elsewhere by a link in the commit: git made no folder for it.
        if not place.is_dir() or place.resolve() != target.resolve() / module.path:
            continue
        if not module.wanted:
            done = done._replace(absent=(*done.absent, module.path))
            continue
        if module.source is None:
            raise _submodule_missing(module)
        inner = _fill(module.source, module.commit, place, (), filters, pushes, depth + 1)
        done = done.plus(inner, module.path)
    return done


def _write_files(source: Repository, commit: str, target: Path, filters: Sequence[Filter]) -> None:
    """Write the files of ``commit`` into the fresh repository ``target``."""
    # git checkout knows no --end-of-options; a commit id cannot be taken for an option.
    command = ("checkout", "--quiet", "--detach", "--force", commit, "--")
    seconds = CHECKOUT_SECONDS
    answer = git(target, *command, timeout_seconds=seconds, world=World.ALONE)
    if answer.code != 0 and _fetch_missing(source, commit):
        answer = git(target, *command, timeout_seconds=seconds, world=World.ALONE)
    if answer.code != 0:
        working = f" and that the filters work here ({', '.join(one.name for one in filters)})"
        raise Trouble(
            f"commit {commit[:12]} could not be checked out",
            why=complaint(answer),
            hint=f"see that the disk is not full{working if filters else ''} and that 'git fsck' "
            "finds nothing; in a partial clone: git fetch --refetch",
            name="checkout-failed",
        )


def _fetch_missing(source: Repository, commit: str) -> bool:
    """In a partial clone, let git bring the objects of ``commit`` that were left at the remote."""
    world = contents_world(source)
    if not is_partial(source) or world is World.HERE:
        return False
    promised = (
        one.key[len("remote.") : -len(".promisor")]
        for one in read_settings(source.root)
        if one.key.startswith("remote.") and one.key.endswith(".promisor")
    )
    remote = next(promised, "origin")
    # A folder that is missing hides what is in it: another look after each fetch.
    for _ in range(FETCHES_MAX):
        raw = git(
            source.root, "rev-list", "--objects", "--no-object-names", "--missing=print",
            "--no-walk", commit, timeout_seconds=CHECKOUT_SECONDS, output_limit=LIST_BYTES,
        ).stdout  # fmt: skip
        missing = b"".join(line[1:] + b"\n" for line in raw.splitlines() if line[:1] == b"?")
        if not missing:
            break
        git(
            source.root, "-c", "fetch.negotiationAlgorithm=noop", "fetch", "--quiet", "--no-tags",
            "--no-write-fetch-head", "--no-recurse-submodules", "--refmap=", "--filter=blob:none",
            "--stdin", "--end-of-options", remote,
            input=missing, timeout_seconds=CHECKOUT_SECONDS, world=world,
        )  # fmt: skip
    return True


def _submodule_missing(module: Submodule) -> Trouble:
    path = decode(os.fsencode(module.path))
    return Trouble(
        f"the submodule {path} is not on this machine",
        why=f"the commit needs {module.commit[:12]} of it, and a checkout is made without network",
        hint=f"git submodule update --init --recursive --checkout -- {path}\n"
        "or leave it out of every release: update = none in .gitmodules",
        name="submodule-missing",
        submodule=path,
        commit=module.commit,
    )
