"""An event that shows by itself that it is wrong is refused where somebody hands it over, and states
nothing where it is."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from cxlocal_sync.stores.sqlite import SqliteStore

from cxlocal.bundles.form import BundleWriter
from cxlocal.bundles.intake import take_bundle
from cxlocal.bundles.reader import look
from cxlocal.clock import SystemIds
from cxlocal.domain import Outcome
from cxlocal.errors import Trouble
from cxlocal.events import outputs, places, runs
from cxlocal.events.belonging import is_foreign, is_shared, mark_id, shared_id
from cxlocal.events.document import NO_HASH, Draft, Event, hash_of
from cxlocal.events.machines import version_used
from cxlocal.events.resources import Intent, run_intended
from cxlocal.events.runs import RunRef
from cxlocal.exchange.messages import PROTOCOL, decode, encode, event_out
from cxlocal.exchange.receive import take_event
from cxlocal.journal.file import Journal
from cxlocal.journal.read import all_events
from cxlocal.journal.rebuild import catch_up, rebuild
from cxlocal.journal.verify import verify
from cxlocal.projection.project import untruth
from cxlocal.projection.tables import TABLES
from cxlocal.projection.truth import is_plainly_true

IDS = SystemIds()
ACTOR = {"id": "someone", "how": "test"}
PLAN = '{"stages":[]}'
RUN = mark_id("11111111-1111-4111-8111-111111111111", "shop")
DEPLOYMENT = mark_id("22222222-2222-4222-8222-222222222222", "shop")
GRANT = mark_id("33333333-3333-4333-8333-333333333333", "shop")
ARTIFACT = {"name": "wheel", "sha256": "ab" * 32, "purl": "pkg:generic/x@1"}


def digest(text: str) -> str:
    return sha256(text.encode()).hexdigest()


def queued(ref: RunRef, plan: str = PLAN, named: str = PLAN, **more: Any) -> Draft:
    facts = {"kind": "release", "actor": ACTOR, "plan": plan, "plan_sha256": digest(named)}
    return runs.run_queued(ref, {**facts, **more})


def used(deliverable: str, run: str, text: str = "2.7.7", scheme: str = "semver") -> Draft:
    return version_used(
        deliverable=deliverable, run=run, line="2.7", number=7, scheme=scheme, text=text,
        sort_key="x", how="online", lineage="L", generation=1, k=1, actor=ACTOR,
    )  # fmt: skip


def decided(deliverable: str, run: str, id: str, decision: str = "granted") -> Draft:
    return places.promotion_decided(
        deliverable=deliverable, run=run, name="READY", title="R", decision=decision, version="2.7.7",
        number=7, digests={"wheel": "ab" * 32}, automatic=True, actor=ACTOR, reason="", evidence=[],
        data_age_seconds=None, event_id=id,
    )  # fmt: skip


def deployed(ref: RunRef, id: str, **more: Any) -> Draft:
    facts: dict[str, Any] = {"version_run": ref.run, "replaces": [], **more}
    return places.service_deployed(
        ref, kind="deployed", event_id=id, service="s", environment="e", instance="e",
        artifact=ARTIFACT, version="2.7.7", number=7, uri="", stage_run="", actor=ACTOR, reason="",
        details={}, **facts,
    )  # fmt: skip


def own(deliverable: str) -> str:
    return mark_id(IDS.uuid(), deliverable)


def ref_of(deliverable: str, run: str = "") -> RunRef:
    return RunRef(deliverable, run or own(deliverable), deliverable, "urn:uuid:x")


HONEST = [
    queued(ref_of("shop", RUN)), used("shop", RUN), decided("shop", RUN, GRANT),
    deployed(ref_of("shop", RUN), DEPLOYMENT),
]  # fmt: skip

INTRUDER = ref_of("other", RUN)
"""Somebody of another deliverable who names a run of the shop."""
GUEST = ref_of("other")
"""The same with a run of its own."""


def made(resource: str) -> Draft:
    return run_intended(
        ref_of("shop"),
        Intent(
            resource=resource, component="web", environment="test", instance="test-1",
            lifetime="per-run", stage="web", stage_run="", tool="commands", verb="deploy", options={},
            handle={}, machine="",
        ),
    )  # fmt: skip


UNTRUE: dict[str, Draft] = {
    "a resource that is a path": made("../precious"),
    "a resource that is an option": made("-rf"),
    "a resource that a shell would read": made("x;touch y"),
    "a plan of another digest": queued(ref_of("shop"), plan='{"stages":[1]}'),
    "a plan that is no text": queued(ref_of("shop"), plan={"stages": [1]}),
    "a run of another deliverable begun": queued(INTRUDER),
    "its number": used("other", RUN),
    "its version": runs.run_started(INTRUDER, version="2.7.9", line="2.7", number=9, how="online"),
    "its end": runs.run_finished(
        INTRUDER, outcome=Outcome.SUCCESS, reason="", version="", seconds=1, stopped_before="", turn=9
    ),
    "a stage of it": runs.stage_finished(
        INTRUDER, stage="unit", attempt=2, outcome=Outcome.SUCCESS, reason="", facts={}
    ),
    "a stage of it within one's own run": runs.stage_finished(
        GUEST, stage="unit", attempt=2, outcome=Outcome.SUCCESS, reason="", facts={}
    )._replace(subject=f"{RUN}/unit/1"),
    "a report of it": outputs.suite_finished(
        GUEST, stage="unit", attempt=1, suite="u", environment="", outcome=Outcome.SUCCESS, facts={},
        event_id="",
    )._replace(subject=f"{RUN}/unit/1/u"),
    "its bytes": outputs.artifact_packaged(
        INTRUDER, name="wheel", purl="p", sha256="cd" * 32, size=1, version="2.7.7", revision="c",
        repository="", stage="build", attempt=2, file_name="f", media_type="", locations=[],
    ),
    "a promotion of it": decided("other", RUN, own("other")),
    "a decision under the id of another": decided("other", GUEST.run, GRANT, "denied"),
    "a deployment under the id of another": deployed(GUEST, DEPLOYMENT),
    "a deployment of its version": deployed(GUEST, own("other"), version_run=RUN),
    "the end of a deployment": deployed(GUEST, own("other"), replaces=[DEPLOYMENT]),
    "a deployment taken away": places.service_removed(
        GUEST, service="s", environment="e", instance="e", deployments=[DEPLOYMENT]
    ),
    "a deployment that failed": places.deployment_failed(
        GUEST, deployment=DEPLOYMENT, outcome=Outcome.FAILURE, cut_off=False, reason=""
    ),
    "a run given up": Draft("dev.cdeventsx.cxlocal-run.givenup.0.1.0", RUN, {}, {}, "other", RUN),
    "a run reviewed by nobody's": Draft(
        "dev.cdeventsx.cxlocal-run.reviewed.0.1.0", RUN, {}, {"words": "x"}, None, RUN
    ),
    "of a kind that is not known": Draft("dev.cdevents.x.y.9.9.9", RUN, {}, {}, "other", RUN),
    "a run that is a command": queued(ref_of("shop", "A;id")),
    "a run that is a path": queued(ref_of("shop", "../../x")),
    "a run of two lines": queued(ref_of("shop", "a\nb")),
    "a version that is a command": used("shop", RUN, "2.7.7;id>&2;", scheme="own"),
    "a version of another number": used("shop", RUN, "2.7.8"),
    "a version of another line": used("shop", RUN, "9.9.7", scheme="calver"),
    "a run called like a command": runs.run_started(
        ref_of("shop"), version="$(id)", line="2.7", number=7, how="online"
    ),
    "a promotion of a path": decided("shop", RUN, own("shop"))._replace(
        custom={"name": "READY", "decision": "granted", "version": "../2.7.7"}
    ),
}  # fmt: skip


def written(draft: Draft, node: str = "e" * 32) -> Event:
    """The event that says so, as the first of a machine that does as it likes."""
    custom = {"cxlocal": draft.custom}
    context: dict[str, Any] = {
        "id": draft.id or (IDS.uuid() if draft.deliverable is None else own(draft.deliverable)),
        "type": draft.type, "timestamp": "2026-11-23T00:00:00.000Z", "source": "x", "specversion": "0.5.1",
    }  # fmt: skip
    if draft.run:
        context["chainId"] = draft.run
    document = json.dumps(
        {"context": context, "subject": {"id": draft.subject, "content": draft.content},
         "customData": custom}
    )  # fmt: skip
    place = None if draft.deliverable is None else 1
    event = Event(
        node, 1, 0, draft.type, draft.deliverable, place, 2**52, NO_HASH, NO_HASH, b"", document,
        draft.run,
    )  # fmt: skip
    return event._replace(hash=hash_of(event))


def tables(journal: Journal) -> dict[str, list[Any]]:
    catch_up(journal)
    return {
        name: [
            tuple(row) for row in journal.connection.execute(f"SELECT * FROM {name} ORDER BY 1, 2")
        ]
        for name in TABLES
        if name != "flag"
    }


MakeJournal = Callable[..., Journal]


@pytest.mark.parametrize("kind", UNTRUE)
def test_it_states_nothing_whenever_it_comes(make_journal: MakeJournal, kind: str) -> None:
    """A hostile store may tell it, first or last: nothing changes, and nobody stops hearing the rest."""
    event = written(UNTRUE[kind])
    assert untruth(event)
    honest = make_journal("honest")
    honest.append(*HONEST)
    history = [one for _, one in all_events(honest)]
    found = []
    for name, order in (("first", [event, *history]), ("last", [*history, event]), ("no", history)):
        journal = make_journal(name)
        with journal.write() as transaction:
            for one in order:
                take_event(transaction, one, 1)
        found.append(
            {table: {row[:3] for row in rows if row[0] not in (event.node,)}
             for table, rows in tables(journal).items()}
        )  # fmt: skip
        rebuild(journal)
        kinds = [finding.kind for finding in verify(journal).findings]
        assert kinds == ([] if name == "no" else ["untrue"]), kinds
    assert found[0] == found[1] == found[2]


@pytest.mark.parametrize("kind", UNTRUE)
def test_neither_a_store_nor_a_bundle_is_a_way_in(
    make_journal: MakeJournal, tmp_path: Path, kind: str
) -> None:
    event = written(UNTRUE[kind])
    (tmp_path / "store").mkdir()
    store = SqliteStore("sqlite:", tmp_path / "store")
    contact = {"node": event.node, "token": {"count": 0, "value": ""},
               "proposal": {"count": 1, "value": "p"}}  # fmt: skip
    message = {"protocol": PROTOCOL, "contact": contact, "push": [{"events": [event_out(event)]}]}
    answer = decode(store.exchange(encode(message), timeout=5))
    assert answer["refusal"]["name"] == "untrue-event"
    store.close()
    path = tmp_path / "bundle"
    header = {"kind": "journal", "node": event.node, "lineage": "", "generation": 0,
              "written_at": "x", "cxlocal": "0"}  # fmt: skip
    with path.open("wb") as file:
        writer = BundleWriter(file, "x")
        writer.message({"protocol": PROTOCOL, "bundle": header})
        writer.message({"protocol": PROTOCOL, "push": [{"events": [event_out(event)]}]})
        writer.close()
    journal = make_journal()
    journal.append(*HONEST)
    with pytest.raises(Trouble, match="was changed|is not sound|damaged") as caught:
        take_bundle(journal, path, look(path, journal.node))
    assert "is not taken" in caught.value.why
    assert event.hash not in [one.hash for _, one in all_events(journal)]


def with_each_text(value: Any, odd: str) -> Iterator[Any]:
    """The document as often as it has texts, each time with another one replaced."""
    if isinstance(value, dict):
        for name, part in value.items():
            yield from ({**value, name: changed} for changed in with_each_text(part, odd))
    elif isinstance(value, list):
        for place, part in enumerate(value):
            changed = with_each_text(part, odd)
            yield from ([*value[:place], one, *value[place + 1 :]] for one in changed)
    elif isinstance(value, str):
        yield odd


def test_what_a_glance_takes_for_true_is_true(full: Journal) -> None:
    """Ids of others in each text of each kind of event, also where JSON writes them otherwise."""
    glances = refused = 0
    for event in {event.type: event for _, event in all_events(full)}.values():
        whole = json.loads(event.document)
        for odd in (own("other"), f"{own('other')}/unit/1", shared_id("other", ["x"]), "2.7;id"):
            for document in with_each_text(whole, odd):
                text = json.dumps(document)
                for written_so in (
                    text,
                    text.replace("-8c", "\\u002d8c"),
                    text.replace("8c", "\\u0038c"),
                ):
                    changed = event._replace(document=written_so)
                    assert not (is_plainly_true(changed) and untruth(changed)), written_so
                    refused += bool(untruth(changed))
        for run in (own("other"), "a;b", "../x"):
            changed = event._replace(run=run)
            assert not (is_plainly_true(changed) and untruth(changed)), run
    for _, event in all_events(full):
        glances += is_plainly_true(event)
    for draft in UNTRUE.values():
        assert not is_plainly_true(written(draft))
    assert refused > 100
    assert glances > 20, "what machines bring most is told at a glance"


def test_what_journals_write_is_true(full: Journal) -> None:
    assert [untruth(event) for _, event in all_events(full) if untruth(event)] == []


def test_ids_say_whose_they_are() -> None:
    name = mark_id(IDS.uuid(), "shop")
    shared = shared_id("shop", ["GitHub Actions", "17"])
    assert len({mark_id(IDS.uuid(), "shop") for _ in range(1000)}) == 1000
    for one in (name, shared, f"{name}/unit/1", f"{shared}/unit/1@abc/u"):
        assert not is_foreign(one, "shop")
        assert is_foreign(one, "other")
        assert is_foreign(one, None)
    assert is_shared(shared) and not is_shared(name)
    assert shared == shared_id("shop", ["GitHub Actions", "17"])
    assert shared[14] == name[14] == "8" and shared[19] in "89ab" and name[19] in "89ab"
    for one in (IDS.uuid(), "a" * 32, "run-a", "x" * 14 + "8c1" + "y" * 40):
        assert not is_foreign(one, "shop")
