"""One version at one target: asked, put, asked again, and every step on record before the next.

A run does this at its stages with a ``target``; ``cxlocal publish`` does the same outside of one
(``cxlocal.runner.publishing``). What comes next for a file says one rule (``cxlocal.plan.publication``).
"""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from typing import Any

from cxlocal.domain import Outcome
from cxlocal.errors import Trouble
from cxlocal.events.document import Draft
from cxlocal.events.publications import (
    HeldFile,
    Publication,
    publication_begun,
    publication_found,
)
from cxlocal.hooks.tool import ArtifactRef, Held, Holdings, Published, verbs_of
from cxlocal.hooks.tool_worker import ToolOutcome
from cxlocal.journal.rebuild import catch_up
from cxlocal.plan import publication as rule
from cxlocal.processes.child import End
from cxlocal.runner.products import artifacts, published_drafts
from cxlocal.runner.record import RunRecord
from cxlocal.runner.targets import note_asked
from cxlocal.runner.tool_stage import ToolStage, as_worked, ask
from cxlocal.runner.work import Launch, Worked
from cxlocal.text import clean_text, shorten
from cxlocal.values import NamedTuple

ROW = "SELECT * FROM publication WHERE run = ? AND target = ?"
FILES = "SELECT * FROM publication_file WHERE run = ? AND target = ? ORDER BY name"
FILES_MAX = 150
"""Of one version at one target: all of them stand in one event."""
TEXT_CHARACTERS = 300
"""Of what a tool says of a file."""
PLACE_CHARACTERS = 600
"""Of where a file is; a longer one is not cut, as it would lead elsewhere, but left out."""


class Ledger(NamedTuple):
    """What the journal says of a version at a target."""

    row: Mapping[str, Any]
    files: Mapping[str, Mapping[str, Any]]

    def of(self, name: str) -> str:
        """What it says of one file, in the words of the rule."""
        if self.row.get("withdrawn_at"):
            return rule.TAKEN_BACK
        if self.files.get(name, {}).get("published_at"):
            return rule.PUBLISHED
        return rule.BEGUN if self.row.get("begun_at") else rule.NOTHING

    @property
    def turn(self) -> int:
        """How often something was said, as far as is known here."""
        names = ("wanted_from", "begun_from", "found_from", "withdrawn_from")
        stamps = [self.row.get(name) or "" for name in names]
        return max(int(one.partition(".")[0] or 0) for one in stamps)


def ledger_of(record: RunRecord, target: str) -> Ledger:
    """What is on record of the version of a run at a target."""
    catch_up(record.journal)
    key = (record.run, target)
    files = record.journal.query(FILES, key)
    return Ledger(record.journal.one(ROW, key) or {}, {row["name"]: row for row in files})


class Seen(NamedTuple):
    """A target as it was found, and what follows."""

    files: dict[str, Held]
    actions: dict[str, str]
    terms: rule.Terms
    state: str
    outcome: Outcome
    """Of the question itself."""

    @property
    def lacking(self) -> tuple[str, ...]:
        """The files to be put."""
        return tuple(name for name, action in self.actions.items() if action == rule.PUT)


def publish(at: ToolStage) -> Generator[Launch, End, Worked]:
    """Bring what the target lacks of the version there. Success only where it then holds all of it."""
    seen, end = yield from look(at)
    work = at.work
    if seen.outcome == Outcome.CANCEL or not seen.lacking:
        if seen.state == rule.THERE and work.publish_again:
            _say_begun(at, list(seen.files))
        said = _record(at, seen, "", "")
        return _worked(at, seen, end, said)
    put = seen.lacking
    _say_begun(at, put)
    work.check_turn(at.stage)
    tried, end = yield from ask(at, "publish", put=put)
    if tried.outcome == Outcome.CANCEL:
        return as_worked(tried, end)
    if seen.terms.can_ask:
        seen, end = yield from look(at)
        if seen.outcome == Outcome.CANCEL:
            return _worked(at, seen, end, seen.state)
    elif tried.outcome == Outcome.SUCCESS:
        seen = _by_its_word(seen, tried)
    why, trouble = _why_not(tried)
    said = _record(at, seen, why or _lost(seen, put), trouble)
    worked = _worked(at, seen, end, said)
    if seen.state == rule.THERE and isinstance(tried.result, Published):
        worked = worked._replace(
            tool_version=tried.result.tool_version, details=tried.result.details
        )
    refused = tried.outcome == Outcome.FAILURE and not _why_not(tried)[1]
    if refused and seen.state in (rule.ABSENT, rule.PARTLY):
        worked = worked._replace(outcome=Outcome.FAILURE)
    return worked


def check(at: ToolStage) -> Generator[Launch, End, Seen]:
    """Ask the target what it holds, and put that on record where it is new; nothing is put."""
    ledger = ledger_of(at.work.record, at.stage.publishes_to)
    seen, _ = yield from look(at)
    if ledger.row or seen.state not in (rule.ABSENT, rule.NOT_KNOWN):
        _record(at, seen, "", "")
    return seen


