"""What was deployed to a service before what is live there now."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cxlocal.journal.file import Journal

CHAIN_MAX = 1000
"""Deployments that are looked through for the version before; more mean a loop in the data."""
REPLACED = """
SELECT d.id, d.version, d.version_run, d.kind, d.service FROM deployment_replaces r
JOIN deployment d ON d.id = r.replaced WHERE r.deployment = ?
ORDER BY d.deployed_at DESC LIMIT 1
"""


class Deployment(NamedTuple):
    """One deployment of the chain of an environment."""

    id: str
    version: str
    version_run: str
    kind: str


def version_before(chain: Sequence[Deployment]) -> Deployment | None:
    """Where a rollback leads: the version that was live before the one live now. Pure.

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
