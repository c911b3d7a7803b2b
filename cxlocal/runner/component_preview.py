"""What changing the components of an environment in place would do, as their tools say."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

from cxlocal.domain import Outcome
from cxlocal.errors import Refused
from cxlocal.hooks.tool import Previewed
from cxlocal.processes.child import End
from cxlocal.runner import component_record as recorded
from cxlocal.runner.site import Site
from cxlocal.runner.work import Launch
from cxlocal.values import NamedTuple

NOT_MADE = "the run makes what it runs"


class Foreseen(NamedTuple):
    """What one component that is changed in place, or rotates itself, would come to."""

    environment: str
    component: str
    changes: tuple[str, ...] = ()
    """A line for people for each; empty: nothing would change."""
    destroys: bool = False
    """Something would be lost that cannot be made again."""
    refuses: str = ""
    """Why it may not be changed as this version wants it."""
    problem: str = ""
    """Why it could not be asked."""
    outcome: Outcome = Outcome.SUCCESS

    def lines(self) -> list[str]:
        """All of it in words."""
        place = f"{self.component} in {self.environment}"
        if self.problem:
            return [f"{place} could not be asked what would change: {self.problem}"]
        if self.refuses:
            return [f"{place} would not be changed: {self.refuses}"]
        if not self.changes:
            return [f"{place} would stay as it is"]
        return [f"{place}: {one}" for one in self.changes]

    def refusal(self) -> Refused | None:
        """The refusal where it may not be changed so, or something would be lost; None otherwise."""
        if self.refuses:
            return Refused(
                f"{self.component} may not be changed so in {self.environment}",
                why=self.refuses,
                hint="put right what it says; nothing was changed",
                name="not-to-be-changed",
            )
        if not self.destroys:
            return None
        return Refused(
            f"{self.component} would lose something in {self.environment}",
            why="; ".join(self.changes) or "its preview says so",
            hint="change it so that nothing is destroyed, or do that by hand first",
            name="would-destroy",
        )


def preview(site: Site) -> Generator[Launch, End, list[Foreseen]]:
    """Ask each component in place whose tool can tell, in their order. One that a run which has not begun makes the
    bytes for is asked by that run."""
    found = []
    for one in site.components:
        if not one.in_place or not site.can(one, "preview"):
            continue
        if one.artifact and not site.work.record.version:
            found.append(Foreseen(site.environment.name, one.name, problem=NOT_MADE))
            continue
        artifact = site.artifact(one)
        said = yield from site.ask(one, "preview", artifact=artifact, **standing(site, one.name))
        place = site.environment.name
        if isinstance(said.result, Previewed):
            result = said.result
            changes, lost = tuple(result.changes), result.destroys
            found.append(Foreseen(place, one.name, changes, lost, result.refuses))
        else:
            outcome = said.outcome if said.outcome != Outcome.SUCCESS else Outcome.ERROR
            reason = said.reason or str(outcome)
            found.append(Foreseen(place, one.name, problem=reason, outcome=outcome))
    return found


def standing(site: Site, component: str) -> dict[str, Any]:
    """Id, handle and host of a mutable component that was made there, as its tool is told."""
    one = recorded.standing_of(site, site.component(component))
    return {} if one is None else {"resource": one.id, "handle": one.handle, "host": one.host}
