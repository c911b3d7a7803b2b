"""The graph of stages: what comes before what, and the path of a cycle in words.

A stage waits for the stages it needs and, when it requires a promotion of the file, for the stages
that earn it.
"""

from __future__ import annotations

import graphlib
from collections.abc import Iterable, Mapping
from itertools import pairwise

from cxlocal.config.problems import Where, problem
from cxlocal.plan.types import Plan

Edges = Mapping[str, tuple[str, ...]]
"""Stage to the stages it waits for."""


def edges(plan: Plan) -> dict[str, tuple[str, ...]]:
    """The graph of a plan."""
    return {stage.name: stage.waits_for for stage in plan.stages}


def before(graph: Edges, names: Iterable[str]) -> frozenset[str]:
    """``names`` and everything they wait for, directly or through others."""
    found: set[str] = set()
    waiting = list(names)
    while waiting:
        name = waiting.pop()
        if name not in found:
            found.add(name)
            waiting.extend(graph[name])
    return frozenset(found)


def turned(graph: Edges) -> Edges:
    """The same graph the other way: for each stage those that wait for it."""
    found: dict[str, tuple[str, ...]] = dict.fromkeys(graph, ())
    for name, waits_for in graph.items():
        for one in waits_for:
            found[one] += (name,)
    return found


def order(graph: Edges) -> tuple[str, ...]:
    """All stages, each after those it waits for; otherwise in the order of the file.

    Raises graphlib.CycleError for a graph that ``refuse_cycle`` has not seen.
    """
    sorter = graphlib.TopologicalSorter(graph)
    sorter.prepare()
    place = {name: index for index, name in enumerate(graph)}
    result: list[str] = []
    while sorter.is_active():
        ready = sorted(sorter.get_ready(), key=place.__getitem__)
        result.extend(ready)
        sorter.done(*ready)
    return tuple(result)


def refuse_cycle(
    graph: Edges,
    through: Mapping[tuple[str, str], str],
    *,
    file: str = "cx.toml",
    word: str = "stages",
) -> None:
    """Raise ConfigError naming the path of a cycle, if there is one.

    ``through`` names the promotion between two stages where it is not a plain ``needs``. ``word``: what
    waits for each other.
    """
    try:
        graphlib.TopologicalSorter(graph).prepare()
    except graphlib.CycleError as error:
        # graphlib lists predecessors first; people read "a waits for b".
        path = list(reversed(error.args[1]))
        first = min(path[:-1], key=list(graph).index)
        turn = path.index(first)
        path = path[turn:-1] + path[: turn + 1] if turn else path
    else:
        return
    words = path[0]
    for one, other in pairwise(path):
        promotion = through.get((one, other))
        words += f" → ({promotion}) → {other}" if promotion else f" → {other}"
    raise problem(
        Where(file),
        f"the {word} wait for each other in a circle: {words}",
        why="none of them could ever start",
        hint=f"take one of these names out of needs, {'requires or after' if word == 'stages' else 'or behind'}",
        name="cycle",
        key="needs",
    )
