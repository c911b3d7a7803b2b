"""What of a plan is executed, and where two plans differ in it. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from cxlocal.plan.types import Plan

_LEFT_ASIDE = frozenset({"retries", "timeout_seconds", "expires_seconds", "title", "parts", "parts_total"})  # fmt: skip
"""How long and how often, and how it is called: no other thing is done by them, and what they are
where nobody says so may change with cxlocal."""
_OF_PLAN = ("workspace", "paths", "filters")


def first_difference(plan: Plan, other: Plan) -> tuple[str, Any, Any] | None:
    """Where ``plan`` does something else than ``other``: what, and both values; None where they do
    the same."""
    ours, theirs = dict(_executed(plan)), dict(_executed(other))
    for name in {**ours, **theirs}:
        one, two = ours.get(name), theirs.get(name)
        if one != two:
            return name, one, two
    return None


def _executed(plan: Plan) -> Iterator[tuple[str, Any]]:
    built = msgspec.to_builtins(plan)
    for name in _OF_PLAN:
        yield name, built[name]
    yield "version stamp", built["version"]["stamp"]
    for kind in ("stages", "environments", "promotions", "targets"):
        yield f"the order of {kind}", [one["name"] for one in built.get(kind, ())]
        for one in built.get(kind, ()):
            for field, value in one.items():
                if field not in _LEFT_ASIDE:
                    yield f"{kind[:-1]} {one['name']}: {field}", value
