"""A repository of our own that borrows the objects of another and nothing of its surroundings.

Checkouts are made of it, and a working tree is compared with a commit by it: what a person or a system
configured for git, and what the other repository was told not to look at, has no say there.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from cxlocal.revision.filters import Filter, as_configuration, quoted
from cxlocal.revision.git import World, ask
from cxlocal.revision.remotes import origin_of
from cxlocal.revision.repository import Repository


def borrow(
    source: Repository, folder: Path, *, filters: Sequence[Filter] = (), sparse: Sequence[str] = ()
) -> Path:
    """Make a repository in ``folder`` that has the objects, tags and shallow boundary of ``source``
    and a remote ``origin`` that leads where that of ``source`` does; its git folder.

    ``filters`` are the only ones that work in it; ``sparse`` are the patterns of its files, none for
    all.
    """
    ask(
        folder, "init", "--quiet", "--template=", f"--object-format={source.object_format}", ".",
        extra={"GIT_DEFAULT_REF_FORMAT": "files"}, world=World.ALONE,
    )  # fmt: skip
    git_dir = folder / ".git"
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
    if sparse:
        (info / "sparse-checkout").write_bytes(os.fsencode("\n".join(sparse) + "\n"))
    lines = [*_core(bool(sparse)), *as_configuration(filters, source), *_remote(source)]
    with (git_dir / "config").open("ab") as config:
        config.write(os.fsencode("\n".join(lines) + "\n"))
    return git_dir


def _core(sparse: bool) -> list[str]:
    """The project's bytes as they are, also for the git that stages call, whatever the habits of
    the person."""
    return [
        "[core]", "\tautocrlf = false", "\teol = lf", "\tsafecrlf = false",
        "\tattributesFile = /dev/null", "\thooksPath = /dev/null", "\tfsmonitor = false",
        f"\tsparseCheckout = {str(sparse).lower()}", "\tsparseCheckoutCone = false",
        "[gc]", "\tauto = 0",
    ]  # fmt: skip


def _remote(source: Repository) -> list[str]:
    origin = origin_of(source)
    if not origin.url:
        return []
    push = [f"\tpushurl = {quoted(url)}" for url in origin.push]
    return ['[remote "origin"]', f"\turl = {quoted(origin.url)}", *push]
