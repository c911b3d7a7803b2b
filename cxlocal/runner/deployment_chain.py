"""What was deployed to a service before what is live there now, and where a rollback leads."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from cxlocal.errors import CxError
from cxlocal.journal.file import Journal
from cxlocal.runner.record import RunRecord
from cxlocal.values import NamedTuple

CHAIN_MAX = 1000
"""Deployments that are looked through for the version before; more mean a loop in the data."""
REPLACED = """
SELECT d.id, d.version, d.version_run, d.kind, d.service FROM deployment_replaces r
JOIN deployment d ON d.id = r.replaced WHERE r.deployment = ? AND r.since IS NOT NULL
ORDER BY d.deployed_at DESC LIMIT 1
"""
LIVE = """
SELECT n.*, s.stage FROM deployments_now n JOIN deployment d ON d.id = n.deployment
LEFT JOIN stage_run s ON s.id = d.stage_run
WHERE n.deliverable = ? AND n.instance = ? ORDER BY n.since DESC, n.deployment
"""
TRIED = """
SELECT service, stage, kind, run, version, since FROM deployments_unfinished
WHERE deliverable = ? AND instance = ? ORDER BY since
"""


class Deployment(NamedTuple):
    """One deployment of the chain of an environment."""

    id: str
    version: str
    version_run: str
    kind: str


class Tried(NamedTuple):
    """A deployment that did not come to its end."""

    version: str
    version_run: str
    back: bool = False
    """It was a rollback."""


class Service(NamedTuple):
    """One service of an environment."""

    chain: Sequence[Deployment]
    """It begins with what is live; each replaced the next. Empty where nothing ever was."""
    tried: Sequence[Tried] = ()
    """What failed there after it, the newest last."""


class Goal(NamedTuple):
    """Where a rollback leads."""

    version: str
    version_run: str


def goal_of(services: Sequence[Service]) -> Goal | None:
    """Where a rollback of an environment leads; None where there is nothing to go back to. Pure.

    ``services`` begin with the one that was changed last. Where all is well and one version runs
    everywhere, it is the version before. Where a deployment failed, or one service is new and another
    old, it is the last version that was well in all of them, and that may be the one that counts as
    live. A rollback that failed is tried again.
    """
    tried = [one for service in services for one in service.tried]
    again = [one for one in tried if one.back]
    if again:
        return Goal(again[-1].version, again[-1].version_run)
    chains = [service.chain for service in services if service.chain]
    if not tried and len({chain[0].version_run for chain in chains}) == 1:
        for chain in chains:
            before = version_before(chain)
            if before is not None:
                return Goal(before.version, before.version_run)
        return None
    everywhere = [{one.version_run for one in chain} for chain in chains]
    failed = {
        one.version_run
        for service in services
        for one in service.tried
        if not service.chain or service.chain[0].version_run != one.version_run
    }
    for one in chains[0] if chains else ():
        if one.version_run not in failed and all(one.version_run in known for known in everywhere):
            return Goal(one.version, one.version_run)
    return None


def version_before(chain: Sequence[Deployment]) -> Deployment | None:
    """The version that was live before the one live now. Pure.

    ``chain`` begins with what is live; each replaced the next. After a rollback to A (from B) the
    version before is the one before A, not B again.
    """
    if not chain:
        return None
    now = chain[0]
    at = 0
    if now.kind == "rolledback":
        at = next(
            (
                index
                for index, one in enumerate(chain)
                if one.version_run == now.version_run and one.kind != "rolledback"
            ),
            len(chain),
        )
    for one in chain[at + 1 :]:
        if one.version_run != now.version_run:
            return one
    return None


def services_of(journal: Journal, deliverable: str, environment: str) -> list[Service]:
    """The services of a lasting environment, as far as the newest version there still has them: what
    an older plan deployed and this one does not is no reason to go back further."""
    live = journal.query(LIVE, (deliverable, environment))
    tried = journal.query(TRIED, (deliverable, environment))
    newest = tried[-1]["run"] if tried else live[0]["version_run"] if live else ""
    stages = _deploying(journal, newest, environment)
    if any(row["stage"] in stages for row in live):
        live = [row for row in live if row["stage"] in stages]
    names = dict.fromkeys(row["service"] for row in [*live, *reversed(tried)])
    found = []
    for name in names:
        now = next((row for row in live if row["service"] == name), None)
        failed = [
            Tried(row["version"] or "", row["run"] or "", row["kind"] == "rollback")
            for row in tried
            if row["service"] == name
        ]
        found.append(Service([] if now is None else chain_of(journal, now), failed))
    return found


def _deploying(journal: Journal, run: str, environment: str) -> set[str]:
    try:
        plan = RunRecord.attach(journal, run).plan
    except CxError:
        return set()
    return {one.name for one in plan.stages_in(environment) if one.kind == "deploy"}


def chain_of(journal: Journal, deployment: dict[str, Any]) -> list[Deployment]:
    """What is live, what it replaced, and so on."""
    chain = [
        Deployment(
            deployment["deployment"], deployment["version"] or "", deployment["version_run"] or "",
            deployment["kind"] or "",
        )
    ]  # fmt: skip
    seen = {chain[0].id}
    while len(chain) < CHAIN_MAX:
        row = journal.one(REPLACED, (chain[-1].id,))
        if row is None or row["id"] in seen:
            break
        seen.add(row["id"])
        chain.append(Deployment(row["id"], row["version"] or "", row["version_run"] or "",
                                row["kind"] or ""))  # fmt: skip
    return chain
