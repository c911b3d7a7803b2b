"""The git filters a project needs, by their names in ``[scm] filters`` of cx.toml.

A filter is a program that turns what the commit holds into other bytes. Which program that is says the
person whose machine this is, in their own configuration of git, never the repository's: that came
with an archive, or may be anybody's. None runs that the commit's cx.toml does not name. For the known ones it is not even asked: Git LFS needs no program of its own (``lfs.py``), and how
git-crypt is called is written here.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Sequence
from pathlib import Path

from cxlocal.errors import Trouble
from cxlocal.patterns import compile_late
from cxlocal.revision.git import World, ask
from cxlocal.revision.repository import Repository
from cxlocal.revision.settings import Setting, read_settings
from cxlocal.values import NamedTuple

LFS = "lfs"

_GIT_CRYPT = compile_late(r"git-crypt(?:-(?P<key>[A-Za-z0-9._-]+))?")


class Filter(NamedTuple):
    """How one filter is called, in the words of git's configuration."""

    name: str
    smudge: str
    clean: str
    process: str = ""
    state: str = ""
    """A setting it needs beside, ``section.key``, whose value is a folder of the source."""


def agreed_filters(repository: Repository, names: Sequence[str]) -> tuple[Filter, ...]:
    """The filters of ``[scm] filters`` as the person, the system or the caller's variables have them.

    Raises Trouble ``filter-missing`` for one that is not set up here.
    """
    wanted = [name for name in names if name != LFS]
    if not wanted:
        return ()
    known = {name: _git_crypt(name) for name in wanted}
    settings = () if all(known.values()) else read_settings(repository.root)
    return tuple(known[name] or _configured(settings, name) for name in wanted)


def _git_crypt(name: str) -> Filter | None:
    match = _GIT_CRYPT.fullmatch(name)
    if match is None:
        return None
    key = f" --key-name={match['key']}" if match["key"] else ""
    state = "git-crypt.repoStateDir"
    return Filter(name, f"git-crypt smudge{key}", f"git-crypt clean{key}", state=state)


def _configured(settings: Sequence[Setting], name: str) -> Filter:
    keys = [f"filter.{name}.{kind}" for kind in ("smudge", "clean", "process")]
    said = {one.key: one.value for one in settings if not one.own}
    smudge, clean, process = (said.get(key, "") for key in keys)
    if not smudge and not process:
        own = {one.key for one in settings if one.own}
        raise _missing(name, [key for key in keys if key in own])
    return Filter(name, smudge, clean, process)


def _missing(name: str, own: Sequence[str]) -> Trouble:
    """``own``: the keys by which the repository's own configuration names commands."""
    why = (
        "[scm] filters of cx.toml names it: without it the files of this commit would be others than on"
        " the machines that have it"
    )
    hint = f"git config --global {shlex.quote(f'filter.{name}.smudge')} COMMAND"
    if own:
        why += f"; what the repository's own configuration says ({', '.join(own)}) does not count"
        taken = (
            f'git config --global {key} "$(git config {key})"' for key in map(shlex.quote, own)
        )
        hint = f"once you know what it starts: {'; '.join(taken)}"
    return Trouble(
        f"the git filter {name!r} is not set up on this machine", why=why, hint=hint,
        name="filter-missing", filter=name,
    )  # fmt: skip


def as_configuration(filters: Sequence[Filter], source: Repository) -> list[str]:
    """The lines of a configuration in which exactly ``filters`` work; one that fails is an error
    and never leaves the bytes as they are."""
    lines = ['[filter "lfs"]', "\tsmudge =", "\tprocess =", "\trequired = false"]
    for one in filters:
        lines += [f'[filter "{one.name}"]', "\trequired = true"]
        called = (("smudge", one.smudge), ("clean", one.clean), ("process", one.process))
        lines += [f"\t{kind} = {quoted(words)}" for kind, words in called if words]
        if one.state:
            section, _, key = one.state.partition(".")
            folder = source.common_dir / section
            lines += [f"[{section}]", f"\t{key} = {quoted(os.fspath(folder))}"]
    return lines


def quoted(value: str) -> str:
    """``value`` as it stands in a file of git's configuration."""
    escaped = value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'


def has_attributes(git_dir: Path) -> bool:
    """Whether attributes are among the files of a repository of ours: where none are, git converts
    nothing there. An index of git's own settings spells all names out."""
    index = git_dir / "index"
    return index.exists() and b".gitattributes" in index.read_bytes().lower()


def filtered_files(folder: Path) -> dict[str, str]:
    """The files of a checkout for which its attributes ask for a filter, with the filter's name."""
    if not has_attributes(folder / ".git"):
        return {}
    raw = ask(folder, "ls-files", "-z", "--", ":(exclude,attr:!filter)", world=World.ALONE)
    if not raw:
        return {}
    answer = ask(folder, "check-attr", "-z", "--stdin", "filter", input=raw, world=World.ALONE)
    words = [os.fsdecode(word) for word in answer.split(b"\0")]
    found = dict(zip(words[::3], words[2::3], strict=False))
    return {name: value for name, value in found.items() if value not in ("set", "unset")}
