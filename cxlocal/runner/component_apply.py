"""What is made once and changed in place: a database, a balancer."""

from __future__ import annotations

from collections.abc import Callable, Collection, Generator

from cxlocal.domain import Outcome
from cxlocal.events.document import Draft
from cxlocal.hooks.tool import Applied
from cxlocal.plan.graph import before
from cxlocal.plan.types import Component
from cxlocal.processes.child import End
from cxlocal.runner import component_record as recorded
from cxlocal.runner.component_departure import half_applied
from cxlocal.runner.component_look import Halt, Looked
from cxlocal.runner.component_preview import standing
from cxlocal.runner.site import Site
from cxlocal.runner.work import Launch


def apply_one(
    site: Site, component: Component, say: Callable[[Draft], None]
) -> Generator[Launch, End, bool]:
    """Have a mutable component come to what this version wants; whether anything is different now. Raises Halt where it
    does not, Refused where somebody else has the turn."""
    yield from _provision(site, component)
    if not site.can(component, "apply"):
        return False
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
        site.hear(component, found.result.outputs, found.secrets)
        _rename(site, component)
        return found.result.changed
    left = found.result
    if isinstance(left, Applied) and left.changed and found.outcome != Outcome.CANCEL:
        steps = f" after {left.last}" if left.last else ""
        steps += f", at {left.open}" if left.open else ""
        draft = half_applied(site.work.record, site.environment.name, component.name, steps)
        say(draft)
    raise Halt(found.outcome, f"{component.name}: {found.reason}")


def fallen(site: Site, looked: Looked) -> list[Component]:
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


def told_to_raise(site: Site, balancers: Collection[Component], *, alone: bool) -> list[Component]:
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
