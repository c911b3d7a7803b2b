"""The remotes of a repository: which ones count, and what they hold.

Only a *named* remote counts: checking any remote would pass a commit that the one people release
from does not have. Addresses are recorded without credentials.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from cxlocal.errors import Refused
from cxlocal.patterns import compile_late
from cxlocal.revision.git import complaint, decode, git, hide_credentials
from cxlocal.revision.repository import Repository
from cxlocal.revision.settings import Setting, read_settings, way_to_remotes
from cxlocal.values import NamedTuple


class Advertised(NamedTuple):
    """What a remote said when it was asked."""

    refs: dict[str, str]
    """Ref name to commit id; tags stand with the commit they point at."""
    problem: str
    """Why it did not answer; empty when it did."""


def clean_url(url: str) -> str:
    """The address of a remote as it may be recorded: no password, token or query."""
    return hide_credentials(decode(os.fsencode(url)))


def remotes(repository: Repository) -> dict[str, str]:
    """The remotes configured here: name to address without credentials."""
    return {name: clean_url(url) for name, url in _configured(repository).items()}


def _configured(repository: Repository) -> dict[str, str]:
    """Name to the address git goes to, ``insteadOf`` applied."""
    settings = read_settings(repository.root)
    found: dict[str, str] = {}
    for name, url in _addresses(settings, "url"):
        found.setdefault(name, _instead(settings, url, "insteadof"))
    return found


def _addresses(settings: Sequence[Setting], kind: str) -> list[tuple[str, str]]:
    """The values of ``remote.NAME.url`` (or ``pushurl``) with their names, in order."""
    ending = f".{kind}"
    return [
        (name, one.value)
        for one in settings
        if one.key.startswith("remote.") and one.key.endswith(ending) and one.value
        for name in [one.key[len("remote.") : -len(ending)]]
        if name and not name.startswith("-")
    ]


def _instead(settings: Sequence[Setting], url: str, kind: str) -> str:
    """``url`` as ``url.BASE.insteadOf`` (or ``pushInsteadOf``) rewrites it: the longest beginning
    that fits is replaced, as git does."""
    ending = f".{kind}"
    fitting = [
        (one.value, one.key[len("url.") : -len(ending)])
        for one in settings
        if one.key.startswith("url.") and one.key.endswith(ending) and url.startswith(one.value)
    ]
    before, base = max(fitting, key=lambda pair: len(pair[0]), default=("", ""))
    return base + url[len(before) :]


class Origin(NamedTuple):
    """Where the remote of a checkout leads."""

    url: str
    """Empty for a repository without a remote that counts."""
    push: tuple[str, ...]
    """Where it pushes to, if elsewhere."""


def origin_of(repository: Repository, names: Sequence[str] = ()) -> Origin:
    """The first remote that counts, as it is to be written into another folder: paths are
    absolute, and what the repository itself puts in place of addresses has been put there. What the
    person's configuration replaces stays: git will ask it again. Without credentials."""
    settings = read_settings(repository.root)
    known: dict[str, list[str]] = {}
    for name, url in _addresses(settings, "url"):
        known.setdefault(name, []).append(url)
    wanted = [name for name in (*names, "origin") if name in known]
    name = next(iter(wanted), next(iter(known)) if len(known) == 1 else "")
    if not name:
        return Origin("", ())
    own = [one for one in settings if one.own]
    urls = [_instead(own, url, "insteadof") for url in known[name]]
    push = [
        _instead(own, url, "insteadof")
        for named, url in _addresses(settings, "pushurl")
        if named == name
    ]
    push = push or [
        other for url in known[name] if (other := _instead(own, url, "pushinsteadof")) != url
    ]
    push = push or (urls if len(urls) > 1 else [])
    url, *further = (clean_url(_absolute(repository, one)) for one in (urls[0], *push))
    return Origin(url, tuple(further))


class Around(NamedTuple):
    """What is to be known to make a repository beside another that must not push."""

    names: tuple[str, ...]
    """Remotes that the configuration of the person or the system gives to every repository."""
    addresses: tuple[str, ...]
    """Where any remote leads, as somebody may write it."""
    push_addresses: tuple[str, ...]
    """Addresses that are for pushes alone, in every repository."""


def around(repository: Repository) -> Around:
    """Remotes and addresses that git knows in a repository. Those with credentials are left out: they
    are not to be written into another file."""
    settings = read_settings(repository.root)
    others = [one for one in settings if not one.own]
    named = [name for kind in ("url", "pushurl") for name, _ in _addresses(others, kind)]
    written = [url for kind in ("url", "pushurl") for _, url in _addresses(settings, kind)]
    places = [
        one for url in written for kind in ("insteadof", "pushinsteadof")
        for one in (url, _instead(settings, url, kind), _absolute(repository, url))
    ]  # fmt: skip
    return Around(
        tuple(dict.fromkeys(named)),
        _open_addresses(places),
        _open_addresses([url for _, url in _addresses(others, "pushurl")]),
    )


def _open_addresses(urls: Sequence[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(url for url in urls if url and clean_url(url) == url))


def _absolute(repository: Repository, url: str) -> str:
    path = None if url.startswith("file://") else local_path(repository.root, url)
    return url if path is None else os.path.realpath(path)


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
        return (
            Path(
                os.fsdecode(
                    _ESCAPE.sub(
                        lambda one: bytes.fromhex(one[1].decode()), os.fsencode(slash + rest)
                    )
                )
            )
            if slash
            else None
        )
    before, colon, _ = url.partition(":")
    if _SCHEME.match(url) or (colon and "/" not in before):
        return None
    return folder / os.path.expanduser(url)


_SCHEME = compile_late(r"[A-Za-z0-9][A-Za-z0-9+.-]*://")
_ESCAPE = compile_late(rb"%(?!00)([0-9A-Fa-f]{2})")


def list_remote(
    repository: Repository, place: str, *, timeout_seconds: float, everything: bool
) -> Advertised:
    """Ask a remote (by name or address) which commits its refs point at.

    First branches and tags, which a server can list alone; ``everything`` adds the refs that CI
    servers build from, such as ``refs/pull/7/merge``.
    """
    world, refusal = way_to_remotes(repository.root, believed=repository.believed)
    if refusal:
        return Advertised({}, refusal)
    answer = git(
        repository.root, *about_refs(place, everything),
        timeout_seconds=max(0.05, timeout_seconds), world=world,
    )  # fmt: skip
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
