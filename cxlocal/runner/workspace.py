"""Where stages work: the clean checkout of a run, folders of isolated stages, scratch, caches.

Everything of a run lies in one folder, ``checkouts/<run>``: ``source`` (shared by the stages),
``isolated/<stage>``, ``scratch/<stage>-<attempt>``. With ``workspace = "in-place"`` the working tree
itself takes the place of ``source``. A rehearsal works in a checkout of HEAD with the uncommitted
changes laid over it, so that it sees what a release would see and writes nothing into the tree.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

from cxlocal.domain import path_part
from cxlocal.errors import Refused, Trouble
from cxlocal.journal.home import IN_USE, writing_home
from cxlocal.private import make_folder
from cxlocal.processes.locks import Lock, holder, take
from cxlocal.revision.removal import remove_checkout
from cxlocal.revision.repository import Repository, dirty, shown
from cxlocal.runner.orphans import SCRATCH, keep_as_failed, run_folder
from cxlocal.values import NamedTuple

if TYPE_CHECKING:
    from cxlocal.plan.types import Plan, Stage
    from cxlocal.revision.checkout import Checkout
    from cxlocal.runner.voice import Voice


FREE_BYTES = 2 * 1024**3
"""Below this a run does not begin: a disk that fills up in the middle costs a release."""


class Workspace(NamedTuple):
    """The folders of one run."""

    repository: Repository
    commit: str
    folder: Path
    """``checkouts/<run>``."""
    source: Path
    """The checkout, or the working tree."""
    overlay: Path | None = None
    """The working tree whose changes lie over the checkout (rehearsal)."""
    lock: Lock | None = None
    """Keeps other runs out of a working tree that stages work in."""
    use: Lock | None = None
    """Says that somebody works in ``folder``, as long as this process lives."""
    filters: tuple[str, ...] = ()
    """Names of the git filters that work in a checkout ([scm] filters)."""
    key_contents: Mapping[str, bytes] = MappingProxyType({})
    """What the key files of caches hold in the commit, by path from the folder of cx.toml."""

    @property
    def in_place(self) -> bool:
        """Whether stages work in the working tree itself."""
        return self.source != self.folder / "source"

    @property
    def project(self) -> Path:
        """The folder of cx.toml in the checkout: where commands run and paths begin."""
        return self.source / self.repository.prefix

    def scratch(self, stage: str, attempt: int) -> Path:
        """A fresh folder for one attempt of a stage."""
        folder = self.folder / SCRATCH / f"{path_part(stage)}-{attempt}"
        if folder.exists():
            shutil.rmtree(folder)
        make_folder(folder)
        return folder

    def make(self, paths: Sequence[str], target: Path) -> Checkout:
        """Check the revision out into ``target``, uncommitted changes over it in a rehearsal."""
        from cxlocal.revision.checkout import checkout
        from cxlocal.revision.filters import agreed_filters

        filters = agreed_filters(self.repository, self.filters)
        done = checkout(
            self.repository, self.commit, target, paths=paths, filters=filters,
            pushes=self.overlay is None,
        )  # fmt: skip
        if self.overlay is not None:
            _lay_over(self.repository, self.overlay, target)
        return done

    def isolated(self, plan: Plan, stage: Stage, attempt: int) -> Path:
        """A checkout of a stage's own; the folder of cx.toml in it."""
        target = self.folder / "isolated" / f"{path_part(stage.name)}-{attempt}"
        if target.exists():
            remove_checkout(target)
        target.parent.mkdir(parents=True, exist_ok=True)
        self.make(plan.paths, target)
        return target / self.repository.prefix


def open_workspace(
    home: Path,
    repository: Repository,
    commit: str,
    run: str,
    *,
    in_place: bool,
    overlay: bool = False,
    filters: Sequence[str] = (),
) -> Workspace:
    """The folders of a run; made as far as they are always needed."""
    folder = run_folder(home, run)
    with writing_home(home):
        make_folder(folder)
    if not in_place:
        tree = repository.root if overlay else None
        source = folder / "source"
        return Workspace(
            repository, commit, folder, source, tree, use=_use(folder, run), filters=tuple(filters)
        )
    path = repository.git_dir / "cxlocal.lock"
    lock = take(path, f"run {run[:8]}")
    if lock is None:
        folder.rmdir()
        raise Refused(
            f"{holder(path)} works in this tree",
            why='with workspace = "in-place" two runs would write over each other\'s files',
            hint="wait for it; or leave 'workspace' out, then every run has a checkout",
            name="tree-in-use",
        )
    return Workspace(repository, commit, folder, repository.root, None, lock, _use(folder, run))


