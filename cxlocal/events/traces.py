"""Runs as traces (W3C Trace Context): ids that every machine makes alike, and the words handed on. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import sha256

from cxlocal.patterns import compile_late

_PARENT = compile_late(r"[0-9a-f]{2}-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")
_HEX = frozenset("0123456789abcdef")


def trace_of(run: str) -> str:
    """The trace id of a run: its UUID; the digest of what is none."""
    bare = run.replace("-", "").lower()
    good = len(bare) == 32 and _HEX.issuperset(bare) and bare != "0" * 32
    return bare if good else sha256(run.encode("utf-8", "replace")).hexdigest()[:32]


def span_of(subject: str) -> str:
    """The span id of a run or a stage run, by its id."""
    return sha256(subject.encode("utf-8", "replace")).hexdigest()[:16]


def trace_variables(run: str, stage_run: str) -> dict[str, str]:
    """What the programs of a stage are told: their spans stand below that of the stage. The run is a
    trace of its own, so nothing of a ``TRACESTATE`` that came in is handed on."""
    return {
        "TRACEPARENT": f"00-{trace_of(run)}-{span_of(stage_run)}-01",
        "TRACESTATE": f"cxlocal={run[:8]}",
    }


def traceparent_in(environ: Mapping[str, str]) -> str:
    """The span in which we were called; empty where none is named properly."""
    told = environ.get("TRACEPARENT", "").strip()
    return told if told and _PARENT.fullmatch(told) and not told.startswith("ff") else ""
