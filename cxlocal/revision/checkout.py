"""A clean checkout of a commit, made from what is on this machine.

It is what ``git clone --shared --no-checkout`` and a detached checkout give, with three git calls in
place of a clone's dozen: an empty repository that borrows the objects of the source, its tags
(version tools ask for them), and the files. Nothing is fetched; hooks, filters and attributes of the
user or the project are not run, so the bytes are the same on every machine. Submodules and LFS
files are brought in the same way, from objects that are already here.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from cxlocal.errors import Refused, Trouble, UsageError
from cxlocal.revision.git import ask, complaint, decode, git
from cxlocal.revision.lfs import bring_in
from cxlocal.revision.remotes import primary_url
from cxlocal.revision.repository import Repository, dirty, is_commit_id, shown
from cxlocal.revision.submodules import DEPTH_MAX, Submodule, list_submodules

CHECKOUT_SECONDS = 600.0
"""For writing the files of one repository; the largest known (4 million files) take minutes."""

ALWAYS = ("cx.toml", ".gitattributes", ".gitmodules", ".gitignore", ".cx")
"""Present in a checkout that is limited to ``paths``: the process itself and what git reads."""

SHOWN_FILES = 3
"""Names of uncommitted files in an error; the number is said for the rest."""


class Checkout(NamedTuple):
    """What was checked out."""

    path: Path
    commit: str
    submodules: tuple[str, ...]
    """Their folders, those inside submodules included."""
    lfs_files: int


def checkout(
    repository: Repository,
    commit: str,
    target: Path,
    *,
    paths: Sequence[str] = (),
    submodules: bool = True,
    lfs: bool = True,
) -> Checkout:
    """Check out ``commit`` into ``target``, which must be absent or empty.

    ``paths`` (files or folders, relative to the top of the repository) limits it to those and
    ``ALWAYS``. Raises Trouble: ``checkout-failed``, ``submodule-missing``, ``lfs-missing``;
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
        files = _fill(repository, commit, target, patterns, lfs)
        found = list(_add_submodules(repository, commit, target, lfs)) if submodules else []
    except BaseException:
        remove_checkout(target)
        raise
    folders = tuple(folder for folder, _ in found)
    return Checkout(target, commit, folders, files + sum(count for _, count in found))


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


def _fill(source: Repository, commit: str, target: Path, patterns: Sequence[str], lfs: bool) -> int:
    """Make a repository in ``target`` and write the files of ``commit``; the count of LFS files."""
    target.mkdir(parents=True, exist_ok=True)
    ask(
        target, "init", "--quiet", "--template=", f"--object-format={source.object_format}", ".",
        extra={"GIT_DEFAULT_REF_FORMAT": "files"},
    )  # fmt: skip
    _borrow(source, target / ".git", patterns)
    # git checkout knows no --end-of-options; a commit id cannot be taken for an option.
    command = ("checkout", "--quiet", "--detach", "--force", commit, "--")
    answer = git(target, *command, timeout_seconds=CHECKOUT_SECONDS)
    if answer.code != 0 and _fetch_missing(source, commit, target):
        answer = git(target, *command, timeout_seconds=CHECKOUT_SECONDS)
    if answer.code != 0:
        raise Trouble(
            f"commit {commit[:12]} could not be checked out",
            why=complaint(answer),
            hint="see that the disk is not full and that 'git fsck' finds nothing; "
            "in a partial clone: git fetch --refetch",
            name="checkout-failed",
        )
    return bring_in(source, target) if lfs else 0


def _borrow(source: Repository, git_dir: Path, patterns: Sequence[str]) -> None:
    """Let a fresh repository use the objects, tags and shallow boundary of ``source``."""
    info = git_dir / "info"
    info.mkdir(exist_ok=True)
    alternates = git_dir / "objects" / "info" / "alternates"
    alternates.parent.mkdir(exist_ok=True)
    alternates.write_bytes(os.fsencode(source.common_dir / "objects") + b"\n")
    if source.shallow:
        (git_dir / "shallow").write_bytes((source.common_dir / "shallow").read_bytes())
    tags = ask(source.root, "for-each-ref", "--format=%(objectname) %(refname)", "refs/tags/")
    if tags:
        (git_dir / "packed-refs").write_bytes(tags)
    if patterns:
        (info / "sparse-checkout").write_bytes(os.fsencode("\n".join(patterns) + "\n"))
    with (git_dir / "config").open("ab") as config:
        config.write(_config(primary_url(source), bool(patterns)))


