"""The errors of cxlocal and the exit codes they end in.

::

    CxError                      what happened, why, what to do next
    ├── UsageError        2      the command or the configuration is off
    │   └── ConfigError   2      cx.toml, cx.local.toml or a CXLOCAL_* variable
    ├── Refused           3      a policy, a gate or the revision rule says no
    ├── NotSignedIn       4      a store does not know us
    ├── StoreNeeded       5      only the store can answer, and it cannot be reached
    ├── NotSynced         6      done, but copies are still missing upstream
    ├── JournalDamaged    7      the journal cannot be trusted as it is
    ├── Undecided         8      a gate could not decide (never means allow)
    ├── Trouble           9      infrastructure failed; worth a retry
    ├── Conflict         10      two histories claim one thing
    ├── OutcomeFailure    1      the work itself failed
    └── Interrupted   128+n      ended by signal n

Every error carries data, so that the command line, ``--json`` and the HTTP store print the
same thing in their own form. One function (``cxlocal.commands.main``) turns errors into exit
codes.
"""

from __future__ import annotations

from enum import IntEnum


class ExitCode(IntEnum):
    """What a command's exit status says. Fixed: scripts rely on these numbers."""

    DONE = 0
    FAILURE = 1
    USAGE = 2
    REFUSED = 3
    NOT_SIGNED_IN = 4
    STORE_NEEDED = 5
    NOT_SYNCED = 6
    JOURNAL_DAMAGED = 7
    UNDECIDED = 8
    TROUBLE = 9
    CONFLICT = 10


class CxError(Exception):
    """Something a person must know: what happened, why, and what to do next.

    ``what``, ``why`` and ``hint`` are plain sentences or parts of sentences; ``hint`` names the
    command that resolves it. Further keyword arguments are kept in ``data`` for machines and must
    be JSON values. ``name`` is a stable slug.
    """

    exit_code: int = ExitCode.TROUBLE
    default_name: str = "trouble"

    def __init__(
        self, what: str, *, why: str = "", hint: str = "", name: str | None = None, **data: object
    ) -> None:
        super().__init__(what)
        self.what = what
        self.why = why
        self.hint = hint
        self.name = name or self.default_name
        self.data = data

    def __reduce__(self) -> tuple[object, ...]:
        # Keyword-only arguments do not survive the default pickling of exceptions, and worker
        # processes send errors home.
        return (_rebuild, (type(self), self.what, self.why, self.hint, self.name, self.data))

    def __str__(self) -> str:
        return "\n".join(part for part in (self.what, self.why, self.hint) if part)

    def as_json(self) -> dict[str, object]:
        """The one error shape of the command line (``--json``) and of the HTTP store."""
        return {
            "error": self.name,
            "what": self.what,
            "why": self.why,
            "hint": self.hint,
            "exit_code": int(self.exit_code),
            "data": self.data,
        }


def _rebuild(
    kind: type[CxError], what: str, why: str, hint: str, name: str, data: dict[str, object]
) -> CxError:
    return kind(what, why=why, hint=hint, name=name, **data)


class UsageError(CxError):
    """The command cannot be carried out as it was given."""

    exit_code = ExitCode.USAGE
    default_name = "usage"


class ConfigError(UsageError):
    """A configuration file or variable is wrong; the message names file and table."""

    default_name = "config"


class Refused(CxError):
    """A rule says no: revision rule, gate, protection, policy."""

    exit_code = ExitCode.REFUSED
    default_name = "refused"


class NotSignedIn(CxError):
    """The store does not accept our credentials."""

    exit_code = ExitCode.NOT_SIGNED_IN
    default_name = "not-signed-in"


class StoreNeeded(CxError):
    """Only the store can answer this, and it cannot be reached."""

    exit_code = ExitCode.STORE_NEEDED
    default_name = "store-needed"


class NotSynced(CxError):
    """The work is done and recorded here; the copies upstream are not."""

    exit_code = ExitCode.NOT_SYNCED
    default_name = "not-synced"


class JournalDamaged(CxError):
    """The journal does not hold what it must hold. Nothing was written."""

    exit_code = ExitCode.JOURNAL_DAMAGED
    default_name = "journal-damaged"


class Undecided(CxError):
    """A gate had no basis to decide. Never treated as allow."""

    exit_code = ExitCode.UNDECIDED
    default_name = "undecided"


class Trouble(CxError):
    """Infrastructure failed (disk, lock, tool missing, time limit of our own): worth a retry."""

    exit_code = ExitCode.TROUBLE
    default_name = "trouble"


class Conflict(CxError):
    """Two histories claim the same thing, and a person has to name the right one."""

    exit_code = ExitCode.CONFLICT
    default_name = "conflict"


class OutcomeFailure(CxError):
    """The work ran and failed: a build broke, a test failed."""

    exit_code = ExitCode.FAILURE
    default_name = "failure"


class Interrupted(CxError):
    """A signal ended the command; what was going on is recorded as cancelled."""

    default_name = "interrupted"

    def __init__(self, what: str, *, signal_number: int = 2, **rest: object) -> None:
        rest.pop("signal_number", None)
        super().__init__(what, signal_number=signal_number, **rest)  # type: ignore[arg-type]
        self.exit_code = 128 + signal_number


_BY_EXIT_CODE: dict[int, type[CxError]] = {
    int(kind.exit_code): kind
    for kind in (
        UsageError, Refused, NotSignedIn, StoreNeeded, NotSynced, JournalDamaged, Undecided,
        Trouble, Conflict, OutcomeFailure,
    )
}  # fmt: skip


def error_from_json(shape: object) -> CxError | None:
    """The error that ``as_json`` made ``shape`` of, here or at a store; None for another shape."""
    if not isinstance(shape, dict) or not isinstance(shape.get("what"), str):
        return None
    name, data = shape.get("error"), shape.get("data")
    code = shape.get("exit_code")
    kind = _BY_EXIT_CODE.get(code, Trouble) if isinstance(code, int) else Trouble
    extra = {str(key): value for key, value in data.items()} if isinstance(data, dict) else {}
    for taken in ("self", "what", "why", "hint", "name"):
        extra.pop(taken, None)
    return kind(
        shape["what"],
        why=str(shape.get("why", "")),
        hint=str(shape.get("hint", "")),
        name=name if isinstance(name, str) else None,
        **extra,
    )
