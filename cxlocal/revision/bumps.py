"""Commits made after a release, that hold the version and nothing else of a project: how they are known,
made, and brought to a remote.

One says so in its message (``Released-By: cxlocal RUN``) and holds what cxlocal would have written onto its
parent (``Rule``). Git alone tells, so a machine that has never heard of the release knows as well.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping
from pathlib import Path, PurePosixPath

from cxlocal.errors import Trouble
from cxlocal.files import fresh_folder
from cxlocal.patterns import compile_late
from cxlocal.revision.git import ask, complaint, decode, git
from cxlocal.revision.reach import known_objects
from cxlocal.revision.repository import Repository, read_objects
from cxlocal.revision.settings import way_to_remotes
from cxlocal.values import NamedTuple, Protocol

TRAILER = "Released-By: cxlocal"
COMMIT_TRAILER = "Released-Commit:"
_RUN = compile_late(rf"^{TRAILER} (\S+)$", 8)  # re.MULTILINE
_REGULAR, _ABSENT, _FOLDER = ("100644", "100755"), "000000", "040000"
_KINDS = {_FOLDER: "a folder", "120000": "a link", "160000": "a repository of its own"}
PUSH_SECONDS = 300.0
"""A remote may call hooks before it answers."""
_OF_COMMIT = compile_late(
    rf"^{COMMIT_TRAILER} ([0-9a-f]{{40}}(?:[0-9a-f]{{24}})?)$", 8
)  # re.MULTILINE


class Pushed(NamedTuple):
    """Where such a commit went."""

    ref: str
    """Empty where no remote took it."""
    problem: str
    """Why not to the branch that was meant; empty where it is there."""


class Rule(Protocol):
    """What such a commit has to hold, by the files that it changes: what was in them (None: there was no such
    file) and what is."""

    def files(self) -> frozenset[str]:
        """What it may touch, named from the top of the repository."""

    def wrote(self, run: str, written: Mapping[str, tuple[bytes | None, bytes]]) -> bool:
        """Whether one that names ``run`` holds this."""

    def wrote_all(self, written: Mapping[str, tuple[bytes | None, bytes]]) -> bool:
        """Whether several may have brought this together."""


def bumps_in(repository: Repository, span: tuple[str, ...], rule: Rule | None) -> frozenset[str]:
    """The commits of ``span`` (arguments of ``git rev-list``) that only tell of a release: by their words,
    and by what they hold."""
    if rule is None:
        return frozenset()
    raw = ask(
        repository.root, "log", "--no-merges", f"--grep=^{TRAILER} ", "--no-show-signature", "-z",
        "--no-color", "--no-decorate", "--encoding=UTF-8", "--format=%H%x01%B", "--end-of-options",
        *span,
    )  # fmt: skip
    told = (one.partition("\x01") for one in decode(raw).split("\0") if one)
    runs = {commit.strip(): _RUN.findall(words) for commit, _, words in told}
    if not runs:
        return frozenset()
    raw = ask(
        repository.root, "diff-tree", "--stdin", "-r", "-z", "--raw", "--no-abbrev", "--no-renames",
        input="\n".join(runs).encode() + b"\n",
    )  # fmt: skip
    found = set()
    for commit, lines in _differences(raw).items():
        written = _written(repository, lines, rule.files())
        run = runs.get(commit, [])
        if len(run) == 1 and written is not None and rule.wrote(run[0], written):
            found.add(commit)
    return frozenset(found)


def _differences(raw: bytes, commit: str = "") -> dict[str, dict[str, list[str]]]:
    """What ``diff-tree --raw -z`` says: for each commit the files, with modes, objects and kind."""
    found: dict[str, dict[str, list[str]]] = {}
    words = iter(raw.split(b"\0"))
    for word in words:
        if word.startswith(b":"):
            name = os.fsdecode(next(words))
            found.setdefault(commit, {})[name] = decode(word)[1:].split()
        elif word:
            commit = decode(word).strip()
    return found


def _written(
    repository: Repository, lines: Mapping[str, list[str]], files: Collection[str]
) -> dict[str, tuple[bytes | None, bytes]] | None:
    """What the files held and hold; None where others are touched, or more than the content."""
    if not lines or not set(lines) <= set(files):
        return None
    for old, new, *_ in lines.values():
        if new not in _REGULAR or (old != new and (old, new) != (_ABSENT, _REGULAR[0])):
            return None
    objects = [one for line in lines.values() for one in line[2:4] if one.strip("0")]
    contents = read_objects(repository, objects)
    written = {}
    for name, (old, _, before, after, _) in lines.items():
        was, now = contents.get(before), contents.get(after)
        if now is None or (was is None and old != _ABSENT):
            return None
        written[name] = (was, now)
    return written


def only_bumps(repository: Repository, commit: str, released: str, rule: Rule | None) -> bool:
    """Whether ``commit`` brings nothing since ``released`` (empty: what its own message names) but
    such commits, and merges of them."""
    if rule is None:
        return False
    if not released:
        found = _OF_COMMIT.search(decode(ask(
            repository.root, "log", "-1", "--no-show-signature", "--format=%B", "--end-of-options",
            commit,
        )))  # fmt: skip
        released = "" if found is None else found[1]
    if not released or released == commit or released not in known_objects(repository, [released]):
        return False
    if git(repository.root, "merge-base", "--is-ancestor", released, commit).code != 0:
        return False
    span = (commit, f"^{released}", "--")
    brought = decode(ask(repository.root, "rev-list", "--no-merges", "--end-of-options", *span))
    bumps = bumps_in(repository, span, rule)
    if not bumps or not set(brought.split()) <= bumps:
        return False
    # A merge may have brought what none of its commits has.
    raw = ask(
        repository.root, "diff-tree", "-r", "-z", "--raw", "--no-abbrev", "--no-renames",
        "--end-of-options", released, commit,
    )  # fmt: skip
    lines = _differences(raw).get("", {})
    written = _written(repository, lines, rule.files()) if lines else {}
    return written is not None and rule.wrote_all(written)


def make_commit(
    repository: Repository, parent: str, files: Mapping[str, bytes], message: str, person: str
) -> str:
    """A commit on ``parent`` in which ``files``, named from the top, hold these bytes; no branch and no
    working tree changes. ``person`` (``Name <mail>``) signs where git knows nobody. Raises Trouble where one
    of them is a folder or a link there, or lies below a file."""
    modes = _modes(repository, parent, files)
    with fresh_folder() as folder:
        extra = {"GIT_INDEX_FILE": str(Path(folder) / "index"), **_identity(repository, person)}
        ask(repository.root, "read-tree", parent, extra=extra)
        lines = []
        for name, content in files.items():
            blob = ask(
                repository.root, "hash-object", "-w", "--no-filters", "--stdin", input=content
            )
            lines.append(f"{modes.get(name, '100644')} {decode(blob).strip()}\t{name}")
        ask(
            repository.root, "update-index", "-z", "--add", "--index-info", extra=extra,
            input="\0".join([*lines, ""]).encode("utf-8", "surrogateescape"),
        )  # fmt: skip
        tree = decode(ask(repository.root, "write-tree", "--missing-ok", extra=extra)).strip()
        made = ask(
            repository.root, "commit-tree", tree, "-p", parent, "-F", "-", extra=extra,
            input=message.encode("utf-8", "backslashreplace"),
        )  # fmt: skip
    return decode(made).strip()


def _modes(repository: Repository, commit: str, files: Collection[str]) -> dict[str, str]:
    """The modes of those of ``files`` that the commit has."""
    above = {str(one) for name in files for one in PurePosixPath(name).parents} - {"."}
    raw = ask(
        repository.root, "--literal-pathspecs", "ls-tree", "-t", "-z", "--full-tree",
        "--end-of-options", commit, "--", *files, *above,
    )  # fmt: skip
    modes = {}
    for entry in filter(None, raw.split(b"\0")):
        head, _, path = entry.partition(b"\t")
        modes[os.fsdecode(path)] = decode(head).split()[0]
    for name, mode in modes.items():
        wanted = _REGULAR if name in files else (_FOLDER,)
        if mode not in wanted and (name in files or name in above):
            kind = _KINDS.get(mode, "a file")
            raise Trouble(
                "the commit after the release was not made",
                why=f"{name} is {kind} in {commit[:12]}",
                hint="name a file in [bump] changelog and [version] stamp",
                name="bump-not-pushed",
            )
    return {name: mode for name, mode in modes.items() if name in files}


def _identity(repository: Repository, person: str) -> dict[str, str]:
    if git(repository.root, "var", "GIT_COMMITTER_IDENT").code == 0:
        return {}
    name, _, mail = person.partition(" <")
    mail = mail.rstrip(">") or "cxlocal@localhost"
    return {
        f"GIT_{who}_{what}": value
        for who in ("AUTHOR", "COMMITTER")
        for what, value in (("NAME", name or "cxlocal"), ("EMAIL", mail))
    }


def push_commit(
    repository: Repository, remote: str, commit: str, branch: str, aside: str
) -> Pushed:
    """Push to ``branch`` if that is a step forward there and allowed, else as a branch of its own,
    ``aside``. Raises Trouble where neither arrives."""
    problem = (
        _push(repository, remote, f"{commit}:refs/heads/{branch}")
        if branch
        else ("nobody says to which branch")
    )
    if not problem:
        return Pushed(branch, "")
    words = _push(repository, remote, f"{commit}:refs/heads/{aside}")
    if words:
        raise Trouble(
            "the commit after the release was not pushed",
            why=words,
            hint=f"git push {remote} {commit}:refs/heads/{branch or aside}",
            name="bump-not-pushed",
        )
    return Pushed(aside, problem)


def _push(repository: Repository, remote: str, spec: str) -> str:
    """What git complained about; empty where the push arrived. Servers that know ``ci.skip`` start
    nothing for it, and others take no such option."""
    world, refusal = way_to_remotes(repository.root, believed=repository.believed)
    if refusal:
        return refusal
    words = ""
    for option in (("-o", "ci.skip"), ()):
        answer = git(
            repository.root, "push", "--quiet", "--no-verify", "--no-signed",
            "--no-recurse-submodules", *option, "--end-of-options", remote, spec,
            timeout_seconds=PUSH_SECONDS, world=world,
        )  # fmt: skip
        if answer.code == 0:
            return ""
        words = complaint(answer)
        if "push options" not in decode(answer.stderr):
            break
    return words
