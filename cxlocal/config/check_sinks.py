"""``[sinks]``: what a type cannot say."""

from __future__ import annotations

from cxlocal.address import public_address
from cxlocal.config import types
from cxlocal.config.check import source
from cxlocal.config.given import sinks_of
from cxlocal.config.problems import Where, problem
from cxlocal.patterns import compile_late
from cxlocal.text import clean_text

_SINK_ADDRESS = compile_late(r"[a-z][a-z0-9+.-]*:[^\x00-\x1f\x7f]+")


def sinks(table: types.Sinks, where: Where) -> None:
    """Addresses, a list without two alike, and ``hold``."""
    for kind, found in sinks_of(table).items():
        for one in found:
            check_sink(one, where, kind)
        if len({one.to for one in found}) < len(found):
            raise problem(where, f"{kind} names one address twice", key=kind)


def check_sink(sink: types.SinkTo, where: Where, kind: str) -> None:
    """Raise ConfigError for what is no address of a sink."""
    if sink.ask is not None and kind != "logs":
        raise problem(where, f"{kind}: only logs are asked for", key=kind)
    for address in (sink.to, sink.ask):
        if address is not None:
            _check_address(address, where, kind)
    for one in (sink.token, sink.ask_token):
        if one is not None:
            source(one, where)


def _check_address(address: str, where: Where, kind: str) -> None:
    if not _SINK_ADDRESS.fullmatch(address):
        raise problem(
            where,
            f"{kind}: {clean_text(address)[:80]!r} is no address of a sink",
            why="it begins with how it speaks: journald+http://logs:19532, file:/var/log/cx.ndjson",
            hint="docs/sinks.md lists the sinks there are",
            key=kind,
        )
    if "://" in address and public_address(address) != address:
        raise problem(
            where,
            f"{kind}: a password does not belong into an address",
            why="addresses are shown and recorded",
            hint=f'write {kind} = {{ to = "…", token = {{ env = "LOGS_TOKEN" }} }}',
            key=kind,
        )
