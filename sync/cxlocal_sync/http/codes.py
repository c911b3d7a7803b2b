"""One-time codes, and how secrets are kept: as their SHA-256. Pure."""

from __future__ import annotations

from hashlib import sha256

from cxlocal.clock import Ids

_LETTERS = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
"""Crockford's: none is taken for another."""


def draw_code(ids: Ids) -> str:
    """A code of 80 random bits, in four groups of four letters."""
    number = int(ids.token()[:20], 16)
    letters = "".join(_LETTERS[number >> shift & 31] for shift in range(75, -1, -5))
    return "-".join(letters[start : start + 4] for start in range(0, 16, 4))


def plain(code: str) -> str:
    """A code as it is compared: people type small letters, and O for 0."""
    letters = code.upper().replace("-", "").replace(" ", "")
    return letters.replace("O", "0").replace("I", "1").replace("L", "1")


def digest(secret: str) -> str:
    """What is kept of a token or a code. Both are drawn at random, so a plain hash will do."""
    return sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()
