"""Where a file lies, in a form that changes when the file is copied or moved elsewhere.

A hint is machine, inode and file-system id. It is weak evidence: a copy of a whole virtual machine
keeps all three. The contact token decides; the hint only makes a machine careful while it cannot
ask (DESIGN §5). The device number is left out because it changes at reboot. The machine's id is
hashed, since machine-id(5) calls the raw value confidential and the hint is sent to the store.
"""

from __future__ import annotations

import os
import sys
from functools import cache
from hashlib import sha256
from pathlib import Path

_LINUX_FILES = ("/etc/machine-id", "/var/lib/dbus/machine-id")


@cache
def machine_id() -> str:
    """The platform's id of this machine, or an empty text where it has none (many containers).
    It does not change under a running process, so it is read once."""
    if sys.platform == "darwin":
        return _mac_id()
    for name in _LINUX_FILES:
        try:
            with open(name, encoding="ascii") as file:
                text = file.read().strip()
        except (OSError, ValueError):
            continue
        if text and text != "uninitialized":
            return text
    return ""


def _mac_id() -> str:
    # gethostuuid(2) gives the hardware UUID without starting a process.
    import ctypes

    raw = (ctypes.c_ubyte * 16)()
    wait = (ctypes.c_long * 2)(1, 0)
    return bytes(raw).hex() if ctypes.CDLL(None).gethostuuid(raw, wait) == 0 else ""


def file_hint(path: str | Path) -> str:
    """The hint of an existing file: machine, inode, file system. Raises OSError."""
    raw = machine_id()
    machine = sha256(b"cxlocal hint:" + raw.encode()).hexdigest()[:16] if raw else ""
    return f"{machine}|{os.stat(path).st_ino}|{os.statvfs(path).f_fsid}"


def hint_digest(path: str | Path) -> str:
    """The hint in the form that events carry: the machine id in it is confidential
    (machine-id(5)), and events travel. Raises OSError."""
    from hashlib import sha256

    return sha256(file_hint(path).encode()).hexdigest()


def same_place(known: str, seen: str) -> bool:
    """Whether two hints speak of one place. An empty one is not known yet and matches all."""
    return not known or not seen or known == seen
