"""What comes back when outages of regions end: in time, in order, once; and releases meanwhile.

The large fleet: ``python tests/bench/fleet.py``.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from cxlocal_sync.http.limits import AFTER_SECONDS_MAX, LEFT_FREE, Appointments
from fleet import RELEASES, Clock, Costs, Fleet, Story

from cxlocal.commands.sync import pause

SLOW = Costs(contact=0.014, number=0.014, event=0.0003)
"""A store that takes ten times as long: before it four hundred machines are what four thousand are."""
STORIES = {
    "a region comes back": Story(400, back=0.2, events=12, releases_a_second=0.2),
    "all come back": Story(400, events=12, releases_a_second=0.2),
    "all come back in one second": Story(400, within_seconds=1, events=12, releases_a_second=0.2),
    "a long backlog in one second": Story(
        400, within_seconds=1, events=12, weight=60, releases_a_second=0.2
    ),
}


def told(root: Path, story: Story) -> Fleet:
    """The fleet at the end of its story, with all that must hold checked."""
    root.mkdir()
    fleet = Fleet(root, story, costs=SLOW)
    fleet.tell(200)
    fleet.check()
    fleet.close()
    return fleet


@pytest.mark.parametrize("name", STORIES)
def test_all_that_came_back_is_there_once_and_in_order(tmp_path: Path, name: str) -> None:
    fleet = told(tmp_path / "fleet", STORIES[name])
    assert all(machine.in_step for machine in fleet.machines if machine.was_away)
    # Nobody starves: who is turned away has an appointment, and finds a place then.
    assert max(machine.turned_away for machine in fleet.machines) <= 3
    assert fleet.seen[RELEASES[2]] == 0


def test_without_back_pressure_the_same_fleet_never_gets_through(tmp_path: Path) -> None:
    """What a queue of 128 does that takes longer than machines wait: the store works for nobody."""
    deaf = told(tmp_path / "fleet", STORIES["a long backlog in one second"]._replace(heeds=False))
    assert deaf.missing > 200 and deaf.seen["answers too late"] > 1000


def test_appointments_follow_each_other_as_fast_as_the_store_answers() -> None:
    clock = Clock()
    appointments = Appointments(clock, 2)
    for _ in range(200):
        appointments.took(0.1)
    each = 0.1 / 2 / (1 - LEFT_FREE)
    given = [appointments.next_seconds(100) for _ in range(160)]
    assert given == sorted(given)
    assert given[0] == pytest.approx(101 * each, abs=1)
    assert given[-1] == pytest.approx(260 * each, abs=1)
    clock.seconds += 3600
    assert appointments.next_seconds(0) == 1
    for _ in range(100_000):
        longest = appointments.next_seconds(100)
    assert longest == AFTER_SECONDS_MAX


@pytest.mark.parametrize("share", [0.0, 0.5, 1.0])
def test_a_watch_never_comes_earlier_than_it_was_asked(share: float) -> None:
    assert 22.5 <= pause(30, 0, share) <= 37.5
    assert pause(30, 1, share) == pause(30, 0, share)
    assert 100 <= pause(30, 100, share) <= 125
    assert pause(30, 10**8, share) <= 750
