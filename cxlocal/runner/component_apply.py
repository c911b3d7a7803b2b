"""What is made once and changed in place: a database, a balancer.

A way back leaves it as it is, as nobody can say what undoing a change would cost. What it said of itself for others is
recorded with each deployment, so that instances can be made anew without changing anything.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Generator, Mapping, Sequence
from typing import Any

from cxlocal.domain import Outcome
from cxlocal.events.document import Draft
from cxlocal.hooks.tool import Applied
from cxlocal.plan.graph import before
from cxlocal.plan.types import Component
from cxlocal.processes.child import End
from cxlocal.runner import component_record as recorded
from cxlocal.runner.component_departure import half_applied
from cxlocal.runner.component_look import SERVING_SECONDS, Halt, Looked
from cxlocal.runner.component_preview import standing
from cxlocal.runner.component_rotation import Rotation
from cxlocal.runner.outcomes import Said
from cxlocal.runner.site import Site
from cxlocal.runner.work import Launch

LAST_SAID = """
SELECT said FROM (
  SELECT json_extract(s.details, '$.said') AS said, d.deployed_at AS at
  FROM deployment d JOIN stage_run s ON s.id = d.stage_run
  WHERE d.deliverable = ? AND d.environment = ? AND d.instance = ?
  ORDER BY d.deployed_at DESC LIMIT 100)
