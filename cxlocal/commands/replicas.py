"""What the pages of a served store are made from: for each set of deliverables that some member may read
a journal of its own, which holds nothing else.

Therefore no page, question, feed or count needs a right of its own: what a member may not read is not in
the file that it asks.
"""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Callable, Iterable
from contextlib import closing
from hashlib import sha256
from pathlib import Path

from cxlocal.clock import Clock, Ids
from cxlocal.commands.doors import Asgi
from cxlocal.errors import CxError
from cxlocal.exchange.replica import read_on
from cxlocal.exchange.store import Store, StoreUnreachable
from cxlocal.journal.file import Journal
from cxlocal.journal.rebuild import catch_up
from cxlocal.private import make_folder
from cxlocal.values import NamedTuple

Names = frozenset[str] | None
FRESH_SECONDS = 2.0
"""How old what a page shows may be before the store is asked again."""
AGAIN_SECONDS = 60.0
"""After a replica could not be used and was thrown away."""
ANSWER_SECONDS = 10.0
READING_AT_ONCE = 2
"""Replicas that are brought forward at once: the store has machines to answer."""
JOURNAL = "journal.db"


class Source(NamedTuple):
    """Where replicas come from."""

    open_store: Callable[[], Store]
    lineage: Callable[[], str]
    """That of the store; empty as long as no machine was in contact."""
    clock: Clock
    ids: Ids
    tell: Callable[[str], None]
    """Told what keeps a replica from being fresh."""


class Replica:
    """One journal, and the pages over it."""

    def __init__(self, folder: Path, names: Names, source: Source) -> None:
        self.folder, self.names, self.source = folder, names, source
        self.pages: Asgi | None = None
        """None until the journal is level with the store for the first time."""
        self.reading: asyncio.Task[None] | None = None
        self._next = 0.0
        self._said = ""

    @property
    def path(self) -> Path:
        """Where the journal lies."""
        return self.folder / JOURNAL

    def is_due(self) -> bool:
        """Whether the store is to be asked again."""
        idle = self.reading is None or self.reading.done()
        return idle and self.source.clock.monotonic() >= self._next

    def read(self) -> bool:
        """Bring the journal level with the store; whether it is. What goes wrong is told, once."""
        wait = FRESH_SECONDS
        try:
            self._read()
            self._said = ""
            return True
        except CxError as problem:
            if problem.what != self._said:
                self._said = problem.what
                self.source.tell(f"{problem.what}: {problem.why}")
            if not isinstance(problem, StoreUnreachable) and problem.name != "journal-busy":
                wait = AGAIN_SECONDS
                shutil.rmtree(self.folder, ignore_errors=True)
                self.pages = None
            return False
        finally:
            self._next = self.source.clock.monotonic() + wait

    def _read(self) -> None:
        source, lineage = self.source, self.source.lineage()
        make_folder(self.folder)
        with closing(Journal.open(self.path, clock=source.clock, ids=source.ids)) as journal:
            catch_up(journal)
            if not lineage:
                return  # no machine was here yet; a question would make the store
            with closing(source.open_store()) as store:
                while read_on(journal, store, lineage, self.names, ANSWER_SECONDS):
                    pass


class Replicas:
    """The replicas of one store, in a folder."""

    def __init__(self, folder: Path, source: Source, make: Callable[[Path], Asgi]) -> None:
        """``make``: the pages over the journal at a path."""
        self.folder, self.source, self.make = folder, source, make
        self._by_names: dict[Names, Replica] = {}
        self._reading = asyncio.Semaphore(READING_AT_ONCE)
        make_folder(folder)

    def keep(self, wanted: Iterable[Names]) -> None:
        """Throw away what no member may see any more."""
        named = {name_of(names) for names in wanted}
        for folder in self.folder.iterdir():
            if folder.name not in named:
                shutil.rmtree(folder, ignore_errors=True)
        self._by_names = {
            names: one for names, one in self._by_names.items() if name_of(names) in named
        }

    def __contains__(self, names: Names) -> bool:
        return names in self._by_names

    async def pages(self, names: Names, wait_seconds: float) -> Asgi | None:
        """The pages for who may read ``names``, after at most ``wait_seconds`` of bringing them forward.
        None as long as they are made for the first time."""
        found = self._by_names.get(names)
        if found is None:
            folder = self.folder / name_of(names)
            found = self._by_names[names] = Replica(folder, names, self.source)
        if found.is_due():
            found.reading = asyncio.create_task(self._bring_forward(found))
        if found.reading is not None:
            await asyncio.wait([found.reading], timeout=wait_seconds)
        return found.pages

    async def _bring_forward(self, one: Replica) -> None:
        async with self._reading:
            level = await asyncio.to_thread(one.read)
        if level and one.pages is None:
            one.pages = self.make(one.path)


def name_of(names: Names) -> str:
    """The folder of who may read ``names``; says none of them. Pure."""
    text = "*" if names is None else "\n".join(sorted(names))
    return sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:32]