def look(at: ToolStage) -> Generator[Launch, End, tuple[Seen, End | None]]:
    """Ask the target, where its tool can."""
    target = at.stage.publishes_to
    ledger = ledger_of(at.work.record, target)
    wanted = {*at.work.seen_by(at.stage), *ledger.files} or {target}
    again = at.work.publish_again
    if "ask" not in verbs_of(at.tool, at.options):
        terms = rule.Terms(can_ask=False, again=again)
        files = {name: Held(state="not known", why="its tool cannot ask") for name in wanted}
        return _seen(ledger, files, terms, Outcome.SUCCESS), None
    found, end = yield from ask(at, "ask")
    if isinstance(found.result, Holdings) and found.result.files:
        note_asked(at.work.record.journal, at.work.plan.deliverable, target)
        files = {clean_text(name)[:200]: sure(one) for name, one in found.result.files.items()}
        if len(files) > FILES_MAX:
            raise Trouble(
                f"{target} names {len(files)} files",
                why=f"{FILES_MAX} at most are kept of one version",
                hint="publish them in one archive",
                name="too-many-files",
            )
        terms = rule.Terms(refuses=found.result.refuses, again=again)
        return _seen(ledger, files, terms, found.outcome), end
    why, trouble = _why_not(found)
    why = why or "there is nothing of this version that it could hold: give it artifacts"
    files = {name: sure(Held(state="not known", why=why)) for name in wanted}
    if trouble:
        files = {name: Held(state="not known", why=why, trouble=_word(trouble)) for name in wanted}
    return _seen(ledger, files, rule.Terms(again=again), found.outcome), end


def _word(trouble: str) -> Any:
    return trouble if trouble in (rule.CREDENTIAL, rule.UNREACHED) else ""


def sure(one: Held) -> Held:
    """What a tool says, as far as it can be so: what differs is not the same, whatever it is called."""
    differs = bool(one.wanted and one.held and one.wanted != one.held)
    state: Any = rule.OTHER if one.state == rule.SAME and differs else one.state
    short = {
        name: shorten(clean_text(getattr(one, name)), TEXT_CHARACTERS)
        for name in ("wanted", "held", "why")
    }
    fits = one.location.isprintable() and len(one.location) <= PLACE_CHARACTERS
    short["location"] = one.location if fits else ""
    return Held(state=state, trouble=one.trouble, yanked=one.yanked, **short)


def _seen(ledger: Ledger, files: dict[str, Held], terms: rule.Terms, outcome: Outcome) -> Seen:
    actions = {
        name: rule.next_action(rule.Asked(one.state, one.yanked), ledger.of(name), terms)
        for name, one in files.items()
    }
    state = rule.sum_up((actions[name], one.state) for name, one in files.items())
    return Seen(files, actions, terms, state, outcome)


def _by_its_word(seen: Seen, tried: ToolOutcome) -> Seen:
    """A tool that cannot ask said that it did it."""
    places = tried.result.locations if isinstance(tried.result, Published) else {}
    files = {
        name: Held(state="same", location=places.get(name, "")) if name in seen.lacking else one
        for name, one in seen.files.items()
    }
    actions = {**seen.actions, **dict.fromkeys(seen.lacking, rule.DONE)}
    state = rule.sum_up((actions[name], one.state) for name, one in files.items())
    return seen._replace(files=files, actions=actions, state=state)


def _why_not(tried: ToolOutcome) -> tuple[str, str]:
    """Why a verb did not do what it should, and the kind of trouble; both empty for a success."""
    if tried.outcome == Outcome.SUCCESS:
        return "", ""
    details = getattr(tried.result, "details", {})
    trouble = _word(str(details.get("trouble", "")))
    if not trouble and tried.outcome == Outcome.ERROR:
        trouble = rule.UNREACHED
    return tried.reason, trouble


# the record


def _about(at: ToolStage, ledger: Ledger, target: str = "") -> Publication:
    record = at.work.record
    name = target or at.stage.publishes_to
    planned = any(one.publishes_to == name for one in record.plan.stages)
    return Publication(
        target=name, version=record.version, tool=record.plan.target(name).tool,
        turn=ledger.turn + 1, actor=record.actor._asdict(),
        stage_run=at.stage_run if planned and name == at.stage.publishes_to else "",
    )  # fmt: skip


def _say_begun(at: ToolStage, files: Sequence[str]) -> None:
    """Make durable what is about to be put, and where else this version is to go. Raises Trouble and
    Conflict where the bytes are not here, or damaged."""
    work, target = at.work, at.stage.publishes_to
    if not set(files).isdisjoint(at.stage.artifacts):
        work.artifacts.update(artifacts(work.record))
    drafts: list[Draft] = []
    for name in work.publishes_to:
        ledger = ledger_of(work.record, name)
        if name != target and not ledger.row.get("wanted_at"):
            about = _about(at, ledger, name)
            drafts.append(publication_begun(work.record.ref, about, files=[], again=False))
    about = _about(at, ledger_of(work.record, target))
    drafts.append(
        publication_begun(
            work.record.ref, about, files=files, again=work.publish_again,
            reason=work.masker.text(work.reason),
        )
    )  # fmt: skip
    work.record.record(*drafts)
    work.send_first()


