"""Machines and a store through everything that goes wrong; a seed repeats a story exactly.

``pytest tests/simulation --stories 2000`` tells that many more.
"""

from __future__ import annotations

from typing import Any

import pytest

STEPS = 60
FOUND = {
    "a copy brought events under the original's id, which never got them": (0, 60),
    "events of a copy counted as not confirmed at the original": (224, 80),
    "a moved copy was given back the reserve that the original spends": (136, 80),
    "two copies had the store recovered by turns for ever": (204, 80),
    "what a restored store lost stayed with the machines that had it": (526, 80),
    "the same with a number in use among it": (697, 80),
    "the same with a second history": (808, 80),
}
"""Stories that found something: what, and the seed and length that tell it."""


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Twenty stories always, and as many more as were asked for."""
    if "seed" in metafunc.fixturenames:
        metafunc.parametrize("seed", range(1, 21 + metafunc.config.getoption("--stories")))


def test_p1_p3_p5_p7_p9_p10_p12_p15_p18_hold_in_any_story(world: Any, seed: int) -> None:
    tell(world(seed), STEPS)


@pytest.mark.parametrize("about", FOUND)
def test_what_stories_found_stays_mended(world: Any, about: str) -> None:
    seed, steps = FOUND[about]
    tell(world(seed), steps)


def test_a_seed_repeats_its_story(world: Any) -> None:
    first, second = world(7), world(7)
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
