"""docs/examples/webshop, carried out with real programs while people use it. With faults: test_webshop_faults.py."""

from __future__ import annotations

import pytest
from load_kit import load
from webshop_kit import NEEDS, Story

pytestmark = [pytest.mark.needs(*NEEDS), pytest.mark.timeout(300)]


def test_nobody_notices_a_release_a_way_back_or_one_that_fails(story: Story) -> None:
    """Rotation with a canary, rollback, a failed check; and the test environment is gone each time."""
    story.begin_store()
    done = story.release()
    assert done.code == 0, done.err
    assert story.live() == "0.1.0"
    with load(story.place.port) as used:
        story.change()
        done = story.release()
        assert done.code == 0, done.err
        assert story.serving(used) == {"0.1.1"} and used.answers["webshop 0.1.0"] > 0
        there = story.containers()
        done = story.project.command("rollback", "production", "-m", "to see it")
        assert done.code == 0, done.err
        assert story.serving(used) == {"0.1.0"}
        assert story.containers() == there, "a way back only turns weights"
        story.break_in_production()
        done = story.release()
        assert done.code == 1 and "✗ live" in done.err, done.err
        assert story.serving(used) == {"0.1.0"} and story.live() == "0.1.0"
    print(f"rotation, rollback, failed check: {used}")
    assert used.faults() == []
