"""The keys of a store. Pure.

::

    cxlocal-store                                what this is: lineage, format
    log/<generation>/<n / 1000>/<n>              the log, one entry a change
    generation/<generation>                      the entry that began a later generation
    contact/<generation>/<node>/<count>          the contact tokens of a node
    journal/<node>/<first>-<last>-<hash>         batches of events
    wish/<node>/<nonce>                          reserves asked for (synced folders)
    blobs/<aa>/<sha256>                          reports and logs, by digest

Numbers are written with leading zeros, so that they sort. A name of another shape (a *conflicted
copy* of a sync program, a temporary file) is nobody's key and is passed over.
"""

from __future__ import annotations

from cxlocal.patterns import compile_late
from cxlocal.text import is_hexadecimal

MARKER = "cxlocal-store"
GENERATIONS = "generation"
JOURNALS = "journal"
WISHES = "wish"
SHARD = 1000
"""Keys in one folder: a listing of it is one answer of an object store."""

_WHOLE = compile_late(r"[0-9]{12}")
_NODE = compile_late(r"[0-9a-f]{32}")
_BATCH = compile_late(r"([0-9]{12})-([0-9]{12})-([0-9a-f]{64})")


def named(text: str) -> str:
    """``text``, if it may stand in a key as a node id or a nonce. Raises ValueError: who speaks to a
    store must not choose the place of a file."""
    if not is_hexadecimal(text, 32):
        raise ValueError(f"{text[:80]!r} is not 32 hexadecimal digits")
    return text


def shard_of(generation: int, n: int) -> str:
    """The folder of entry ``n`` of the log."""
    return f"log/{generation:012}/{n // SHARD:012}"


def log_key(generation: int, n: int) -> str:
    """The key of entry ``n`` of the log."""
    return f"{shard_of(generation, n)}/{n:012}"


def generation_key(generation: int) -> str:
    """The key of the entry that began a generation."""
    return f"{GENERATIONS}/{generation:012}"


def contacts_of(generation: int, node: str) -> str:
    """The folder of a node's contact tokens."""
    return f"contact/{generation:012}/{named(node)}"


def contact_key(generation: int, node: str, count: int) -> str:
    """The key of a node's contact token number ``count``."""
    return f"{contacts_of(generation, node)}/{count:012}"


def batch_key(node: str, first: int, last: int, digest: str) -> str:
    """The key of a batch of events."""
    return f"{JOURNALS}/{named(node)}/{first:012}-{last:012}-{digest}"


def wish_key(node: str, nonce: str) -> str:
    """The key of a reserve that a node asks for."""
    return f"{WISHES}/{named(node)}/{named(nonce)}"


def blob_key(digest: str) -> str:
    """The key of a blob."""
    return f"blobs/{digest[:2]}/{digest}"


def counts(names: list[str]) -> list[int]:
    """The numbers among ``names``, in order; names of another shape are nobody's."""
    return sorted(int(name) for name in names if _WHOLE.fullmatch(name))


def nodes(names: list[str]) -> list[str]:
    """The node ids (and nonces, which have the same shape) among ``names``."""
    return sorted(name for name in names if _NODE.fullmatch(name))


def spans(names: list[str]) -> list[tuple[int, int, str]]:
    """(first, last, name) of the batches among ``names``, in order."""
    found = [(match, name) for name in names if (match := _BATCH.fullmatch(name))]
    return sorted((int(match[1]), int(match[2]), name) for match, name in found)
