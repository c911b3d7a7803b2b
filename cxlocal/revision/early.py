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
from cxlocal.revision.git import ABOUT_USER, ask_early, forget_early
from cxlocal.revision.remotes import ABOUT_REMOTES, about_refs, counting_remotes
from cxlocal.revision.repository import (
    ABOUT_REPOSITORY,
    CONTENTS,
    Repository,
    about_changes,
    about_identity,
    about_revision,
)
from cxlocal.revision.submodules import about_submodules


def ask_about_head(folder: Path) -> None:
    """What is asked of the repository that ``folder`` seems to lie in."""
    ask_early(folder, *ABOUT_REPOSITORY)
    for root in (folder, *folder.parents):
        if (root / ".git").exists():
            root = Path(os.path.realpath(root))
            ask_early(root, *about_revision("HEAD"))
            ask_early(root, *CONTENTS, wants_input=True)
            ask_early(root, *ABOUT_USER)
            ask_early(root, *ABOUT_REMOTES, times=2)
            return


def ask_about_commit(repository: Repository, commit: str) -> None:
    """What is asked once it is known which commit is to be released."""
    ask_early(repository.root, *about_identity(commit))
    ask_early(repository.root, *about_submodules(commit))


def ask_about_push(
    repository: Repository, remotes: Sequence[str] | None, paths: Sequence[str]
) -> None:
    """What is asked once the commit's configuration is known. ``remotes``: those of [scm], the
    first of which is asked for its refs; None where none may be asked."""
    ask_early(repository.root, *about_changes(paths))
    if remotes is None:
        return
    try:
        first = next(iter(counting_remotes(repository, remotes)), "")
    except CxError:
        return  # Whoever asks for the proof is told.
    if first:
        ask_early(repository.root, *about_refs(first))


@contextmanager
def early_questions() -> Iterator[None]:
    """Leaving it drops what was begun and not asked for: answers grow old."""
    try:
        yield
    finally:
        forget_early()
