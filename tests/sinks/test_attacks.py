"""What comes between a log and its sink: files that change, events that lie, clocks, disks, others."""

from __future__ import annotations

import json
import resource
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock
from recorder import Recorder, target

from cxlocal.errors import Trouble
from cxlocal.events import types
from cxlocal.events.document import Draft, Event
from cxlocal.hooks.sink import Sink
from cxlocal.journal.rebuild import catch_up
from cxlocal.sinks.cursor import Position
from cxlocal.sinks.expand import Expander
from cxlocal.sinks.push import push

KINDS = ("events", "logs", "metrics", "spans")


class Kept(Sink):
    """Takes so many at a time, and after each does what the test says."""

    name = "kept"
    schemes = ("mine",)
    takes = frozenset(KINDS)

    def __init__(self, at_once: int = 3, between: Callable[[], None] = lambda: None) -> None:
        super().__init__("mine:x", None)
        self.got: list[Any] = []
        self.at_once, self.between = at_once, between

    def deliver(self, batch: Any) -> int:
        taken = batch[: self.at_once]
        self.got += taken
        self.between()
        return len(taken)

    @property
    def texts(self) -> list[str]:
        return [one.text for one in self.got]


def the_log(recorder: Recorder) -> Path:
    (path,) = recorder.journal.home.rglob("s0.log")
    return path


LINES = b"".join(b"line %d\n" % number for number in range(1, 13))
AS_SENT = [f"line {number}" for number in range(1, 13)]


@pytest.mark.parametrize("kept", [0, 10, 21, 22, 60])
def test_a_log_that_is_cut_off_says_how_much_is_left_out(recorder: Recorder, kept: int) -> None:
    """Before its delivery or in the middle of it."""
    recorder.run(LINES)
    content = LINES[:kept]

    def cut() -> None:
        the_log(recorder).write_bytes(content)

    sink = Kept(between=cut)
    while recorder.push(sink, "logs").why:
        pass
    whole = max(3, content.count(b"\n"))
    assert sink.texts[:3] == AS_SENT[:3]
    told = [one for one in sink.got if one.line == 0]
    assert [one.id.rpartition("/")[2] for one in told] == ["left-out"]
    numbers = [one.line for one in sink.got if one.line]
    assert numbers == sorted(set(numbers)) and len(numbers) >= min(whole, 3)


def test_what_is_written_behind_the_end_of_a_log_is_not_sent(recorder: Recorder) -> None:
    recorder.run(LINES)

    def append() -> None:
        with the_log(recorder).open("ab") as file:
            file.write(b"not of the stage\n")

    sink = Kept(between=append)
    recorder.push(sink, "logs")
    assert sink.texts == AS_SENT


@pytest.mark.parametrize("how", ["removed", "a folder"])
def test_a_log_that_goes_in_the_middle_stops_nothing_after_it(recorder: Recorder, how: str) -> None:
    recorder.run(LINES, b"next\n")

    def spoil() -> None:
        path = the_log(recorder)
        path.unlink(missing_ok=True)
        if how == "a folder":
            path.mkdir()

    sink = Kept(between=lambda: spoil() if len(sink.got) == 3 else None)
    recorder.push(sink, "logs")
    assert sink.texts[-1] == "next"
    assert len([one for one in sink.got if one.line == 0]) == 1


@pytest.mark.parametrize(
    "content",
    [
        bytes(range(256)) * 40, b"\0" * 50_000, b"\xff\xfe" + "ü".encode("utf-16") * 999,
        b"x" * 10_000_000, b"\n" * 3000, b"\x1b[31m" * 5000, b"\r" * 9000 + b"\n", b"",
    ],
    ids=["every byte", "zeros", "utf-16", "ten megabytes", "empty lines", "colours", "returns", "none"],
)  # fmt: skip
def test_whatever_a_program_prints_arrives_as_lines(recorder: Recorder, content: bytes) -> None:
    recorder.run(content, b"after\n")
    sink = Kept(at_once=500)
    assert recorder.push(sink, "logs").why == ""
    assert sink.texts[-1] == "after"
    ids = [one.id for one in sink.got]
    assert len(ids) == len(set(ids))
    assert max(map(len, sink.texts)) <= 4 * 8192  # bytes that are no text are escaped
    assert all(text.isprintable() or "\t" in text for text in sink.texts)


def _poison(recorder: Recorder, kind: str, custom: Any, content: Any) -> None:
    ref = "00000000-0000-4000-8000-000000000001"
    recorder.journal.append(Draft(kind, ref, content, custom, "shop", ref))


