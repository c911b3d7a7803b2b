"""Every sink against every way in which a receiver goes wrong: what docs/sinks.md says of each holds.

Sets of ids: none is missing, the order is kept, and one is there twice only where the page says *at least
once*, and only after something was cut. The receivers are our own, so that each answer is known; those in
front of the real servers are heavy.
"""

from __future__ import annotations

import json
import os
import re
import resource
import shlex
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import servers
from cxlocal_plugins.sinks import (
    CloudEvents,
    Command,
    File,
    Graphite,
    JsonLines,
    Otlp,
    Pushgateway,
    Syslog,
)
from cxlocal_plugins.sinks.form import as_line, as_object
from decoded import Decoded, attributes
from receivers import Cutting, Http, Tcp, deliver_through, free_port, running

from cxlocal.hooks.sink import Later
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


def _spans(http: Http) -> list[str]:
    return [one.span_id.hex() for one in Decoded(http).spans()]


def _points(http: Http) -> list[str]:
    points = [one.gauge.data_points[0] for one in Decoded(http).metrics()]
    return [f"m-{one.as_double - 0.5:.0f}" for one in points]


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
    "otlp spans": (Otlp, "otlp+http", "spans", Http, _spans, AT_LEAST_ONCE),
    "otlp metrics": (Otlp, "otlp+http", "metrics", Http, _points, AT_LEAST_ONCE),
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


FILE = {
    "well": (0, ()), "its folder is not there": (2, ()), "a folder stands there": (2, ()),
    "a pipe stands there": (2, ()), "it may not be written": (2, ()), "its disk is full": (2, ()),
    "its writer was killed in a line": (0, ()), "it was moved away": (0, ()),
    "what was written was not noted": (0, (0, 1)),
}  # fmt: skip
"""How often it says *later*, and which deliveries come twice."""


@contextmanager
def spoilt(path: Path, way: str) -> Iterator[None]:
    """What stands in the way of a file, until it is cleared away."""
    if way == "its folder is not there":
        path.parent.rmdir()
    elif way == "a folder stands there":
        path.mkdir()
    elif way == "a pipe stands there":
        os.mkfifo(path)
    elif way == "it may not be written":
        path.symlink_to("/proc/version")
    elif way == "its writer was killed in a line":
        path.write_bytes(as_line(as_object(example("logs", 0)))[:50])
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    if way == "its disk is full":
        resource.setrlimit(resource.RLIMIT_FSIZE, (3_000, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        if way == "its folder is not there":
            path.parent.mkdir()
        elif path.is_dir():
            path.rmdir()
        elif path.is_symlink() or path.is_fifo():
            path.unlink()


@pytest.mark.parametrize("way", FILE)
def test_whatever_stands_in_the_way_of_a_file_no_id_is_missing(tmp_path: Path, way: str) -> None:
    path = tmp_path / "logs" / "out.ndjson"
    path.parent.mkdir()
    batch = [example("logs", index) for index in range(COUNT)]
    sink = File(f"file:{path}", None)
    later, twice = FILE[way]
    with spoilt(path, way):
        for _ in range(later):
            with pytest.raises((Later, OSError)):
                sink.deliver(batch)
        if path.is_file() and later:
            assert path.read_bytes() in (b"", Path("/proc/version").read_bytes()), "no half is left"
    halves = (batch[:25], batch[25:])
    for half in (halves[0], *(halves[one] for one in twice), halves[1]):
        assert sink.deliver(half) == len(half)
        if way == "it was moved away" and half is halves[0]:
            path.rename(path.with_suffix(".1"))
    found = [one for file in sorted(path.parent.iterdir()) for one in ids_of(file)]
    assert list(dict.fromkeys(found)) == [one.id for one in batch]
    assert len(found) == COUNT + sum(len(halves[one]) for one in twice)


def ids_of(file: Path) -> list[str]:
    """Of the whole lines of a file; half of one is none."""
    lines = file.read_bytes().split(b"\n")
    return [json.loads(line)["cx_id"] for line in lines if line.endswith(b"}")]


PROGRAM = """\
way=$(sed -n 1p ways 2>/dev/null); sed -i 1d ways 2>/dev/null
case "$way" in
  down) exit 1;;
  deaf) exec 0<&-; exit 3;;
  half) head -n 20 >> out; exit 3;;
  mute) cat >> out; echo "no answer" >&2; exit 1;;
  dies) head -n 7 >> out; kill -9 $$;;
  late) head -n 5 >> out; exec sleep 60;;
  loud) cat >> out; yes 'x' | head -c 300000; exit 0;;
  *) cat >> out;;
esac
"""
COMMAND = {
    "well": [], "there late": ["down"] * 3, "slow": ["late"], "cut in the middle": ["half", "half"],
    "cut before its answer": ["mute"], "killed": ["dies", "dies"], "reads nothing": ["deaf", "deaf"],
    "says a lot": ["loud"], "everything": ["down", "half", "mute", "dies", "deaf", "loud"],
}  # fmt: skip


@pytest.mark.parametrize("way", COMMAND)
def test_whatever_a_command_does_no_id_is_missing(tmp_path: Path, way: str) -> None:
    (tmp_path / "take").write_text(f"cd {shlex.quote(str(tmp_path))}\n{PROGRAM}")
    (tmp_path / "ways").write_text("".join(f"{one}\n" for one in COMMAND[way]))
    batch = [example("logs", index, "x" * 2_000) for index in range(COUNT)]
    sink = Command(f"command:sh {shlex.quote(str(tmp_path / 'take'))}", None, timeout_seconds=0.7)
    asked = deliver_through(sink, batch)
    found = ids_of(tmp_path / "out")
    assert list(dict.fromkeys(found)) == [one.id for one in batch]
    assert asked == 1 + sum(one != "loud" for one in COMMAND[way])
    again = {"half": 20, "mute": COUNT, "dies": 7, "late": 5}
    assert len(found) == COUNT + sum(again.get(one, 0) for one in COMMAND[way]), "no other doubles"


def test_a_program_that_is_not_there_takes_nothing() -> None:
    with pytest.raises(Later, match="no-such-program"):
        Command("command:no-such-program", None).deliver([example("logs", 0)])


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
