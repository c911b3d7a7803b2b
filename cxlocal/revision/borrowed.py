"""A repository of our own that borrows the objects of another and nothing of its surroundings.

Checkouts are made of it, and a working tree is compared with a commit by it: what a person or a system
configured for git, and what the other repository was told not to look at, has no say there.
"""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Sequence
from pathlib import Path

from cxlocal.processes.environment import ANY_ADDRESS, NOWHERE
from cxlocal.revision.filters import Filter, as_configuration, quoted
from cxlocal.revision.git import ask
from cxlocal.revision.remotes import around, origin_of
from cxlocal.revision.repository import Repository

CHECKOUT_SECONDS = 600.0
"""For writing or comparing the files of one repository; the largest known (4 million files) take
minutes."""

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
    """Make a repository in ``folder`` as ``borrow_objects`` does, that has the tags of ``source``, too,
    and a remote ``origin`` that leads where that of ``source`` does; its git folder.

    Unless it ``pushes``, no remote has an address to push to, and a hook refuses pushes to any other.
    """
    git_dir = borrow_objects(source, folder, filters=filters, sparse=sparse)
    tags = ask(source.root, "for-each-ref", "--format=%(objectname) %(refname)", "refs/tags/")
    if tags:
        (git_dir / "packed-refs").write_bytes(tags)
    configure(git_dir, _remote(source) if pushes else _no_pushes(source, git_dir))
    return git_dir


def borrow_objects(
    source: Repository,
    folder: Path,
    *,
    filters: Sequence[Filter] = (),
    sparse: Sequence[str] = (),
) -> Path:
    """Make a repository in ``folder`` that has the objects and the shallow boundary of ``source``,
    and nothing else of it; its git folder.

    ``filters`` are the only ones that work in it; ``sparse`` are the patterns of its files, none for
    all.
    """
    git_dir = folder / ".git"
    for name in ("objects/info", "refs/heads", "refs/tags", "info"):
        (git_dir / name).mkdir(parents=True, exist_ok=True)
    (git_dir / "HEAD").write_text("ref: refs/heads/main\n")
    (git_dir / "config").write_text("")
    configure(git_dir, _format(source, git_dir))
    alternates = git_dir / "objects" / "info" / "alternates"
    alternates.write_bytes(os.fsencode(source.common_dir / "objects") + b"\n")
    if source.shallow:
        (git_dir / "shallow").write_bytes((source.common_dir / "shallow").read_bytes())
    if sparse:
        (git_dir / "info" / "sparse-checkout").write_bytes(os.fsencode("\n".join(sparse) + "\n"))
    configure(git_dir, [*_core(bool(sparse)), *as_configuration(filters, source)])
    return git_dir


def configure(git_dir: Path, lines: Sequence[str]) -> None:
    """Add ``lines`` to the configuration of a repository of ours."""
    with (git_dir / "config").open("ab") as config:
        config.write(os.fsencode("\n".join(lines) + "\n"))


def _format(source: Repository, git_dir: Path) -> list[str]:
    """What ``git init`` writes: the format, and what the file system of ``git_dir`` can do, found out
    as git does. Starting git for it would cost a run two hundredths."""
    config, link, composed = git_dir / "config", git_dir / "link", git_dir / "\u00e4"
    mode = config.lstat().st_mode
    config.chmod(mode ^ stat.S_IXUSR)
    can = {"filemode": config.lstat().st_mode != mode, "ignorecase": (git_dir / "CoNfIg").exists()}
    config.chmod(mode)
    try:
        link.symlink_to("testing")
        can["symlinks"] = link.is_symlink()
        link.unlink()
    except OSError:
        can["symlinks"] = False
    if sys.platform == "darwin":
        composed.touch()
        can["precomposeunicode"] = (git_dir / "a\u0308").exists()
        composed.unlink()
    sha1 = source.object_format == "sha1"
    lines = ["[core]", f"\trepositoryformatversion = {int(not sha1)}", "\tlogallrefupdates = true"]
    lines += [f"\t{name} = {str(value).lower()}" for name, value in can.items()]
    return lines if sha1 else [*lines, "[extensions]", f"\tobjectformat = {source.object_format}"]


def _no_pushes(source: Repository, git_dir: Path) -> list[str]:
    """Remotes that lead nowhere for a push: ``origin``, and those that the person's or the system's
    configuration gives to every repository. An address of its own for pushes is not replaced by
    ``pushInsteadOf``. Addresses that are known lead nowhere by themselves, too, as a longer beginning
    that somebody configured would win over that of all others. What no address stops must be signed,
    which git refuses where the host takes no signatures, and the hook refuses the rest."""
    hooks = git_dir / "hooks"
    hooks.mkdir(exist_ok=True)
    hook = hooks / "pre-push"
    hook.write_text(_PRE_PUSH)
    hook.chmod(0o755)
    origin = origin_of(source)
    nowhere, known = quoted(NOWHERE), around(source)
    lines = ["[core]", f"\thooksPath = {quoted(str(hooks.absolute()))}"]
    for name in dict.fromkeys(("origin", *known.names)):
        lines.append(f"[remote {quoted(name)}]")
        if name == "origin" and origin.url:
            lines.append(f"\turl = {quoted(origin.url)}")
        lines.append(f"\tpushurl = {nowhere}")
    lines.append(f"[url {nowhere}]")
    lines += [f"\tpushInsteadOf = {quoted(url)}" for url in (origin.url, *known.addresses) if url]
    lines += [f"\tinsteadOf = {quoted(url)}" for url in known.push_addresses]
    key, value = ANY_ADDRESS
    lines += [f"[url {quoted(key.removeprefix('url.').removesuffix('.pushInsteadOf'))}]",
              f"\tpushInsteadOf = {quoted(value)}", "[push]", "\tgpgSign = true"]  # fmt: skip
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
