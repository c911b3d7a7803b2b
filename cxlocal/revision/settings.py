"""What git is configured to do for a repository, and who said so.

A repository that came as an archive brings a configuration of its own, and git starts the programs
that one names: to reach a remote, to ask for a password, to convert files. So such keys count as
the repository's own only for commands that run its stages anyway; for all others a remote that
could be reached by them alone is not asked.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from pathlib import Path

from cxlocal.patterns import compile_late
from cxlocal.revision.git import ABOUT_USER, World, decode, git
from cxlocal.values import NamedTuple

ABOUT_SETTINGS = ("config", "-z", "--show-scope", "--list")

_OWN = ("local", "worktree")
"""Scopes that lie in the repository, files it includes with them."""

_PROGRAMS = compile_late(
    r"core\.(sshcommand|gitproxy|askpass)|credential\.(.*\.)?helper|protocol\.(.*\.)?allow"
    r"|remote\..*\.(uploadpack|receivepack|vcs)|push\.gpgsign|gpg\.(.*\.)?program|hook\..*",
    re.DOTALL,
)
"""Keys that make git start a program when it talks to a remote, or let addresses name one."""


_PLAIN = compile_late(r"[^\s.,:;<>\"\\'](?:[^<>]*[^\s.,:;<>\"\\'])?")
"""A name or an address of which git leaves nothing out."""


class Setting(NamedTuple):
    """One line of git's configuration."""

    scope: str
    """system, global, local, worktree or command (a variable)."""
    key: str
    """Section and name in small letters, what stands between them as it was written."""
    value: str

    @property
    def own(self) -> bool:
        """Whether the repository itself says it."""
        return self.scope in _OWN


def read_settings(root: Path) -> tuple[Setting, ...]:
    """The whole configuration of git in ``root``, in its order: what comes later wins."""
    words = os.fsdecode(git(root, *ABOUT_SETTINGS).stdout).split("\0")
    found = []
    for scope, entry in zip(words[::2], words[1::2], strict=False):
        key, _, value = entry.partition("\n")
        found.append(Setting(scope, key, value))
    return tuple(found)


def last_value(settings: Iterable[Setting], key: str) -> str:
    """The value that counts; nothing where there is none."""
    return next((one.value for one in reversed(tuple(settings)) if one.key == key), "")


def user(root: Path) -> str:
    """``Name <mail>`` as git would write it into a commit; empty when it does not know."""
    settings = read_settings(root)
    said = [last_value(settings, f"user.{part}") for part in ("name", "email")]
    elsewhere = any(one.key.startswith("author.") for one in settings) or any(
        name in os.environ for name in ("GIT_AUTHOR_NAME", "GIT_AUTHOR_EMAIL")
    )
    if not elsewhere and all(one.isprintable() and _PLAIN.fullmatch(one) for one in said):
        return f"{said[0]} <{said[1]}>"
    answer = git(root, *ABOUT_USER)
    words = decode(answer.stdout).strip() if answer.code == 0 else ""
    return words[: words.rfind(">") + 1]


def own_programs(settings: Iterable[Setting]) -> tuple[str, ...]:
    """The keys by which the repository itself names programs for talking to a remote."""
    return tuple(
        dict.fromkeys(one.key for one in settings if one.own and _PROGRAMS.fullmatch(one.key))
    )


def way_to_remotes(root: Path, *, believed: bool) -> tuple[World, str]:
    """How the remotes of the repository in ``root`` may be reached; with HERE, why they may not."""
    if believed:
        return World.BELIEVED, ""
    named = own_programs(read_settings(root))
    if not named:
        return World.REMOTE, ""
    return World.HERE, (
        f"{', '.join(named)} in the repository's own configuration names a program, which only"
        " commands that run stages start"
    )
