"""The embedded store in a process of its own, answering framed messages on standard input and
misbehaving as each frame says. Started by ``numbers_kit.ElsewhereStore``."""

from __future__ import annotations

import os
import struct
import sys
import threading
import time
from pathlib import Path

from cxlocal_sync.stores.sqlite import SqliteStore

DELAY_SECONDS = 30.0
_writing = threading.Lock()


def _reply(number: int, data: bytes) -> None:
    with _writing:
        sys.stdout.buffer.write(struct.pack(">II", number, len(data)) + data)
        sys.stdout.buffer.flush()


def _reply_late(number: int, data: bytes) -> None:
    time.sleep(DELAY_SECONDS)
    _reply(number, data)


def main(home: Path) -> None:
    store = SqliteStore("sqlite:", home)
    while head := sys.stdin.buffer.read(32):
        number, length, raw_fault = struct.unpack(">II24s", head)
        request = sys.stdin.buffer.read(length)
        fault = raw_fault.rstrip(b"\0").decode()
        if fault == "fail-before":
            os._exit(3)
        data = store.exchange(request, timeout=5.0)
        if fault == "fail-after-commit":
            os._exit(3)
        if fault == "twice":
            data = store.exchange(request, timeout=5.0)
        if fault == "delay":
            threading.Thread(target=_reply_late, args=(number, data), daemon=True).start()
        elif fault != "lose-reply":
            _reply(number, data)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
