"""Every event is a valid CDEvents 0.5.1 document, checked against the official schemas.

The schemas are not part of this project; ``conftest.py`` says where they are looked for.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cxlocal.domain import Outcome
from cxlocal.events import (
    incidents,
    machines,
    outputs,
    places,
    publications,
    resources,
    runs,
    turns,
    types,
)  # fmt: skip
from cxlocal.events.document import Draft, build_document, encode_document

RUN = "0f0e0d0c-0b0a-4908-8706-050403020100"
REF = runs.RunRef("webshop", RUN, "webshop", runs.run_uri(RUN, ""))
ACTOR = {"id": "someone", "how": "test"}
DIGEST = "ab" * 32
PUBLICATION = publications.Publication("t", "1.0.0", "folder", 1, ACTOR)
TRIED = places.Attempt(
    deployment="d", kind="deploy", service="w", environment="p", instance="p", version="1",
    stage="s", stage_run=f"{RUN}/s/1", actor=ACTOR, reason="", watched=True,
)  # fmt: skip


def drafts() -> list[Draft]:
    """One of each builder, for every outcome where there is one."""
    made = [
        runs.run_queued(REF, {"kind": "release"}),
        runs.run_started(REF, version="1.0.0", line="1.0", number=0, how="online"),
        runs.run_resumed(REF, after=["build"], actor=ACTOR, reason=""),
        runs.run_bumped(REF, commit="c0ffee", files=["VERSION"], remote="origin", branch="main", aside=""),
        runs.run_bumped(
            REF, commit="c" * 40, files=["a"], remote="origin", branch="main", aside="rejected"
        ),
        runs.run_stamped(REF, stamps=[{"file": "a", "old": "0", "new": "1"}]),
        resources.run_intended(
            REF, resources.Intent(
                resource=RUN, component="s", environment="e", instance="e", lifetime="lasting",
                stage="s", stage_run="t", tool="x", verb="deploy", options={}, handle={"pid": 1},
            )
        ),
        resources.resource_gone(REF, resource=RUN, how="removed"),
        turns.turn_asked(REF, turns.Asked(RUN, "e", "e", "s", "1.0.0", "h", True)),
        publications.publication_begun(REF, PUBLICATION, files=["f"], again=True, reason="r"),
        publications.publication_found(
            REF, PUBLICATION, state="there", trouble="", why="",
            files=[publications.HeldFile("f", "same", "sha256:1", "sha256:1", "https://x", "", True)],
        ),
        publications.publication_withdrawn(REF, PUBLICATION, how="yanked", why="w"),
        turns.turn_ended(REF, turn=RUN, how="taken", why="gone", actor={"id": "a"}),
        resources.run_given_up(REF, how="asked", why="gone", actor={"id": "a"}),
        resources.run_cutover(REF, [resources.Turned("s", RUN, {}, {RUN: 100})]),
        resources.environment_closed(
            REF, name="e", instance="e", reason="r", turn=1, replaces=[], deployments=[RUN]
        ),
        runs.run_judged(
            REF, gate="g", verdict="allow", reason="r", stage="s", environment="e", promotion="P",
            data_age_seconds=None,
        ),
        runs.run_repeated(
            REF, stage="deps", outcome=Outcome.SUCCESS, reason="",
            facts={"missing": [".venv/"], "seconds": 1.0, "log": {}, "other_bytes": []},
        ),
        runs.run_restricted(
            REF, plugins=[{"name": "g", "distribution": "d", "version": "1", "how": "-p no:g"}]
        ),
        runs.run_observed(
            REF, environment="e", expected="1", observed="2", agrees=False, details={}
        ),
        runs.run_reverified(REF, proof={"kind": "confirmed"}, agrees=True),
        runs.run_reviewed(REF, actor=ACTOR, words="looked into it"),
        runs.run_redacted(REF, stage="unit", sha256=["0" * 64], actor=ACTOR, reason="a password"),
        incidents.incident_detected(
            REF, incident=RUN, version="1.0.0", environment="p", actor=ACTOR, words="down"
        ),
        incidents.incident_resolved(REF, incident=RUN, environment="p", actor=ACTOR, words="up"),
        runs.run_flagged(kind="note", subject="s", text="t"),
        runs.stage_started(REF, stage="s", attempt=1, facts={"kind": "task"}),
        outputs.build_started(REF, stage="s", attempt=1, environment=""),
        outputs.build_finished(
            REF, stage="s", attempt=1, outcome=Outcome.FAILURE, artifact_purl=""
        ),
        outputs.artifact_packaged(
            REF, name="w", purl=outputs.generic_purl("a b", "1+2", DIGEST), sha256=DIGEST, size=1,
            version="1", revision="", repository="https://example.com/r.git", stage="s", attempt=1,
            file_name="f", media_type="", locations=[],
        ),
        outputs.artifact_published(
            REF, purl="pkg:generic/a@1", name="w", sha256=DIGEST, location="/x", user=""
        ),
        outputs.suite_started(
            REF, stage="s", attempt=1, suite="u", environment="", trigger="pipeline"
        ),
        outputs.report_published(
            REF, stage="s", attempt=1, suite="u", media_type="application/xml", sha256=DIGEST,
            size=1, suite_event="x",
        ),
        places.environment_created(
            REF, name="test", instance="test-1", lifetime="per-run", title="", protected=False,
            uri="", spec_sha256="", tool="t", stage="s",
        ),
        places.environment_deleted(REF, name="test", instance="test-1", tool="t", reason=""),
        places.environment_confirmed(
            deliverable="webshop", run=RUN, name="p", instance="p", deployment="d", replaces=["e"],
            actor=ACTOR, reason="",
        ),
        places.service_removed(
            REF, service="w", environment="t", instance="t", deployments=["d"]
        ),
        places.deployment_started(REF, TRIED, replaces=["d0"]),
        places.deployment_failed(
            REF, deployment="d", outcome="failure", cut_off=False, reason="exit code 1"
        ),
        places.deployment_refused(REF, TRIED._replace(stage_run=""), newer="2", why="older"),
        machines.version_used(
            deliverable="webshop", run=RUN, line="1", number=1, scheme="semver", text="1.0.1",
            sort_key="x", how="online", lineage="l", generation=1, k=1, actor=ACTOR,
        ),
        machines.version_reserved(
            deliverable="webshop", line="1", lo=1, hi=2, lineage="l", generation=1, k=1
        ),
        machines.version_skipped(deliverable="webshop", line="1", lo=1, hi=2, why="w"),
        machines.node_began(
            node="n", kept=True, host="h", platform="p", cxlocal_version="1", hint="",
            parent=None, cause="first use",
        ),
        machines.node_moved(node="n", reason="r", actor=ACTOR, hint=""),
        machines.node_mirrored(node="n", url="u", created=True, refs=[]),
        machines.node_pruned(node="n", removed=[], freed_bytes=0),
        machines.node_handed(node="n", sinks=[]),
        machines.node_settled(
            node="n", deliverable="webshop", first=2, kept=[[3, "ab" * 32]], dropped=[[4, "cd" * 32]],
            runs=["r"], reason="r", actor=ACTOR,
        ),
    ]  # fmt: skip
    for outcome in Outcome:
        made += [
            runs.run_finished(
                REF, outcome=outcome, reason="why", version="1", seconds=1, stopped_before=""
            ),
            runs.stage_finished(
                REF, stage="s", attempt=1, outcome=outcome, reason="why", facts={"seconds": 1}
            ),
            outputs.suite_finished(
                REF, stage="s", attempt=1, suite="u", environment="", outcome=outcome,
                facts={"problem": "half a file"}, event_id="e",
            ),
        ]  # fmt: skip
    for kind in ("deployed", "upgraded", "rolledback"):
        made.append(
            places.service_deployed(
                REF,
                kind=kind,
                event_id="d",
                service="w",
                environment="p",
                instance="p",
                artifact={},
                version="1",
                number=1,
                version_run=RUN,
                replaces=[],
                uri="",
                stage_run="t",
                actor=ACTOR,
                reason="",
                details={},
            )
        )
    for decision in places.PROMOTION_TYPES:
        made.append(
            places.promotion_decided(
                deliverable="webshop",
                run=RUN,
                name="PASSED_TEST",
                title="",
                decision=decision,
                version="1",
                number=1,
                digests={},
                automatic=True,
                actor=ACTOR,
                reason="",
                evidence=[],
                data_age_seconds=None,
            )
        )
    return made


@pytest.mark.parametrize("draft", drafts(), ids=lambda draft: draft.type.split("dev.")[1])
def test_every_builder_makes_a_valid_event(
    draft: Draft, problems: Callable[[dict[str, Any]], list[str]]
) -> None:
    link = {"linkType": "PATH", "from": {"contextId": "before"}}
    document = build_document(
        draft._replace(links=(*draft.links, link)),
        event_id="id",
        source="urn:cxlocal:machine:n",
        time_ms=1,
    )
    assert problems(json.loads(encode_document(document))) == []


def test_every_type_we_write_has_a_builder_here() -> None:
    assert {draft.type for draft in drafts()} == types.KNOWN


def test_the_schemas_do_refuse(problems: Callable[[dict[str, Any]], list[str]]) -> None:
    draft = runs.run_finished(
        REF, outcome=Outcome.SUCCESS, reason="", version="1", seconds=1, stopped_before=""
    )
    document = build_document(draft, event_id="id", source="urn:x", time_ms=1)
    document["subject"]["content"]["outcome"] = "great"
    assert problems(document)
    document = build_document(draft, event_id="id", source="urn:x", time_ms=1)
    document["context"]["version"] = "0.5.1"
    assert problems(document)


def test_without_the_schemas_the_recorded_shapes_refuse(shapes: Any, tmp_path: Path) -> None:
    draft = runs.run_queued(REF, {"kind": "release"})
    document = build_document(draft, event_id="id", source="urn:x", time_ms=1)
    adding = type(shapes)(tmp_path / "shapes", add=True)
    assert adding.problems(document) == []
    recorded = type(shapes)(tmp_path / "shapes", add=False)
    assert recorded.problems(document) == []
    document["subject"]["content"]["surprise"] = "x"
    assert recorded.problems(document)
    assert shapes.problems(document)
