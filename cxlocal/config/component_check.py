"""What the type of a component cannot say."""

from __future__ import annotations

from cxlocal.config.component_types import Component, Difference
from cxlocal.config.names import check_pass_env, check_tool_options, check_variable
from cxlocal.config.problems import Where, problem
from cxlocal.text import clean_text

FULL_WEIGHT = 100
"""Of a rollout's last step, in percent."""


def component(table: Component, where: Where) -> None:
    """What is replaced has instances and stands behind something; what is changed in place does not."""
    check_difference(table, where)
    if not table.overlap and (table.mutable or table.behind):
        raise problem(
            where, "overlap = false is for what is replaced and stands behind nothing",
            why="old ones that are stopped first answer nobody"
            if table.behind else "what is changed in place is never there twice",
            hint="take overlap out", key="overlap",
        )  # fmt: skip
    only = ("behind", "health", "check", "rollout") if table.mutable else ()
    said = [key for key in only if getattr(table, key)]
    if said:
        raise problem(
            where,
            f"{said[0]} is for what is replaced, and this one is changed in place",
            why="a mutable component has no instances that could be asked or turned",
            hint=f"take {said[0]} out, or mutable",
            key=said[0],
        )


def check_difference(table: Component | Difference, where: Where) -> None:
    """What a component and a difference of it have in common."""
    check_tool_options(table.options, "a tool", where)
    check_pass_env(table.pass_env or [], where)
    for name in table.env or {}:
        check_variable(name, where, "a variable")
    if table.health and table.health != "tcp" and not table.health.startswith("/"):
        raise problem(
            where, f"health {clean_text(table.health)[:60]!r} is neither a path nor tcp",
            hint="write a path that begins with a slash, or 'tcp'", key="health",
        )  # fmt: skip
    for host in table.hosts or []:
        if not host or host.startswith("-") or clean_text(host) != host or " " in host:
            raise problem(
                where, f"hosts: {clean_text(host)[:60]!r} is no host", key="hosts",
                hint="write names as the tool reaches them: 'app-1'",
            )  # fmt: skip
    if table.min_hosts and table.hosts is not None and table.min_hosts > len(table.hosts):
        raise problem(
            where, f"min_hosts is {table.min_hosts}, and hosts names {len(table.hosts)}",
            hint="name more hosts, or ask for fewer", key="min_hosts",
        )  # fmt: skip
    weights = [step.weight for step in table.rollout or []]
    if weights and (weights != sorted(set(weights)) or weights[-1] != FULL_WEIGHT):
        raise problem(
            where, f"rollout goes {', '.join(map(str, weights))}",
            why="each step gives the new ones more than the one before, and the last gives them all",
            hint="end with { weight = 100 }", key="rollout",
        )  # fmt: skip
