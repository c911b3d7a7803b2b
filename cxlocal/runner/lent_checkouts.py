"""Checkouts for tools that are asked on another day, where what they are told to run may be a script of the commit."""

from __future__ import annotations

from pathlib import Path
from types import TracebackType
from typing import Self

from cxlocal.errors import CxError
from cxlocal.runner.opening import check_out_again
from cxlocal.runner.record import RunRecord
from cxlocal.runner.source import Machine, Source, open_source
from cxlocal.runner.workspace import Workspace, discard


def check_out_apart(machine: Machine, source: Source, record: RunRecord, what: str) -> Workspace:
    """A checkout of what a run was made from, for a command of which several may be at work for it at once: each has
    its own."""
    name = f"{record.run}.{what}-{machine.ids.token()[:8]}"
    return check_out_again(machine, source, record, name=name)


class LentCheckouts:
    """A context manager: gives out checkouts of what runs were made from, and takes them away at its end."""

    def __init__(self, machine: Machine) -> None:
        self._machine = machine
        self._made: dict[str, Workspace | None] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:  # fmt: skip
        for workspace in self._made.values():
            if workspace is not None:
                discard(workspace)

    def of(self, record: RunRecord) -> Path | None:
        """The folder of the deliverable in a checkout of the run's commit; None where the repository here is not
        its, or does not have that."""
        if record.run not in self._made:
            self._made[record.run] = self._make(record)
        found = self._made[record.run]
        return None if found is None else found.project

    def _make(self, record: RunRecord) -> Workspace | None:
        try:
            source = open_source(self._machine, record.revision, {})
            if source.config.deliverable.name != record.ref.deliverable:
                return None
            return check_out_apart(self._machine, source, record, "lent")
        except CxError:
            return None
