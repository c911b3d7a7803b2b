"""How git is called: one place for its environment, its options and its complaints.

What a repository or a caller's surroundings say must not change the meaning of an answer:

- no prompt, no pager, no optional locks, messages in English (they are read here);
- ``GIT_DIR`` and its kin, set while git runs a hook, are dropped: the folder decides;
- replaced objects and grafts are ignored, they can make a commit's tree or ancestry look different
  from what the remote holds;
- hooks and file-system monitors named in a repository's configuration are not started;
- names are given after ``--end-of-options`` or on standard input, so none is taken for an option.

How much of the surroundings takes part is said with each question (``World``): a remote is asked
with the proxies and credential helpers of the person, a question about what is here reaches no
remote, and files are written and compared by a git that knows nothing of this machine.
"""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from enum import Enum
from pathlib import Path

from cxlocal.errors import Trouble, UsageError
from cxlocal.patterns import compile_late
from cxlocal.processes.family import traced
from cxlocal.processes.start import OUTPUT_LIMIT_BYTES, Captured, ProgramRequest, run_captured
from cxlocal.text import git_reason

LOCAL_SECONDS = 60.0
"""For questions answered from the disk. Far above any measured (a status of 100,000 files on a cold
disk took 9 s), low enough that a dead network file system does not hold a release for ever."""

_OPTIONS = (
    "--no-pager",
    "-c", "core.hooksPath=/dev/null",
    "-c", "core.fsmonitor=false",
    "-c", "core.alternateRefsCommand=true",
    "-c", "protocol.ext.allow=never",
    "-c", "diff.ignoreSubmodules=none",
    "-c", "core.quotePath=false",
    "-c", "gc.auto=0",
    "-c", "maintenance.auto=false",
    "-c", "advice.detachedHead=false",
    "-c", "color.ui=false",
)  # fmt: skip


class World(Enum):
    """How much of what surrounds git takes part in a question."""

    HERE = "here"
    """What is on this machine, by everyone's configuration; no remote is reached, also not for
    objects that a partial clone lacks."""
    REMOTE = "remote"
    """A remote may be reached, by the ways git brings along. The caller has seen that the
    repository's own configuration names no program (``settings.own_programs``)."""
    BELIEVED = "believed"
    """A remote may be reached in whatever way the repository's own configuration says."""
    ALONE = "alone"
    """No configuration, no attributes and no variables of the person or the system."""


_OF_WORLD = {
    World.HERE: {"GIT_NO_LAZY_FETCH": "1", "GIT_ALLOW_PROTOCOL": "none"},
    World.REMOTE: {"GIT_ALLOW_PROTOCOL": "file:git:http:https:ssh"},
    World.BELIEVED: {},
    World.ALONE: {
        "GIT_NO_LAZY_FETCH": "1",
        "GIT_ALLOW_PROTOCOL": "none",
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_CONFIG_SYSTEM": os.devnull,
        "GIT_CONFIG_GLOBAL": os.devnull,
        "GIT_ATTR_NOSYSTEM": "1",
    },
}

_PLACE_OF_GIT = "GIT_EXEC_PATH"
"""Where git has its own programs; as PATH, it says which git there is."""

ABOUT_USER = ("var", "GIT_AUTHOR_IDENT")

_DROPPED = frozenset(
    {
        "GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_COMMON_DIR", "GIT_OBJECT_DIRECTORY",
        "GIT_ALTERNATE_OBJECT_DIRECTORIES", "GIT_NAMESPACE", "GIT_PREFIX", "GIT_SHALLOW_FILE",
        "GIT_QUARANTINE_PATH", "GIT_INTERNAL_SUPER_PREFIX", "GIT_CONFIG", "GIT_EXTERNAL_DIFF",
        "GIT_LITERAL_PATHSPECS", "GIT_GLOB_PATHSPECS", "GIT_NOGLOB_PATHSPECS",
        "GIT_ICASE_PATHSPECS", "GIT_ATTR_SOURCE", "GIT_DEFAULT_HASH", "GIT_TEMPLATE_DIR",
    }
)  # fmt: skip

