"""Whether a plan that came from elsewhere is what the commit says (decision 87).

A plan carries commands. One that this machine froze itself is its own; any other came through a store
or a bundle, and whoever may write there may have written it. Before anything of it is used, it is
compared with what the commit's cx.toml means here.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from cxlocal.errors import ConfigError, Refused
from cxlocal.events.types import PIPELINE_QUEUED
from cxlocal.plan.executed import first_difference
from cxlocal.runner.facts import prove_revision
from cxlocal.runner.source import make_plan, open_source
from cxlocal.text import shorten

if TYPE_CHECKING:
    from cxlocal.runner.record import RunRecord
    from cxlocal.runner.source import Machine, Source

FROZEN_HERE = """
SELECT 1 FROM event e JOIN node_lookup n ON n.id = e.node JOIN run_lookup r ON r.id = e.run
JOIN type_lookup t ON t.id = e.type
WHERE r.name = ? AND n.name = ? AND t.name = ? AND e.branch = 0
AND e.document ->> '$.customData.cxlocal.plan_sha256' = ? LIMIT 1
"""


def require_own_plan(machine: Machine, source: Source, record: RunRecord) -> None:
    """Raise Refused where the plan of a run, made elsewhere, does something else than its commit says, or
    no remote holds that commit; ConfigError where that cannot be told."""
    journal = record.journal
    asked = (record.run, journal.node, PIPELINE_QUEUED, record.plan_sha256)
    if journal.one(FROZEN_HERE, asked) is not None:
        return
    _require_pushed(machine, source)
    try:
        here = make_plan(machine, source, None)
    except ConfigError as problem:
        raise ConfigError(
            f"the plan of {record.version or record.run[:8]} cannot be compared with its commit",
            why=f"it was made on another machine, and {source.file} means nothing here:"
            f" {problem.what}",
            hint=problem.hint, name=problem.name, **problem.data,
        ) from problem  # fmt: skip
    found = first_difference(record.plan, here)
    if found is None:
        return
    what, recorded, meant = found
    raise Refused(
        f"the plan of {record.version or record.run[:8]} is not what its commit says",
        why=f"{what} is {_shown(recorded)} in the plan, which another machine recorded, and"
        f" {_shown(meant)} by {source.file}; nothing was run",
        hint="cxlocal show --plan tells the plan; release the commit anew: cxlocal run; or ask whose"
        " machine recorded it (cxlocal verify)",
        name="other-plan",
        field=what,
    )  # fmt: skip


def _require_pushed(machine: Machine, source: Source) -> None:
    """A run of another machine names its commit, and this clone may hold one that nobody pushed: one that
    was fetched to be looked at. What this clone knows of the remotes is enough. Raises Refused."""
    try:
        prove_revision(machine, source, online=False, rehearsal=False)
    except Refused:
        prove_revision(machine, source, online=True, rehearsal=False)


def require_plan_of_folder(machine: Machine, record: RunRecord) -> None:
    """The same, with the commit in the repository of this folder; CxError where it is not there."""
    source = open_source(machine, record.revision, {})
    if source.config.deliverable.name != record.ref.deliverable:
        raise Refused(
            f"it was made for {record.ref.deliverable!r} on another machine",
            why=f"what takes it away is compared with its commit, and this folder is"
            f" {source.config.deliverable.name!r}",
            hint="call it in the folder of that deliverable, or with -C DIR",
            name="other-deliverable",
        )
    require_own_plan(machine, source, record)


def _shown(value: Any) -> str:
    return "not there" if value is None else shorten(json.dumps(value, ensure_ascii=False), 200)
