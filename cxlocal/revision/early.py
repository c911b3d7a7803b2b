"""Questions every run asks git, begun before their answers are needed.

Git is slow to start, and a remote is slow to answer. Each function here is called as soon as the
questions can be put into words, and the program goes on loading its modules; what asks in the end
(``open_repository``, ``resolve``, ``prove`` …) is the same as ever and gets the same answers. What
nobody asked in the end is dropped (``early_questions``).
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from cxlocal.errors import CxError
from cxlocal.processes.start import Captured
from cxlocal.revision.git import ask_early, forget_early, know_early
from cxlocal.revision.remotes import about_refs, counting_remotes
from cxlocal.revision.repository import (
    ABOUT_REPOSITORY,
    CONTENTS,
    Repository,
    about_changes,
    about_identity,
    about_revision,
    read_files,
)
from cxlocal.revision.settings import ABOUT_SETTINGS, way_to_remotes
from cxlocal.revision.submodules import GITMODULES, about_submodules


def ask_about_head(folder: Path) -> None:
    """What is asked of the repository that ``folder`` seems to lie in."""
    ask_early(folder, *ABOUT_REPOSITORY)
    for root in (folder, *folder.parents):
        if (root / ".git").exists():
            root = Path(os.path.realpath(root))
            ask_early(root, *about_revision("HEAD"))
            ask_early(root, *CONTENTS, wants_input=True)
            ask_early(root, *ABOUT_SETTINGS, times=5)
            return


def read_file(repository: Repository, commit: str, path: str) -> bytes | None:
    """As ``repository.read_file``; on the way it begins what is asked once the commit is known,
    and sees whether the commit names submodules at all: most do not."""
    ask_early(repository.root, *about_identity(commit))
    found = read_files(repository, commit, (path, GITMODULES))
    if found[GITMODULES] is None:
        none = Captured(1, b"", b"", timed_out=False)
        # The proof asks, and the look at a tree that is released itself.
        know_early(repository.root, *about_submodules(commit), answer=none, times=2)
    return found[path]


def ask_about_push(
    repository: Repository, remotes: Sequence[str] | None, paths: Sequence[str] | None
) -> None:
    """What is asked once the commit's configuration is known. ``remotes``: those of [scm], the
    first of which is asked for its refs; None where none may be asked. ``paths``: where to look
    for what is not committed; None for nowhere."""
    if paths is not None:
        ask_early(repository.root, *about_changes(paths))
    if remotes is None:
        return
    try:
        first = next(iter(counting_remotes(repository, remotes)), "")
    except CxError:
        return  # Whoever asks for the proof is told.
    world, refusal = way_to_remotes(repository.root, believed=repository.believed)
    if first and not refusal:
        ask_early(repository.root, *about_refs(first), world=world)


@contextmanager
def early_questions() -> Iterator[None]:
    """Leaving it drops what was begun and not asked for: answers grow old."""
    try:
        yield
    finally:
        forget_early()
