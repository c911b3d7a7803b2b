"""The rule of publishing, in process: every file, and every way to be cut off and taken up again."""

from __future__ import annotations

from itertools import product
from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cxlocal.hooks.tool import Held
from cxlocal.plan import publication as rule
from cxlocal.plan.publication import (
    ABSENT,
    BEGUN,
    CONFLICTED,
    DONE,
    NOT_KNOWN,
    NOTHING,
    OTHER,
    PUBLISHED,
    PUT,
    SAME,
    TAKEN_BACK,
    WAIT,
    WITHDRAWN,
    Asked,
    Standing,
    Terms,
    next_action,
)
from cxlocal.runner.publication import sure

STATES = (ABSENT, SAME, OTHER, NOT_KNOWN)
RECORDS = (NOTHING, BEGUN, PUBLISHED, TAKEN_BACK)
EVERY = [
    (Asked(state, yanked), recorded, Terms(can_ask, refuses, again))
    for state, yanked, recorded, can_ask, refuses, again in product(
        STATES, (False, True), RECORDS, (False, True), (False, True), (False, True)
    )
    if not (yanked and state != SAME) and (can_ask or state == NOT_KNOWN)
]


def test_other_bytes_are_never_touched() -> None:
    for asked, recorded, terms in EVERY:
        assert (next_action(asked, recorded, terms) == CONFLICTED) == (asked.state == OTHER)


def test_what_was_taken_back_stays_away_until_somebody_says_so() -> None:
    for asked, recorded, terms in EVERY:
        gone = recorded == TAKEN_BACK or (recorded == PUBLISHED and asked.state == ABSENT)
        if (gone or asked.yanked) and asked.state != OTHER and not terms.again:
            assert next_action(asked, recorded, terms) == WITHDRAWN, (asked, recorded, terms)


def test_not_known_is_never_taken_for_absent() -> None:
    for asked, recorded, terms in EVERY:
        if asked.state == NOT_KNOWN and terms.can_ask and not (terms.refuses or terms.again):
            assert next_action(asked, recorded, terms) in (WAIT, WITHDRAWN), (recorded, terms)
        if recorded == BEGUN and not terms.can_ask and not (terms.refuses or terms.again):
            assert next_action(asked, recorded, terms) == WAIT, "it may have been put"


def test_what_nobody_knows_is_put_where_a_person_says_again() -> None:
    for asked, recorded, terms in EVERY:
        if asked.state == NOT_KNOWN and terms.again:
            assert next_action(asked, recorded, terms) == PUT, (recorded, terms)


def test_what_is_there_is_left_alone() -> None:
    for asked, recorded, terms in EVERY:
        if asked.state == SAME and not asked.yanked and recorded != TAKEN_BACK:
            assert next_action(asked, recorded, terms) == DONE


@pytest.mark.parametrize(
    ("files", "word"),
    [
        ([(DONE, SAME), (DONE, SAME)], rule.THERE),
        ([(DONE, SAME), (PUT, ABSENT)], rule.PARTLY),
        ([(DONE, SAME), (WAIT, NOT_KNOWN)], rule.PARTLY),
        ([(PUT, ABSENT), (PUT, ABSENT)], ABSENT),
        ([(PUT, ABSENT), (WAIT, NOT_KNOWN)], NOT_KNOWN),
        ([(DONE, SAME), (CONFLICTED, OTHER), (WITHDRAWN, ABSENT)], OTHER),
        ([(DONE, SAME), (WITHDRAWN, ABSENT)], WITHDRAWN),
        ([(PUT, SAME)], WITHDRAWN),
    ],
)
def test_the_sum_of_a_target_is_green_only_where_all_is_there(
    files: list[tuple[str, str]], word: str
) -> None:
    assert rule.sum_up(files) == word


@pytest.mark.parametrize(
    ("standings", "code"),
    [
        ([], 0),
        ([Standing("a", rule.THERE), Standing("b", rule.THERE)], 0),
        ([Standing("a", rule.THERE), Standing("b", rule.PARTLY)], 9),
        ([Standing("a", ABSENT, rule.UNREACHED)], 9),
        ([Standing("a", ABSENT, rule.CREDENTIAL), Standing("b", NOT_KNOWN)], 4),
        ([Standing("a", WITHDRAWN), Standing("b", ABSENT, rule.CREDENTIAL)], 4),
        ([Standing("a", ABSENT, stopped=3), Standing("b", NOT_KNOWN)], 3),
        ([Standing("a", ABSENT, rule.CREDENTIAL), Standing("b", OTHER)], 10),
    ],
)
def test_of_several_exit_codes_the_most_urgent_counts(standings: list[Standing], code: int) -> None:
    assert rule.exit_code(standings) == code