def _record(at: ToolStage, seen: Seen, why: str, trouble: str) -> str:
    """Put on record what the target holds, where that is new; in words what is missing."""
    work, target = at.work, at.stage.publishes_to
    ledger = ledger_of(work.record, target)
    files = [
        _file(work.masker.text, name, one, seen.actions[name]) for name, one in seen.files.items()
    ]
    open_ = [seen.files[name] for name, action in seen.actions.items() if action != rule.DONE]
    kinds = [one.trouble for one in open_ if one.trouble] + [trouble]
    trouble = rule.CREDENTIAL if rule.CREDENTIAL in kinds else kinds[0]
    words = _words(seen, work.masker.text(why)) if seen.state != rule.THERE else ""
    trouble = trouble if seen.state != rule.THERE else ""
    if not _is_known(ledger, seen.state, trouble, words, files):
        about = _about(at, ledger)
        drafts = [
            publication_found(
                work.record.ref, about, state=seen.state, trouble=trouble, why=words, files=files
            )
        ]  # fmt: skip
        work.record.record(*drafts, *_locations(at, files))
    return f"{target} {seen.state}: {words}" if words else ""


def _file(masked: Any, name: str, one: Held, action: str) -> HeldFile:
    return HeldFile(
        name, one.state, one.wanted, masked(one.held), masked(one.location), masked(one.why),
        published=action == rule.DONE,
    )  # fmt: skip


def _words(seen: Seen, why: str) -> str:
    """Why a version is not all there, from what comes first."""
    parts = []
    for name, action in seen.actions.items():
        one = seen.files[name]
        if action == rule.CONFLICTED:
            parts.append(
                f"{name} is {one.held or 'something else'} there, not {one.wanted or 'ours'}"
            )
        elif action == rule.WITHDRAWN:
            gone = "is yanked" if one.yanked else "was published and is absent"
            gone += f" ({one.why})" if one.why else ""
            parts.append(
                f"{name} {gone if one.state != rule.SAME or one.yanked else 'was taken back'}"
            )
        elif action == rule.WAIT:
            parts.append(f"{name} is not known" + (f" ({one.why})" if one.why else ""))
    if why:
        parts.append(why)
    return shorten("; ".join(dict.fromkeys(parts)), TEXT_CHARACTERS)


def _lost(seen: Seen, put: Sequence[str]) -> str:
    """What was put, as its tool says, and is not there all the same."""
    held = {name: seen.files[name] for name in put if name in seen.files}
    lost = {name: one.why for name, one in held.items() if one.state == rule.ABSENT}
    why = next((f" ({words})" for words in lost.values() if words), "")
    words = "were put, and are" if len(lost) > 1 else "was put, and is"
    return f"{', '.join(lost)} {words} not there afterwards{why}" if lost else ""


def _is_known(ledger: Ledger, state: str, trouble: str, why: str, files: list[HeldFile]) -> bool:
    row = ledger.row
    same = (row.get("state"), row.get("trouble") or "", row.get("why") or "") == (
        state,
        trouble,
        why,
    )
    return same and all(
        (known := ledger.files.get(one.name)) is not None
        and (known["state"], known["held"] or "", known["location"] or "")
        == (one.state, one.held, one.location)
        and bool(known["published_at"]) >= one.published
        for one in files
    )


def _locations(at: ToolStage, files: list[HeldFile]) -> list[Draft]:
    """Where artifacts can be had from now on."""
    seen: Mapping[str, ArtifactRef] = at.work.seen_by(at.stage)
    places = {
        one.name: one.location for one in files
        if one.published and one.location and one.name in seen
        and at.work.record.journal.one(
            "SELECT 1 FROM artifact_location WHERE deliverable = ? AND sha256 = ? AND location = ?",
            (at.work.record.ref.deliverable, seen[one.name].sha256, one.location),
        ) is None
    }  # fmt: skip
    return published_drafts(at.work.record, seen, places)


ENDS = {rule.THERE: Outcome.SUCCESS, rule.OTHER: Outcome.FAILURE, rule.WITHDRAWN: Outcome.FAILURE}


def _worked(at: ToolStage, seen: Seen, end: End | None, said: str) -> Worked:
    now = at.work.record.journal.clock.now_ms()
    began, ended = (end.started_ms, end.finished_ms) if end else (now, now)
    if seen.outcome == Outcome.CANCEL:
        return Worked(Outcome.CANCEL, "", began, ended)
    outcome = ENDS.get(seen.state, Outcome.ERROR)
    return Worked(outcome, said, began, ended, seconds=end.seconds if end else None)
