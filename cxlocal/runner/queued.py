"""What is known when a run is asked for, and recorded as its beginning."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cxlocal.journal.machine import host_name
from cxlocal.text import shorten
from cxlocal.values import NamedTuple
from cxlocal.version import VERSION

if TYPE_CHECKING:
    from cxlocal.domain import Actor
    from cxlocal.hooks.place import Place
    from cxlocal.plan.types import Plan
    from cxlocal.revision.repository import Revision

UNCOMMITTED_MAX = 50
"""Names of uncommitted files that travel with a run; their count is complete."""


class RunFacts(NamedTuple):
    """What is known when a run is asked for, and can never be asked later."""

    kind: str
    actor: Actor
    place: Place
    plan_bytes: bytes
    plan_sha256: str
    reason: str = ""
    trigger: str = "manual"
    planned: bool = True
    fixes: str = ""
    """The version that it repairs."""
    online: bool | None = None
    revision: Revision | None = None
    repository: dict[str, str] | None = None
    """url (without credentials), path, root."""
    proof: dict[str, Any] | None = None
    changes: dict[str, Any] | None = None
    uncommitted: tuple[str, ...] = ()
    absent: tuple[str, ...] = ()
    """Submodules that the commit itself leaves out."""
    final_of: dict[str, str] | None = None
    """run and version of the pre-release that this run makes final."""
    asked: dict[str, Any] | None = None
    """What it is to carry out (``Selection.as_asked``); None where single commands do."""
    traceparent: str = ""
    """The span of whoever started it (W3C Trace Context); empty for none."""


def queued_facts(plan: Plan, facts: RunFacts) -> dict[str, Any]:
    """What the first event of a run says, but for the plan itself."""
    revision = facts.revision
    return {
        "kind": facts.kind,
        "actor": facts.actor._asdict(),
        "reason": shorten(facts.reason, 1000),
        "trigger": facts.trigger,
        "planned": facts.planned,
        **({"fixes": facts.fixes} if facts.fixes else {}),
        "place": facts.place._asdict(),
        "host": host_name(),
        "online": facts.online,
        "revision": None
        if revision is None
        else {
            "commit": revision.commit,
            "subject": shorten(revision.subject, 300),
            "author": shorten(revision.author, 200),
            "committed_at": revision.committed_at,
            "branch": revision.branch,
            "tags": list(revision.tags),
        },
        "repository": facts.repository or {},
        "proof": facts.proof,
        "plan_sha256": facts.plan_sha256,
        "changes": facts.changes,
        "uncommitted": list(facts.uncommitted[:UNCOMMITTED_MAX]),
        "uncommitted_total": len(facts.uncommitted),
        **({"absent_submodules": list(facts.absent)} if facts.absent else {}),
        **({"final_of": facts.final_of} if facts.final_of else {}),
        **({"asked": facts.asked} if facts.asked else {}),
        **({"trace": {"traceparent": facts.traceparent}} if facts.traceparent else {}),
        "deliverable_title": plan.title or plan.deliverable,
        "owner": plan.owner,
        **({"links": plan.links} if plan.links else {}),
        "cxlocal_version": VERSION,
    }
