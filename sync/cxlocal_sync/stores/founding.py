"""The first contact of a store, and the bytes it keeps by digest: what all SQL stores share."""

from __future__ import annotations

from hashlib import sha256
from typing import Any

from cxlocal.clock import Ids
from cxlocal.errors import Conflict, CxError
from cxlocal.exchange.messages import read_part
from cxlocal.text import is_hexadecimal
from cxlocal_sync.stores.feed import ROOT
from cxlocal_sync.stores.session import Session


def may_found(message: dict[str, Any]) -> bool:
    """Whether ``message`` may make a store where there is none: its journal belongs to none yet, as
    far as it remembers, or somebody recovers one that is gone. Numbers would start over otherwise."""
    told = message.get("contact")
    known = isinstance(told, dict) and (told.get("lineage") or told.get("founds") is False)
    return not known or read_part(message, "recover") is not None


def found(session: Session, message: dict[str, Any], ids: Ids, here: str) -> None:
    """Write the first rows into the empty tables of a store that lies at ``here``."""
    told = message.get("contact") or {}
    lineage = str(told.get("lineage") or "") or ids.token()
    session.execute("INSERT INTO store VALUES (1, ?, '', ?, 0, ?, ?)", (lineage, 1, ROOT, here))
    session.execute("INSERT INTO member (id, name) VALUES (1, 'this machine')")


def check_digest(digest: str) -> str:
    """``digest``, if it is one. Raises CxError."""
    if not is_hexadecimal(digest, 64):
        raise CxError(
            "a digest is 64 hexadecimal digits",
            why=digest[:80],
            hint="give the SHA-256 of the bytes in small letters",
            name="bad-digest",
        )
    return digest


def check_content(digest: str, content: bytes) -> None:
    """Raises Conflict where ``content`` is not what ``digest`` names."""
    if sha256(content).hexdigest() != digest:
        raise Conflict(
            "these are not the bytes of that digest",
            why=digest,
            hint="send them again; they changed on the way, or the file did",
            name="blob-differs",
        )
