"""Whether a commit can be reached from what a remote holds.

A remote is asked now for its refs (``ls-remote``). A commit that one of them names is held; so is
one that is an ancestor of a ref whose commit we have. Where the remote has moved on to commits we do
not have, they are fetched into a folder of their own that is thrown away: asking writes nothing
into the repository, no ref, no object.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from cxlocal.clock import Clock
from cxlocal.files import fresh_folder
from cxlocal.patterns import compile_late
from cxlocal.revision.git import ask, complaint, decode, git
from cxlocal.revision.remotes import Advertised, clean_url, list_remote
from cxlocal.revision.repository import Repository
from cxlocal.revision.settings import way_to_remotes
from cxlocal.values import NamedTuple

FETCH_REFS_MAX = 64
"""How many unknown refs are looked into. A repository that gains more in the time between a fetch
and a release answers 'unknown', and the last known state decides."""

_LAST_ENTRY_BYTES = 4096
"""Enough for the last line of a reflog."""


class RemoteAnswer(NamedTuple):
    """What one remote says about one commit."""

    verdict: str
    """``held``, ``absent`` (it answered and does not hold it) or ``unknown``."""
    ref: str
    reason: str
    """Why it is not known, or how it was found absent."""
    tags: tuple[str, ...] | None = None
    """The tags it has; None where it did not answer."""
    refs: Mapping[str, str] = {}
    """What its branches and tags point to, as far as it answered."""


class Tracked(NamedTuple):
    """What our own copy of a remote's refs says."""

    ref: str
    age_seconds: float | None
    """Since the remote was last in touch with this clone, as far as that can be told."""


def ask_remote(
    repository: Repository, commit: str, place: str, *, clock: Clock, budget_seconds: float
) -> RemoteAnswer:
    """Ask the remote ``place`` (name or address) whether it holds ``commit``."""
    deadline = clock.monotonic() + budget_seconds
    said = list_remote(repository, place, timeout_seconds=budget_seconds, everything=False)
    if said.problem:
        return RemoteAnswer("unknown", "", said.problem)
    answer = _answer(repository, commit, place, said.refs, clock, deadline)
    return answer._replace(tags=tags_of(said), refs=said.refs)


def tags_of(said: Advertised) -> tuple[str, ...]:
    """The names of the tags among what a remote advertised."""
    start = "refs/tags/"
    return tuple(ref[len(start) :] for ref in said.refs if ref.startswith(start))


def _answer(
    repository: Repository,
    commit: str,
    place: str,
    refs: Mapping[str, str],
    clock: Clock,
    deadline: float,
) -> RemoteAnswer:
    """What the remote says whose branches and tags are ``refs``."""
    ref = _find(repository, commit, refs)
    if ref:
        return RemoteAnswer("held", ref, "")
    left = deadline - clock.monotonic()
    said = list_remote(repository, place, timeout_seconds=left, everything=True)
    if said.problem:
        # Branches and tags were listed and only the second question failed: not an answer.
        return RemoteAnswer("unknown", "", said.problem)
    ref = _find(repository, commit, {ref: tip for ref, tip in said.refs.items() if ref not in refs})
    if ref:
        return RemoteAnswer("held", ref, "")
    return _look_further(repository, commit, place, refs, deadline - clock.monotonic())


def _find(
    repository: Repository, commit: str, refs: Mapping[str, str], extra: Mapping[str, str] = {}
) -> str:
    """The ref, of those a remote named, from which ``commit`` is reached; or nothing."""
    ordered = sorted((ref for ref in refs if ref != "HEAD"), key=_preference)
    for ref in ordered:
        if refs[ref] == commit:
            return ref
    known = known_objects(repository, {commit, *refs.values()}, extra)
    if commit not in known:
        return ""
    return first_containing(
        repository, commit, [(ref, refs[ref]) for ref in ordered if refs[ref] in known], extra
    )


def _preference(ref: str) -> tuple[int, str]:
    kinds = ("refs/heads/main", "refs/heads/master", "refs/heads/", "refs/tags/", "refs/")
    return next(place for place, kind in enumerate(kinds) if ref.startswith(kind)), ref


def known_objects(
    repository: Repository, ids: Iterable[str], extra: Mapping[str, str] = {}
) -> frozenset[str]:
    """Those of ``ids`` that are commits in this repository."""
    kinds = object_kinds(repository, ids, extra)
    return frozenset(id for id, kind in kinds.items() if kind == "commit")


