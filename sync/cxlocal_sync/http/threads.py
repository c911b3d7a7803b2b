"""Stores answer in threads of their own, so that a slow disk never holds up the event loop.

Each thread opens a store for itself: a store is used by one thread. An embedded store gets one
thread, since SQLite lets one write at a time anyway; engines that do more at once get several.
"""

from __future__ import annotations

import asyncio
import queue
import threading
from collections.abc import Callable
from typing import Any, TypeVar

from cxlocal.clock import Clock
from cxlocal.values import NamedTuple
from cxlocal_sync.http.limits import STORE_SECONDS, WAITING_MAX, Appointments, Busy
from cxlocal_sync.stores.answer import ServableStore

Result = TypeVar("Result")


class _Job(NamedTuple):
    work: Callable[[ServableStore], Any]
    future: asyncio.Future[Any]
    loop: asyncio.AbstractEventLoop
    until: float


class StoreThreads:
    """``count`` threads with a store each, and a queue before them that takes up to ``WAITING_MAX``."""

    def __init__(
        self, open_store: Callable[[], ServableStore], count: int, clock: Clock, name: str
    ) -> None:
        self._open_store = open_store
        self._clock = clock
        self._jobs: queue.Queue[_Job | None] = queue.Queue()
        self._appointments = Appointments(clock, count)
        self._threads = [
            threading.Thread(target=self._work, name=f"cxlocal-{name}-{index}", daemon=True)
            for index in range(count)
        ]
        for thread in self._threads:
            thread.start()

    async def call(
        self, work: Callable[[ServableStore], Result], *, patience_seconds: float = STORE_SECONDS
    ) -> Result:
        """What ``work`` returns or raises. Raises Busy when so many wait already that its turn would come
        later than ``patience_seconds``; the error says when to come again."""
        loop = asyncio.get_running_loop()
        job = _Job(work, loop.create_future(), loop, self._clock.monotonic() + STORE_SECONDS)
        waiting = self._jobs.qsize()
        if waiting >= WAITING_MAX or not self._appointments.has_room(waiting, patience_seconds):
            after = self._appointments.next_seconds(waiting)
            raise Busy("too many requests wait for it", after_seconds=after)
        self._jobs.put_nowait(job)
        result: Result = await job.future
        return result

    def close(self) -> None:
        """Let the threads finish what waits, and end."""
        for _ in self._threads:
            self._jobs.put(None)
        for thread in self._threads:
            thread.join(2 * STORE_SECONDS)

    def _work(self) -> None:
        store: ServableStore | None = None
        while (job := self._jobs.get()) is not None:
            outcome: Any = None
            error: BaseException | None = None
            began = self._clock.monotonic()
            try:
                if began > job.until:
                    # Nobody waits for it any more; the client asks again.
                    raise Busy("the request had to wait too long")
                if store is None:
                    store = self._open_store()
                outcome = job.work(store)
            except BaseException as caught:  # noqa: BLE001 - it is raised where it is waited for
                error = caught
            taken = self._clock.monotonic() - began
            job.loop.call_soon_threadsafe(self._settle, job.future, outcome, error, taken)
        if store is not None:
            store.close()

    def _settle(
        self, future: asyncio.Future[Any], outcome: Any, error: BaseException | None, taken: float
    ) -> None:
        """Hand an outcome over, in the event loop."""
        self._appointments.took(taken)
        if future.done():
            return  # whoever asked has gone
        if error is None:
            future.set_result(outcome)
        else:
            future.set_exception(error)