def _use(folder: Path, run: str) -> Lock | None:
    return take(folder / IN_USE, f"run {run[:8]}")


def _leave(workspace: Workspace) -> None:
    if workspace.use is not None:
        workspace.use.release()


def say_absent(done: Checkout, voice: Voice) -> tuple[str, ...]:
    """Warn of filters that did not work in a checkout; the submodules the commit itself leaves out."""
    if done.unfiltered:
        voice.warn(
            "files of this commit ask for git filters that [scm] filters does not name"
            f" ({', '.join(done.unfiltered)}): they are as they were committed"
        )
    return shown(done.absent)


def _lay_over(repository: Repository, tree: Path, target: Path) -> None:
    """Bring the uncommitted changes of a working tree into a checkout of its HEAD."""
    for name in dirty(repository):
        source, copy = tree / name, target / name
        if copy.is_symlink() or copy.is_file():
            copy.unlink()
        elif copy.is_dir():
            shutil.rmtree(copy)
        if source.is_symlink() or source.is_file():
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, copy, follow_symlinks=False)
        elif source.is_dir():
            shutil.copytree(source, copy, symlinks=True)


def require_space(home: Path, least_bytes: int = FREE_BYTES) -> None:
    """Raises Refused when the disk of the home folder has less room than that."""
    free = free_bytes(home)
    if free < least_bytes:
        raise Refused(
            f"only {free / 1024**3:.1f} GB are free where {home} is",
            why=f"a run needs at least {least_bytes / 1024**3:.1f} GB for its checkout, logs and"
            " artifacts, and stops before it begins rather than half way",
            hint="cxlocal prune removes old checkouts, logs and artifacts as [keep] allows",
            name="disk-nearly-full",
            free_bytes=free,
        )


def free_bytes(folder: Path) -> int:
    """Bytes an ordinary user may still write where ``folder`` is."""
    found = os.statvfs(folder)
    return found.f_bavail * found.f_frsize


def clean_up(home: Path, workspace: Workspace, *, success: bool, keep_failed: int) -> None:
    """Remove the run's folder after a success; after a failure keep its checkout, and only the last
    ``keep_failed`` of those ([keep] checkouts)."""
    _leave(workspace)
    if success or workspace.in_place:
        remove_checkout(workspace.folder)
        return
    found = [one for one in workspace.folder.parent.iterdir() if (one / "failed").exists()]
    keep_as_failed(workspace.folder)
    older = sorted(found, key=lambda one: (one / "failed").stat().st_mtime, reverse=True)
    for folder in older[max(0, keep_failed - 1) :]:
        if folder != workspace.folder:
            remove_checkout(folder)


def inside(folder: Path, name: str) -> Path:
    """``name`` below ``folder``, links followed. Raises Trouble when it leads out of it."""
    path = (folder / name).resolve()
    if not path.is_relative_to(folder.resolve()):
        raise Trouble(
            f"{name} leads out of the checkout",
            why="nothing outside of the checkout may become part of a release",
            hint="name a file in the checkout, or have the stage copy it there",
            name="outside-checkout",
        )
    return path


def matches(folder: Path, pattern: str) -> Sequence[Path]:
    """The files that ``pattern`` (may hold ``*`` and ``?``) names below ``folder``, sorted.

    Raises Trouble for one that leads out of it.
    """
    if not any(sign in pattern for sign in "*?"):
        path = inside(folder, pattern)
        return [path] if path.is_file() else []
    found = sorted(path for path in folder.glob(pattern) if path.is_file())
    return [inside(folder, str(path.relative_to(folder))) for path in found]


def discard(workspace: Workspace) -> None:
    """Remove the folders of a run."""
    _leave(workspace)
    remove_checkout(workspace.folder)
