"""The rule of rotation in every story: each step, each fault, each machine that goes on after it.

``pytest tests/simulation/test_rotation.py -s`` shows how often each was visited.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from itertools import product
from pathlib import Path
from typing import Any

import pytest
from itself_world import OwnWorld
from rotation_world import Broken, Command, Moment, Rule, World

from cxlocal.plan.rotation import Action, Deed, Phase, Resource, next_action, shares

PAGE = Path(__file__).resolve().parents[2] / "docs" / "environments.md"
VISITS = 100
FAULTS = (
    "killed before", "killed after", "killed, store away", "stopped", "store away", "cut off",
    "balancer restarted", "home lost",
)  # fmt: skip
WHO = ("itself", "the other", "both")
DEEDS = (
    "intend", "create", "check", "rotate", "hold", "cutover", "judge", "drain", "remove", "gone",
)  # fmt: skip
ALONE = ("create", "pause", "start", "cutover", "remove")
"""Those at which it matters that old and new must not run at once."""
ITSELF = ("intend", "apply", "check", "cutover", "judge", "gone")
"""Those of what rotates itself."""
OWN_FAULTS = tuple(one for one in FAULTS if one != "balancer restarted")
OFTEN = {"pause": 2, "start": 2, "intend": 2, "create": 2, "check": 2, "rotate": 2}
"""How often a deed is met in one deployment; on the way back from a cutover there are more."""


def tell(
    rule: Rule, deed: str, fault: str, who: str, seed: int, *, overlap: bool = True, itself: bool = False,
) -> bool:  # fmt: skip
    """One story; whether it came to the moment of its fault."""
    world = OwnWorld(rule, seed) if itself else World(rule, seed, overlap=overlap)
    first, second = world.machines
    falling = seed % 4 == 0 and deed not in ("hold", "cutover", "judge")
    sick = f"two-{world.total}"
    if falling:
        # Found unwell: drained, removed and forgotten on the way back.
        world.sick.add(sick)
    often = 1 if itself else OFTEN.get(deed, 1)
    if seed % 4 == 1:
        # Well, and nevertheless refused by the environment when it serves: weights and record go back.
        world.refused.add("two")
        often += deed in ("rotate", "cutover", "apply")
    at = "after" if fault == "killed after" else "before"
    nth = world.chance.randint(1, often)
    begun = first.deploy("two")
    if not advance(begun, (Deed(deed), at), nth):
        return False
    if isinstance(world, OwnWorld) and deed == "apply" and fault.startswith("killed") and seed % 2:
        world.begin_to_change(max(one.turn for one in first.log if one.kind == "began"))
    strike(world, begun, fault)
    world.sick.discard(sick)
    ended = fault.startswith("killed") or fault == "home lost"
    others = [first.deploy("three") if ended else begun] if who != "the other" else []
    if who != "itself":
        others.append(second.deploy("four"))
    interleave(world, others)
    heal(world, begun)
    return True


def advance(command: Command, moment: Moment, nth: int) -> bool:
    """Up to the ``nth`` such moment; False where there was none."""
    for found in command:
        if found == moment:
            nth -= 1
            if nth == 0:
                return True
    return False


def strike(world: World, begun: Command, fault: str) -> None:
    """The fault happens, right where the first machine stands."""
    first = world.machines[0]
    if fault.startswith("killed") or fault == "home lost":
        begun.close()
    if fault == "home lost":
        first.log.clear()
        first.log.update(world.store)
    if fault.endswith("store away"):
        world.store_up = False
    first.cut_off = fault == "cut off"
    if fault == "balancer restarted":
        world.restart_balancer()


def interleave(world: World, commands: list[Command]) -> None:
    """Let them go on beside each other, by chance."""
    while commands:
        one = world.chance.choice(commands)
        if next(one, None) is None:
            commands.remove(one)


def heal(world: World, stopped: Command) -> None:
    """The store is back, whoever was stopped goes on, everybody hears of everything; one more deployment
    by either, and all is as it should be."""
    world.store_up, world.machines[0].cut_off = True, False
    interleave(world, [stopped])
    for machine in (*world.machines, *world.machines):
        machine.sync()
    interleave(world, [world.chance.choice(world.machines).deploy("last")])
    for machine in (*world.machines, *world.machines):
        machine.sync()
    world.check_end()


def search(
    rule: Rule,
    visits: int,
    faults: tuple[str, ...] = FAULTS,
    *,
    overlap: bool = True,
    itself: bool = False,
) -> Counter[tuple[str, ...]]:
    """Every step, fault and machine ``visits`` times. Raises Broken."""
    visited: Counter[tuple[str, ...]] = Counter()
    deeds = ITSELF if itself else DEEDS if overlap else ALONE
    for deed, fault, who in product(deeds, faults, WHO):
        seed = 0
        while visited[deed, fault, who] < visits and seed < 4 * visits:
            seed += 1
            try:
                visited[deed, fault, who] += tell(
                    rule, deed, fault, who, seed, overlap=overlap, itself=itself
                )
            except Broken as broken:
                raise Broken(f"{deed}, {fault}, {who}, seed {seed}: {broken}") from broken
    return visited


@pytest.mark.parametrize("fault", OWN_FAULTS)
def test_what_rotates_itself_is_at_what_the_record_says(fault: str) -> None:
    visited = search(next_action, VISITS, (fault,), itself=True)
    for deed in ITSELF:
        counts = "  ".join(f"{who} {visited[deed, fault, who]}" for who in WHO)
        print(f"itself {deed:8} {fault:18} {counts}")
    assert min(visited[row] for row in product(ITSELF, [fault], WHO)) >= VISITS


@pytest.mark.parametrize("overlap", [True, False], ids=["beside", "alone"])
@pytest.mark.parametrize("fault", FAULTS)
def test_one_version_serves_and_nothing_is_forgotten(fault: str, overlap: bool) -> None:
    visited = search(next_action, VISITS, (fault,), overlap=overlap)
    deeds = DEEDS if overlap else ALONE
    for deed in deeds:
        counts = "  ".join(f"{who} {visited[deed, fault, who]}" for who in WHO)
        print(f"{deed:8} {fault:18} {counts}")
    assert min(visited[row] for row in product(deeds, [fault], WHO)) >= VISITS


def test_the_page_says_what_is_searched() -> None:
    text = PAGE.read_text(encoding="utf-8")
    rows = re.findall(r"^\| (beside each other|never at once|one that rotates itself) \| (.*?) \| (\d+) × (\d+) × (\d+), each (\d+) times \|$",
                      text, re.MULTILINE)  # fmt: skip
    told = {name: (tuple(deeds.split(", ")), list(map(int, rest))) for name, deeds, *rest in rows}
    size = [len(FAULTS), len(WHO), VISITS]
    assert told == {
        "beside each other": (DEEDS, [len(DEEDS), *size]),
        "never at once": (ALONE, [len(ALONE), *size]),
        "one that rotates itself": (ITSELF, [len(ITSELF), len(OWN_FAULTS), *size[1:]]),
    }
    assert f"at each: {', '.join(FAULTS)}." in text
    assert f"{len(BROKEN) + len(BROKEN_ALONE) + len(BROKEN_ITSELF)} rules" in text


def test_shares_keep_to_what_was_asked() -> None:
    assert shares("ab", "xyz", 10) == {"a": 30, "b": 30, "x": 180, "y": 180, "z": 180}
    assert shares("ab", "xyz", 100) == {"a": 300, "b": 300}
    assert shares((), "xyz", 10) == {"x": 100, "y": 100, "z": 100}
    assert shares("ab", (), 10) == {"a": 100, "b": 100}


def skipping(deed: Deed, instead: Deed, phase: Phase | None = None) -> Rule:
    """The rule with one deed in the place of another."""

    def rule(wanted: Any, resources: Any, seen: Any, now: Phase) -> Action:
        action = next_action(wanted, resources, seen, now)
        if action.deed == deed and phase in (None, now):
            return action._replace(deed=instead)
        return action

    return rule


def changed(change: Callable[[Any, Any, Any, Phase], tuple[Any, Any, Any, Phase]]) -> Rule:
    """The rule with something else in its eyes."""
    return lambda *asked: next_action(*change(*asked))


def blind(**given: Any) -> Rule:
    """The rule where it does not look at something that is seen."""
    return changed(lambda w, r, s, p: (w, r, s._replace(**given), p))


def removes_before_it_turns(wanted: Any, resources: Any, seen: Any, phase: Phase) -> Action:
    old = {one.id: 100 for one in resources if one.serves}
    return next_action(wanted, resources, seen._replace(weights=old, fence=wanted.turn), phase)


BROKEN: dict[str, Rule] = {
    "made before it is said": skipping(Deed.INTEND, Deed.CREATE),
    "unchecked into traffic": changed(
        lambda w, r, s, p: (w, r, s._replace(well={one.id: True for one in r}), p)
    ),
    "cutover before the weights are turned": skipping(Deed.ROTATE, Deed.CUTOVER, Phase.RISING),
    "removed without drain": skipping(Deed.DRAIN, Deed.REMOVE),
    "removed before the weights are back": lambda w, r, s, p: (
        removes_before_it_turns if p == Phase.FALLING else next_action
    )(w, r, s, p),
    "said to be gone and never removed": skipping(Deed.REMOVE, Deed.GONE),
    "goes on when its turn is over": changed(
        lambda w, r, s, p: (w._replace(turn=w.turn + 9), r, s, p)
    ),
    "the old removed before others know of the cutover": blind(shared=True),
    "does not see that others were there": changed(
        lambda w, r, s, p: (w._replace(known=99), r, s, p)
    ),
    "no turn is written where the weights are right": changed(
        lambda w, r, s, p: (w, r, s._replace(fence=max(s.fence, w.turn)), p)
    ),
    "forgets what was made late": changed(
        lambda w, r, s, p: (w, [one for one in r if not one.gone], s, p)
    ),
    "goes back after the cutover": changed(
        lambda w, r, s, p: (
            w,
            [Resource(one.id, one.fresh, one.serves and not one.fresh, gone=one.gone) for one in r],
            s,
            p,
        )
    ),
    "leaves the weights of a restarted balancer": changed(
        lambda w, r, s, p: (
            w, r, s if s.weights else s._replace(weights=shares([o.id for o in r if o.serves], (), 100)), p,
        )
    ),
    "serves on although it was refused": blind(judged=True),
    "the old removed before the new were judged": lambda w, r, s, p: (
        next_action(w, r, s._replace(judged=True), p)
        if p == Phase.SETTLING and {one.id for one in r if not one.serves and not one.gone} & s.running
        else next_action(w, r, s, p)
    ),
    "goes back by the weights alone": skipping(Deed.CUTOVER, Deed.DONE, Phase.RETURNING),
    "goes back by the record alone": changed(
        lambda w, r, s, p: (
            w, r, s._replace(weights=shares([o.id for o in r if o.serves], (), 100)), p,
        ) if p == Phase.RETURNING else (w, r, s, p)
    ),
    "the new removed before others know of the way back": lambda w, r, s, p: next_action(
        w, r, s._replace(shared=True) if p == Phase.RETURNING else s, p
    ),
    "cuts over before it was held": skipping(Deed.HOLD, Deed.CUTOVER),
    "fewer than wanted": changed(lambda w, r, s, p: (w._replace(total=1), r, s, p)),
    "never says that one is gone": skipping(Deed.GONE, Deed.DONE),
    "keeps what nobody keeps": changed(
        lambda w, r, s, p: (w, [one._replace(kept=not one.serves) for one in r], s, p)
    ),
}  # fmt: skip
"""Each takes one sentence of the rule away."""


BROKEN_ALONE: dict[str, Rule] = {
    "made while the old ones run": changed(lambda w, r, s, p: (w._replace(overlap=True), r, s, p)),
    "started before the others are stopped": changed(
        lambda w, r, s, p: (w, r, s._replace(stopped=s.running), p)
    ),
    "not started again on the way back": changed(
        lambda w, r, s, p: (w, r, s._replace(started=s.running) if p != Phase.RISING else s, p)
    ),
}  # fmt: skip
"""The same where old and new must not run at once."""


BROKEN_ITSELF: dict[str, Rule] = {
    "applied before it is said": skipping(Deed.INTEND, Deed.APPLY, Phase.RISING),
    "cut over before it is applied": skipping(Deed.APPLY, Deed.CUTOVER, Phase.RISING),
    "not applied again on the way back": skipping(Deed.APPLY, Deed.GONE, Phase.FALLING),
    "believed to be where the record says": changed(
        lambda w, r, s, p: (
            w, r, s if p == Phase.RISING else s._replace(weights={o.id: 100 for o in r if o.serves}), p,
        )
    ),
    "goes back by the record alone": skipping(Deed.APPLY, Deed.CUTOVER, Phase.RETURNING),
    "never says that it is whole": skipping(Deed.GONE, Deed.DONE),
    "unchecked": changed(lambda w, r, s, p: (w, r, s._replace(well={o.id: True for o in r}), p)),
    "goes on when its turn is over": changed(lambda w, r, s, p: (w._replace(turn=w.turn + 9), r, s, p)),
    "serves on although it was refused": blind(judged=True),
}  # fmt: skip
"""The same of what rotates itself."""


@pytest.mark.parametrize("name", BROKEN_ALONE)
def test_a_broken_rule_of_the_gap_is_found(name: str) -> None:
    with pytest.raises(Broken):
        search(BROKEN_ALONE[name], visits=20, overlap=False)


@pytest.mark.parametrize("name", BROKEN_ITSELF)
def test_a_broken_rule_of_what_rotates_itself_is_found(name: str) -> None:
    with pytest.raises(Broken):
        search(BROKEN_ITSELF[name], visits=20, faults=OWN_FAULTS, itself=True)


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_rule_is_found(name: str) -> None:
    with pytest.raises(Broken):
        search(BROKEN[name], visits=20)


def test_whose_turn_is_over_changes_nothing() -> None:
    """Said once more without any story: it is what keeps two machines apart."""
    world = World()
    first, second = world.machines
    begun = first.deploy("two")
    assert advance(begun, (Deed.ROTATE, "before"), 1)
    interleave(world, [second.deploy("three")])
    weights = dict(world.weights)
    interleave(world, [begun])
    assert world.weights == weights
    assert first.log.live().deployment == "one", "it has not heard of three, and did not cut over"
