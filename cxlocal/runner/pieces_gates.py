"""What must hold before a stage that somebody else's process drives: the same as in every run.

The work matters more than the record of it, but not more than a *no*: where the plan asks for a
promotion or a gate, what keeps the question from being asked keeps the stage from beginning.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec.structs import replace

from cxlocal.errors import Refused
from cxlocal.runner import gates
from cxlocal.runner.decision import work_to_judge
from cxlocal.runner.opening import find_run
from cxlocal.runner.source import load_own_plugins
from cxlocal.text import quoted

if TYPE_CHECKING:
    from cxlocal.plan.free import AnyStage
    from cxlocal.runner.pieces import PieceRecord
    from cxlocal.runner.source import Machine


def require(machine: Machine, record: PieceRecord, stage: AnyStage, again: str) -> None:
    """Let a guarded stage begin, or raise Refused, Undecided or Conflict; and whatever keeps the
    gates from being asked. ``again``: the command that tries it again.
    """
    source, found = find_run(machine, record.journal, record.run)
    if target := found.plan.stage(stage.name).publishes_to:
        raise Refused(
            f"stage {stage.name} publishes to {target}, and a command of yours would not be asked what is there",
            why="what a target holds is asked before and after, and is on record",
            hint=f"cxlocal publish {quoted(found.version)} --to {quoted(target)}",
            name="publishes-to-target",
        )
    load_own_plugins(machine, source, None)
    # What kind it is the plan says, not who reports it.
    planned = replace(found.plan.stage(stage.name), tool="", verb="")
    work = work_to_judge(machine, source, found, again=again)
    left_out = found.restricted_drafts(source.manager.left_out)
    if left_out:
        found.record(*left_out)
    gates.require(work, planned)
