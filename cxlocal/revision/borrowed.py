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
from cxlocal.revision.remotes import around, origin_of
from cxlocal.revision.repository import Repository

NOWHERE = "a-rehearsal-pushes-nowhere"
"""Where a repository that must not push pushes to: a path that is not there, read in git's complaint."""

_PRE_PUSH = """\
#!/bin/sh
echo "This is a rehearsal: it pushes nothing. A stage that pushes or publishes has" >&2
echo "kind = \\"publish\\" in cx.toml; a rehearsal leaves it out." >&2
exit 1
"""


def borrow(
    source: Repository,
    folder: Path,
    *,
    filters: Sequence[Filter] = (),
    sparse: Sequence[str] = (),
    pushes: bool = True,
) -> Path:
    """Make a repository in ``folder`` that has the objects, tags and shallow boundary of ``source``
    and a remote ``origin`` that leads where that of ``source`` does; its git folder.

    ``filters`` are the only ones that work in it; ``sparse`` are the patterns of its files, none for
    all. Unless it ``pushes``, no remote has an address to push to, and a hook refuses pushes to any
    other.
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
    lines = [*_core(bool(sparse)), *as_configuration(filters, source)]
    lines += _remote(source) if pushes else _no_pushes(source, git_dir)
    with (git_dir / "config").open("ab") as config:
        config.write(os.fsencode("\n".join(lines) + "\n"))
    return git_dir


def _no_pushes(source: Repository, git_dir: Path) -> list[str]:
    """Remotes that lead nowhere for a push: ``origin``, and those that the person's or the system's
    configuration gives to every repository. An address of its own for pushes is not replaced by
    ``pushInsteadOf``. Addresses that are known lead nowhere by themselves, too; for all others there
    is the hook, which goes by no address."""
    hooks = git_dir / "hooks"
    hooks.mkdir(exist_ok=True)
    hook = hooks / "pre-push"
    hook.write_text(_PRE_PUSH)
    hook.chmod(0o755)
    origin = origin_of(source)
    nowhere, known = quoted(str(git_dir.absolute() / NOWHERE)), around(source)
    lines = ["[core]", f"\thooksPath = {quoted(str(hooks.absolute()))}"]
    for name in dict.fromkeys(("origin", *known.names)):
        lines.append(f"[remote {quoted(name)}]")
        if name == "origin" and origin.url:
            lines.append(f"\turl = {quoted(origin.url)}")
        lines.append(f"\tpushurl = {nowhere}")
    lines.append(f"[url {nowhere}]")
    lines += [f"\tpushInsteadOf = {quoted(url)}" for url in (origin.url, *known.addresses) if url]
    lines += [f"\tinsteadOf = {quoted(url)}" for url in known.push_addresses]
    return lines


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
