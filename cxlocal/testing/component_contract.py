"""What tools of components should keep beside ``ToolContract``: ``ComponentContract``.

An instance is found and taken away by the id that it was given, whatever happened in between; weights are set,
not added, and whoever has an older turn is refused; a preview changes nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

import pytest

from cxlocal.clock import SystemIds
from cxlocal.domain import Outcome
from cxlocal.hooks.context import Ran
from cxlocal.hooks.tool import Observed, ObservedResource, verbs_of
from cxlocal.testing.bench import Bench
from cxlocal.testing.contract import ToolContract, story

COMPONENT = "web"
BALANCER = "lb"
TOLD = ("preview", "apply", "create", "remove", "rotate", "drain", "stop", "start", "observe")
"""Verbs that are asked of components."""
OWN = ("provision", "preview", "apply", "destroy")
"""Those that a balancer is asked for itself, under its own name."""
AGAIN = ("apply", "drain", "rotate", "remove")
"""Those that are asked again by whoever goes on with a deployment that was cut off."""


class ComponentContract(ToolContract):
    """Derive a test class from it, as from ``ToolContract``. The tests of verbs that a tool does not have pass
    without asking anything."""

    behind: ClassVar[bool] = False
    """The tool is a balancer: its verbs are told whose instances stand behind it."""
    addresses: ClassVar[tuple[str, str]] = ("127.0.0.1:9", "127.0.0.1:19")
    """Where two instances would answer. Nobody need be there."""

    def restart(self, bench: Bench) -> None:
        """Restart the balancer, so that it forgets what only its memory holds."""

    def variables(self, bench: Bench) -> Mapping[str, str]:
        """What an instance is to find in its environment."""
        return {"GREETING": "hello"}

    @pytest.fixture
    def bench(self, tmp_path: Any) -> Iterator[Bench]:
        """A prepared bench; instances that were made on it are removed afterwards."""
        made = Bench(tmp_path / "bench")
        self.prepare(made)
        yield made
        for resource in sorted(made.resources) if "remove" in self._can() else ():
            self._run(made, "remove", resource=resource)
        if self._ender() == "destroy":
            self._run(made, "destroy")

    def test_an_instance_is_found_and_removed_by_its_id(self, bench: Bench) -> None:
        """``create``, ``observe`` and ``remove`` may be repeated, and see the same id."""
        if "create" not in self._can():
            return
        one, other = _ids(2)
        for resource in (one, other, one):
            ran = self._run(bench, "create", resource=resource)
            assert ran.outcome.outcome is Outcome.SUCCESS, f"create: {story(ran)}"
        found = {each.id: each for each in self._seen(bench)}
        assert set(found) == {one, other}, f"observe sees {sorted(found)}"
        assert found[one].version == self.versions[0], "observe does not say the version"
        for _ in range(2):
            ran = self._run(bench, "remove", resource=one)
            assert ran.outcome.outcome is Outcome.SUCCESS, f"remove: {story(ran)}"
            assert {each.id for each in self._seen(bench)} == {other}, "the other one is touched"

    def test_what_is_stopped_stays_and_can_be_started(self, bench: Bench) -> None:
        """``stop`` and ``start`` may be repeated; of what was never made there is nothing to stop."""
        if not {"create", "stop", "start"} <= set(self._can()):
            return
        one, other, never = _ids(3)
        for resource in (one, other):
            self._run(bench, "create", resource=resource)
        for verb, resource in [(verb, each) for verb in ("stop", "start") for each in (one, one)]:
            ran = self._run(bench, verb, resource=resource)
            assert ran.outcome.outcome is Outcome.SUCCESS, f"{verb}: {story(ran)}"
            assert {each.id for each in self._seen(bench)} == {one, other}, (
                f"{verb} changes what is there"
            )
        ran = self._run(bench, "stop", resource=never)
        assert ran.outcome.outcome is Outcome.SUCCESS, f"stop: {story(ran)}"

    def test_what_was_never_made_can_be_removed(self, bench: Bench) -> None:
        """Its creation may not have got that far."""
        if "remove" in self._can():
            ran = self._run(bench, "remove", resource=_ids(1)[0])
            assert ran.outcome.outcome is Outcome.SUCCESS, f"remove: {story(ran)}"

    def test_killed_while_it_is_made_it_can_be_removed(self, bench: Bench) -> None:
        """After kill -9 the id alone is enough to leave nothing behind."""
        if "create" not in self._can():
            return
        for seconds in self.kill_after_seconds:
            [resource] = _ids(1)
            self._run(bench, "create", resource=resource, kill_after_seconds=seconds or 0.01)
            ran = self._run(bench, "remove", resource=resource)
            assert ran.outcome.outcome is Outcome.SUCCESS, f"remove: {story(ran)}"
            assert self._seen(bench) == (), f"it is left {seconds} s after its beginning"
            assert self.remains(bench, resource) == []

    def test_killed_at_any_verb_it_can_be_asked_again(self, bench: Bench) -> None:
        """After kill -9 the same verb does what it would have done, and twice does no harm."""
        for verb in [verb for verb in AGAIN if verb in self._can()]:
            self._made_for(bench)
            for seconds in self.kill_after_seconds:
                if verb in ("remove", "drain") and "create" in self._can():
                    self._run(bench, "create")
                self._run(bench, verb, kill_after_seconds=seconds or 0.01)
                ran = self._run(bench, verb)
                assert ran.outcome.outcome is Outcome.SUCCESS, (
                    f"{verb}, killed {seconds} s after its beginning: {story(ran)}"
                )

    def test_a_preview_changes_nothing(self, bench: Bench) -> None:
        """Asked twice it says the same."""
        if "preview" not in self._can():
            return
        self._made_for(bench)
        previews = [self._run(bench, "preview") for _ in range(2)]
        assert [ran.outcome.outcome for ran in previews] == ["success"] * 2, story(previews[0])
        assert previews[0].outcome.result == previews[1].outcome.result

    def test_applied_twice_is_as_good_as_once(self, bench: Bench) -> None:
        """A deployment that is gone on with applies again; after that a preview finds nothing to do."""
        if "apply" not in self._can():
            return
        self._made_for(bench)
        applied = [self._run(bench, "apply") for _ in range(2)]
        assert [ran.outcome.outcome for ran in applied] == ["success"] * 2, story(applied[-1])
        if "preview" in self._can():
            ran = self._run(bench, "preview")
            changes = getattr(ran.outcome.result, "changes", None)
            assert changes == (), f"after apply there is still to do: {changes}"

    def test_weights_are_set_and_an_older_turn_is_refused(self, bench: Bench) -> None:
        """Also after a restart of the balancer; who is not named gets nothing."""
        if "rotate" not in self._can():
            return
        self._made_for(bench)
        one, other = sorted(_ids(2))
        places = dict(zip((one, other), self.addresses, strict=True))

        def rotate(turn: int, **weights: int) -> Ran:
            wanted = {resource: weights[name] for name, resource in (("one", one), ("other", other))
                      if name in weights}  # fmt: skip
            return self._run(bench, "rotate", turn=turn, wanted=wanted, addresses=places)

        for weights in ({"one": 100}, {"one": 90, "other": 10}, {"other": 100}, {"other": 100}):
            ran = rotate(7, **weights)
            assert ran.outcome.outcome is Outcome.SUCCESS, f"rotate: {story(ran)}"
            self._check_weights(bench, 7, {"one": one, "other": other}, weights)
        refused = rotate(6, one=100)
        assert refused.outcome.outcome is not Outcome.SUCCESS, "turn 6 was taken after turn 7"
        self._check_weights(bench, 7, {"one": one, "other": other}, {"other": 100})
        self.restart(bench)
        refused = rotate(6, one=100)
        assert refused.outcome.outcome is not Outcome.SUCCESS, "a restart makes it forget the turn"
        assert rotate(8, one=50, other=50).outcome.outcome is Outcome.SUCCESS
        self._check_weights(bench, 8, {"one": one, "other": other}, {"one": 50, "other": 50})
        if "drain" in self._can():
            assert rotate(8, one=100).outcome.outcome is Outcome.SUCCESS
            ran = self._run(bench, "drain", resource=other, turn=8, addresses=places)
            assert ran.outcome.outcome is Outcome.SUCCESS, f"drain: {story(ran)}"

    def _check_weights(
        self, bench: Bench, turn: int, ids: Mapping[str, str], wanted: Mapping[str, int]
    ) -> None:
        if "observe" not in self._can():
            return
        seen = self._observed(bench)
        total = sum(each.weight or 0 for each in seen.resources)
        shares = {each.id: (each.weight or 0) / total for each in seen.resources if each.weight}
        whole = sum(wanted.values())
        assert set(shares) == {ids[name] for name in wanted}, f"traffic goes to {shares}"
        for name, weight in wanted.items():
            assert abs(shares[ids[name]] - weight / whole) < 0.02, f"{shares} is not {wanted}"
        assert seen.turn == turn, f"it has turn {seen.turn} written down, not {turn}"

    def _made_for(self, bench: Bench) -> None:
        """What verbs of a component find: its place was made before."""
        for verb in ("provision", "apply"):
            if verb in self._can() and (verb == "provision" or self.behind):
                ran = self._run(bench, verb)
                assert ran.outcome.outcome is Outcome.SUCCESS, f"{verb}: {story(ran)}"

    def _seen(self, bench: Bench) -> tuple[ObservedResource, ...]:
        return self._observed(bench).resources

    def _observed(self, bench: Bench) -> Observed:
        ran = self._run(bench, "observe")
        assert ran.outcome.outcome is Outcome.SUCCESS, f"observe: {story(ran)}"
        assert isinstance(ran.outcome.result, Observed)
        return ran.outcome.result

    def _can(self) -> tuple[str, ...]:
        return verbs_of(self.tool, self.with_table)

    def _run(self, bench: Bench, verb: str, *, version: str = "", **others: Any) -> Ran:
        told: dict[str, Any] = {}
        if self.behind and verb in OWN:
            told = {"component": BALANCER, "turn": 1}
        elif verb in TOLD or verb in OWN:
            told = {"component": COMPONENT, "turn": 1, "behind": BALANCER if self.behind else ""}
        if verb in ("create", "remove", "drain", "stop", "start"):
            told["resource"] = others.get("resource") or bench.resource
            (bench.resources.discard if verb == "remove" else bench.resources.add)(told["resource"])
        if verb == "create":
            given = self._given(bench, verb, version or self.versions[0])
            secrets = others.get("secrets") or {}
            told["variables"] = {**self.variables(bench), **dict(secrets)}
            told["artifact"] = next(iter(given.values()), None)
        if verb == "rotate":
            told["wanted"] = {bench.resource: 100}
            told["addresses"] = {bench.resource: self.addresses[0]}
        return super()._run(bench, verb, version=version, **{**told, **others})


def _ids(count: int) -> list[str]:
    ids = SystemIds()
    return [ids.uuid() for _ in range(count)]
