"""Writes runs with logs into a journal, in this process."""

from __future__ import annotations

from hashlib import sha256
from pathlib import Path
from typing import Any

from cxlocal.clock import SystemClock, SystemIds
from cxlocal.domain import Outcome, path_part
from cxlocal.events.runs import (
    RunRef,
    run_finished,
    run_queued,
    run_started,
    stage_finished,
    stage_started,
)
from cxlocal.hooks.sink import Sink
from cxlocal.journal.file import Journal
from cxlocal.sinks.chosen import Target
from cxlocal.sinks.push import Told, push
from cxlocal.sinks.words import words_without


def target(kind: str, deliverable: str = "shop", to: str = "mine:x") -> Target:
    return Target(kind, to, {}, None, deliverable, False, "cx.toml")


class Recorder:
    """Writes runs with logs into a journal."""

    def __init__(self, folder: Path) -> None:
        self.journal = Journal.open(folder / "journal.db", clock=SystemClock(), ids=SystemIds())
        self.count = 0

    def run(
        self, *logs: bytes, kind: str = "release", deliverable: str = "shop", run: str = ""
    ) -> str:
        """A run, which may have an id of its own, with a stage for each log."""
        self.count += 1
        run = run or f"00000000-0000-4000-8000-{self.count:012d}"
        ref = RunRef(deliverable, run, deliverable, f"urn:uuid:{run}")
        self.journal.append(run_queued(ref, {"kind": kind, "host": "laptop", "revision": {}}))
        self.journal.append(
            run_started(ref, version=f"1.{self.count}", line="1", number=1, how="online")
        )
        for index, content in enumerate(logs):
            stage, path = f"s{index}", f"logs/{path_part(run)}/s{index}.log"
            file = self.journal.home / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(content)
            self.journal.append(
                stage_started(
                    ref, stage=stage, attempt=1, facts={"kind": "build", "host": "laptop"}
                )
            )
            log = {
                "path": path, "size": len(content), "sha256": sha256(content).hexdigest(),
                "lines": content.count(b"\n"),
            }  # fmt: skip
            self.journal.append(
                stage_finished(
                    ref, stage=stage, attempt=1, outcome=Outcome.SUCCESS, reason="",
                    facts={"seconds": 1.0, "log": log},
                )
            )  # fmt: skip
        self.journal.append(
            run_finished(
                ref, outcome=Outcome.SUCCESS, reason="", version="1", seconds=2.0, stopped_before=""
            )
        )
        return run

    def push(self, sink: Sink, kind: str, **more: Any) -> Told:
        deadline = self.journal.clock.monotonic() + more.pop("seconds", 60)
        words = words_without(more.pop("token", ""))
        return push(
            self.journal, target(kind, **more), sink, deadline=deadline, since_ms=0, words=words
        )
