"""Mirrors: remotes of this machine, for the night the git host is down.

A mirror is a bare repository in a folder (another disk, a USB stick, a share) or any address git can
push to. It is added by a person, filled with all branches and tags and with the commit to be
released, looked at again to see that it holds them, and remembered in ``mirrors.json`` in the
journal's folder: it belongs to the machine, not to the project.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from cxlocal.clock import Clock
from cxlocal.errors import Refused, Trouble, UsageError
from cxlocal.files import write_whole
from cxlocal.journal.home import writing_home
from cxlocal.private import FILE as FILE_MODE
from cxlocal.private import make_home
from cxlocal.revision.git import complaint, decode, git
from cxlocal.revision.reach import RemoteAnswer, ask_remote
from cxlocal.revision.remotes import clean_url, is_itself, local_path
from cxlocal.revision.repository import Repository, repository_key
from cxlocal.revision.settings import own_programs, read_settings, way_to_remotes
from cxlocal.text import utc_text
from cxlocal.values import NamedTuple

FILE = "mirrors.json"
FORMAT = 1

PUSH_SECONDS = 120.0
"""For the first push of a whole repository to a mirror; 1 GiB on a USB 2 stick takes about 50 s."""

LOOK_SECONDS = 30.0
"""For the look afterwards whether the commit has arrived."""

LOCK_SECONDS = 10.0
"""Another command holds the list for milliseconds; longer means it hangs."""


class Mirror(NamedTuple):
    """A place this machine may push a repository to, and release from."""

    key: str
    """Which repository: its first commit (``repository_key``)."""
    location: str
    """An absolute path, or an address."""
    added_at: str


class Pushed(NamedTuple):
    """What a push to a mirror did."""

    mirror: Mirror
    created: bool
    """The bare repository did not exist before."""
    ref: str
    """The branch or tag there that holds the commit."""


def list_mirrors(home: Path, key: str) -> tuple[Mirror, ...]:
    """The mirrors of one repository, in the order they were added.

    Raises Trouble ``mirrors-unreadable`` when the list is damaged.
    """
    return tuple(mirror for mirror in _read(home) if mirror.key == key)


def add_mirror(
    repository: Repository,
    home: Path,
    location: str,
    *,
    clock: Clock,
    commit: str,
    budget_seconds: float = PUSH_SECONDS,
) -> Pushed:
    """Make ``location`` a mirror, push to it, and remember it once it holds ``commit``.

    Adding one that is there pushes again. Raises UsageError ``bad-mirror``, Refused
    ``mirror-is-itself`` and ``mirror-refused``, Trouble when the folder cannot be made.
    """
    place = _place(repository, location)
    created = _create(repository, place)
    key = repository_key(repository, commit)
    mirror = Mirror(key, place, utc_text(clock.now_ms()))
    pushed = push_mirror(
        repository, mirror, clock=clock, commit=commit, budget_seconds=budget_seconds
    )
    kept = _change(home, lambda known: _with(known, mirror))
    mirror = next(known for known in kept if (known.key, known.location) == (key, place))
    return pushed._replace(mirror=mirror, created=created)


def _with(known: list[Mirror], mirror: Mirror) -> list[Mirror]:
    there = any((old.key, old.location) == (mirror.key, mirror.location) for old in known)
    return known if there else [*known, mirror]


def push_mirror(
    repository: Repository,
    mirror: Mirror,
    *,
    clock: Clock,
    commit: str,
    budget_seconds: float = PUSH_SECONDS,
) -> Pushed:
    """Push all branches, tags and ``commit`` to a mirror and see that it holds them.

    A branch that was rewritten here is not forced over the one there. A commit that is on no branch
    gets one there, ``cxlocal/<commit>``. Raises Refused ``mirror-refused``.
    """
    everything = ("refs/heads/*:refs/heads/*", "refs/tags/*:refs/tags/*")
    words = _push(repository, mirror.location, everything, budget_seconds)
    answer = _look(repository, mirror, commit, clock)
    if answer.verdict != "held":
        alone = f"{commit}:refs/heads/cxlocal/{commit}"
        words = _push(repository, mirror.location, (alone,), budget_seconds) or words
        answer = _look(repository, mirror, commit, clock)
    if answer.verdict != "held":
        raise _not_pushed(repository, mirror, words or answer.reason)
    return Pushed(mirror, False, answer.ref)


def _push(repository: Repository, place: str, specs: Sequence[str], seconds: float) -> str:
    """Push; what git complained about, or nothing. A branch that could not be moved does not
    matter where the commit itself has arrived."""
    world, refusal = way_to_remotes(repository.root, believed=repository.believed)
    if refusal:
        return refusal
    answer = git(
        repository.root, "push", "--quiet", "--no-verify", "--no-signed",
        "--no-recurse-submodules", "--end-of-options", place, *specs,
        timeout_seconds=seconds, world=world,
    )  # fmt: skip
    return complaint(answer) if answer.code != 0 else ""


def _look(repository: Repository, mirror: Mirror, commit: str, clock: Clock) -> RemoteAnswer:
    return ask_remote(repository, commit, mirror.location, clock=clock, budget_seconds=LOOK_SECONDS)


def _not_pushed(repository: Repository, mirror: Mirror, words: str) -> Refused:
    hint = "see that it can be written to, then: cxlocal mirror add " + clean_url(mirror.location)
    named = () if repository.believed else own_programs(read_settings(repository.root))
    if named:
        hint = f"git config --local --unset-all {named[0]}, and set it by git config --global"
    elif repository.shallow:
        hint = f"this clone is shallow: git fetch --unshallow, then {hint}"
    return Refused(
        f"the mirror {clean_url(mirror.location)} does not hold the commit after the push",
        why=words,
        hint=hint,
        name="mirror-refused",
    )


def remove_mirror(home: Path, key: str, location: str) -> Mirror:
    """Forget a mirror; what it holds stays. Raises UsageError ``no-such-mirror``."""
    path = local_path(Path.cwd(), location)
    wanted = {location, os.path.realpath(path or location)}
    known = list_mirrors(home, key)
    found = next((mirror for mirror in known if mirror.location in wanted), None)
    if found is not None:
        _change(home, lambda all_known: [old for old in all_known if old != found])
        return found
    raise UsageError(
        f"{clean_url(location)} is no mirror of this repository",
        why="known here: " + (", ".join(clean_url(old.location) for old in known) or "none"),
        hint="cxlocal mirror list",
        name="no-such-mirror",
    )


def _place(repository: Repository, location: str) -> str:
    """The location as it is remembered: an absolute path, or the address as given."""
    if not location.strip() or location.startswith("-") or not location.isprintable():
        raise UsageError(
            f"{location!r} cannot be a mirror",
            why="it is neither a path nor an address",
            hint="cxlocal mirror add /media/usb/webshop.git",
            name="bad-mirror",
        )
    if location != clean_url(location):
        raise UsageError(
            f"the address {clean_url(location)} holds a user name or a password",
            why="the list of mirrors is a plain file",
            hint="give the address without it and let git ask its credential helper",
            name="bad-mirror",
        )
    # A relative path is relative to the folder the command was given in, which -C has entered.
    path = local_path(Path.cwd(), location)
    place = location if path is None else os.path.realpath(path)
    if is_itself(repository, place):
        raise Refused(
            f"{clean_url(location)} is this repository itself",
            why="a commit in it has not left this working copy",
            hint="name a folder on another disk: cxlocal mirror add /media/usb/webshop.git",
            name="mirror-is-itself",
        )
    return place


def _create(repository: Repository, place: str) -> bool:
    """Make the bare repository of a mirror in a folder; True when it was not there."""
    path = local_path(repository.root, place)
    if path is None or (path.is_dir() and any(path.iterdir())):
        return False
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise Trouble(
            f"the folder {path} cannot be made", why=error.strerror or str(error),
            hint="choose a folder you may write to", name="mirror-not-made",
        ) from error  # fmt: skip
    answer = git(
        path, "init", "--quiet", "--bare", "--template=",
        f"--object-format={repository.object_format}", ".",
    )  # fmt: skip
    if answer.code != 0:
        raise Trouble(
            f"git cannot make a repository in {path}",
            why=complaint(answer),
            hint="choose another folder, or make it by hand (git init --bare) and add that",
            name="mirror-not-made",
        )
    return True


def _read(home: Path) -> list[Mirror]:
    path = home / FILE
    try:
        raw = path.read_bytes()
    except FileNotFoundError:
        return []
    try:
        document: dict[str, Any] = json.loads(raw)
        if document["format"] != FORMAT:
            raise ValueError(f"its format is {document['format']!r}, this program knows {FORMAT}")
        return [
            Mirror(str(row["repository"]), str(row["location"]), str(row["added_at"]))
            for row in document["mirrors"]
        ]
    except (ValueError, KeyError, TypeError) as error:
        raise Trouble(
            f"the list of mirrors cannot be read: {decode(os.fsencode(path))}",
            why=str(error),
            hint="move the file away and add the mirrors again: cxlocal mirror add PATH",
            name="mirrors-unreadable",
        ) from error


def _change(home: Path, edit: Callable[[list[Mirror]], list[Mirror]]) -> list[Mirror]:
    """Replace the list of mirrors by what ``edit`` makes of it; two commands at once both count."""
    with _locked(home):
        mirrors = edit(_read(home))
        rows = [
            {"repository": m.key, "location": m.location, "added_at": m.added_at} for m in mirrors
        ]
        text = json.dumps({"format": FORMAT, "mirrors": rows}, indent=1, ensure_ascii=True)
        write_whole(home / FILE, text + "\n")
    return mirrors


@contextmanager
def _locked(home: Path) -> Iterator[None]:
    from filelock import FileLock, Timeout

    with writing_home(home):
        make_home(home)
    # A soft lock outlives the process that made it; without the kernel's there is none.
    lock = FileLock(
        home / f"{FILE}.lock", timeout=LOCK_SECONDS, mode=FILE_MODE, fallback_to_soft=False
    )
    try:
        with writing_home(home):
            lock.acquire()
    except Timeout as error:
        raise Trouble(
            "the list of mirrors is in use by another command",
            why="two commands that change it at once would undo each other",
            hint="try again when it has ended",
            name="mirrors-busy",
        ) from error
    except OSError as error:
        raise Trouble(
            f"the list of mirrors in {decode(os.fsencode(home))} cannot be locked",
            why=error.strerror or str(error),
            hint="keep the home folder on a file system that has locks: CXLOCAL_HOME=FOLDER",
            name="mirrors-not-locked",
        ) from error
    try:
        yield
    finally:
        lock.release()
