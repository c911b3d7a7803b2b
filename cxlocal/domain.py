"""The vocabulary of cxlocal as values: names, outcomes, states. No IO, no clock.

The words and their meanings are those of the glossary (docs/glossary.md).
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from enum import StrEnum

from cxlocal.errors import Refused, UsageError
from cxlocal.values import NamedTuple

NAME_LENGTH_MAX = 200
"""Characters in a deliverable's name. Percent-encoded UTF-8 of this length still fits a file name
on the file systems we write to, once shortened by ``path_part``."""

SINK_KINDS = ("events", "logs", "metrics", "spans")
"""What is delivered to sinks, as the keys of ``[sinks]`` name it."""


class Outcome(StrEnum):
    """How a run, a stage run or a test suite ended (CDEvents 0.5.1)."""

    SUCCESS = "success"
    FAILURE = "failure"
    CANCEL = "cancel"
    ERROR = "error"


FROM_OUTSIDE = frozenset({9, 15, 1, 2})
"""Signals a program does not send itself: SIGKILL, SIGTERM, SIGHUP and SIGINT. These have the same
numbers everywhere (kill(1), POSIX), and reporting commands are spared the module that names them."""

NOT_RUN = {
    126: "exit code 126: a program was found and could not be run",
    127: "exit code 127: a program was not found",
}
"""What POSIX shells say when the work could not even begin (sh(1), EXIT STATUS)."""


def outcome_of(status: int) -> Outcome:
    """What a program that ended by itself came to; a negative status is the signal that ended it. Pure.

    *failure* is the work saying no; *error* is trouble around it, worth a retry. A program that crashes by itself
    (a segmentation fault, an abort) failed; one that was killed from outside (out of memory, a stray ``kill``)
    met trouble, and so did one that could not be run.
    """
    if status in NOT_RUN or -status in FROM_OUTSIDE:
        return Outcome.ERROR
    return Outcome.FAILURE if status else Outcome.SUCCESS


class NumberState(StrEnum):
    """The states of a number, the only ones."""

    FREE = "free"
    RESERVED = "reserved"
    UNCONFIRMED = "in use, not yet confirmed"
    CONFIRMED = "in use, confirmed"
    SKIPPED = "skipped"
    CONFLICTED = "conflicted"


class Verdict(StrEnum):
    """What a gate says. ``UNDECIDED`` never means allow."""

    ALLOW = "allow"
    DENY = "deny"
    UNDECIDED = "undecided"


class Actor(NamedTuple):
    """On whose behalf something happens, and how that is known."""

    id: str
    """``name <mail>`` or a login."""
    how: str
    """``git config``, ``CI variable GITHUB_ACTOR``, ``CXLOCAL_ACTOR``, ``operating system``."""

    def require_named(self, what: str) -> None:
        """For ``what`` a person answers with their name. Raises Refused where only a login is known."""
        if self.how == "operating system":
            raise Refused(
                f"{what} needs a named person",
                why=f"all that is known here is the login {self.id!r}",
                hint="set user.name and user.email in git, or CXLOCAL_ACTOR",
                name="nobody-named",
            )


def deliverable_id(text: str) -> str:
    """The id of a deliverable: NFC text, compared byte for byte.

    Raises UsageError for empty, over-long or control-character names.
    """
    name = unicodedata.normalize("NFC", text)
    problem = ""
    if not name.strip():
        problem = "it is empty"
    elif name != name.strip():
        problem = "it begins or ends with white space"
    elif len(name) > NAME_LENGTH_MAX:
        problem = f"it has {len(name)} characters, {NAME_LENGTH_MAX} at most"
    elif any(unicodedata.category(char) in ("Cc", "Cs", "Zl", "Zp") for char in name):
        problem = "it holds a control character, a line break or half a surrogate pair"
    if problem:
        raise UsageError(
            f"{text!r} cannot name a deliverable: {problem}",
            why="the name stands in every record, path and page",
            hint="choose a name a person can read, such as 'webshop'",
            name="bad-name",
        )
    return name


_PLAIN = b"abcdefghijklmnopqrstuvwxyz0123456789_-"


def path_part(name: str) -> str:
    """``name`` as one file-name part that is distinct for every name on every file system.

    Lower-case letters, digits, ``_`` and ``-`` stay; every other byte becomes ``%xx``, so that two
    names differing only in case stay apart on macOS. Long results keep a prefix and a digest.
    """
    raw, encoded = name.encode(), name
    if raw.translate(None, _PLAIN):
        encoded = "".join(chr(byte) if byte in _PLAIN else f"%{byte:02x}" for byte in raw)
    if len(encoded) <= 120:
        return encoded
    return f"{encoded[:80]}%-{hashlib.sha256(raw).hexdigest()[:32]}"


def variable_part(name: str) -> str:
    """``name`` as part of an environment variable: upper case, ``[A-Z0-9_]`` only."""
    return re.sub(r"[^A-Z0-9]", "_", name.upper())