def object_kinds(
    repository: Repository, ids: Iterable[str], extra: Mapping[str, str] = {}
) -> dict[str, str]:
    """What those of ``ids`` are that are here: ``commit``, ``tag``, ``tree`` or ``blob``."""
    raw = ask(
        repository.root, "cat-file", "--batch-check=%(objectname) %(objecttype)",
        input="\n".join(ids).encode() + b"\n", extra=extra,
    )  # fmt: skip
    lines = (line.split(" ") for line in decode(raw).splitlines())
    return {words[0]: words[1] for words in lines if words[1] in _KINDS}


_KINDS = ("commit", "tag", "tree", "blob")


def _unsettled(kinds: Mapping[str, str], refs: Mapping[str, str]) -> list[str]:
    """The refs of which it cannot be said here what they reach. A tag may point at a tree or a
    blob: that reaches no commit, and leaves no question open."""
    return [ref for ref, tip in refs.items() if kinds.get(tip, "tag") == "tag"]


def first_containing(
    repository: Repository,
    commit: str,
    tips: Sequence[tuple[str, str]],
    extra: Mapping[str, str] = {},
) -> str:
    """The first of ``tips`` (name, commit) that ``commit`` is an ancestor of, or nothing.

    All tips are asked about at once; the name is then found by halving.
    """
    if not tips or not _reached(repository, commit, [tip for _, tip in tips], extra):
        return ""
    low, high = 0, len(tips) - 1
    while low < high:
        middle = (low + high) // 2
        if _reached(repository, commit, [tip for _, tip in tips[: middle + 1]], extra):
            high = middle
        else:
            low = middle + 1
    return tips[low][0]


def _reached(
    repository: Repository, commit: str, tips: Iterable[str], extra: Mapping[str, str]
) -> bool:
    # Nothing is left of the commit once all that the tips reach is taken away.
    lines = [commit, *(f"^{tip}" for tip in tips)]
    left = ask(
        repository.root, "rev-list", "--max-count=1", "--stdin",
        input="\n".join(lines).encode() + b"\n", extra=extra,
    )  # fmt: skip
    return not left.strip()


def _look_further(
    repository: Repository, commit: str, place: str, refs: Mapping[str, str], seconds: float
) -> RemoteAnswer:
    """The remote's branches and tags, none of which is known to reach the commit: fetch those we
    do not have, aside, and look again."""
    kinds = object_kinds(repository, {commit, *refs.values()})
    unknown = sorted(_unsettled(kinds, refs), key=_preference)
    if kinds.get(commit) != "commit":
        return RemoteAnswer("unknown", "", "the commit is not in this clone, so its place in the "
                      "remote's history cannot be looked up")  # fmt: skip
    if unknown:
        answer = _fetch_aside(repository, commit, place, refs, unknown, seconds)
        if answer is not None:
            return answer
    if repository.shallow:
        return RemoteAnswer("unknown", "", "this clone is shallow, the history between the commit and "
                      "the remote's branches is not here")  # fmt: skip
    return RemoteAnswer(
        "absent", "", "it answered, and none of its branches and tags reaches the commit"
    )


def _fetch_aside(
    repository: Repository,
    commit: str,
    place: str,
    refs: Mapping[str, str],
    unknown: Sequence[str],
    seconds: float,
) -> RemoteAnswer | None:
    """Fetch unknown refs into a folder of their own; None when the commit is in none of them."""
    moved_on = "it has moved on to commits that are not here"
    if seconds <= 0:
        return RemoteAnswer("unknown", "", f"{moved_on}, and the time for asking was used up")
    with fresh_folder() as folder:
        aside = {
            "GIT_OBJECT_DIRECTORY": os.fspath(folder),
            "GIT_ALTERNATE_OBJECT_DIRECTORIES": _quoted(repository.common_dir / "objects"),
        }
        wanted = [ref for ref in unknown if _PLAIN_REF.fullmatch(ref)][:FETCH_REFS_MAX]
        answer = git(
            repository.root, "fetch", "--quiet", "--no-tags", "--no-write-fetch-head",
            "--no-recurse-submodules", "--refmap=", "--end-of-options", place, *wanted,
            timeout_seconds=seconds, extra=aside,
            world=way_to_remotes(repository.root, believed=repository.believed)[0],
        )  # fmt: skip
        if answer.code != 0:
            return RemoteAnswer("unknown", "", f"{moved_on} ({complaint(answer)})")
        ref = _find(repository, commit, refs, aside)
        if ref:
            return RemoteAnswer("held", ref, "")
        still = _unsettled(object_kinds(repository, refs.values(), aside), refs)
    return RemoteAnswer("unknown", "", f"{moved_on}, in too many branches") if still else None


