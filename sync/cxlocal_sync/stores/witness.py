"""What a store in a file was last seen to hand out, kept outside of the file.

A backup that is copied over the file keeps its inode, and a machine that comes next with an empty home
knows nothing that could contradict it. Who opens the file here remembers the place of the last grant
in the feed, and the running hash there: a file that lacks it hands out no numbers.

It is not forced to the disk: a power failure leaves an older one, which tells a little less.
"""

from __future__ import annotations

from hashlib import sha256
from pathlib import Path
from typing import Any

from cxlocal.journal.witness import Seen, read_seen, write_seen
from cxlocal_sync.stores.feed import read_store, running_at
from cxlocal_sync.stores.session import Session

PUT_BACK = (
    "the store's file was put back to an earlier state: it lacks numbers that it has handed out"
)


class FileWitness:
    """The witness of one store, in ``folder``. There is one for each of its generations: a recovery
    begins anew above all that may be in use."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lineage = ""
        self._seen: dict[int, Seen] = {}
        """By generation."""

    def knows_more(self, session: Session) -> bool:
        """Whether the store lacks what it has handed out."""
        store = read_store(session)
        if self._lineage != store.lineage:
            self._read(store.lineage)
        newest = max(self._seen, default=0)
        if newest != store.generation:
            return newest > store.generation
        seen = self._seen[newest]
        running = running_at(session, seen.place)
        return running is None or running.hex() != seen.hash

    def note(self, reply: dict[str, Any]) -> None:
        """Remember what an answer that is durable handed out."""
        if not any(told.get("entry") for told in reply["grant"]):
            return
        told = reply["store"]
        head = Seen(told["head"]["position"], told["head"]["hash"])
        self._seen[told["generation"]] = head
        path = self._path(told["lineage"], told["generation"])
        write_seen(path, head, durable=False)

    def _read(self, lineage: str) -> None:
        self._lineage = lineage
        self._seen = {}
        for path in self._folder.glob(self._path(lineage, "*").name):
            generation = path.name.rpartition("-")[2]
            seen = read_seen(path) if generation.isdecimal() else None
            if seen is not None:
                self._seen[int(generation)] = seen

    def _path(self, lineage: str, generation: int | str) -> Path:
        # A lineage is whatever text the file holds; a name must not be.
        name = sha256(lineage.encode()).hexdigest()[:32]
        return self._folder / f"store-{name}-{generation}"
