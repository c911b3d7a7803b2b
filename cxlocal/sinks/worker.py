"""The process that delivers: every sink in a thread of its own, side by side. Started by its path.

A sink may hang or crash the interpreter: here it does so alone, and is killed at its limit. What was
taken by then stands in the journal. Credentials come through the pipe, never in arguments.
"""

from __future__ import annotations

import json
import os
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

from cxlocal.clock import SystemClock, SystemIds
from cxlocal.errors import CxError
from cxlocal.hooks.load import class_named
from cxlocal.hooks.messages import dump, typed
from cxlocal.hooks.sink import Sink
from cxlocal.journal.file import Journal
from cxlocal.sinks.chosen import Target
from cxlocal.sinks.push import Told, push
from cxlocal.sinks.words import Words, words_without

ANSWER_SECONDS = 10.0
"""How long one answer of a receiver is waited for, where there is time for it."""
LEAST_SECONDS = 0.2


def main(argv: Sequence[str]) -> NoReturn:
    """Carry out the request that arrives on descriptor ``argv[0]``; tell on ``argv[1]``."""
    with os.fdopen(int(argv[0]), "rb") as reader:
        request = json.loads(reader.readline())
    writes = int(argv[1])
    sys.path[:] = request["path"]
    clock = SystemClock()
    deadline = clock.monotonic() + request["seconds"]
    lock = threading.Lock()

    def tell(index: int, told: Told) -> None:
        with lock:
            os.write(writes, dump([index, *told]) + b"\n")

    threads = []
    for index, one in enumerate(request["sinks"]):
        target = Target(*one["target"])
        words = words_without(one["token"])
        try:
            # Here and not in the threads: two that import parts of one package wait for each other.
            sink = made(target, one, deadline - clock.monotonic())
        except Exception as problem:  # noqa: BLE001  (whatever a plugin does is told)
            tell(index, Told(why=words(f"{problem}" or type(problem).__name__)))
            continue

        def serve(
            index: int = index, target: Target = target, sink: Sink = sink, words: Words = words
        ) -> None:
            tell(index, deliver(request, target, sink, deadline, words))

        threads.append(threading.Thread(target=serve, daemon=True))
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(max(0.0, deadline - clock.monotonic()) + LEAST_SECONDS)
    # Not sys.exit: whatever a sink left behind must not hold this process up.
    os._exit(0)


def made(target: Target, one: dict[str, Any], left_seconds: float) -> Sink:
    """The sink for a target. Raises whatever its code raises."""
    kind: type[Sink] = class_named(one["class"], one["source"])
    return kind(
        target.to, typed(target.options, kind.Options), token=one["token"],
        timeout_seconds=min(max(LEAST_SECONDS, left_seconds), ANSWER_SECONDS),
    )  # fmt: skip


def deliver(
    request: dict[str, Any], target: Target, sink: Sink, deadline: float, words: Words
) -> Told:
    """One sink. What goes wrong is told."""
    try:
        with Journal.open(
            Path(request["journal"]), clock=SystemClock(), ids=SystemIds(), create=False,
            home=Path(request["home"]),
        ) as journal:  # fmt: skip
            return push(
                journal, target, sink, deadline=deadline, since_ms=request["since_ms"], words=words
            )
    except CxError as problem:
        return Told(why=problem.what)
    except Exception as problem:  # noqa: BLE001  (told, so that the other sinks go on)
        return Told(why=words(f"{type(problem).__name__}: {problem}"))
    finally:
        _close(sink)


def _close(sink: Sink) -> None:
    try:
        sink.close()
    except Exception:  # noqa: BLE001, S110  (what it took is known; how it goes is its own affair)
        pass


if __name__ == "__main__":
    main(sys.argv[1:])
