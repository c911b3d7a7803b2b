"""The labels that tools put on what they make: enough to know it again where every journal is lost."""

from __future__ import annotations

from cxlocal.hooks.tool import Context

PREFIX = "cxlocal."


def labels_of(ctx: Context, digest: str = "") -> dict[str, str]:
    """Whose a resource is, and what runs in it. ``digest``: of what it was made from."""
    place = ctx.environment
    return {
        "deliverable": ctx.deliverable,
        "environment": place.instance if place else "",
        "component": ctx.component,
        "resource": ctx.resource,
        "version": ctx.version,
        "run": ctx.run,
        "turn": str(ctx.turn),
        "digest": digest,
    }
