"""A tool in a worker process, seen from the parent.

The parent believes a worker nothing: messages are checked, paths must lie in the checkout, and an
intent is answered only when the caller's journal has it. Whatever a tool does, its stage ends with
an outcome and a reason.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import msgspec

from cxlocal.address import own_credentials
from cxlocal.domain import Outcome
from cxlocal.errors import CxError, Trouble
from cxlocal.hooks.found import SHIPPED
from cxlocal.hooks.messages import (
    HANDLE_BYTES,
    RESULTS,
    Fields,
    Result,
    dump,
    load,
    request_of,
    typed,
)
from cxlocal.hooks.tool import Applied, Done, Tool
from cxlocal.processes.channel import Channel
from cxlocal.processes.child import Child, End, Sink
from cxlocal.processes.forker import Script
from cxlocal.processes.identity import Identity
from cxlocal.processes.mask import Masker
from cxlocal.processes.supervisor import GRACE_SECONDS, Supervisor
from cxlocal.text import shorten
from cxlocal.values import NamedTuple

REASON_CHARACTERS = 1000
"""Of a reason kept in an event; the log has the rest."""

WORKER = Path(__file__).with_name("worker.py")


def worker_for(tool: type[Tool]) -> Script:
    """What a worker for ``tool`` comes of. Modules of others are never loaded before there is one."""
    own = any(_below(tool.__module__, one.module) for one in SHIPPED)
    return Script(WORKER, (tool.__module__,) if own or _below(tool.__module__, "cxlocal") else ())


def _below(module: str, package: str) -> bool:
    return module == package or module.startswith(f"{package}.")


LOOKER = Script(WORKER)
"""What a worker comes of that looks at a plugin."""


class ToolRequest(NamedTuple):
    """One verb to carry out."""

    tool: type[Tool]
    verb: str
    options: Mapping[str, Any]
    """The ``with`` table, checked by ``check_options``, placeholders resolved."""
    fields: Fields
    secrets: dict[str, str]
    hidden: tuple[str, ...] = ()
    """What else must not be said: secrets that reach the tool as part of its fields or options."""


class ToolOutcome(NamedTuple):
    """How a tool's work ended. No secrets in it."""

    outcome: Outcome
    reason: str
    """Empty for success."""
    result: Result | None
    """For success. Its paths are absolute, exist, and lie in the checkout or in scratch."""
    handles: tuple[Any, ...]
    """What was made durable by ``intend``, in order."""
    daemons: tuple[Identity, ...]
    """Processes it started that outlive it."""
    trace: str
    """Where the tool failed in its code, for the log; empty unless it raised."""
    secrets: Mapping[str, str] = {}
    """The exception to the first sentence: what ``apply`` said in ``secret_outputs``, for other components of
    this run. It stands nowhere else, and is never written down."""


