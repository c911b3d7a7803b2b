"""One sink asked in this process: whatever it answers, nothing is skipped and nothing is invented."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from recorder import Recorder, target

from cxlocal.clock import SystemIds
from cxlocal.hooks.sink import Later, NotTaken, Sink
from cxlocal.sinks.cursor import Position, load_cursor, nodes_of, replay, standing
from cxlocal.sinks.push import BATCH_RECORDS, Told

KINDS = ("events", "logs", "metrics", "spans")


class Scripted(Sink):
    """Keeps what it takes; what it answers is asked of ``answer``."""

    name = "mine"

    def __init__(self, answer: Callable[[Sequence[Any]], Any] = len) -> None:
        self.taken: list[Any] = []
        self.answer = answer

    def deliver(self, batch: Sequence[Any]) -> Any:
        found = self.answer(batch)
        if isinstance(found, int) and 0 <= found <= len(batch):
            self.taken += batch[:found]
        return found

    def ids(self, *, state: bool = False) -> list[str]:
        return [one.id for one in self.taken if state or one.id.partition("/")[0] != "laptop"]


def of_history(sink: Scripted) -> list[str]:
    """Without the figures of how the machine stands, which have no place in the history."""
    return [one.id for one in sink.taken if getattr(one, "run", "x")]


def raising(problem: BaseException) -> Callable[[Sequence[Any]], Any]:
    def answer(batch: Sequence[Any]) -> Any:
        raise problem

    return answer


BAD: dict[str, tuple[Callable[[Sequence[Any]], Any], str]] = {
    "later": (raising(Later("busy")), "busy"),
    "later without words": (raising(Later()), "it takes nothing just now"),
    "os": (raising(ConnectionRefusedError(111, "Connection refused")), "Connection refused"),
    "timeout": (raising(TimeoutError("timed out")), "timed out"),
    "bug": (raising(ValueError("broken")), "ValueError: broken"),
    "too many": (lambda batch: len(batch) + 1, "it said that it took"),
    "negative": (lambda batch: -1, "it said that it took -1"),
    "nothing": (lambda batch: 0, "it took nothing"),
    "none": (lambda batch: None, "it said that it took None"),
    "text": (lambda batch: "3", "it said that it took '3'"),
    "true": (lambda batch: True, "it said that it took True"),
}


@pytest.mark.parametrize("name", BAD)
def test_what_is_no_answer_takes_nothing(recorder: Recorder, name: str) -> None:
    answer, words = BAD[name]
    recorder.run(b"one\ntwo\n")
    told = recorder.push(Scripted(answer), "logs")
    assert (told.sent, told.refused) == (0, 0)
    assert words in told.why
    good = Scripted()
    assert recorder.push(good, "logs") == Told(2)
    assert [one.text for one in good.taken] == ["one", "two"]


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_is_sent_twice_where_all_was_taken(recorder: Recorder, kind: str) -> None:
    recorder.run(b"a\n" * 3, b"b\n" * 1200)
    sink = Scripted()
    assert recorder.push(sink, kind).why == ""
    first = of_history(sink)
    assert len(first) == len(set(first)) > 0
    again = Scripted()
    recorder.push(again, kind)
    assert of_history(again) == []
    recorder.run(b"c\n")
    third = Scripted()
    recorder.push(third, kind)
    assert of_history(third)
    assert not set(of_history(third)) & set(first)


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.data(), st.sampled_from(KINDS))
def test_whatever_is_cut_off_where_the_order_is_kept_and_none_is_missing(
    recorder: Recorder, data: st.DataObject, kind: str
) -> None:
    """Some are taken, some refused, some answers are lost after all was taken."""
    to = f"mine:{SystemIds().token()}"
    if not recorder.count:
        recorder.run(b"one\n\nthree", b"", b"y" * 20_000 + b"\n" + b"z\n" * 700)
    whole = Scripted()
    recorder.push(whole, kind, to=f"{to}-whole")
    expected = of_history(whole)
    arrived: list[str] = []
    left_out: list[str] = []

    def answer(batch: Sequence[Any]) -> int:
        what = data.draw(st.sampled_from(["all", "some", "none", "lost", "refused"]))
        if what == "none":
            raise Later("not now")
        if what == "lost":
            arrived.extend(one.id for one in batch)
            raise Later("the answer was lost")
        if what == "refused":
            left_out.append(batch[0].id)
            raise NotTaken("no")
        count = len(batch) if what == "all" else data.draw(st.integers(1, len(batch)))
        arrived.extend(one.id for one in batch[:count])
        return count

    for _ in range(6):
        recorder.push(Scripted(answer), kind, to=to)
    last = Scripted()
    recorder.push(last, kind, to=to)
    arrived += [one.id for one in last.taken]
    known = set(expected)
    history = [one for one in dict.fromkeys(arrived) if one in known]
    gone = set(left_out) - set(arrived)
    assert history == [one for one in expected if one not in gone]


def test_batches_are_bounded(recorder: Recorder) -> None:
    recorder.run(b"x\n" * 3000 + (b"y" * 8000 + b"\n") * 200)
    sizes: list[int] = []

    def answer(batch: Sequence[Any]) -> int:
        sizes.append(len(batch))
        return len(batch)

    assert recorder.push(Scripted(answer), "logs").sent == sum(sizes) == 3200
    assert max(sizes) <= BATCH_RECORDS + 1
    assert min(sizes) < 100


def test_the_time_that_is_used_up_ends_it_between_two_batches(recorder: Recorder) -> None:
    recorder.run(b"x\n" * 3000)
    sink = Scripted()
    told = recorder.push(sink, "logs", seconds=0)
    assert (told.sent, told.why) == (0, "the time for it was used up")


def test_totals_count_each_event_once(recorder: Recorder) -> None:
    """Also where records were sent again, and where a sink took a part of an event's figures."""
    for _ in range(3):
        recorder.run(b"x\n")
    run = recorder.run(b"x\n")
    sink = Scripted(lambda batch: 1)
    recorder.push(sink, "metrics")
    replay(recorder.journal, target("metrics"), run)
    recorder.push(sink, "metrics")
    recorder.run(b"x\n")
    after = Scripted()
    recorder.push(after, "metrics")
    values: dict[str, list[float]] = {}
    for one in (*sink.taken, *after.taken):
        if one.name == "cxlocal.runs":
            values.setdefault(one.id, []).append(one.value)
    assert [set(found) for found in values.values()] == [{1}, {2}, {3}, {4}, {5}]


