"""The commits that a release brings to a place: those since what is live there, or was released before.

History is not always a line. A clone can be shallow, a branch can be rewritten, a release can go
back; the answer then says so in a sentence, and a number is given only where it is right.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from cxlocal.revision.bumps import Rule, bumps_in
from cxlocal.revision.git import World, ask, decode, git
from cxlocal.revision.reach import known_objects
from cxlocal.revision.repository import Repository, contents_world, shallow_commits
from cxlocal.text import counted, utc_text
from cxlocal.values import NamedTuple

LIMIT = 200
"""Commits recorded with a run; more are only counted."""


class Commit(NamedTuple):
    """A commit as it is recorded with a run."""

    commit: str
    subject: str
    author: str
    """``Name <mail>``."""
    committed_at: str


class Changes(NamedTuple):
    """The commits of a release, newest first."""

    total: int | None
    """How many there are; None where this clone cannot tell."""
    listed: tuple[Commit, ...]
    truncated: bool
    """There are more than are listed."""
    note: str
    """What a reader must know about the list; empty for a plain step forward."""


def changes_since(
    repository: Repository,
    old: str | None,
    new: str,
    *,
    limit: int = LIMIT,
    paths: Sequence[str] = (),
    was: str = "live",
    besides: Rule | None = None,
) -> Changes:
    """The commits in ``new`` that ``old`` (what is live; None if nothing is) does not have.

    ``paths`` leaves out commits that touch nothing of the deliverable. At most ``limit`` are
    listed. ``was`` says what ``old`` is: live, or released. ``besides``: how commits made
    after a release are known, which are left out.
    """
    if old == new:
        return Changes(0, (), False, "the same commit as before")
    if old is None:
        return _forward(
            repository, new, (), limit, paths, besides, f"nothing was {was} here before"
        )
    if old not in known_objects(repository, [old]):
        why = "this clone is shallow" if repository.shallow else "it is not in this clone"
        return Changes(None, (), False, f"what was {was} before ({old[:12]}) is unknown: {why}")
    note = _direction(repository, old, new, was)
    return _forward(repository, new, (f"^{old}",), limit, paths, besides, note)


def _direction(repository: Repository, old: str, new: str, was: str) -> str:
    """A sentence about how ``new`` relates to ``old``; empty when it simply follows."""
    raw = ask(
        repository.root, "rev-list", "--left-right", "--count", "--end-of-options",
        f"{old}...{new}", "--",
    )  # fmt: skip
    lost, gained = (int(word) for word in decode(raw).split())
    if not lost:
        return ""
    if not gained:
        return f"goes back: {counted(lost, 'commit')} of what was {was} before are not in it"
    base = git(repository.root, "merge-base", "--end-of-options", old, new)
    if base.code != 0 and not repository.shallow:
        return "the two revisions have no common history"
    return f"history differs: {counted(lost, 'commit')} of what was {was} before are not in it"


def _forward(
    repository: Repository,
    new: str,
    without: Sequence[str],
    limit: int,
    paths: Sequence[str],
    besides: Rule | None,
    note: str,
) -> Changes:
    """List and count the commits of ``new`` that are not in ``without``."""
    span = ("--end-of-options", new, *without, "--", *(f":(literal,top){path}" for path in paths))
    world = contents_world(repository) if paths else World.HERE
    hidden = bumps_in(repository, (new, *without, "--"), besides)
    raw = ask(
        repository.root, "-c", "log.follow=false", "log", f"--max-count={limit + len(hidden) + 1}",
        "--no-show-signature", "--no-color", "--encoding=UTF-8", "--no-decorate", "-z",
        "--format=%H%x01%ct%x01%an <%ae>%x01%s", *span, world=world,
    )  # fmt: skip
    entries = [
        one for one in decode(raw).split("\0") if one and one.partition("\x01")[0] not in hidden
    ]
    listed = tuple(_read(entry) for entry in entries[:limit])
    truncated = len(entries) > limit
    total: int | None = len(listed)
    if truncated:
        found = decode(ask(repository.root, "rev-list", *span, world=world)).split()
        total = len(found) - len(hidden.intersection(found))
    if repository.shallow and _meets_boundary(repository, new, without):
        total = None
        note = "; ".join(filter(None, (note, "this clone is shallow, older commits are missing")))
    return Changes(total, listed, truncated, note)


def _read(entry: str) -> Commit:
    commit, seconds, author, subject = entry.split("\x01", 3)
    return Commit(commit, subject, author, utc_text(int(seconds) * 1000))


def _meets_boundary(repository: Repository, new: str, without: Sequence[str]) -> bool:
    """Whether the walk from ``new`` ends where a shallow clone was cut off."""
    raw = ask(repository.root, "rev-list", "--end-of-options", new, *without, "--")
    return not shallow_commits(repository).isdisjoint(decode(raw).split())


def bodies(repository: Repository, commits: Iterable[str]) -> dict[str, str]:
    """What follows the first line of the messages of ``commits``, as far as they are in this clone."""
    known = known_objects(repository, list(commits))
    if not known:
        return {}
    raw = ask(
        repository.root, "log", "--no-walk=unsorted", "--stdin", "--no-show-signature", "--no-color",
        "--encoding=UTF-8", "--no-decorate", "-z", "--format=%H%x01%b",
        input="\n".join(known).encode() + b"\n",
    )  # fmt: skip
    pairs = (entry.partition("\x01") for entry in decode(raw).split("\0") if entry)
    return {commit: body for commit, _, body in pairs}
