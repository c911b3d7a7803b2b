"""Following the log: from the keys into the copy of this machine.

A generation that a recovery began goes on from an entry of an older one, so the log is a path of
segments. Where the copy stands off that path (the keys were restored from a backup, or a recovery
left entries aside) it is made anew.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

from cxlocal.clock import Clock
from cxlocal.events.document import Event
from cxlocal.values import NamedTuple
from cxlocal_sync.keys import names
from cxlocal_sync.keys.cache import Stand, begin, events_in, fold, stand, writing
from cxlocal_sync.keys.form import Damaged, LogEntry, Marker, entry_in, marker_in, seal_hash, unseal
from cxlocal_sync.keys.space import KeySpace, SpaceError, SpaceMissing, look_for
from cxlocal_sync.stores.session import SqliteSession

CHUNK = 64
"""Entries folded in one transaction: what an interrupted catching up has to read again."""

READERS_MAX = 16


class StoreDamaged(SpaceError):
    """A key of the store is missing or does not hold what was written. ``n``: the log is whole
    below this entry."""

    def __init__(self, text: str, n: int = 0) -> None:
        super().__init__(text)
        self.n = n


class Segment(NamedTuple):
    """Part of the log: from entry ``first`` on, of one generation."""

    generation: int
    first: int
    node: str = ""
    """Who began it."""


class Followed(NamedTuple):
    """What was found while following."""

    marker: Marker
    stand: Stand
    newest_generation: int
    damage: StoreDamaged | None = None
    orphans: tuple[tuple[str, str, int], ...] = ()
    """(deliverable, line, number) of grants beyond the damage: evidence for a recovery."""
    recoverer: str = ""
    """The node that began the generation; empty for the first one."""


class Follower:
    """Brings a copy up to the end of the log. ``forgive``: as far as the log is whole."""

    def __init__(
        self, space: KeySpace, connection: SqliteSession, clock: Clock, deadline: float
    ) -> None:
        self.space = space
        self.connection = connection
        self.clock = clock
        self.deadline = deadline

    def catch_up(self, at_least: int = 0, *, forgive: bool = False) -> Followed:
        """Fold everything new in; ``at_least``: an entry known to exist. Raises SpaceError."""
        marker = read_marker(self.space)
        listed = names.counts(self.space.names(names.GENERATIONS))
        path = self._path(listed, forgive)
        at = stand(self.connection)
        if at.marker != marker.hash or not self._on_path(at, path, forgive):
            with writing(self.connection):
                begin(self.connection, marker)
        damage: StoreDamaged | None = None
        orphans: tuple[tuple[str, str, int], ...] = ()
        try:
            self._read_on(path, max(at_least, self._end(path[-1])))
        except StoreDamaged as error:
            if not forgive:
                raise
            damage, orphans = error, self._orphans(path, error.n)
        newest = max([path[-1].generation, *listed])
        recoverer = path[-1].node
        return Followed(marker, stand(self.connection), newest, damage, orphans, recoverer)

    def _path(self, listed: list[int], forgive: bool) -> list[Segment]:
        """The segments of the log, oldest first."""
        path: list[Segment] = []
        wanted = listed[-1] if listed else 1
        while wanted > 1:
            key = names.generation_key(wanted)
            try:
                entry = _entry_at(self.space, key)
                if entry.generation != wanted or not 0 < entry.before < wanted:
                    raise StoreDamaged(f"{key}: it is the entry of another generation")
            except StoreDamaged:
                older = [each for each in listed if each < wanted]
                if path or not forgive:
                    raise
                wanted = older[-1] if older else 1
                continue
            path.append(Segment(wanted, entry.n, entry.carrier))
            wanted = entry.before
        return [Segment(1, 1), *reversed(path)]

    def _end(self, segment: Segment) -> int:
        """The last entry of the newest generation, as far as it is seen."""
        shards = names.counts(self.space.names(f"log/{segment.generation:012}"))
        found: list[int] = []
        if shards:
            folder = names.shard_of(segment.generation, shards[-1] * names.SHARD)
            found = names.counts(self.space.names(folder))
        return max([segment.first if segment.generation > 1 else 0, *found])

    def _on_path(self, at: Stand, path: list[Segment], forgive: bool) -> bool:
        """Whether the entry the copy stands at is still part of the log."""
        if at.n == 0:
            return at.generation == 1
        if _segment_of(path, at.n).generation != at.generation:
            return False
        key = _key_of(path, at.n)
        content = self.space.get(key)
        if content is None:
            return False
        try:
            return _entry_in(key, content).hash == at.hash
        except StoreDamaged:
            if not forgive:
                raise
            return False

    def _read_on(self, path: list[Segment], end: int) -> None:
        at = stand(self.connection)
        while at.n < end:
            if self.clock.monotonic() > self.deadline:
                raise SpaceError(f"still reading its history: {at.n} of {end} entries so far")
            wanted = range(at.n + 1, min(at.n + CHUNK, end) + 1)
            entries, error = self._entries(path, wanted)
            batches, late = self._batches(entries)
            with writing(self.connection):
                self._fold_all(entries, batches, late)
            at = stand(self.connection)
            if late or error:
                raise late or error or SpaceError("")

    def _fold_all(
        self, entries: list[LogEntry], batches: dict[str, list[Event]], late: StoreDamaged | None
    ) -> None:
        for entry in entries:
            at = stand(self.connection)
            if entry.n <= at.n:
                continue  # another process of this machine was faster
            if entry.n > at.n + 1 or (late is not None and entry.n >= late.n):
                break
            try:
                fold(self.connection, entry, {key: batches[key] for key, _ in entry.batches})
            except Damaged as error:
                raise StoreDamaged(f"entry {entry.n} of its log: {error}", entry.n) from error

    def _entries(
        self, path: list[Segment], wanted: range
    ) -> tuple[list[LogEntry], StoreDamaged | None]:
        """The entries as far as they are whole, and what the first one that is not suffers from."""
        found = read_all(self.space, [_key_of(path, n) for n in wanted])
        entries: list[LogEntry] = []
        for n in wanted:
            key = _key_of(path, n)
            try:
                entry = _entry_in(key, found[key])
            except StoreDamaged as error:
                return entries, StoreDamaged(str(error), n)
            if (entry.n, entry.generation) != (n, _segment_of(path, n).generation):
                return entries, StoreDamaged(f"{key}: it is another entry", n)
            entries.append(entry)
        return entries, None

    def _batches(
        self, entries: list[LogEntry]
    ) -> tuple[dict[str, list[Event]], StoreDamaged | None]:
        found = read_all(self.space, [key for entry in entries for key, _ in entry.batches])
        batches: dict[str, list[Event]] = {}
        for entry in entries:
            for key, digest in entry.batches:
                content = found[key]
                try:
                    if isinstance(content, SpaceError):
                        raise Damaged(str(content))
                    if seal_hash(content) != digest:
                        raise Damaged("it is another batch")
                    batches[key] = events_in(unseal(content, "batch"))
                except Damaged as error:
                    return batches, StoreDamaged(f"{key}: {error}", entry.n)
        return batches, None

    def _orphans(self, path: list[Segment], n: int) -> tuple[tuple[str, str, int], ...]:
        """What entries beyond the damage say was granted, as far as they can be read."""
        found: list[tuple[str, str, int]] = []
        for at in range(n, self._end(path[-1]) + 1):
            try:
                content = self.space.get(_key_of(path, at))
                entry = entry_in(content or b"")
                grants = [item["grant"] for item in entry.items if "grant" in item]
                found += [(str(g["deliverable"]), str(g["line"]), int(g["hi"])) for g in grants]
            except (Damaged, KeyError, TypeError, ValueError):
                continue
        return tuple(found)


def read_marker(space: KeySpace) -> Marker:
    """What the folder or bucket says of the store in it. Raises SpaceMissing and StoreDamaged."""
    content = space.get(names.MARKER)
    if content is None:
        raise SpaceMissing("there is no store in it; is it the right place, and is it mounted?")
    try:
        return marker_in(content)
    except Damaged as error:
        raise StoreDamaged(f"{names.MARKER}: {error}") from error


def read_all(space: KeySpace, keys: list[str]) -> dict[str, bytes | SpaceError]:
    """The contents of keys that must exist, or why one cannot be had."""
    found: dict[str, bytes | SpaceError] = {}
    waiting = list(dict.fromkeys(keys))

    def read() -> None:
        while waiting:
            try:
                key = waiting.pop()
            except IndexError:
                return
            try:
                found[key] = look_for(space, key)
            except SpaceError as error:
                found[key] = error

    _side_by_side(read, min(len(waiting), getattr(space, "readers", 1), READERS_MAX))
    return found


def _side_by_side(work: Callable[[], None], count: int) -> None:
    if count <= 1:
        work()
        return
    threads = [threading.Thread(target=work, daemon=True) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def _segment_of(path: list[Segment], n: int) -> Segment:
    return next(segment for segment in reversed(path) if segment.first <= n)


def _key_of(path: list[Segment], n: int) -> str:
    segment = _segment_of(path, n)
    if segment.generation > 1 and n == segment.first:
        return names.generation_key(segment.generation)
    return names.log_key(segment.generation, n)


def _entry_at(space: KeySpace, key: str) -> LogEntry:
    try:
        return _entry_in(key, look_for(space, key))
    except StoreDamaged:
        raise
    except SpaceError as error:
        raise StoreDamaged(str(error)) from error


def _entry_in(key: str, content: bytes | SpaceError) -> LogEntry:
    if isinstance(content, SpaceError):
        raise StoreDamaged(str(content)) from content
    try:
        return entry_in(content)
    except Damaged as error:
        raise StoreDamaged(f"{key}: {error}") from error


__all__ = ["Followed", "Follower", "StoreDamaged", "read_all", "read_marker"]
