"""What every sink should keep, as tests: ``SinkContract``.

::

    from cxlocal.testing import Receiver, SinkContract

    class TestMine(SinkContract):
        sink = Mine

        @contextmanager
        def receiver(self, folder):
            with my_server(folder) as server:
                yield Receiver(f"mine://127.0.0.1:{server.port}", server.ids)
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, ClassVar

import msgspec
import pytest

from cxlocal.hooks.class_checks import check_sink
from cxlocal.hooks.options import check_options
from cxlocal.hooks.sink import (
    EventRecord,
    Later,
    LineRecord,
    MetricRecord,
    NotTaken,
    Record,
    Sink,
    SpanRecord,
)
from cxlocal.values import NamedTuple

AT_MS = 1_796_000_000_123


def example(kind: str, index: int, text: str = "") -> Record:
    """A record of one kind; those of one index are equal."""
    at, run = AT_MS + index, f"00000000-0000-4000-8000-{index // 10:012d}"
    if kind == "events":
        document = {
            "context": {"id": f"e-{index}", "source": "urn:uuid:1", "specversion": "0.5.1"},
            "subject": {"id": run, "content": {}}, "customData": {"cxlocal": {"words": text}},
        }  # fmt: skip
        return EventRecord(
            id=f"e-{index}", at_ms=at, type="dev.cdevents.pipelinerun.queued.0.3.0",
            source="urn:uuid:1", subject=run, document=msgspec.json.encode(document).decode(),
        )  # fmt: skip
    if kind == "logs":
        return LineRecord(
            id=f"{run}/unit/1/{index}", at_ms=at, text=text or f"line {index}",
            deliverable="shop", version="2.7.14", run=run, stage="unit", part="", attempt=1,
            environment="test", host="laptop", line=index, piece=0, exact=True,
        )  # fmt: skip
    if kind == "metrics":
        return MetricRecord(
            id=f"m-{index}", at_ms=at, name="cxlocal.stage.duration", unit="s", value=index + 0.5,
            labels={"deliverable": "shop", "stage": f"unit{index}"}, run=run, machine="laptop-1",
        )  # fmt: skip
    return SpanRecord(
        id=f"{index + 1:016x}", at_ms=at, trace=f"{index // 10 + 1:032x}", parent="",
        name=text or f"RUN {index}", began_ms=at - 1500, outcome="success",
        attributes={"cicd.pipeline.name": "shop", "cxlocal.attempt": 1},
    )  # fmt: skip


class Receiver(NamedTuple):
    """A receiver at work."""

    to: str
    """The address of a sink."""
    ids: Callable[[], list[str]]
    """The ids of what it has, in its own order; a receiver without ids gives what stands for them."""


class SinkContract:
    """Derive a test class from it. ``sink`` and ``receiver`` are needed."""

    sink: ClassVar[type[Sink]]
    with_table: ClassVar[Mapping[str, Any]] = {}
    nowhere: ClassVar[str] = ""
    """An address where nobody answers; empty where there is none."""
    doubles: ClassVar[bool] = True
    """What is sent twice is there twice, under one id."""
    counted: ClassVar[int] = 60
    """Records in one delivery."""
    timeout_seconds: ClassVar[float] = 10.0

    def receiver(self, folder: Path) -> AbstractContextManager[Receiver]:
        """Start a receiver with an empty memory."""
        pytest.fail(f"{type(self).__name__} has no receiver")

    def name_of(self, record: Record) -> str:
        """What the receiver's ``ids`` call a record."""
        return record.id

    def kinds(self) -> list[str]:
        """The kinds that ``receiver`` is asked for."""
        return sorted(self.sink.takes)

    def made(self, to: str) -> Sink:
        """The sink for an address."""
        options = check_options(self.sink, self.with_table)
        return self.sink(to, options, timeout_seconds=self.timeout_seconds)

    def test_it_is_a_sink(self) -> None:
        """Name, api, schemes and options are as the loader wants them."""
        assert check_sink(self.sink) == ""

    def test_what_it_says_it_took_is_there_once_and_in_order(self, tmp_path: Path) -> None:
        """Of every kind."""
        for kind in self.kinds():
            batch = [example(kind, index) for index in range(self.counted)]
            folder = tmp_path / kind
            folder.mkdir()
            with self.receiver(folder) as receiver:
                self.send(receiver.to, batch)
                assert receiver.ids() == [self.name_of(one) for one in batch]

    def test_sending_twice_adds_no_new_id(self, tmp_path: Path) -> None:
        """After a cut a stretch is sent again; what stands twice stands under the same id."""
        for kind in self.kinds():
            batch = [example(kind, index) for index in range(5)]
            folder = tmp_path / kind
            folder.mkdir()
            with self.receiver(folder) as receiver:
                for _ in range(2):
                    self.send(receiver.to, batch)
                found, names = receiver.ids(), [self.name_of(one) for one in batch]
                assert list(dict.fromkeys(found)) == names
                assert self.doubles or found == names

    @pytest.mark.parametrize(
        "text",
        ["", " ", "ünï ☃ 🜁", "a\tb", '"quotes" \\ and [brackets] = %', "x" * 8192, "<0>1 - - -"],
    )
    def test_texts_arrive_one_record_each(self, tmp_path: Path, text: str) -> None:
        """Nothing that a stage prints ends a record or begins another one."""
        kind = self.kinds()[0]
        batch = [example(kind, 0), example(kind, 1, text), example(kind, 2)]
        with self.receiver(tmp_path) as receiver:
            self.send(receiver.to, batch)
            assert receiver.ids() == [self.name_of(one) for one in batch]

    def test_where_nobody_answers_nothing_is_taken(self) -> None:
        """It says so, and does not wait for ever."""
        if not self.nowhere:
            return
        sink = self.made(self.nowhere)
        with pytest.raises((Later, OSError)):
            sink.deliver([example(self.kinds()[0], 0)])
        sink.close()

    def send(self, to: str, batch: list[Record]) -> None:
        """Deliver all, as cxlocal does."""
        sink = self.made(to)
        left = list(batch)
        try:
            while left:
                taken = sink.deliver(left)
                assert 0 < taken <= len(left)
                left = left[taken:]
        except NotTaken as problem:
            raise AssertionError(f"it refused {left[0]}: {problem}") from problem
        finally:
            sink.close()
