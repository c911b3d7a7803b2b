"""Every sink against every way in which a receiver goes wrong: what docs/sinks.md says of each holds.

Sets of ids: none is missing, the order is kept, and one is there twice only where the page says *at least
once*, and only after something was cut. The receivers are our own, so that each answer is known; those in
front of the real servers are heavy.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import servers
from cxlocal_plugins.sinks import CloudEvents, Graphite, JsonLines, Otlp, Pushgateway, Syslog
from decoded import Decoded, attributes
from receivers import Cutting, Http, Tcp, deliver_through, free_port, running

from cxlocal.testing import example

WAYS: dict[str, list[tuple[str, int]]] = {
    "well": [],
    "slow": [("slow", 500)],
    "cut at once": [("cut", 1)],
    "cut in the middle, twice": [("cut", 3_000), ("cut", 9_000)],
    "cut before its answer": [("mute", 0)],
    "cut again and again": [("mute", 0), ("cut", 5_000), ("mute", 0), ("cut", 100)],
    "answers twice": [("twice", 0)] * 8,
    "slow, then cut": [("slow", 900), ("cut", 4_000)],
    "away, then there": [],
}
ONCE, AT_LEAST_ONCE, LAST_VALUE = "once", "at least once", "last value"
COUNT = 60


def _json(tcp: Tcp) -> list[str]:
    return [one["cx_id"] for one in tcp.lines()]


def _syslog(tcp: Tcp) -> list[str]:
    return re.findall(r'\[cx@32473 id="([^"]*)"', b"".join(tcp.whole).decode())


def _graphite(tcp: Tcp) -> list[str]:
    paths = [line.split()[0].decode() for part in tcp.whole for line in part.splitlines()]
    return [f"m-{re.sub('.*unit', '', path)}" for path in paths]


def _otlp(http: Http) -> list[str]:
    return [attributes(one)["cx_id"] for one in Decoded(http).logs()]


def _pushed(http: Http) -> list[str]:
    """Which series, by their one figure."""
    values = [
        re.findall(rb"^cxlocal\S* ([0-9.]+)$", body, re.MULTILINE) for _, _, body in http.requests
    ]
    return [f"m-{float(each[0]) - 0.5:.0f}" for each in values]


SINKS: dict[str, tuple[Any, str, str, type, Callable[[Any], list[str]], str]] = {
    "json lines": (JsonLines, "json+tcp", "logs", Tcp, _json, AT_LEAST_ONCE),
    "syslog": (Syslog, "syslog+tcp", "logs", Tcp, _syslog, AT_LEAST_ONCE),
    "graphite": (Graphite, "graphite+tcp", "metrics", Tcp, _graphite, LAST_VALUE),
    "cloudevents": (CloudEvents, "cloudevents+http", "events", Http, Http.ids, AT_LEAST_ONCE),
    "otlp": (Otlp, "otlp+http", "logs", Http, _otlp, AT_LEAST_ONCE),
    "pushgateway": (Pushgateway, "pushgateway+http", "metrics", Http, _pushed, LAST_VALUE),
}


@contextmanager
def late(kind: type, port: int) -> Iterator[list[Any]]:
    """A receiver that comes when it was missed for a while."""
    made: list[Any] = []
    timer = threading.Timer(0.3, lambda: made.append(kind(port=port)))
    timer.start()
    try:
        yield made
    finally:
        timer.join()
        made[0].close()


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", SINKS)
def test_whatever_goes_wrong_no_id_is_missing_and_the_order_is_kept(name: str, way: str) -> None:
    sink, scheme, kind, receiver, ids, mode = SINKS[name]
    batch = [example(kind, index) for index in range(COUNT)]
    if way == "away, then there":
        port = free_port()
        with late(receiver, port) as made:
            deliver_through(
                sink(f"{scheme}://127.0.0.1:{port}", None, timeout_seconds=2), batch, pause=0.05
            )
            found = ids(made[0])
    else:
        with running(receiver()) as made, running(Cutting(made.port)) as proxy:
            proxy.rules = list(WAYS[way])
            deliver_through(
                sink(f"{scheme}://127.0.0.1:{proxy.port}", None, timeout_seconds=0.5), batch
            )
            found = ids(made)
    assert list(dict.fromkeys(found)) == [one.id for one in batch]
    if way in ("well", "slow", "away, then there"):
        assert len(found) == COUNT  # doubles only after a cut
    assert mode != ONCE or len(found) == COUNT


@pytest.mark.heavy
@pytest.mark.needs("carbon-cache", "prometheus-pushgateway")
@pytest.mark.parametrize("way", [way for way in WAYS if way != "away, then there"])
@pytest.mark.parametrize("name", ["graphite", "pushgateway"])
def test_the_real_servers_of_figures_have_each_once(tmp_path: Path, name: str, way: str) -> None:
    """What is sent again says the same, so nothing is there twice."""
    sink, scheme = SINKS[name][:2]
    batch = [example("metrics", index) for index in range(40)]
    start = servers.carbon if name == "graphite" else servers.pushgateway
    with start(tmp_path) as port, running(Cutting(port)) as proxy:
        proxy.rules = list(WAYS[way])
        deliver_through(sink(f"{scheme}://127.0.0.1:{proxy.port}", None, timeout_seconds=1), batch)
        if name == "graphite":
            servers.until(lambda: len(list(tmp_path.rglob("*.wsp"))) == len(batch))
        else:
            text = servers.web_text(port, "/metrics")
            told = re.findall(
                r'^cxlocal_stage_duration_seconds\{.*stage="unit(\d+)"', text, re.MULTILINE
            )
            assert sorted(map(int, told)) == list(range(len(batch)))
