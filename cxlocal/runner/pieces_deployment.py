"""A deployment that somebody else's process does, reported as a stage of its run.

It passes the same door as every other (``admission``), and is recorded in the same words.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from msgspec.structs import replace

from cxlocal.errors import CxError, Refused
from cxlocal.events.document import Draft
from cxlocal.plan.types import Environment, Stage
from cxlocal.runner import admission
from cxlocal.runner.admission import Way
from cxlocal.runner.deployment import told_deployed
from cxlocal.runner.pieces import PieceRecord
from cxlocal.runner.placements import known_uri
from cxlocal.runner.products import artifacts
from cxlocal.runner.turns import Door, Turns, enter
from cxlocal.text import quoted

if TYPE_CHECKING:
    from cxlocal.plan.free import AnyStage


class ToldDeployment:
    """One deployment into a lasting environment, from before it is let in to its end."""

    def __init__(
        self,
        record: PieceRecord,
        stage: Stage,
        place: Environment,
        way: Way,
        warn: Callable[[str], None],
        turns: Callable[[], Turns | None],
    ) -> None:
        """``turns`` opens what asks other machines whose turn it is; it gives None where there are none."""
        self._record = record
        self._stage = stage
        self._place = place
        self._way = way
        self._warn = warn
        self._find_turns = turns
        self._turns: Turns | None = None
        self._door: Door | None = None

    def enter(self) -> None:
        """Raises Refused where something newer is live, or another command deploys there now."""
        record = self._record
        if self._way.watched:
            who = f"stage {self._stage.name} of {record.version or record.run[:8]}"
            self._turns = self._find_turns()
            found = enter(record, self._place.name, self._stage.name, who, self._turns, self._warn)
            if isinstance(found, Refused):
                self.leave()
                raise found
            self._door = found
        try:
            admission.admit(record, self._stage, self._way)
        except CxError:
            self.leave()
            raise

    def begin(self, attempt: int) -> None:
        """Say, durably, that it begins now."""
        admission.begin(self._record, self._stage, attempt, self._way)

    def done(self, attempt: int) -> list[Draft]:
        """That it has succeeded; recorded with the end of the stage."""
        record, stage = self._record, self._stage
        made = artifacts(record, check=False)
        seen = {name: made[name] for name in stage.artifacts if name in made}
        return told_deployed(
            record, self._place, stage, attempt, seen, known_uri(record, self._place), self._way
        )

    def leave(self) -> None:
        """Let others in."""
        if self._door is not None:
            self._door.leave()
            self._door = None
        if self._turns is not None:
            self._turns.close()
            self._turns = None


def deployment_of(
    record: PieceRecord,
    stage: AnyStage,
    way: Way,
    warn: Callable[[str], None],
    turns: Callable[[], Turns | None],
) -> ToldDeployment | None:
    """The deployment that a stage is; None for any other stage, and for one the plan does not know.

    What kind it is the plan says, not who reports it.
    """
    planned = record.find_stage(stage.name)
    if planned is None:
        return None
    if planned.by_components:
        raise Refused(
            f"{stage.name} deploys the components of {planned.environment}",
            why="their tools do that; no other command can stand in for them",
            hint=f"cxlocal run --to {quoted(planned.environment)}, or: cxlocal deploy VERSION --to"
            f" {quoted(planned.environment)}",
            name="by-components",
        )
    planned = replace(planned, tool="", verb="")
    place = admission.lasting_place(record.plan, planned)
    way = way._replace(reason=way.reason or admission.reason_of(record))
    return None if place is None else ToldDeployment(record, planned, place, way, warn, turns)
