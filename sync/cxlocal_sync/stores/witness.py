"""What a store was last seen to hold, kept outside of it by whoever answers for it: tells when its file
or its database is put back to an earlier state (see ``cxlocal.journal.witness``).

One that is put back as it lay looks untouched from inside. Each home knows only what went through it.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any

from cxlocal.journal.witness import Seen, read_seen, write_seen
from cxlocal_sync.stores.feed import read_store, running_at
from cxlocal_sync.stores.session import Session, StorePlace

WENT_BACK = "went-back"
"""Why no numbers are handed out: the store was put back to an earlier state."""
Judge = Callable[[str, str], StorePlace]
_TURN = threading.Lock()
"""A server answers by several stores in one home: none may write less than another has seen. Between
processes nothing is needed: the next answer sees more again."""


class StoreWitness:
    """The witness of one store, in ``folder``; ``what`` (the store's file, its database) is put back.
    There is one for each of its generations: a recovery begins anew above all that may be in use."""

    def __init__(self, folder: Path, what: str) -> None:
        self._folder = folder
        self._why = (
            f"{what} was put back to an earlier state: it lacks numbers that it has handed out"
        )
        self._lineage = ""
        self._newest = 0

    def beside(self, judge: Judge, session: Session) -> Judge:
        """``judge``, and beside it what is remembered here."""

        def both(known: str, here: str) -> StorePlace:
            place = judge(known, here)
            if place.stop is None and self.knows_more(session):
                return place._replace(stop=(WENT_BACK, self._why))
            return place

        return both

    def knows_more(self, session: Session) -> bool:
        """Whether the store lacks what it has held. Asked where nobody else begins a generation."""
        store = read_store(session)
        if self._lineage != store.lineage:
            self._read(store.lineage)
        if self._newest > store.generation:
            return True
        seen = read_seen(self._path(store.lineage, store.generation))
        if seen is None:
            return False
        running = running_at(session, seen.place)
        return running is None or running.hex() != seen.hash

    def note(self, reply: dict[str, Any], *, all_seen: bool) -> None:
        """Remember the head in an answer that is durable: with ``all_seen`` of each, else of those that
        handed out numbers. While all numbers are stopped what is remembered is evidence, and stays."""
        told = reply["store"]
        if not all_seen and not any(grant.get("entry") for grant in reply["grant"]):
            return
        if any(not stop["deliverable"] for stop in told["stopped"]):
            return
        head = Seen(told["head"]["position"], told["head"]["hash"])
        path = self._path(told["lineage"], told["generation"])
        self._newest = max(self._newest, told["generation"])
        with _TURN:
            before = read_seen(path)
            if head.place and (before is None or before.place < head.place):
                write_seen(path, head, durable=False)

    def _read(self, lineage: str) -> None:
        generations = (
            path.name.rpartition("-")[2]
            for path in self._folder.glob(self._path(lineage, "*").name)
        )
        self._newest = max((int(each) for each in generations if each.isdecimal()), default=0)
        self._lineage = lineage

    def _path(self, lineage: str, generation: int | str) -> Path:
        # A lineage is whatever text the file holds; a name must not be.
        name = sha256(lineage.encode()).hexdigest()[:32]
        return self._folder / f"store-{name}-{generation}"