class ToolWorker:
    """Carries out one request in a process of its own."""

    def __init__(
        self,
        request: ToolRequest,
        *,
        on_intend: Callable[[Any], None],
        on_progress: Callable[[str], None] | None = None,
    ) -> None:
        """``on_intend`` returns when the handle is durable. When it raises, so does the tool's
        ``intend``, and the work cannot end in success."""
        self.request = request
        self._on_intend = on_intend
        self._on_progress = on_progress
        self._secrets = [*request.secrets.values(), *request.hidden]
        self._masker = Masker(self._secrets)
        self._channel: Channel | None = None
        self._answer: tuple[str, Any] | None = None
        self._nonsense = ""
        self._refused = ""
        self._handles: list[Any] = []
        self._daemons: list[Identity] = []

    def start(
        self,
        supervisor: Supervisor,
        *,
        env: Mapping[str, str],
        sink: Sink,
        timeout_seconds: float | None,
        tag: object = None,
        grace_seconds: float = GRACE_SECONDS,
    ) -> Child:
        """Start the worker; its output goes to ``sink``. Raises Trouble."""
        request = self.request
        named = secret_variables(request.fields.variables, self._secrets)
        # What the environment gives the tool of ours is not said either, nor kept.
        self._secrets += own_credentials(env)
        self._masker = Masker(self._secrets)
        fields = msgspec.structs.replace(request.fields, secret_variables=named)
        channel = self._channel = Channel(self._hear)
        try:
            channel.send(
                request_of(
                    request.tool,
                    request.verb,
                    request.options,
                    fields,
                    secrets=request.secrets,
                    timeout_seconds=timeout_seconds,
                )
            )
        except (TypeError, ValueError) as error:
            channel.close()
            raise Trouble(
                f"{self._name} cannot be asked",
                why=str(error),
                hint="look at its options in cx.toml: they must be plain values",
            ) from error
        return supervisor.start_worker(
            worker_for(request.tool),
            cwd=request.fields.checkout,
            env=env,
            sink=sink,
            timeout_seconds=timeout_seconds,
            control=channel,
            tag=tag,
            grace_seconds=grace_seconds,
        )

    def outcome(self, end: End) -> ToolOutcome:
        """What became of the work, once its process has ended."""
        if end.timed_out:
            return self._ended(Outcome.ERROR, f"{self._name}: {end.words}")
        problem = self._nonsense or (self._channel.problem if self._channel else "")
        if problem:
            return self._ended(Outcome.ERROR, f"{self._name}: {problem}")
        if end.cancelled:
            return self._ended(Outcome.CANCEL, end.words)
        if self._answer is None:
            return self._ended(Outcome.ERROR, f"{self._name} ended without a result: {end.words}")
        kind, content = self._answer
        if kind == "failure":
            return self._failed(content)
        if kind == "error":
            reason, trace = self._error(content)
            return self._ended(Outcome.ERROR, f"{self._name}: {reason}", trace=trace)
        if self._refused:
            why = f"{self._name}: an intent could not be recorded: {self._refused}"
            return self._ended(Outcome.ERROR, why)
        return self._succeeded(content)

    @property
    def _name(self) -> str:
        return f"tool {self.request.tool.name}, {self.request.verb}"

    def _hear(self, line: bytes) -> None:
        """Take one message of the worker."""
        try:
            message = load(line)
            ((kind, content),) = message.items()
        except (ValueError, AttributeError, RecursionError):
            self._nonsense = self._nonsense or "it sent something that is no message"
            return
        if kind == "progress":
            if self._on_progress is not None:
                self._on_progress(self._masker.text(str(content)))
        elif kind == "intend":
            self._intend(content)
        elif kind == "daemon":
            self._daemon(content)
        elif kind in ("result", "failure", "error"):
            self._answer = self._answer or (kind, content)
        else:
            self._nonsense = self._nonsense or f"it sent an unknown message {str(kind)[:40]!r}"

    def _intend(self, handle: Any) -> None:
        why = ""
        if self._masker.value(handle) != handle:
            why = "the handle holds a secret; keep what finds the secret again instead"
        elif len(dump(handle)) > HANDLE_BYTES:
            why = "the handle is too large"
        else:
            try:
                self._on_intend(handle)
            except CxError as error:
                why = str(error)
            except Exception as error:  # noqa: BLE001  (whatever it is becomes this stage's error)
                why = f"{type(error).__name__}: {error}"
        if why:
            self._refused = why
        else:
            self._handles.append(handle)
        assert self._channel is not None
        self._channel.send(dump({"refused": why} if why else {"recorded": True}))

    def _daemon(self, content: Any) -> None:
        try:
            pid, start = content
            self._daemons.append(Identity(int(pid), str(start)))
        except (TypeError, ValueError):
            self._nonsense = self._nonsense or "it sent a daemon that is none"

    def _error(self, content: Any) -> tuple[str, str]:
        if not isinstance(content, dict):
            return "it sent an error without a reason", ""
        return str(content.get("reason", "")), str(content.get("trace", ""))

    def _succeeded(self, content: Any) -> ToolOutcome:
        request = self.request
        try:
            kind = RESULTS.get(request.verb, Done)
            told: Mapping[str, str] = {}
            if kind is Applied and isinstance(content, dict):
                told = typed(content.pop("secret_outputs", {}), dict[str, str])
                self._masker = Masker([*self._secrets, *told.values()])
            result: Result = typed(self._masker.value(content), kind)
            if isinstance(result, Done):
                result = _checked(result, request.fields)
        except (msgspec.ValidationError, Trouble, OSError) as error:
            return self._ended(Outcome.ERROR, f"{self._name}: {error}")
        return self._ended(Outcome.SUCCESS, "", result=result)._replace(secrets=told)

    def _failed(self, content: Any) -> ToolOutcome:
        """The work said no; what it left behind (a report) counts all the same."""
        try:
            reason = str(content["reason"])
            kind = Applied if self.request.verb == "apply" else Done
            left = _checked(typed(self._masker.value(content["result"]), kind), self.request.fields)
        except (KeyError, TypeError, msgspec.ValidationError, Trouble, OSError) as error:
            return self._ended(Outcome.ERROR, f"{self._name}: {error}")
        return self._ended(Outcome.FAILURE, reason, result=left)

    def _ended(
        self, outcome: Outcome, reason: str, *, result: Result | None = None, trace: str = ""
    ) -> ToolOutcome:
        return ToolOutcome(
            outcome,
            shorten(self._masker.text(reason), REASON_CHARACTERS),
            result,
            tuple(self._handles),
            tuple(self._daemons),
            self._masker.text(trace),
        )


def secret_variables(variables: Mapping[str, str], secrets: Iterable[str]) -> tuple[str, ...]:
    """The names of the variables in which a secret stands. Pure."""
    known = [one for one in secrets if one]
    return tuple(name for name, value in variables.items() if any(one in value for one in known))


def _checked(done: Done, fields: Fields) -> Done:
    """The result with absolute paths. Raises Trouble where it names what is not there or not ours.

    A tool that lies about its outputs must not get a file of the machine into the release.
    """
    roots = (fields.checkout.resolve(), fields.scratch.resolve())
    names = [artifact.name for artifact in done.artifacts]
    if len(set(names)) < len(names):
        raise Trouble(
            f"it names two artifacts alike: {', '.join(sorted(names))}",
            why="an artifact is found by its name",
            hint="give each artifact of the tool a name of its own",
        )

    def located(path: Path) -> Path:
        real = (fields.checkout / path).resolve()
        if not any(real.is_relative_to(root) for root in roots):
            raise Trouble(
                f"{path} lies outside of the checkout",
                why="nothing else of this machine may become part of a release",
                hint="let the tool write into the checkout or its scratch folder",
            )
        if not real.is_file():
            raise Trouble(
                f"it says it made {path}, and there is no such file",
                why="a result may only name files that exist",
                hint="correct the tool, or the path in its options",
            )
        return real

    return msgspec.structs.replace(
        done,
        artifacts=tuple(
            msgspec.structs.replace(artifact, path=located(artifact.path))
            for artifact in done.artifacts
        ),
        reports=tuple(
            msgspec.structs.replace(report, path=located(report.path)) for report in done.reports
        ),
    )
