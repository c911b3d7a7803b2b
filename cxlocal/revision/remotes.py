"""The remotes of a repository: which ones count, and what they hold.

Only a *named* remote counts: checking any remote would pass a commit that the one people release
from does not have. Addresses are recorded without credentials.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from cxlocal.errors import Refused
from cxlocal.revision.git import complaint, decode, git
from cxlocal.revision.repository import Repository

ABOUT_REMOTES = ("config", "-z", "--get-regexp", r"^remote\..*\.url$")

_USER = re.compile(r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*://)(?P<user>[^/\s]*)@")
_QUERY = re.compile(r"(https?://[^\s?#]*)[?#][^\s'\"]*")


class Advertised(NamedTuple):
    """What a remote said when it was asked."""

    refs: dict[str, str]
    """Ref name to commit id; tags stand with the commit they point at."""
    problem: str
    """Why it did not answer; empty when it did."""


def hide_credentials(text: str) -> str:
    """``text`` with user names and passwords taken out of every address in it."""
    return _QUERY.sub(r"\1", _USER.sub(_without_user, text))


def _without_user(match: re.Match[str]) -> str:
    # The user of an ssh address is no secret and belongs to it (git@host); a token over http is.
    if match["scheme"].lower() in ("ssh://", "git+ssh://", "ssh+git://"):
        return f"{match['scheme']}{match['user'].partition(':')[0]}@"
    return match["scheme"]


def clean_url(url: str) -> str:
    """The address of a remote as it may be recorded: no password, token or query."""
    return hide_credentials(decode(os.fsencode(url)))


def remotes(repository: Repository) -> dict[str, str]:
    """The remotes configured here: name to address without credentials."""
    return {name: clean_url(url) for name, url in _configured(repository).items()}


def _configured(repository: Repository) -> dict[str, str]:
    answer = git(repository.root, *ABOUT_REMOTES)
    found: dict[str, str] = {}
    for entry in os.fsdecode(answer.stdout).split("\0"):
        key, _, url = entry.partition("\n")
        name = key[len("remote.") : -len(".url")]
        if name and url and not name.startswith("-"):
            found.setdefault(name, url)
    return found


def primary_url(repository: Repository, names: Sequence[str] = ()) -> str:
    """The address of the first remote that counts, or nothing."""
    known = remotes(repository)
    for name in (*names, "origin"):
        if name in known:
            return known[name]
    return next(iter(known.values())) if len(known) == 1 else ""


def counting_remotes(repository: Repository, names: Sequence[str]) -> dict[str, str]:
    """The remotes of which any one may prove a commit: those of ``[scm] remotes`` that exist here,
    by default ``origin`` or the only one. Empty when the repository has no remote at all.

    Raises Refused: ``no-remote`` (none of the named ones is here), ``which-remote`` (several, none
    named), ``remote-is-itself``.
    """
    known = _configured(repository)
    chosen = [name for name in names if name in known]
    if names and not chosen:
        first = names[0]
        raise Refused(
            f"this repository has no remote named {' or '.join(names)}",
            why="[scm] remotes in cx.toml names the ones a release may come from, and "
            f"here there is {_listing(known)}",
            hint=f"git remote add {first} ADDRESS && git fetch {first}",
            name="no-remote",
            remotes=sorted(known),
        )
    if not names:
        chosen = ["origin"] if "origin" in known else list(known)
        if len(chosen) > 1:
            raise Refused(
                f"it is not clear which remote a release must have been pushed to: {_listing(known)}",
                why="none of them is called origin and cx.toml names none",
                hint=f'write [scm] remotes = ["{chosen[0]}"] into cx.toml',
                name="which-remote",
                remotes=sorted(known),
            )
    return {name: _checked(repository, name, known[name]) for name in chosen}


def _listing(known: dict[str, str]) -> str:
    return ", ".join(sorted(known)) or "none"


def _checked(repository: Repository, name: str, url: str) -> str:
    if is_itself(repository, url):
        raise Refused(
            f"the remote {name} is this repository itself",
            why="a commit in it has not left this working copy",
            hint=f"git remote set-url {name} ADDRESS",
            name="remote-is-itself",
        )
    return url


def is_itself(repository: Repository, url: str) -> bool:
    """Whether ``url`` is the path of this very repository or of a working tree of it."""
    path = local_path(repository.root, url)
    return path is not None and _common_dir(path) == repository.common_dir


_ENDINGS = ("/.git", "", ".git/.git", ".git")
"""What git adds to the path of a remote until there is a repository, in its order."""


def _common_dir(path: Path) -> Path | None:
    """Where the repository that git finds at ``path`` keeps what its working trees share
    (gitrepository-layout). Read here: asking git costs more than all of the rest."""
    for ending in _ENDINGS:
        place = Path(f"{path}{ending}")
        try:
            if place.is_file():
                place = place.parent / _line_of(place).removeprefix("gitdir: ")
            if (place / "commondir").is_file():
                place = place / _line_of(place / "commondir")
            if (place / "objects").is_dir():
                return Path(os.path.realpath(place))
        except OSError:
            continue  # what we may not read, git may not either
    return None


def _line_of(file: Path) -> str:
    with file.open("rb") as content:
        return os.fsdecode(content.readline(_LINE_BYTES)).rstrip("\r\n")


_LINE_BYTES = 8192
"""More than any path has; the file may be anything."""


def local_path(folder: Path, url: str) -> Path | None:
    """The folder that ``url`` names, seen from ``folder``, or None when it is an address (git's
    own rule). In a ``file:`` address git skips the name of a machine, whichever it is."""
    if url.startswith("file://"):
        _, slash, rest = url[len("file://") :].partition("/")
        return Path(os.fsdecode(_ESCAPE.sub(_byte, os.fsencode(slash + rest)))) if slash else None
    before, colon, _ = url.partition(":")
    if _SCHEME.match(url) or (colon and "/" not in before):
        return None
    return folder / os.path.expanduser(url)


_SCHEME = re.compile(r"[A-Za-z0-9][A-Za-z0-9+.-]*://")
_ESCAPE = re.compile(rb"%(?!00)([0-9A-Fa-f]{2})")


def _byte(match: re.Match[bytes]) -> bytes:
    return bytes.fromhex(match[1].decode("ascii"))


def list_remote(
    repository: Repository, place: str, *, timeout_seconds: float, everything: bool
) -> Advertised:
    """Ask a remote (by name or address) which commits its refs point at.

    First branches and tags, which a server can list alone; ``everything`` adds the refs that CI
    servers build from, such as ``refs/pull/7/merge``.
    """
    answer = git(
        repository.root, *about_refs(place, everything), timeout_seconds=max(0.05, timeout_seconds)
    )
    if answer.code != 0 or answer.truncated:
        return Advertised({}, complaint(answer))
    refs: dict[str, str] = {}
    for line in decode(answer.stdout).splitlines():
        commit, _, ref = line.partition("\t")
        refs[ref.removesuffix("^{}")] = commit
    return Advertised(refs, "")


def about_refs(place: str, everything: bool = False) -> tuple[str, ...]:
    """The question ``list_remote`` asks git."""
    which = () if everything else ("--heads", "--tags")
    return "ls-remote", "--quiet", *which, "--end-of-options", place
