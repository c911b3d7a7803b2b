"""Doing something that may hang: a share whose server is gone keeps a process waiting for ever.

The work happens in a thread of its own; who waits gives up in time. What was begun may still come
to an end: to the caller that is an answer that was lost.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any


class TookTooLong(Exception):
    """No result within the time allowed."""


def within(seconds: float, work: Callable[[], Any]) -> Any:
    """The result of ``work``, or its exception. Raises TookTooLong."""
    done = threading.Event()
    result: list[Any] = []
    trouble: list[BaseException] = []

    def run() -> None:
        try:
            result.append(work())
        except BaseException as error:  # noqa: BLE001 (every kind belongs to the one who waits)
            trouble.append(error)
        finally:
            done.set()

    # A daemon: a process that ends does not wait for a share that never answers.
    threading.Thread(target=run, daemon=True, name="store").start()
    if not done.wait(seconds):
        raise TookTooLong
    if trouble:
        raise trouble[0]
    return result[0]