_FIXED = {
    "LC_ALL": "C",
    "LANGUAGE": "C",
    "GIT_TERMINAL_PROMPT": "0",
    "GCM_INTERACTIVE": "never",
    "SSH_ASKPASS_REQUIRE": "never",
    "GIT_OPTIONAL_LOCKS": "0",
    "GIT_NO_REPLACE_OBJECTS": "1",
    "GIT_GRAFT_FILE": os.devnull,
    "GIT_LFS_SKIP_SMUDGE": "1",
    "GIT_PAGER": "cat",
    "GIT_FLUSH": "0",
}


def git_environment(
    environ: Mapping[str, str] | None = None, world: World = World.HERE
) -> dict[str, str]:
    """The variables git is started with, made from ``environ`` (ours if None)."""
    source = os.environ if environ is None else environ
    alone = world is World.ALONE
    kept = {name: value for name, value in source.items() if _kept(name, alone=alone)}
    return kept | _FIXED | _OF_WORLD[world]


def _kept(name: str, *, alone: bool) -> bool:
    if alone and name.startswith("GIT_"):
        return name == _PLACE_OF_GIT
    return name not in _DROPPED and not name.startswith("GIT_TRACE")


def git(
    folder: Path,
    *arguments: str,
    input: bytes = b"",
    timeout_seconds: float = LOCAL_SECONDS,
    output_limit: int = OUTPUT_LIMIT_BYTES,
    extra: Mapping[str, str] | None = None,
    world: World = World.HERE,
) -> Captured:
    """Run ``git arguments`` in ``folder``; the caller reads exit status and output.

    ``extra`` adds variables. Raises UsageError ``no-git`` when there is no git, Trouble when git
    cannot be started.
    """
    if _begun.questions and not extra:
        question = (folder, arguments, world)
        answer = _answer_early(question, input, timeout_seconds, output_limit)
        if answer is not None:
            return answer
    environment = git_environment(world=world)
    if extra:
        environment |= extra
    # What git starts (ssh, helpers) goes with it.
    environment, kill = traced(environment)
    try:
        return run_captured(
            ("git", *_OPTIONS, *arguments),
            cwd=folder,
            env=environment,
            kill=kill,
            timeout_seconds=timeout_seconds,
            input=input,
            output_limit=output_limit,
        )
    except Trouble as error:
        if error.name != "program-missing":
            raise
        raise UsageError(
            "git was not found on this machine",
            why="a release is made from a commit, and only git can tell which",
            hint="install git (Debian: apt install git; macOS: xcode-select --install)",
            name="no-git",
        ) from error


_Question = tuple[Path, tuple[str, ...], World]


class _Early:
    """A question on its way or answered, and how often it will be asked."""

    def __init__(
        self, asked: ProgramRequest | None, times: int, answer: Captured | None = None
    ) -> None:
        self.asked = asked
        self.times = times
        self.answer = answer


class _Begun(threading.local):
    """What was begun by this thread; no other one takes or drops its answers."""

    def __init__(self) -> None:
        self.questions: dict[_Question, _Early] = {}


_begun = _Begun()


def ask_early(
    folder: Path,
    *arguments: str,
    wants_input: bool = False,
    times: int = 1,
    world: World = World.HERE,
) -> None:
    """Let git begin with a question that ``git`` will be asked in these very words.

    Nothing else changes: who asks gets the answer, ``times`` times, and says how long to wait for
    it. A git that cannot be started is no error here; the question itself will tell.
    """
    question = (folder, arguments, world)
    if question not in _begun.questions:
        environment, kill = traced(git_environment(world=world))
        with suppress(Trouble):
            asked = ProgramRequest(
                ("git", *_OPTIONS, *arguments),
                cwd=folder,
                env=environment,
                wants_input=wants_input,
                kill=kill,
            )
            _begun.questions[question] = _Early(asked, times)