_PLAIN_REF = compile_late(r"refs/[^\x00-\x20\x7f:+^~?*\[\\]+")


def _quoted(path: Path) -> str:
    """A path in git's list of object folders, where a colon would split it."""
    text = os.fspath(path)
    if ":" not in text and not text.startswith('"'):
        return text
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def tracked(
    repository: Repository, commit: str, name: str, url: str, *, now_ms: int, alone: bool
) -> Tracked | None:
    """What this clone remembers of the remote ``name``: a ref of it that reaches ``commit``.

    ``alone``: it is the remote CI servers check out from, so their own refs count as its refs.
    """
    places = [f"refs/remotes/{name}/"]
    if alone:
        # actions/checkout writes refs/remotes/pull/7/merge; GitLab refs/pipelines/<id>.
        places += ["refs/remotes/pull/", "refs/pipelines/", "refs/merge-requests/"]
    raw = ask(
        repository.root, "for-each-ref", f"--contains={commit}", "--format=%(refname)", *places
    )
    refs = [ref for ref in decode(raw).splitlines() if not ref.endswith("/HEAD")]
    fetched = _fetch_head(repository, url)
    if refs:
        times = [_reflog_seconds(repository, ref) for ref in refs]
        return Tracked(refs[0], _age(now_ms, [*times, _fetch_seconds(repository, fetched)]))
    known = known_objects(repository, [commit, *(tip for _, tip in fetched)])
    ref = first_containing(repository, commit, [pair for pair in fetched if pair[1] in known])
    return Tracked(ref, _age(now_ms, [_fetch_seconds(repository, fetched)])) if ref else None


def _fetch_head(repository: Repository, url: str) -> list[tuple[str, str]]:
    """What the last ``git fetch`` brought from ``url``: (what git calls it, commit)."""
    try:
        text = decode((repository.git_dir / "FETCH_HEAD").read_bytes())
    except FileNotFoundError:
        return []
    found = []
    for line in text.splitlines():
        commit, _, rest = line.partition("\t")
        note = rest.partition("\t")[2]
        what, _, place = note.rpartition(" of ")
        if _shortened(place or note) == _shortened(url):
            found.append((f"FETCH_HEAD ({what})" if what else "FETCH_HEAD", commit))
    return found


_SCP_USER = compile_late(r"^[^/:@\s]+@(?=[^/]+:)")


def _shortened(url: str) -> str:
    """As git shortens addresses in FETCH_HEAD: without user, ``/`` and ``.git`` at the end."""
    plain = re.sub(r"(?<=://)[^/@\s]*@", "", clean_url(url))
    return _SCP_USER.sub("", plain).rstrip("/").removesuffix(".git")


def _fetch_seconds(repository: Repository, fetched: Sequence[object]) -> float | None:
    # FETCH_HEAD holds no time; git rewrites it at every fetch.
    return _modified(repository.git_dir / "FETCH_HEAD") if fetched else None


def _reflog_seconds(repository: Repository, ref: str) -> float | None:
    """When ``ref`` last changed here: by its reflog, else by the file that holds it."""
    try:
        with (repository.common_dir / "logs" / ref).open("rb") as log:
            log.seek(max(0, os.fstat(log.fileno()).st_size - _LAST_ENTRY_BYTES))
            match = re.search(rb"> (\d+) [+-]\d{4}\t[^\n]*\n?\Z", log.read())
    except (FileNotFoundError, NotADirectoryError):
        match = None
    if match:
        return float(match[1])
    loose = _modified(repository.common_dir / ref)
    return loose if loose is not None else _modified(repository.common_dir / "packed-refs")


def _modified(path: Path) -> float | None:
    try:
        return path.stat().st_mtime
    except (FileNotFoundError, NotADirectoryError):
        return None


def _age(now_ms: int, times_seconds: Iterable[float | None]) -> float | None:
    """Seconds since the latest of the times; a time in the future counts as now."""
    known = [time for time in times_seconds if time is not None]
    return round(max(0.0, now_ms / 1000 - max(known)), 3) if known else None
