"""The processes that carry out one verb of one tool each, read reports, or look at one plugin. Started by its path.

The first one only stands ready and divides (``cxlocal.processes.forking``); what is said here is of those that come of
it. A tool may hang, crash the interpreter or exhaust the memory: here it does so alone. The parent
speaks through two pipes (``cxlocal.hooks.messages``); standard output is the stage's log, so a tool
may print what it likes. Secrets come through the pipe, never in arguments or environment.

The interpreter is started with ``-P`` and ``-E``: neither the checkout, which is the working
folder, nor a PYTHON* variable can put modules in the place of ours. Until the request has brought
the parent's module path, only the standard library is there.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from contextlib import suppress
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

from cxlocal.errors import Trouble
from cxlocal.hooks.context import Link, WorkerContext
from cxlocal.hooks.load import class_named
from cxlocal.hooks.messages import Fields, dump, plain, result_problem, typed
from cxlocal.hooks.tool import Done, ToolFailure
from cxlocal.processes.forking import serve

TRACE_CHARACTERS = 16 * 1024
"""Kept of a trace: the end, where the cause stands."""


class Stopped(BaseException):
    """The parent asked us to end. Raised inside the verb, so that its ``finally`` parts run."""


def main(argv: list[str]) -> NoReturn:
    """Stand ready; in each worker: carry out its request, answer on its pipe, and end."""
    reads, writes, line = serve(int(argv[0]))
    request = json.loads(line)
    sys.path[:] = request["path"]
    link = Link(reads, writes)
    signal.signal(signal.SIGTERM, _stop)
    try:
        if "reports" in request:
            answer = _read(request, link)
        else:
            answer = _look(request) if "look" in request else _carry_out(request, link)
    except BaseException as error:  # noqa: BLE001  (whatever a tool does is reported)
        answer = {"error": _error(error)}
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    link.send(**answer)
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError, AttributeError):
            continue  # The tool closed or replaced it; its answer is already with the parent.
    # Not sys.exit: threads and exit handlers that a tool left behind must not hold up the run.
    os._exit(0)


def _stop(number: int, frame: FrameType | None) -> None:
    raise Stopped(f"signal {number}")


def _carry_out(request: dict[str, Any], link: Link) -> dict[str, Any]:
    tool = class_named(request["tool"])
    verb = request["verb"]
    options = typed(request["options"], tool.Options)
    fields = typed(request["fields"], Fields)
    context = WorkerContext(fields, options, request["secrets"], request["timeout_seconds"], link)
    try:
        result = getattr(tool(), verb)(context)
    except ToolFailure as failure:
        reason = str(failure) or "the tool gave no reason"
        left = failure.done if isinstance(failure.done, Done) else Done()
        return _sendable({"failure": {"reason": reason, "result": plain(left)}})
    problem = result_problem(verb, result)
    if problem:
        return {"error": {"reason": problem, "trace": ""}}
    try:
        return _sendable({"result": plain(Done() if result is None else result)})
    except (TypeError, ValueError) as error:
        return {"error": {"reason": f"what {verb} returned is not JSON: {error}", "trace": ""}}


def _read(request: dict[str, Any], link: Link) -> dict[str, Any]:
    from cxlocal.hooks.reading import read_reports

    return read_reports(request, link)


def _look(request: dict[str, Any]) -> dict[str, Any]:
    """What one plugin is and whether it can be loaded (``cxlocal.hooks.look``)."""
    from cxlocal.hooks.manager import load
    from cxlocal.hooks.registered import gives

    name = request["look"]
    manager = load({"CXLOCAL_LOAD_PLUGINS": name}, warn=lambda text: None)
    if request["folder"]:
        manager.load_own(Path(request["folder"]), request["trusted"], name)
    else:
        manager.load_installed(name)
    with suppress(Trouble):  # a plugin of a project that registers nonsense: the row says it
        given = gives(manager).get(name, ())
        return {"result": manager.row(name)._replace(gives=given)._asdict()}
    return {"result": manager.row(name)._asdict()}


def _sendable(answer: dict[str, Any]) -> dict[str, Any]:
    """The answer, if it can be sent. Raises TypeError, ValueError."""
    from cxlocal.processes.channel import MESSAGE_BYTES

    size = len(dump(answer))
    if size > MESSAGE_BYTES:
        raise ValueError(f"it has {size} bytes, {MESSAGE_BYTES} at most")
    return answer


def _error(error: BaseException) -> dict[str, str]:
    import traceback

    if isinstance(error, Trouble):
        # The tool knows what is wrong and says it; where in the tool that was helps nobody.
        return {"reason": str(error)[:4096], "trace": ""}
    if isinstance(error, Stopped):
        reason = "it was stopped"
    elif isinstance(error, SystemExit):
        reason = f"it called sys.exit({error.code!r})"
    else:
        reason = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    return {"reason": reason[:4096], "trace": traceback.format_exc()[-TRACE_CHARACTERS:]}


if __name__ == "__main__":
    main(sys.argv[1:])