WHERE said IS NOT NULL ORDER BY at DESC LIMIT 1
"""


class InPlace:
    """The mutable components of one deployment."""

    def __init__(self, site: Site, details: dict[str, Any], say: Callable[[Draft], None]) -> None:
        """``details``: facts of the deployment, to which what components say is added; ``say`` records a flag and
        tells people."""
        self.site, self._details, self._say = site, details, say
        self.components = [one for one in site.components if one.mutable]
        self._left: dict[str, Mapping[str, str]] = {}
        self.fallen: Sequence[Component] = ()
        """Balancers that do not run: they are applied before anything is turned, on a way back as well."""
        self._said: dict[str, dict[str, str]] = {}
        self._asked: set[str] = set()

    def look(self, looked: Looked) -> None:
        """Take in what the environment shows."""
        self.fallen = _fallen(self.site, looked)

    def say_kept(self) -> None:
        """Say what stays as it is where nothing but weights is turned."""
        if words := self._words([one for one in self.components if one not in self.fallen]):
            self.site.work.voice.note(f"what was changed in place stays as it is: {words}")

    def leave(self) -> None:
        """On a way back that makes or applies something else: leave as it is whatever is known to stand there with what it
        said of itself, and say so. Where there is nothing else, going back is to apply the older version."""
        others = any(not one.mutable for one in self.site.components)
        said = self._last_said() if others else {}
        mine = [one for one in self.components if one not in self.fallen]
        stand = [one for one in mine if one.is_given or standing(self.site, one.name)]
        self._left = {one.name: said[one.name] for one in stand if one.name in said}
        note = self.site.work.voice.note
        if words := self._words([one for one in mine if one.name in self._left]):
            note(f"what was changed in place stays as it is: {words}")
        if words := self._words([one for one in mine if one.name not in self._left]):
            version = self.site.work.record.version
            note(f"asked to go back to {version} in place, which may change it: {words}")

    def bring_back(self, *, alone: bool) -> Generator[Launch, End, None]:
        """Have balancers run that do not, and before them what they need, unless they are to come ``alone``."""
        for one in _told_to_raise(self.site, self.fallen, alone=alone):
            yield from self._come(one)

    def apply(self, rotations: Sequence[Rotation]) -> Generator[Launch, End, None]:
        """Change them; what serves must be as well afterwards as it was before. Raises Halt."""
        old = [one for one in rotations if one.stands.serving]
        well = []
        for one in old if self.components else ():
            if not (yield from self._ask_serving(one, 0.0)).why:
                well.append(one)
        changed = False
        for component in self.components:
            if component.name not in self._asked:
                changed = (yield from self._come(component)) or changed
        # Of all of them or of none: the next way back takes the last such word.
        self._details["said"] = self._said
        for one in well if changed else ():
            said = yield from self._ask_serving(one, SERVING_SECONDS)
            if said.why:
                raise Halt(said.outcome, f"what serves is not well any more: {said.why}")

    def _come(self, component: Component) -> Generator[Launch, End, bool]:
        """Apply one, or leave it; whether anything is different now."""
        self._asked.add(component.name)
        if component.name in self._left:
            self._hear(component, self._left[component.name], {})
            return False
        found = yield from _apply_one(self.site, component, self._say)
        if found is None:
            return False
        outputs, secrets, changed = found
        self._hear(component, outputs, secrets)
        return changed

    def _words(self, components: Sequence[Component]) -> str:
        return ", ".join(one.name for one in components if self.site.can(one, "apply"))

    def _last_said(self) -> dict[str, Mapping[str, str]]:
        """What each said of itself in the last deployment here that asked; of those that said nothing in secret."""
        site, record = self.site, self.site.work.record
        asked = (record.ref.deliverable, site.environment.name, site.instance)
        row = record.journal.one(LAST_SAID, asked)
        said = json.loads(row["said"]) if row else {}
        return {
            name: {key: value for key, value in outputs.items() if isinstance(value, str)}
            for name, outputs in said.items()
            if isinstance(outputs, dict)
        }

    def _hear(
        self, component: Component, outputs: Mapping[str, str], secret: Mapping[str, str]
    ) -> None:
        """Keep what one said, for those after it, and for a way back unless it has something secret."""
        masked = self.site.work.masker.text
        if not secret and all(masked(one) == one for one in outputs.values()):
            self._said[component.name] = dict(outputs)
        self.site.hear(component, outputs, secret)

    def _ask_serving(self, rotation: Rotation, within: float) -> Generator[Launch, End, Said]:
        there = [one.address for one in rotation.stands.serving]
        return (yield from self.site.probe(rotation.component, there, within_seconds=within))


def _apply_one(
    site: Site, component: Component, say: Callable[[Draft], None]
) -> Generator[Launch, End, tuple[Mapping[str, str], Mapping[str, str], bool] | None]:
    """Have a mutable component come to what this version wants: what it says for others, openly and in secret, and
    whether anything is different now; None where its tool has no such verb. Raises Halt where it does not, Refused where
    somebody else has the turn."""
    yield from _provision(site, component)
    if not site.can(component, "apply"):
        return None
    made = standing(site, component.name)
    site.work.check_turn(site.stage)

    def keep(handle: object) -> None:
        if made:
            recorded.note_made(
                site, component, made["resource"], made["host"], "", handle=handle,
                verb=recorded.PROVISION,
            )  # fmt: skip

    found = yield from site.ask(
        component, "apply", on_intend=keep, artifact=site.artifact(component), **made
    )
    if found.outcome == Outcome.SUCCESS:
        assert isinstance(found.result, Applied)
        _rename(site, component)
        return found.result.outputs, found.secrets, found.result.changed
    left = found.result
    if isinstance(left, Applied) and left.changed and found.outcome != Outcome.CANCEL:
        steps = f" after {left.last}" if left.last else ""
        steps += f", at {left.open}" if left.open else ""
        draft = half_applied(site.work.record, site.environment.name, component.name, steps)
        say(draft)
    raise Halt(found.outcome, f"{component.name}: {found.reason}")


def _fallen(site: Site, looked: Looked) -> list[Component]:
    """Balancers that are changed in place and do not run, as far as they can tell, while instances stand behind them.
    One that cannot tell counts as such where an earlier deployment is to be taken back first."""
    there = [one for one in recorded.of_components(site) if one.verb == recorded.CREATE]
    found: list[Component] = []
    for component in (one for one in site.components if not one.mutable):
        balancer = site.balancer(component)
        mine = [one for one in (*there, *looked.strangers) if one.component == component.name]
        if balancer is None or not balancer.mutable or balancer.is_given or balancer in found:
            continue
        if not mine or not site.can(balancer, "apply"):
            continue
        shown = looked.balancers.get(component.name)
        if shown is not None:
            forgot = not shown.resources and any(one.serves for one in mine)
            down = shown.healthy is False or forgot
        else:
            down = site.can(balancer, "observe") or any(
                not (one.serves or one.spare) for one in mine
            )
        if down:
            found.append(balancer)
    return found


def _told_to_raise(site: Site, balancers: Collection[Component], *, alone: bool) -> list[Component]:
    """What is applied so that ``balancers`` run: what they need before them, unless they are to come ``alone``. People
    are told which do not."""
    for one in balancers:
        site.work.voice.note(f"{one.name} does not run, and is brought back first")
    names = frozenset(one.name for one in balancers)
    if not alone:
        names = before({one.name: one.needs for one in site.components}, names)
    return [one for one in site.components if one.mutable and one.name in names]


def _rename(site: Site, component: Component) -> None:
    """What was made under an earlier name (``was``) has the new one from now on."""
    made = recorded.standing_of(site, component)
    if made is not None and made.component != component.name:
        recorded.note_made(
            site, component, made.id, made.host, "", handle=made.handle,
            verb=recorded.PROVISION,
        )  # fmt: skip


def _provision(site: Site, component: Component) -> Generator[Launch, End, None]:
    """Say that a mutable component is about to be made where it never was, also where no tool can take it away again;
    and make it."""
    makes = any(site.can(component, verb) for verb in ("apply", recorded.PROVISION))
    if component.is_given or standing(site, component.name) or not makes:
        return
    [(one, host)] = recorded.intend(site, component, 1, verb=recorded.PROVISION)
    if not site.can(component, "provision"):
        return  # 'apply' makes it
    site.work.check_turn(site.stage)

    def keep(handle: object) -> None:
        recorded.note_made(site, component, one, host, "", handle=handle, verb=recorded.PROVISION)

    found = yield from site.ask(component, "provision", resource=one, host=host, on_intend=keep)
    if found.outcome != Outcome.SUCCESS:
        raise Halt(found.outcome, f"{component.name}: {found.reason}")