ODD: list[dict[str, Any]] = [
    {"log": []}, {"log": "x"}, {"log": 7}, {"log": {"path": ["a"], "sha256": 7, "lines": "x"}},
    {"log": {"path": "logs/x", "lines": -5, "size": "x"}}, {"log": {"path": "\0", "size": 1e308}},
    {"log": {"path": "../journal.db", "sha256": "f" * 64, "lines": 10**30, "size": -1}},
    {"seconds": "x", "log": {"times_sha256": []}}, {"seconds": 1e308, "finished_at": 7},
    {"started_at": [], "environment": {}, "stage": []}, {"version_run": {}, "environment": None},
]  # fmt: skip


@pytest.mark.parametrize("sink_kind", KINDS)
def test_an_event_that_is_odd_keeps_nobody_waiting(recorder: Recorder, sink_kind: str) -> None:
    """Whatever stands in it: what follows is delivered, and nothing of another file is."""
    recorder.run(b"before\n")
    for kind in (types.TASK_FINISHED, types.PIPELINE_FINISHED, types.RUN_REPEATED,
                 types.SERVICE_DEPLOYED, types.DEPLOYMENT_FAILED):  # fmt: skip
        for odd in ODD:
            _poison(recorder, kind, odd, {"outcome": []})
    last = recorder.run(b"after\n")
    catch_up(recorder.journal)
    sink = Kept(at_once=500)
    assert recorder.push(sink, sink_kind).why == ""
    about = sink.got[-5:]
    assert any(last in json.dumps([one.id, getattr(one, "run", ""), getattr(one, "subject", ""),
                                   getattr(one, "attributes", {})]) for one in about)  # fmt: skip
    if sink_kind == "logs":
        kept = [text for text in sink.texts if "left out" not in text]
        assert kept == ["before", "after"]


def test_the_log_of_this_machine_is_not_sent_for_the_event_of_another(recorder: Recorder) -> None:
    """A path in the event of somebody else names no file here."""
    run = recorder.run(b"ours alone\n")
    catch_up(recorder.journal)
    ours = the_log(recorder).relative_to(recorder.journal.home)
    log = {"path": str(ours), "sha256": "f" * 64, "lines": 1, "size": 11}
    said = {
        "context": {"timestamp": "2026-01-01T00:00:00.000Z"}, "subject": {"id": f"{run}/s0/1"},
        "customData": {"cxlocal": {"log": log}},
    }  # fmt: skip
    expander = Expander(recorder.journal, "logs", "")
    for node, texts in (
        (recorder.journal.node, ["ours alone"]),
        ("f" * 32, ["[cxlocal] 1 line left out"]),
    ):
        forged = Event(
            node=node, sequence=1, branch=0, type=types.TASK_FINISHED, deliverable="shop",
            deliverable_sequence=1, clock=0, previous=b"", previous_in_deliverable=b"", hash=b"",
            document=json.dumps(said), run=run,
        )  # fmt: skip
        found = expander._of_event(forged, Position(0))
        assert [one.record.text for one in found if one is not None] == texts


def test_a_full_disk_at_the_cursor_costs_a_batch_sent_again(recorder: Recorder) -> None:
    recorder.run(LINES)
    catch_up(recorder.journal)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    sink = Kept(between=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (0, hard)))
    try:
        with pytest.raises(Trouble):
            recorder.push(sink, "logs")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert sink.texts == AS_SENT[:3]
    sink.between = lambda: None
    assert recorder.push(sink, "logs").why == ""
    assert list(dict.fromkeys(sink.texts)) == AS_SENT
    assert len(sink.texts) == len(AS_SENT) + 3


@pytest.mark.parametrize("step_ms", [-3_600_000, -60 * 365 * 86_400_000, 0])
def test_a_clock_that_goes_back_loses_no_record(
    recorder: Recorder, monkeypatch: pytest.MonkeyPatch, step_ms: int
) -> None:
    """A sink that is new begins a week ago, whatever the clock of the machine said in between."""
    clock = recorder.journal.clock
    now = clock.now_ms()
    for offset in (-3 * 86_400_000, step_ms, -86_400_000, 0):
        monkeypatch.setattr(type(clock), "now_ms", lambda self, at=now + offset: max(0, at))
        recorder.run(b"a line\n")
    sink = Kept(at_once=100)
    deadline = clock.monotonic() + 60
    since = now - 7 * 86_400_000
    push(recorder.journal, target("logs"), sink, deadline=deadline, since_ms=since, words=str)
    assert sink.texts == ["a line"] * 4


def test_two_that_deliver_at_once_do_not(shop: Any, tmp_path: Path) -> None:
    out = tmp_path / "logs.ndjson"
    shop.begin(f'logs = {{ to = "file:{out}" }}\n')
    with FileLock(f"{shop.home}/journal.db.sinks.lock"):
        done = shop.run()
        assert "another command is delivering" in done.err
        assert not out.exists()
    shop.ok("sync")
    assert len(out.read_text().splitlines()) == 23