def _config(url: str, sparse: bool) -> bytes:
    """Configuration of a checkout: the project's bytes as they are, whatever the user's habits."""
    lines = [
        "[core]", "\tautocrlf = false", "\tattributesFile = /dev/null", "\thooksPath = /dev/null",
        "\tfsmonitor = false", f"\tsparseCheckout = {str(sparse).lower()}",
        "\tsparseCheckoutCone = false", "[gc]", "\tauto = 0",
        '[filter "lfs"]', "\tsmudge =", "\tprocess =", "\trequired = false",
    ]  # fmt: skip
    if url:
        escaped = url.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
        lines += ['[remote "origin"]', f'\turl = "{escaped}"']
    return os.fsencode("\n".join(lines) + "\n")


def _fetch_missing(source: Repository, commit: str, target: Path) -> bool:
    """In a partial clone, let git bring the files of ``commit`` that were left at the remote."""
    answer = git(source.root, "config", "--get-regexp", r"^remote\..*\.promisor$", "true")
    if answer.code != 0:
        return False
    index = target / ".git" / "fetch-missing-index"
    git(
        source.root, f"--work-tree={target}", "checkout", "--quiet", "--force", commit, "--", ":/",
        timeout_seconds=CHECKOUT_SECONDS, extra={"GIT_INDEX_FILE": os.fspath(index)},
    )  # fmt: skip
    index.unlink(missing_ok=True)
    return True


def _add_submodules(
    source: Repository, commit: str, target: Path, lfs: bool, depth: int = 0
) -> Iterator[tuple[str, int]]:
    """Check out the submodules of ``commit`` in ``target``; (folder, LFS files) of each."""
    if not (target / ".gitmodules").exists():
        return
    if depth > DEPTH_MAX:
        raise Trouble(
            "submodules lie too deep within each other",
            why=f"more than {DEPTH_MAX} levels; one of them may hold itself",
            hint="look at .gitmodules of the submodules",
            name="checkout-failed",
        )
    for module in list_submodules(source, commit):
        place = target / module.path
        # Left out by `paths`, or led elsewhere by a link in the commit: git made no folder for it.
        if not place.is_dir() or Path(os.path.realpath(place)) != _real(target) / module.path:
            continue
        if module.source is None:
            raise _submodule_missing(module)
        count = _fill(module.source, module.commit, place, (), lfs)
        yield module.path, count
        for inner, files in _add_submodules(module.source, module.commit, place, lfs, depth + 1):
            yield f"{module.path}/{inner}", files


def _real(path: Path) -> Path:
    return Path(os.path.realpath(path))


def _submodule_missing(module: Submodule) -> Trouble:
    path = decode(os.fsencode(module.path))
    return Trouble(
        f"the submodule {path} is not on this machine",
        why=f"the commit needs {module.commit[:12]} of it, and a checkout is made without network",
        hint=f"git submodule update --init --recursive -- {path}",
        name="submodule-missing",
        submodule=path,
        commit=module.commit,
    )


def remove_checkout(target: Path) -> None:
    """Delete a checkout with all a build left in it; links are removed, not followed.

    Nothing happens when it is gone. Raises Trouble ``not-removed`` when the system refuses.
    """
    try:
        try:
            shutil.rmtree(target)
        except FileNotFoundError:
            return
        except PermissionError:
            # Builds leave read-only folders (Go's module cache does).
            _unlock(target)
            shutil.rmtree(target)
    except OSError as error:
        raise Trouble(
            f"the checkout {decode(os.fsencode(target))} could not be removed",
            why=error.strerror or str(error),
            hint="see what still uses it, then: cxlocal prune",
            name="not-removed",
        ) from error


def _unlock(target: Path) -> None:
    """Make every folder below ``target`` ours to change; links stay as they are."""
    target.chmod(0o700)
    for folder, names, _ in os.walk(target):
        for name in names:
            inner = os.path.join(folder, name)
            if not os.path.islink(inner):
                os.chmod(inner, 0o700)


def require_clean(repository: Repository, paths: Sequence[str] = ()) -> None:
    """Refuse to work in a tree with uncommitted changes, for ``workspace = "in-place"``.

    Raises Refused ``uncommitted-changes``.
    """
    refuse_changes(dirty(repository, paths))


def refuse_changes(files: Sequence[str]) -> None:
    """Raise Refused ``uncommitted-changes`` if there are any."""
    if not files:
        return
    names = shown(files)
    more = f" and {len(names) - SHOWN_FILES} more" if len(names) > SHOWN_FILES else ""
    raise Refused(
        f"the working tree has uncommitted changes: {', '.join(names[:SHOWN_FILES])}{more}",
        why='workspace = "in-place" releases the tree as it lies here, and this one is not the '
        "commit",
        hint="git stash --include-untracked, or commit and push them",
        name="uncommitted-changes",
        files=list(names[:200]),
    )