def test_words_name_what_is_missing() -> None:
    states = {"tag": "there", "index": "absent", "files": "there", "site": "there"}
    words = rule.in_words(states, {"index": "it answers 502"})
    assert words == "3 of 4: index absent (it answers 502)"


# Kills and machines. Each machine is a list of steps; a kill takes away what it knew, and another machine
# begins anew with what is on record. Machines that share a store share the record.

OURS, STRANGER = "ours", "a stranger's"


class World(NamedTuple):
    """A target with some files, and what is on record of it."""

    held: dict[str, str]
    puts: list[str]
    recorded: dict[str, str]


class Machine:
    """One command: asks, says what it begins, puts, asks again, says what it found."""

    def __init__(self, world: World, terms: Terms) -> None:
        self.world, self.terms = world, terms
        self.steps = self._work()

    def _ask(self) -> dict[str, str]:
        return {
            name: next_action(Asked(self._state(name)), self.world.recorded[name], self.terms)
            for name in self.world.held
        }

    def _state(self, name: str) -> str:
        if not self.terms.can_ask:
            return NOT_KNOWN
        return {"": ABSENT, OURS: SAME}.get(self.world.held[name], OTHER)

    def _work(self):  # type: ignore[no-untyped-def]
        actions = self._ask()
        yield
        lacking = [name for name, action in actions.items() if action == PUT]
        for name in self.world.held if lacking else ():
            if self.world.recorded[name] == NOTHING:
                self.world.recorded[name] = BEGUN
        yield
        for name in lacking:
            # The put of every target that can be asked is refused where something is.
            if not self.world.held[name]:
                self.world.held[name] = OURS
                self.world.puts.append(name)
            elif not self.terms.can_ask:
                self.world.puts.append(name)
            yield
        actions = self._ask() if self.terms.can_ask else dict.fromkeys(lacking, DONE)
        yield
        for name, action in actions.items():
            if action == DONE:
                self.world.recorded[name] = PUBLISHED


def run_out(machine: Machine, steps: int | None = None) -> bool:
    """Let a machine go on for so many steps; whether it has come to its end."""
    for count, _ in enumerate(machine.steps, 1):
        if steps is not None and count >= steps:
            return False
    return True


@given(
    st.lists(st.integers(0, 8), max_size=6),
    st.sets(st.sampled_from("abc")),
    st.booleans(),
    st.booleans(),
)
def test_after_any_kills_each_file_is_put_once_and_the_record_says_so(
    kills: list[int], strangers: set[str], can_ask: bool, refuses: bool
) -> None:
    held = {name: STRANGER if name in strangers and can_ask else "" for name in "abc"}
    world = World(dict(held), [], dict.fromkeys("abc", NOTHING))
    terms = Terms(can_ask, refuses and can_ask)
    for steps in kills:
        run_out(Machine(world, terms), steps)
    run_out(Machine(world, terms))
    assert len(set(world.puts)) == len(world.puts), "nothing is put twice"
    for name in "abc":
        if held[name] == STRANGER:
            assert (world.held[name], world.recorded[name] == PUBLISHED) == (STRANGER, False)
        elif can_ask:
            assert (world.held[name], world.recorded[name]) == (OURS, PUBLISHED)
        else:
            assert world.recorded[name] in (BEGUN, PUBLISHED)
            assert world.recorded[name] != PUBLISHED or world.held[name] == OURS


@given(st.lists(st.booleans(), max_size=30))
def test_two_machines_in_any_order_of_steps_come_to_the_same(order: list[bool]) -> None:
    world = World(dict.fromkeys("ab", ""), [], dict.fromkeys("ab", NOTHING))
    machines = Machine(world, Terms()), Machine(world, Terms())
    for second in order:
        next(machines[second].steps, None)
    for machine in machines:
        run_out(machine)
    assert sorted(world.puts) == ["a", "b"]
    assert set(world.recorded.values()) == {PUBLISHED}
    assert set(world.held.values()) == {OURS}


@pytest.mark.parametrize(
    ("said", "kept"),
    [
        (Held(state="same", wanted="sha256:1", held="sha256:2"), ("other", "")),
        (Held(state="same", location="https://x.example/a"), ("same", "https://x.example/a")),
        (Held(state="same", location="https://x.example/" + "a" * 600), ("same", "")),
        (Held(state="same", location="one\ntwo"), ("same", "")),
        (Held(state="absent", why="w" * 9000), ("absent", "")),
    ],
)
def test_what_a_tool_says_is_kept_as_far_as_it_can_be_so(said: Held, kept: tuple[str, str]) -> None:
    held = sure(said)
    assert (held.state, held.location) == kept
    assert len(held.why) <= 300
