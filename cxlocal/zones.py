"""Zones of time as people name them."""

from __future__ import annotations

import re
from datetime import UTC, timedelta, timezone, tzinfo
from zoneinfo import ZoneInfo

from cxlocal.patterns import compile_late

_NAME = compile_late(r"[A-Za-z][A-Za-z0-9_+-]*(?:/[A-Za-z0-9_+-]+){0,2}", re.ASCII)
_OFFSET = compile_late(r"(?:UTC)?([+-])(\d\d):?([0-5]\d)", re.ASCII)
HOURS_MAX = 14


def zone_of(text: str) -> tzinfo | None:
    """``Europe/Berlin``, ``UTC``, ``+05:45``; None for what is no zone, or none that this machine knows."""
    if text in ("UTC", "Z"):
        return UTC
    found = _OFFSET.fullmatch(text)
    if found:
        minutes = int(found[2]) * 60 + int(found[3])
        if minutes > HOURS_MAX * 60:
            return None
        return timezone(timedelta(minutes=minutes if found[1] == "+" else -minutes))
    if len(text) > 64 or not _NAME.fullmatch(text):
        return None
    try:
        return ZoneInfo(text)
    except (KeyError, ValueError, OSError):  # not known; a folder of names; a file that is no zone
        return None
