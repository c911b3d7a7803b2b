"""What a store without a server is built on: keys that are written once.

A key is a path of plain ASCII names. ``put_new`` is the only operation that decides anything, and
the only one that must be atomic over all machines.
"""

from __future__ import annotations

import threading
import time

from cxlocal.clock import Ids
from cxlocal.exchange.messages import BLOB_BYTES_MAX
from cxlocal.values import Protocol

VISIBLE_PAUSE_SECONDS = 0.02
"""Between two looks for a key that must be there but is not seen yet (caches of shared folders)."""

LOOKS = 25
"""How often such a key is looked for: half a second in all."""

CONTENT_BYTES_MAX = BLOB_BYTES_MAX
"""Of one key: no message and no part of the log is as long as the longest blob."""

RIVALS = 6
"""Writers that race for one key in the probe."""


class SpaceError(Exception):
    """The space cannot be used now; the text says why, in words an operator can act on."""


class SpaceUnclear(SpaceError):
    """A write whose outcome is not known."""


class SpaceMissing(SpaceError):
    """The folder or bucket itself is not there."""


class KeySpace(Protocol):
    """Keys that are written once. Everything may raise SpaceError."""

    def get(self, key: str) -> bytes | None:
        """The content of a key, or None."""

    def put_new(self, key: str, content: bytes) -> bool:
        """Write a key that does not exist; False, and nothing changed, where it does. Durable when
        it returns. Raises SpaceUnclear where it may have been written."""

    def put(self, key: str, content: bytes) -> None:
        """Write a key whether it exists or not: only for content that its name determines."""

    def names(self, folder: str) -> list[str]:
        """The last parts of the keys right below ``folder``, and of the folders there."""

    def remove(self, key: str) -> None:
        """Take a key away that nobody reads, such as those of the probe."""

    def close(self) -> None:
        """Let go of connections."""


def too_long(key: str) -> str:
    """What is said of a key that nobody of ours wrote."""
    return f"{key} is no part of a store: it has more than {CONTENT_BYTES_MAX} bytes"


def look_for(space: KeySpace, key: str) -> bytes:
    """The content of a key that is known to exist, waiting a little until it is seen here.

    Raises SpaceError.
    """
    for look in range(LOOKS):
        found = space.get(key)
        if found is not None:
            return found
        if look + 1 < LOOKS:
            time.sleep(VISIBLE_PAUSE_SECONDS)
    raise SpaceError(f"{key} is missing; it may not have arrived here yet, or it was deleted")


def claim(space: KeySpace, key: str, content: bytes) -> bool:
    """Write a key and say whether it holds ``content`` now, which nobody else writes.

    An answer that was lost, and a key that exists already, are settled by reading it back.
    """
    try:
        if space.put_new(key, content):
            return True
    except SpaceUnclear:
        there = space.get(key)
        if there is None:
            raise
        return there == content
    return look_for(space, key) == content


def keep_content(space: KeySpace, key: str, content: bytes) -> None:
    """Make a key hold ``content`` that its name determines, mending one that was damaged."""
    if not claim(space, key, content):
        space.put(key, content)


def ignores_conditions(space: KeySpace, ids: Ids) -> str:
    """What the space does wrong when several write one key; empty where it does right.

    For who has time: servers that keep a lock for each object let rivals wait a second each
    (SeaweedFS). Raises SpaceError where it does not even take keys.
    """
    return overwrites(space, ids) or _lets_several_win(space, f"probe/{ids.token()}")


def overwrites(space: KeySpace, ids: Ids) -> str:
    """What the space does wrong when a key is written a second time; empty where it does right.
    Takes a few requests. Raises SpaceError."""
    key = f"probe/{ids.token()}"
    first = space.put_new(key, b"first")
    second = space.put_new(key, b"second")
    found = look_for(space, key)
    space.remove(key)
    if not first:
        return "it refuses a key that nobody wrote"
    return "it writes over a key that exists" if second or found != b"first" else ""


def _lets_several_win(space: KeySpace, key: str) -> str:
    won: list[int] = []
    failed: list[SpaceError] = []
    start = threading.Barrier(RIVALS)

    def rival(number: int) -> None:
        try:
            start.wait(timeout=10)
            if space.put_new(key, b"%d" % number):
                won.append(number)
        except (SpaceError, threading.BrokenBarrierError) as error:
            failed.append(error if isinstance(error, SpaceError) else SpaceError(str(error)))

    threads = [threading.Thread(target=rival, args=(each,), daemon=True) for each in range(RIVALS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failed:
        raise failed[0]
    found = look_for(space, key)
    space.remove(key)
    right = len(won) == 1 and found == b"%d" % won[0]
    return "" if right else f"{len(won)} of {RIVALS} writers of one key were told that they won"
