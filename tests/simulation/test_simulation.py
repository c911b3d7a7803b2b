"""Machines and a store through everything that goes wrong; a seed repeats a story exactly.

``pytest tests/simulation --stories 2000`` tells that many more. Over a folder each machine answers itself, from
a copy of the store in its own home, and what it puts into the folder may fail or be cut off half-way.
"""

from __future__ import annotations

from typing import Any

import pytest
from world import KINDS

STEPS = 60
FOUND = {
    "a copy brought events under the original's id, which never got them": (0, 60, "embedded"),
    "events of a copy counted as not confirmed at the original": (224, 80, "embedded"),
    "a moved copy was given back the reserve that the original spends": (136, 80, "embedded"),
    "two copies had the store recovered by turns for ever": (204, 80, "embedded"),
    "what a restored store lost stayed with the machines that had it": (526, 80, "embedded"),
    "the same with a number in use among it": (697, 80, "embedded"),
    "the same with a second history": (808, 80, "embedded"),
    "two copies came back after a recovery, and neither was noticed": (226, 60, "folder"),
}
"""Stories that found something: what; the seed, the length and the store that tell it."""


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Twenty stories always, and as many more as were asked for."""
    if "seed" in metafunc.fixturenames:
        metafunc.parametrize("seed", range(1, 21 + metafunc.config.getoption("--stories")))


@pytest.mark.parametrize("kind", KINDS)
def test_p1_p3_p5_p7_p9_p10_p12_p15_p18_hold_in_any_story(
    make_world: Any, seed: int, kind: str
) -> None:
    tell(make_world(seed, kind), STEPS)


@pytest.mark.parametrize("about", FOUND)
def test_what_stories_found_stays_mended(make_world: Any, about: str) -> None:
    seed, steps, kind = FOUND[about]
    tell(make_world(seed, kind), steps)


@pytest.mark.parametrize("kind", KINDS)
def test_a_seed_repeats_its_story(make_world: Any, kind: str) -> None:
    first, second = make_world(7, kind), make_world(7, kind)
    for each in (first, second):
        each.live(STEPS)
    assert first.story == second.story


def tell(world: Any, steps: int) -> None:
    """Live, heal, check; the story goes with a failure."""
    try:
        world.live(steps)
        world.heal()
        world.check_healed()
    except BaseException:
        print(f"seed {world.seed}:", *world.story, sep="\n  ")
        raise
