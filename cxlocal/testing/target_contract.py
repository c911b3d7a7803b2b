"""What tools of targets should keep beside ``ToolContract``: ``TargetContract``.

A target is asked what it holds, gets what it lacks and nothing else, and is believed only when it is asked again.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cxlocal.domain import Outcome
from cxlocal.hooks.tool import ArtifactRef, Holdings, verbs_of
from cxlocal.testing.bench import Bench
from cxlocal.testing.contract import ToolContract, story


class TargetContract(ToolContract):
    """Derive a test class from it, as from ``ToolContract``. Each test begins at an empty target, so let
    ``options`` (or ``with_table``: a relative path is in ``bench.checkout``) lead to one of the bench."""

    def artifacts(self, bench: Bench, version: str) -> Mapping[str, ArtifactRef]:
        """Two, with bytes that depend on the version."""
        return {
            name: bench.artifact(name, f"{name} {version}".encode()) for name in ("app", "more")
        }

    def test_what_was_put_is_there_and_nothing_else(self, bench: Bench) -> None:
        """``ask`` knows each by its bytes; ``publish`` puts what it is told."""
        assert self._states(bench) == {"app": "absent", "more": "absent"}
        self._put(bench, "app")
        assert self._states(bench) == {"app": "same", "more": "absent"}, (
            "it puts what nobody asked for"
        )
        self._put(bench, "more")
        assert self._states(bench) == {"app": "same", "more": "same"}

    def test_versions_stand_beside_each_other(self, bench: Bench) -> None:
        """Another version finds nothing of the first."""
        self._put(bench, "app", "more")
        assert self._states(bench, self.versions[1]) == {"app": "absent", "more": "absent"}

    def test_other_bytes_are_seen_and_stay(self, bench: Bench) -> None:
        """What is there under the name is *other*; where ``refuses`` is said, no put goes over it."""
        self._put(bench, "app")
        others = {"app": bench.artifact("app", b"others")}
        asked = self._ask(bench, artifacts=others)
        assert asked.files["app"].state == "other", f"other bytes are {asked.files['app'].state}"
        if asked.refuses:
            ran = self._run(bench, "publish", artifacts=others, put=("app",))
            assert ran.outcome.outcome != Outcome.SUCCESS, "it says that it put over what was there"
            assert self._states(bench)["app"] == "same", "other bytes went over what was there"

    def test_killed_while_it_puts_it_is_finished_by_the_next(self, bench: Bench) -> None:
        """After kill -9 nothing is half there, and the same command puts what is missing."""
        for seconds in self.kill_after_seconds:
            self._run(bench, "publish", put=("app", "more"), kill_after_seconds=seconds or 0.01)
            states = self._states(bench)
            assert set(states.values()) <= {"absent", "same"}, f"after a kill there is {states}"
            self._put(bench, *(name for name, state in states.items() if state == "absent"))
            assert set(self._states(bench).values()) == {"same"}

    def test_what_is_withdrawn_is_gone_or_marked(self, bench: Bench) -> None:
        """Twice does no harm; where a person has to, it says where."""
        if "withdraw" not in verbs_of(self.tool, self.with_table):
            return
        self._put(bench, "app", "more")
        for _ in range(2):
            ran = self._run(bench, "withdraw")
            assert ran.outcome.outcome == Outcome.SUCCESS, f"withdraw: {story(ran)}"
            done = ran.outcome.result
            assert getattr(done, "how", "") or getattr(done, "address", ""), (
                "it says neither how nor where"
            )
        if getattr(done, "how", ""):
            held = self._ask(bench).files.values()
            assert all(one.state == "absent" or one.yanked for one in held), "it is there as before"

    def _put(self, bench: Bench, *names: str) -> None:
        if names:
            ran = self._run(bench, "publish", put=names)
            assert ran.outcome.outcome == Outcome.SUCCESS, f"publish: {story(ran)}"

    def _states(self, bench: Bench, version: str = "") -> dict[str, str]:
        files = self._ask(bench, version=version).files
        return {
            name: files[name].state if name in files else "not said" for name in ("app", "more")
        }

    def _ask(self, bench: Bench, **told: Any) -> Holdings:
        ran = self._run(bench, "ask", **told)
        assert ran.outcome.outcome == Outcome.SUCCESS, f"ask: {story(ran)}"
        assert isinstance(ran.outcome.result, Holdings)
        return ran.outcome.result
