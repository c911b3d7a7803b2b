"""What is made once and changed in place: a database, a balancer."""

from __future__ import annotations

from collections.abc import Callable, Generator

from cxlocal.domain import Outcome
from cxlocal.events.document import Draft
from cxlocal.hooks.tool import Applied
from cxlocal.plan.types import Component
from cxlocal.processes.child import End
from cxlocal.runner import component_record as recorded
from cxlocal.runner.component_departure import half_applied
from cxlocal.runner.component_look import Halt
from cxlocal.runner.component_preview import standing
from cxlocal.runner.site import Site
from cxlocal.runner.work import Launch


def apply_one(
    site: Site, component: Component, say: Callable[[Draft], None]
) -> Generator[Launch, End, bool]:
    """Have a mutable component come to what this version wants; whether anything is different now. Raises Halt where it
    does not."""
    yield from _provision(site, component)
    if not site.can(component, "apply"):
        return False
    made = standing(site, component.name)

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

    def keep(handle: object) -> None:
        recorded.note_made(site, component, one, host, "", handle=handle, verb=recorded.PROVISION)

    found = yield from site.ask(component, "provision", resource=one, host=host, on_intend=keep)
    if found.outcome != Outcome.SUCCESS:
        raise Halt(found.outcome, f"{component.name}: {found.reason}")
