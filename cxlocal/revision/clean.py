"""Whether a working tree holds exactly the files of a commit.

``git status`` answers another question: it passes over what git was told not to look at (submodules
by ``ignore``, ``skip-worktree``, ``assume-unchanged``, sparse trees) and over what the settings of
the machine changed on the way into the tree (ends of lines, filters). Where the tree itself is
released, each file is therefore compared with what a clean checkout would hold, by a repository that
borrows the objects and knows none of those settings.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from cxlocal.errors import CxError, Refused
from cxlocal.files import fresh_folder
from cxlocal.revision.borrowed import CHECKOUT_SECONDS, borrow_objects, configure
from cxlocal.revision.filters import Filter, has_attributes, quoted
from cxlocal.revision.git import World, failed, git
from cxlocal.revision.repository import (
    OUR_FILE,
    Repository,
    last_excludes,
    open_repository,
    resolve,
    shown,
)
from cxlocal.revision.submodules import Submodule, list_submodules
from cxlocal.values import NamedTuple

WHAT_COUNTS = (
    "what git was told not to look at counts too (submodules, marks, sparse trees), and so do bytes"
    " that settings of this machine changed"
)

SHOWN_FILES = 3
"""Names of changed files in an error; the number is said for the rest."""

LIST_BYTES = 256 * 1024 * 1024
"""For the names of changed files: a tree of a million files in which all differ."""

_PLAIN = b"* !text !eol !ident !filter !working-tree-encoding !crlf\n"
"""Attributes by which git converts nothing, so that bytes are compared with bytes."""

_CONVERTED = (
    ":(exclude,attr:!filter !working-tree-encoding !ident !eol)",
    ":(exclude,attr:!filter !working-tree-encoding !ident eol=lf)",
)


class _Room(NamedTuple):
    """A borrowing repository whose working tree is the one to be looked at."""

    git_dir: Path
    tree: Path

    def ask(self, *arguments: str, input: bytes = b"") -> bytes:
        """The output of a git command in it. Raises Trouble ``git-failed``."""
        answer = git(
            self.tree, *arguments, input=input, timeout_seconds=CHECKOUT_SECONDS,
            output_limit=LIST_BYTES, world=World.ALONE,
            extra={"GIT_DIR": os.fspath(self.git_dir), "GIT_WORK_TREE": os.fspath(self.tree)},
        )  # fmt: skip
        if answer.code != 0 or answer.truncated:
            raise failed(arguments, answer)
        return answer.stdout

    def converted(self, within: Sequence[str]) -> list[str]:
        """The files of which a checkout writes other bytes than the commit holds."""
        if not has_attributes(self.git_dir):
            return []
        listed = self.ask("ls-files", "-z", "--", *within, *_CONVERTED)
        return [os.fsdecode(name) for name in listed.split(b"\0") if name]


def differences(
    repository: Repository,
    commit: str,
    paths: Sequence[str] = (),
    *,
    filters: Sequence[Filter] = (),
    untracked: bool = True,
) -> tuple[str, ...]:
    """Files of the working tree that are not as a checkout of ``commit`` would have them, by the
    name under which they can be opened; those it does not know too, unless ``untracked`` is off.

    Ignored files do not count, nor do the files by which we remember an open run. ``paths`` limits
    the question to what belongs to a deliverable. Raises Trouble when the commit cannot be read.
    """
    if repository.bare:
        return ()
    within = tuple(f":(literal){path}" for path in paths)
    with _room(repository, commit, filters) as room:
        plain = room.git_dir / "info" / "attributes"
        plain.write_bytes(_PLAIN)
        raw = room.ask(
            "status", "--porcelain=v1", "-z", "--no-renames", "--ignore-submodules=dirty",
            "--untracked-files=normal" if untracked else "--untracked-files=no", "--",
            *within, OUR_FILE,
        )  # fmt: skip
        plain.unlink()
        states = {os.fsdecode(entry[3:]): entry[:2] for entry in raw.split(b"\0") if entry}
        converted = room.converted(within)
        changed = [name for name, state in states.items() if state == b" M"]
        unsure = {*changed, *(name for name in converted if name not in states)}
        found = [*(states.keys() - unsure), *_otherwise(room, unsure)]
    for module in list_submodules(repository, commit):
        if _belongs(module.path, paths) and module.path not in found:
            found += _in_submodule(repository, module, filters, untracked)
    return tuple(sorted(found, key=os.fsencode))


@contextmanager
def _room(repository: Repository, commit: str, filters: Sequence[Filter]) -> Iterator[_Room]:
    # Beside the repository, because git looks there what the file system of the tree can do.
    near = repository.git_dir if os.access(repository.git_dir, os.W_OK) else None
    with fresh_folder(near) as folder:
        git_dir = borrow_objects(repository, folder, filters=filters)
        room = _Room(git_dir, repository.root)
        (git_dir / "HEAD").write_text(f"{commit}\n")
        excludes = last_excludes(repository)
        if excludes:
            configure(git_dir, ["[core]", f"\texcludesFile = {quoted(excludes)}"])
        own = repository.common_dir / "info" / "exclude"
        if own.is_file():
            (git_dir / "info" / "exclude").write_bytes(own.read_bytes())
        room.ask("read-tree", commit)
        yield room


def _otherwise(room: _Room, names: Collection[str]) -> list[str]:
    """Those of ``names`` that are not what a checkout writes, by the attributes of the project, an
    agreed filter, or Git LFS."""
    if not names:
        return []
    with fresh_folder(room.git_dir) as folder:
        listed = b"".join(os.fsencode(name) + b"\0" for name in names)
        room.ask("checkout-index", f"--prefix={folder}/", "-z", "--stdin", input=listed)
        return [name for name in names if not _same(room.tree / name, folder / name)]


def _same(here: Path, written: Path) -> bool:
    from cxlocal.revision.lfs import pointer_in

    try:
        mine, theirs = here.lstat(), written.lstat()
    except OSError:
        return False  # a folder in the place of a file, or a file that is gone
    if not stat.S_ISREG(mine.st_mode) or not stat.S_ISREG(theirs.st_mode):
        return False
    if (mine.st_mode ^ theirs.st_mode) & stat.S_IXUSR:
        return False
    digest = pointer_in(written)
    if digest:
        return _sha256(here) == digest
    return mine.st_size == theirs.st_size and _sha256(here) == _sha256(written)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _belongs(path: str, paths: Sequence[str]) -> bool:
    """Whether a submodule is one of ``paths``, lies in one, or has one in it."""
    wanted = [one.strip("/").removeprefix("./") for one in paths]
    return not wanted or any(
        one in ("", ".") or f"{path}/".startswith(f"{one}/") or one.startswith(f"{path}/")
        for one in wanted
    )


def _in_submodule(
    repository: Repository, module: Submodule, filters: Sequence[Filter], untracked: bool
) -> list[str]:
    """What differs in a submodule that stands at its commit, or its name where it is not here."""
    place = repository.root / module.path
    if not (place / ".git").exists():
        # As git left it: an empty folder. That is less than the commit, unless the commit says so.
        return (
            [] if not (module.wanted or place.is_dir() and any(place.iterdir())) else [module.path]
        )
    try:
        inner = open_repository(place, believed=repository.believed)
        if resolve(inner).commit != module.commit:
            return [module.path]
        return [
            f"{module.path}/{name}"
            for name in differences(inner, module.commit, filters=filters, untracked=untracked)
        ]
    except CxError:
        return [module.path]


def require_clean(
    repository: Repository,
    commit: str,
    paths: Sequence[str] = (),
    filters: Sequence[Filter] = (),
) -> None:
    """Refuse to work in a tree that is not ``commit``, for ``workspace = "in-place"``.

    Raises Refused ``uncommitted-changes``.
    """
    refuse_changes(differences(repository, commit, paths, filters=filters))


def refuse_changes(files: Sequence[str]) -> None:
    """Raise Refused ``uncommitted-changes`` if there are any."""
    if not files:
        return
    names = shown(files)
    more = f" and {len(names) - SHOWN_FILES} more" if len(names) > SHOWN_FILES else ""
    raise Refused(
        f"the working tree has uncommitted changes: {', '.join(names[:SHOWN_FILES])}{more}",
        why='workspace = "in-place" releases the tree as it lies here, and this one is not the commit'
        f"; {WHAT_COUNTS}",
        hint="git stash --include-untracked, or commit and push them; a fresh clone has none",
        name="uncommitted-changes",
        files=list(names[:200]),
    )
