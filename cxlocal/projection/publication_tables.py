"""The tables about publications: what a version's targets hold, and since when."""

from __future__ import annotations

from cxlocal.projection.description import Table
from cxlocal.projection.facts import Fact, Said, run_stub

PLAN_TARGET = Table(
    "Targets of a plan, in its order.",
    "union",
    "plan_sha256 name",
    """
    plan_sha256 TEXT - | Plan that has it.
    name TEXT - | Name of the target.
    position INTEGER planned | 1 is the first of the file.
    title TEXT planned | Title for readers.
    tool TEXT planned | Tool that publishes there.
    protected INTEGER planned | 1 when a run stops before it unless told to go on.
    """,
)

PUBLICATION = Table(
    "A version at a target: what it was about to be given, what it holds, what was taken back.",
    "owned",
    "run target",
    """
    run TEXT - | Run that made the version.
    target TEXT - | Name of the target.
    deliverable TEXT wanted | Deliverable it belongs to.
    version TEXT wanted | Version.
    tool TEXT wanted | Tool that publishes there.
    wanted_at TEXT wanted | When it was last to go there (UTC).
    begun_by TEXT begun | On whose behalf.
    reason TEXT begun | Reason given.
    stage_run TEXT begun | Stage run that did it; empty outside of a run.
    begun_at TEXT begun | When it was last about to be given something (UTC).
    state TEXT found | there, partly, absent, other (bytes that are not ours), not known, or withdrawn.
    trouble TEXT found | credential or unreached, where that kept it from being there.
    why TEXT found | Why it is not all there.
    files_there INTEGER found | Files of the version that it holds as they should be.
    files_total INTEGER found | Files that it should hold.
    found_at TEXT found | Since when that is known (UTC).
    withdrawn_at TEXT withdrawn | When it was taken back (UTC); empty while it counts.
    withdrawn_by TEXT withdrawn | On whose behalf.
    withdrawn_why TEXT withdrawn | Why.
    withdrawn_how TEXT withdrawn | What was done at the target.
    """,
)

PUBLICATION_FILE = Table(
    "One file of a version at a target.",
    "owned",
    "run target name",
    """
    run TEXT - | Run that made the version.
    target TEXT - | Name of the target.
    name TEXT - | Name of the artifact, or of what else the target holds (a tag).
    state TEXT found | absent, same, other, or not known.
    wanted TEXT found | What it should be, as the target says it: a digest, a commit.
    held TEXT found | What it is.
    location TEXT found | Where it is.
    why TEXT found | Why it is not known, or what was refused.
    found_at TEXT found | Since when that is known (UTC).
    published_at TEXT published | When it was last found as it should be (UTC); empty for never.
    """,
)


def publication_begun(said: Said) -> list[Fact]:
    """A target is to be given files, now or after others."""
    custom, key = said.custom, (said.run, said.custom["target"])
    wanted = {
        "deliverable": said.event.deliverable, "version": custom.get("version"),
        "tool": custom.get("tool"), "wanted_at": said.at,
    }  # fmt: skip
    facts = [Fact("publication", key, "wanted", wanted), run_stub(said)]
    files = custom.get("files") or []
    if files:
        begun = {
            "begun_by": (custom.get("actor") or {}).get("id"), "reason": custom.get("reason"),
            "stage_run": custom.get("stage_run") or None, "begun_at": said.at,
        }  # fmt: skip
        facts.append(Fact("publication", key, "begun", begun))
    if custom.get("again"):
        facts.append(Fact("publication", key, "withdrawn", {}))
        facts += [
            Fact("publication_file", (*key, name), "published", {"published_at": None})
            for name in files
        ]
    return facts


def publication_found(said: Said) -> list[Fact]:
    """What a target holds."""
    custom, key = said.custom, (said.run, said.custom["target"])
    files = custom.get("files") or []
    values = {
        "state": custom.get("state"), "trouble": custom.get("trouble") or None,
        "why": custom.get("why") or None, "files_total": len(files),
        "files_there": sum(one.get("published") is True for one in files), "found_at": said.at,
    }  # fmt: skip
    facts = [Fact("publication", key, "found", values), run_stub(said)]
    for one in files:
        place = (*key, one["name"])
        names = ("state", "wanted", "held", "location", "why")
        found = {name: one.get(name) or None for name in names}
        facts.append(Fact("publication_file", place, "found", {**found, "found_at": said.at}))
        if one.get("published") is True:
            facts.append(Fact("publication_file", place, "published", {"published_at": said.at}))
    return facts


def publication_withdrawn(said: Said) -> list[Fact]:
    """A version is not to be used from there any more."""
    custom = said.custom
    values = {
        "withdrawn_at": said.at, "withdrawn_by": (custom.get("actor") or {}).get("id"),
        "withdrawn_why": custom.get("why"), "withdrawn_how": custom.get("how"),
    }  # fmt: skip
    key = (said.run, custom["target"])
    return [Fact("publication", key, "withdrawn", values), run_stub(said)]
