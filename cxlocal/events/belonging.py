"""Ids that say which deliverable they belong to, so that nobody writes into what is another's. Pure.

The id of a run, and of every event, is a UUID of version 8 (RFC 9562) with the digest of its
deliverable in it::

    RRRRRRRR-RRRR-8c1R-VTTT-TTTTTTTTTTTR      R random (58 bits), T of the digest (56 bits)
    DDDDDDDD-DDDD-8c2D-VTTT-TTTTTTTTTTTD      D of what several machines know alike

Whoever reads an event can tell by it alone whether it may speak of what it names, whatever came
before it: no order of arrival, no table, no store. Ids of another form (of histories written
elsewhere) say nothing of that.
"""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Sequence
from functools import lru_cache
from hashlib import sha256

_OWN, _SHARED = "8c1", "8c2"
_LENGTH = 36
RUN = r"[0-9A-Za-z][0-9A-Za-z_.-]{0,127}"
"""What the id of a run may be: it names files and stands in commands."""


@lru_cache(maxsize=1024)
def _tag(deliverable: str) -> str:
    name = unicodedata.normalize("NFC", deliverable)  # as events have it (domain.deliverable_id)
    return sha256(name.encode(errors="surrogatepass")).hexdigest()[:14]


def mark_id(fresh: str, deliverable: str) -> str:
    """``fresh``, a random UUID, as an id of something of ``deliverable``."""
    return _marked(fresh, _OWN, deliverable)


def shared_id(deliverable: str, words: Sequence[str]) -> str:
    """The id of a run that machines which do not know of each other may begin at the same moment: made
    of what is the same for all of them."""
    digest = sha256(json.dumps([deliverable, *words]).encode()).hexdigest()
    variant = "89ab"[int(digest[16], 16) % 4]
    text = f"{digest[:8]}-{digest[8:12]}-8{digest[13:16]}-{variant}{digest[17:20]}-{digest[20:32]}"
    return _marked(text, _SHARED, deliverable)


def _marked(text: str, mark: str, deliverable: str) -> str:
    tag = _tag(deliverable)
    return f"{text[:14]}{mark}{text[17:20]}{tag[:3]}-{tag[3:]}{text[35:]}"


def is_shared(run: str) -> bool:
    """Whether several machines may have begun the run of this id."""
    return run[14:17] == _SHARED


@lru_cache(maxsize=1024)
def mark_of_others(deliverable: str) -> re.Pattern[str]:
    """What stands in every id that ``is_foreign`` to ``deliverable``, as text; it may stand elsewhere
    too."""
    tag = _tag(deliverable)
    return re.compile(f"-8c[12](?![0-9a-f]-[0-9a-f]{tag[:3]}-{tag[3:]})")


def is_foreign(name: str, deliverable: str | None) -> bool:
    """Whether ``name``, an id or one with more behind a slash, says that it belongs to another
    deliverable than this one (None: to none)."""
    if (
        name[14:17] not in (_OWN, _SHARED)
        or name[8:24:5] != "----"
        or name[_LENGTH:][:1] not in ("", "/")
    ):
        return False
    tag = "" if deliverable is None else _tag(deliverable)
    return name[20:23] + name[24:35] != tag