def test_no_event_counts_twice(recorder: Recorder) -> None:
    recorder.run(b"x\n", b"y\n")
    counts = [one.id.partition("/")[0] for one in _pushed(recorder, "metrics") if one.counts]
    assert len(counts) == len(set(counts)) == 3


def test_a_rehearsal_and_another_deliverable_stay_here(recorder: Recorder) -> None:
    recorder.run(b"tried\n", kind="rehearsal")
    recorder.run(b"drilled\n", kind="drill")
    recorder.run(b"others\n", deliverable="elsewhere")
    recorder.run(b"ours\n")
    for kind in KINDS:
        sink = Scripted()
        recorder.push(sink, kind)
        said = " ".join(repr(one) for one in sink.taken)
        assert "elsewhere" not in said
        assert not [one for one in sink.taken if getattr(one, "run", "").endswith(("1", "2", "3"))]
    assert [one.text for one in _pushed(recorder, "logs")] == ["ours"]
    assert [one.text for one in _pushed(recorder, "logs", "")] == ["others", "ours"]


def _pushed(recorder: Recorder, kind: str, deliverable: str = "shop") -> list[Any]:
    sink = Scripted()
    recorder.push(sink, kind, deliverable=deliverable, to="mine:other")
    return sink.taken


def test_a_new_sink_begins_with_what_is_young_enough(recorder: Recorder) -> None:
    node = ""
    for index in range(40):
        recorder.run(b"x\n")
        node = recorder.journal.node
        if index == 20:
            since = recorder.journal.clock.now_ms() + 1
            while recorder.journal.clock.now_ms() < since:
                pass
    times = dict(recorder.journal.connection.execute("SELECT sequence, time FROM event").fetchall())
    cursor = load_cursor(recorder.journal, target("logs"), node, since)
    assert cursor.position == Position(max(s for s, at in times.items() if at < since))
    everything = load_cursor(recorder.journal, target("logs"), node, 0)
    assert everything.position == Position(0)
    nothing = load_cursor(recorder.journal, target("logs"), node, since + 10**9)
    assert nothing.position == Position(max(times))


def test_how_far_a_sink_is_can_be_asked(recorder: Recorder) -> None:
    recorder.run(b"one\ntwo\n")
    assert standing(recorder.journal, target("logs"))["events_behind"] > 0
    recorder.push(Scripted(), "logs")
    found = standing(recorder.journal, target("logs"))
    assert (found["sent"], found["refused"], found["events_behind"]) == (2, 0, 0)
    assert nodes_of(recorder.journal, target("logs")) == [recorder.journal.node]
