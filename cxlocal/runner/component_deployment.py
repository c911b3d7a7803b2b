"""One deployment of the components of an environment, from the first look to the last one taken away.

Before the cutover everything goes back, after it everything goes forward. What is killed anywhere is gone on with
by the next deployment there, on whatever machine: first it takes back what was cut off, then it does its own.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from typing import Any

from cxlocal.domain import Outcome
from cxlocal.errors import CxError, Refused
from cxlocal.events.document import Draft
from cxlocal.hooks.tool import Observed
from cxlocal.plan.components import turning_order
from cxlocal.plan.rotation import Deed, Phase
from cxlocal.plan.types import Component
from cxlocal.processes.child import End
from cxlocal.runner import component_record as recorded
from cxlocal.runner.admission import begin
from cxlocal.runner.component_apply import InPlace
from cxlocal.runner.component_departure import half_applied, leaving, refuse_departed
from cxlocal.runner.component_itself import Former, OwnRotation, look_back, own_rotations
from cxlocal.runner.component_look import Halt, Looked, Lookout, with_strangers
from cxlocal.runner.component_preview import Foreseen, preview
from cxlocal.runner.component_rotation import CLEARING, Rotation, Stands
from cxlocal.runner.component_way_back import WayBack, refuse_lost_turn
from cxlocal.runner.fetching import fetch_missing
from cxlocal.runner.outcomes import Said
from cxlocal.runner.payer import words_of
from cxlocal.runner.resources import Made
from cxlocal.runner.site import Site
from cxlocal.runner.work import Launch, Worked
from cxlocal.text import quoted

READY = (Deed.PAUSE, Deed.ROTATE, Deed.HOLD, Deed.CUTOVER)
"""What comes next when the new ones are well, or may not run yet, and nothing was turned."""


class Deployment:
    """One attempt at the components of an environment."""

    def __init__(self, site: Site) -> None:
        self.site = site
        self.lasting = site.environment.lifetime == "lasting"
        self.mutable = [one for one in site.components if one.mutable]
        self.turned = turning_order(one for one in site.components if not one.mutable)
        """All that come to a new version by a rotation, in the order of that."""
        self.rotations: list[Rotation] = []
        self.leaving: list[Rotation] = []
        """Of components that left the file: they go once the new ones serve."""
        self.details: dict[str, Any] = {}
        self.uri = ""
        self.looked = Looked({})
        self._lookout = Lookout(site, self._flag)
        self._in_place = InPlace(site, self.details, self._say)
        self._known = 0
        self._id = ""
        self._before: dict[str, tuple[Former | None, str]] = {}
        """What serves of those that rotate themselves, and why it could not be applied again."""
        self.foreseen: list[Foreseen] = []
        """What changing the mutable ones would come to."""
        self.former: dict[str, tuple[Made, ...]] = {}
        """On the way back: instances of that version that are kept and are well, by component; of a repair, those
        that serve."""
        self.agrees = False
        """Of a repair: what serves is what the record says."""

    def carry_out(self) -> Generator[Launch, End, Worked]:
        """All of it. What keeps it from beginning is refused; then nothing was changed."""
        clock = self.site.work.record.journal.clock
        started_ms, started = clock.now_ms(), clock.monotonic()
        refused: CxError | None = None
        outcome, reason = Outcome.SUCCESS, ""
        try:
            yield from self.prepare()
            if not self.agrees:
                outcome, reason = yield from self._change()
        except Refused as problem:
            outcome, reason, refused = Outcome.FAILURE, words_of(problem), problem
        except Halt as halt:
            outcome, reason = halt.outcome, halt.reason
        return Worked(
            outcome, reason, started_ms, clock.now_ms(), details=self.details,
            seconds=clock.monotonic() - started, refused=refused, tool_version=self.site.tool_version,
        )  # fmt: skip

    # before anything is changed

    def prepare(self) -> Generator[Launch, End, None]:
        """All that may keep it from beginning. Raises Refused, Halt, and what is wrong around it."""
        site = self.site
        self.looked = yield from self._lookout.look()
        granted = site.work.turn_at(site.stage)
        journal, name = site.work.record.journal, site.work.plan.deliverable
        self._known = recorded.known_turn(journal, name, site.instance, granted)
        shown = (*self.looked.balancers.values(), *self.looked.itself.values())
        fences = [one.turn for one in shown]
        known = self._known
        site.turn = granted or 1 + max([known, *fences])
        self._refuse_unknown_turn(max(fences, default=0))
        self._in_place.look(self.looked)
        if site.work.repair:
            self.former = self._lookout.shown(self.looked)
            agrees = self._lookout.agrees(self.looked, self.former, known)
            self.agrees = agrees and not self._in_place.fallen
        elif site.work.back:
            self.former = yield from self._lookout.former(self.looked)
            if self._anew:
                self._in_place.leave()
            else:
                self._in_place.say_kept()
        needed = [one for one in site.components if one.rotates_itself or self._anew]
        if needed and site.work.record.version and not site.work.repair:
            yield from fetch_missing(site.work)
            for one in needed:
                site.artifact(one)
        for one in self._lookout.itself:
            self._before[one.name] = yield from look_back(site, one)
        if not site.work.back and not site.work.repair:
            refuse_departed(site.work.record, site.stage)
            yield from self._preview()

    @property
    def _anew(self) -> bool:
        """Whether something is made or changed, and not only turned to."""
        return not self.former or len(self.former) < len(self._lookout.replaced)

    def _refuse_unknown_turn(self, fence: int) -> None:
        if self.site.work.repair or self.looked.strangers:
            self._known = max(self._known, fence)
        if self._known < fence != self.site.turn:
            name = self.site.environment.name
            raise Refused(
                f"a turn stands in {name} that nothing here knows of",
                why=f"turn {fence} was written at its balancer by a machine whose record is not here",
                hint="cxlocal sync brings its record; if that machine is gone: cxlocal env repair"
                f" {quoted(name)}",
                name="unknown-turn",
            )

    def _preview(self) -> Generator[Launch, End, None]:
        """What changing the mutable ones would do. Raises Refused where it would destroy something."""
        if self.site.work.schema_ahead:
            self.details["schema_ahead"] = True
        self.foreseen = yield from preview(self.site)
        for found in self.foreseen:
            if found.outcome != Outcome.SUCCESS:
                raise Halt(found.outcome, f"{found.component}: {found.problem}")
            self.details.setdefault("preview", {})[found.component] = list(found.changes)
            told = found.changes and not self.site.work.record.muted
            for line in found.lines() if told else ():
                self.site.log.note(line)
                self.site.work.voice.note(line)
            if refused := found.refusal():
                raise refused

    # up to the cutover

    def _change(self) -> Generator[Launch, End, tuple[Outcome, str]]:
        site = self.site
        if self.lasting:
            services = [one.name for one in self.turned] or [site.service]
            begin(
                site.work.record, site.stage, site.attempt, site.work.way_of(site.stage),
                service=services[0], turn=site.turn,
            )  # fmt: skip
            self._id = site.work.record.open_deployment(site.stage_run)
        try:
            yield from self._rise()
            before = WayBack(site, self.rotations)
            self._cut_over()
        except Refused:
            raise  # somebody else has the turn: whatever is to be done, they do
        except Halt as halt:
            problem = yield from self._fall()
            return halt.outcome, "; ".join(one for one in (halt.reason, problem) if one)
        except (CxError, OSError) as error:
            problem = yield from self._fall()
            return Outcome.ERROR, "; ".join(one for one in (words_of(error), problem) if one)
        try:
            why, outcome = yield from self._judge(before)
        except CxError as problem:
            refuse_lost_turn(site)
            outcome = Outcome.FAILURE if isinstance(problem, Refused) else Outcome.ERROR
            why = f"{site.environment.name} was not judged: {words_of(problem)}"
        if why:
            return outcome, why
        yield from self._settle()
        if site.cancelled:
            return Outcome.CANCEL, f"{site.cancelled}, after the new ones served"
        return Outcome.SUCCESS, ""

    def _raise(self) -> Generator[Launch, End, None]:
        """Bring back balancers that do not run, and see what they show then. Nothing else was changed yet."""
        fallen = self._in_place.fallen
        yield from self._in_place.bring_back(alone=self.site.work.repair or not self._anew)
        for one in self.turned if fallen else ():
            balancer = self.site.balancer(one)
            if balancer is None or balancer not in fallen:
                continue
            if self.site.can(balancer, "observe"):
                seen = yield from self._lookout.observe(balancer, behind=one, needed=False)
                self.looked = self.looked.with_balancer(one.name, seen)

    def _rise(self) -> Generator[Launch, End, None]:
        yield from self._raise()
        self.rotations = [
            self._itself(one) if one.rotates_itself else self._rotation(one) for one in self.turned
        ]
        self.leaving = [self._leaving(*one) for one in leaving(self.site)] if self.lasting else []
        for one in self.rotations if not self.site.work.repair else ():
            # A repair turns to what serves first: the rest goes once that is recorded.
            yield from self._take_back(one)
        if self._anew and not self.site.work.repair:
            yield from self._in_place.apply(self.rotations)
        for until in (READY, (Deed.CUTOVER,), (Deed.CUTOVER,)):
            for one in self.rotations:
                if until == READY and one.component.rotates_itself:
                    continue
                if until == (Deed.CUTOVER,) and one.fence:
                    # The balancer may have been restarted meanwhile.
                    yield from self._see(one)
                deed = yield from one.go(Phase.RISING, *until)
                if self.site.cancelled:
                    raise Halt(Outcome.CANCEL, self.site.cancelled)
                if deed == Deed.FAIL:
                    raise Halt(one.outcome, one.problem)

    def _rotation(self, component: Component) -> Rotation:
        there = [
            one for one in (*recorded.of_components(self.site), *self.looked.strangers)
            if one.component == component.name and one.verb == recorded.CREATE
        ]  # fmt: skip
        # What serves in another home gets nothing from here: it goes after the cutover, where it is.
        away = tuple(one for one in there if one.id in self.looked.away)
        idle = [one for one in there if not one.serves]
        stands = Stands(
            tuple(one for one in there if one.serves and one not in away),
            (*away, *(one for one in idle if one.spare and not one.due)),
            tuple(one for one in idle if one.due or not (self.lasting and one.spare)),
        )
        back_to = self.former.get(component.name, ())
        if back_to:
            ids = {one.id for one in back_to}
            stands = stands._replace(
                kept=tuple(one for one in stands.kept if one.id not in ids),
                left=tuple(one for one in stands.left if one.id not in ids),
            )
        elif self.looked.strangers:
            stands = with_strangers(stands, self.looked, component.name)
        found = Rotation(
            self.site, component, stands, self.site.payer(),
            known=self._known, deployment=self._id, back_to=back_to,
        )  # fmt: skip
        found.see(self.looked.balancers.get(component.name))
        return found

    def _itself(self, component: Component) -> Rotation:
        before, why = self._before[component.name]
        return OwnRotation(
            self.site, component, self.site.payer(), known=self._known, deployment=self._id,
            before=before, closed=why, shown=self.looked.itself.get(component.name),
        )  # fmt: skip

    def _leaving(self, component: Component, there: Sequence[Made]) -> Rotation:
        # Nobody keeps what its component left: it goes with this deployment.
        stands = Stands(
            serving=tuple(one._replace(keep_seconds=0) for one in there if one.serves),
            left=tuple(one for one in there if not one.serves),
        )
        return Rotation(
            self.site, component, stands, self.site.payer(),
            known=self._known, deployment=self._id,
        )  # fmt: skip

    def _take_back(self, rotation: Rotation) -> Generator[Launch, End, None]:
        """What an earlier deployment began and did not come to its cutover with goes back first."""
        if isinstance(rotation, OwnRotation):
            yield from rotation.take_back()
            return
        shown = self.looked.balancers.get(rotation.component.name)
        serving = {one.id for one in rotation.stands.serving}
        turned = shown and {one.id for one in shown.resources if one.weight} != serving
        if (
            turned
            and serving
            and self.site.balancer(rotation.component) not in self._in_place.fallen
        ):
            balancer = rotation.component.behind or rotation.component.name
            self._flag(
                "other-weights",
                f"{balancer} in {self.site.environment.name} gave other instances traffic than the"
                " record says; its weights are set anew",
            )
        if rotation.stands.left or (turned and serving):
            yield from rotation.go(Phase.FALLING)

    def _see(self, rotation: Rotation) -> Generator[Launch, End, None]:
        rotation.see((yield from self._shown(rotation)))

    def _shown(self, rotation: Rotation) -> Generator[Launch, End, Observed | None]:
        """What its balancer shows now; None where it cannot be asked."""
        balancer = rotation.balancer
        if balancer is None or not self.site.can(balancer, "observe"):
            return None
        return (yield from self._lookout.observe(balancer, behind=rotation.component, needed=False))

    def _cut_over(self) -> None:
        """The commit point."""
        site = self.site
        site.work.check_turn(site.stage)
        self.uri = self._where()
        after = {one.component.name: list(one.fresh) for one in self.rotations}
        balanced = [one.component.name for one in self.rotations if one.balancer is not None]
        before = [made for one in self.rotations for made in one.stands.serving]
        recorded.record_cutover(
            site, after or {site.service: []}, before, first=self._id,
            uris=dict.fromkeys(balanced or after or [site.service], self.uri),
            strangers=(
                *self.looked.strangers,
                *(each for one in own_rotations(self.rotations) for each in one.strangers),
            ),
        )  # fmt: skip
        for one in self.rotations:
            one.served = True
        if self.uri:
            site.work.uris[site.environment.name] = self.uri

    def _where(self) -> str:
        """Where the environment answers: as its balancer says, or the plan, or its only instance, or what rotates
        itself."""
        replaced = [one for one in self.rotations if not isinstance(one, OwnRotation)]
        for one in replaced:
            said = one.uri or self.site.said.get(one.component.behind, {}).get("url", "")
            if said:
                return said
        if self.former:
            return self.site.work.uri_of(self.site.environment)
        if not self.rotations:
            said = self.site.said.get(self.site.service, {}).get("url", "")
            return said or self.site.environment.uri
        if replaced and self.site.environment.uri:
            return self.site.environment.uri
        for one in replaced if len(replaced) == 1 else ():
            addresses = [at for each in one.fresh if (at := one.addresses.get(each, ""))]
            if len(addresses) == 1 == len(one.fresh) and not one.balancer:
                return addresses[0] if "://" in addresses[0] else f"http://{addresses[0]}"
        urls = [one.url for one in own_rotations(self.rotations) if one.url]
        return urls[0] if urls else self.site.environment.uri

    # on the nearer side of it

    def _fall(self) -> Generator[Launch, End, str]:
        """Weights back, and the new ones away; why that could not be done. After a signal only the weights: the
        rest stays due. A repair that comes to nothing leaves all as it is: what it found serves."""
        problems: list[str] = []
        failed: list[Rotation] = []
        deed = Deed.DONE
        if self.site.work.repair:
            return ""
        # What people meet goes back before anything is cleared, which may take long.
        for until in (CLEARING, ()):
            for one in [one for one in self.rotations if one.begun and one not in failed]:
                try:
                    deed = yield from one.go(Phase.FALLING, *until)
                except CxError as problem:
                    problems.append(words_of(problem))
                    failed.append(one)
                if not until and deed in CLEARING and one not in failed:
                    self.site.work.voice.warn(
                        f"the new ones of {one.component.name} still stand, without traffic; the next"
                        " deployment takes them away"
                    )
        for one in self.rotations:
            self._tell(one)
        return "; ".join(problems)

    def _judge(self, before: WayBack) -> Generator[Launch, End, Said]:
        """Whether the environment is well with what serves now, where it says anything of it. Where
        what served before still can, it serves again; the way back itself is judged, and stays."""
        site, name = self.site, self.site.environment.name
        if not site.environment.check or site.work.repair:
            return Said()
        for one in self.rotations:
            one.judged = None
            yield from one.go(Phase.SETTLING, Deed.JUDGE)
        said = yield from site.judge(self.uri or site.work.uri_of(site.environment))
        for one in self.rotations:
            one.judged = True
        if not said.why or site.cancelled:
            return Said()
        why = f"{name} is not well: {said.why}"
        closed = (
            "no record knows it" * bool(self.looked.strangers)
            or "it lives in another home" * bool(self.looked.away)
            or (yield from before.closed())
        )
        if self.former or closed:
            words = f"and what served before cannot: {closed}" if closed else "after the way back"
            return Said(f"{why}; {site.work.record.version} serves on, {words}", said.outcome)
        try:
            yield from self._turn_back(before, why)
        except CxError as problem:
            refuse_lost_turn(site)
            then = f"the way back was not to be had: {words_of(problem)}"
            for one in self.rotations:
                self._tell(one)
        else:
            then = f"{before.version or 'nothing'} serves again{(yield from before.judged())}"
        return Said(f"{why}; {then}", said.outcome)

    def _turn_back(self, before: WayBack, why: str) -> Generator[Launch, End, None]:
        site = self.site
        for one in before.rotations:
            one.turn_back()
            yield from one.go(Phase.RETURNING, Deed.CUTOVER)
        site.work.check_turn(site.stage)
        before.record(self._id, why)
        self._in_place.say_kept()
        shared = self._shared()
        for one in self.rotations:
            one.returned = True
            yield from one.go(Phase.RETURNING, shared=shared)
            self._tell(one)

    def _shared(self) -> bool:
        """Whether others know of what was recorded."""
        door = self.site.work.doors.get(self.site.environment.name)
        return door is None or door.turns is None or door.turns.learn()

    def _settle(self) -> Generator[Launch, End, None]:
        """Drain the old ones and take away those that nobody keeps, as soon as others know of the cutover."""
        site, shared = self.site, self._shared()
        refuse_lost_turn(site)
        serving = {each for one in self.rotations for each in one.fresh}
        for one in (*self.rotations, *self.leaving):
            try:
                if one in self.leaving:
                    one.see_leaving((yield from self._shown(one)), serving)
                yield from one.go(Phase.SETTLING, shared=shared)
            except CxError as problem:
                site.work.voice.warn(f"{one.component.name}: {words_of(problem)}")
            self._tell(one)
        if shared and not site.cancelled:
            for component, resource in self.looked.returned:  # It came back although it was gone.
                yield from site.ask(component, "remove", resource=resource)
        elif not shared:
            site.work.voice.warn(
                "the store does not know of this deployment yet, so the old ones stay; the next"
                " deployment takes them away"
            )

    def _tell(self, rotation: Rotation) -> None:
        """Say and record what was left out, not drained in time, and what could not be taken away."""
        for host, why in rotation.lost.items():
            self._flag(
                "host-left-out",
                f"nothing of {rotation.component.name} could be made on {host} in"
                f" {self.site.environment.name}, and it went on without: {why}",
            )
        if isinstance(rotation, OwnRotation) and rotation.doubtful:
            place, name = self.site.environment.name, rotation.component.name
            self._say(half_applied(self.site.work.record, place, name, ""))
            rotation.doubtful = False
        for resource in rotation.undrained:
            self._flag(
                "not-drained",
                f"{rotation.component.name} {resource[:8]} still had something under way when its"
                " time to drain was over",
            )
        for owed in rotation.unpaid:
            self._owe(*owed)
        rotation.undrained, rotation.unpaid, rotation.lost = [], [], {}

    def _owe(self, made: Made, why: str) -> None:
        self._flag(
            "not-removed",
            f"{made.tool} could not remove {made.component} {made.id[:8]} in {made.instance}: {why}."
            " It stays owed",
            made.id,
        )

    def _flag(self, kind: str, text: str, subject: str = "") -> None:
        place = subject or self.site.environment.name
        self._say(self.site.work.record.flag_draft(kind, text, place))

    def _say(self, flag: Draft) -> None:
        self.site.work.record.record(flag)
        if not (self.site.work.repair and self.site.work.record.muted):
            # A repair looks first, and again when it does something: it says what it finds once.
            self.site.work.voice.warn(flag.custom["text"])