def _answer_early(question: _Question, input: bytes, seconds: float, limit: int) -> Captured | None:
    """The answer to a question that was begun early; None if it was not."""
    early = _begun.questions.get(question)
    if early is None or (early.asked is not None and early.asked.wants_input != bool(input)):
        return None
    early.times -= 1
    if early.times <= 0:
        del _begun.questions[question]
    if early.answer is None:
        assert early.asked is not None
        early.answer = early.asked.answer(seconds, input=input, output_limit=limit)
    return early.answer


def know_early(folder: Path, *arguments: str, answer: Captured, times: int = 1) -> None:
    """Spare git a question about what is here whose answer follows from another one."""
    _begun.questions[folder, arguments, World.HERE] = _Early(None, times, answer)


def forget_early() -> None:
    """Drop the questions nobody asked after all: their answers grow old."""
    while _begun.questions:
        asked = _begun.questions.popitem()[1].asked
        if asked is not None:
            asked.drop()


def ask(
    folder: Path,
    *arguments: str,
    input: bytes = b"",
    extra: Mapping[str, str] | None = None,
    world: World = World.HERE,
) -> bytes:
    """The standard output of a local git command that has no reason to fail.

    Raises Trouble ``git-failed`` with git's own words if it does.
    """
    answer = git(folder, *arguments, input=input, extra=extra, world=world)
    if answer.code != 0 or answer.truncated:
        raise failed(arguments, answer)
    return answer.stdout


def failed(arguments: Sequence[str], answer: Captured) -> Trouble:
    """The error for a git command that did not do what it should."""
    return Trouble(
        f"git {arguments[0]} did not answer", why=complaint(answer), name="git-failed",
        hint="run 'git fsck' in the repository if this stays",
    )  # fmt: skip


def complaint(answer: Captured) -> str:
    """Why git failed, in one line of its own words, without addresses that hold a password."""
    if answer.timed_out:
        return "it did not answer in time"
    if answer.truncated:
        return "it answered with more than this program keeps"
    words = git_reason(decode(answer.stderr)) or f"it ended with status {answer.code}"
    for prefix in ("fatal: ", "error: "):
        words = words.removeprefix(prefix)
    return hide_credentials(words)[:500]


def decode(raw: bytes) -> str:
    """Text that is valid UTF-8; bytes that are not stand as ``\\xff``."""
    return raw.decode("utf-8", "backslashreplace")


_USER = compile_late(r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*://)(?P<user>[^/\s]*)@")
_MISTYPED = compile_late(
    r"\b(?P<scheme>(?:https?|ftps?|(?:git\+)?ssh|ssh\+git|git):[/\\]*)"
    r"(?P<user>[^\s/\\@:'\"\[]*:(?!\d+[/?#])[^\s'\"]*|[^\s/\\@:'\"]*)@",
    re.IGNORECASE,
)
"""The same whatever the slashes and whatever stands in the password: git takes no such address, and
somebody's password stands in it all the same."""
_QUERY = compile_late(r"(https?:[/\\]*[^\s?#/\\][^\s?#]*)[?#][^\s'\"]*")


def hide_credentials(text: str) -> str:
    """``text`` with user names and passwords taken out of every address in it."""
    if "@" in text:
        text = _MISTYPED.sub(_without_user, _USER.sub(_without_user, text))
    return _QUERY.sub(r"\1", text) if "?" in text or "#" in text else text


def _without_user(match: re.Match[str]) -> str:
    # The user of an ssh address is no secret and belongs to it (git@host); a token over http is.
    if match["scheme"].lower().rstrip("/\\") in ("ssh:", "git+ssh:", "ssh+git:"):
        return f"{match['scheme']}{match['user'].partition(':')[0]}@"
    return match["scheme"]
