"""Builders for what a run makes and learns: builds, artifacts, test suites, reports."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

from cxlocal.domain import Outcome
from cxlocal.events import types
from cxlocal.events.document import Draft
from cxlocal.events.runs import RunRef
from cxlocal.text import shorten

CASES_MAX = 200
"""Failing, flaky or new cases that travel with the event; the full list stays in the report."""


def generic_purl(name: str, version: str, digest: str) -> str:
    """A package URL for bytes without a package type of their own (purl-spec, type generic)."""
    return f"pkg:generic/{quote(name, safe='')}@{quote(version, safe='')}?checksum=sha256:{digest}"


def build_started(ref: RunRef, *, stage: str, attempt: int, environment: str) -> Draft:
    """A build begins. CDEvents wants empty content here; the environment is ours to add."""
    custom = {"stage": stage, "attempt": attempt, "environment": environment}
    subject = ref.stage_run(stage, attempt)
    return Draft(types.BUILD_STARTED, subject, {}, custom, ref.deliverable, ref.run)


def build_finished(
    ref: RunRef, *, stage: str, attempt: int, outcome: Outcome, artifact_purl: str
) -> Draft:
    """A build ended; ``artifact_purl`` is empty when it made nothing."""
    content = {"artifactId": artifact_purl} if artifact_purl else {}
    custom = {"stage": stage, "attempt": attempt, "outcome": outcome}
    subject = ref.stage_run(stage, attempt)
    return Draft(types.BUILD_FINISHED, subject, content, custom, ref.deliverable, ref.run)


def artifact_packaged(
    ref: RunRef,
    *,
    name: str,
    purl: str,
    sha256: str,
    size: int,
    version: str,
    revision: str,
    repository: str,
    stage: str,
    attempt: int,
    file_name: str,
    media_type: str,
    locations: list[str],
    executable: bool = False,
    replaces: str = "",
    turn: int = 0,
) -> Draft:
    """An artifact exists: immutable bytes with a digest. ``size`` in bytes; ``executable``: it is a
    program, and stays one where it is fetched to. ``replaces``: the digest that had the name until
    now, which nothing used; ``turn`` counts how often that happened."""
    change: dict[str, str] = {"id": revision or "none"}
    if repository:
        change["source"] = repository
    custom = {
        "name": name,
        "sha256": sha256,
        "size": size,
        "version": version,
        "stage": stage,
        "attempt": attempt,
        "file_name": file_name,
        "media_type": media_type,
        "locations": locations,
        "stage_run": ref.stage_run(stage, attempt),
        **({"executable": True} if executable else {}),
        **({"replaces": replaces, "turn": turn} if replaces else {}),
    }
    return Draft(
        types.ARTIFACT_PACKAGED, purl, {"change": change}, custom, ref.deliverable, ref.run
    )


def artifact_published(
    ref: RunRef, *, purl: str, name: str, sha256: str, location: str, user: str
) -> Draft:
    """An artifact can now be had from ``location`` too."""
    content = {"user": user} if user else {}
    custom = {"name": name, "sha256": sha256, "locations": [location]}
    return Draft(types.ARTIFACT_PUBLISHED, purl, content, custom, ref.deliverable, ref.run)


def suite_started(
    ref: RunRef,
    *,
    stage: str,
    attempt: int,
    suite: str,
    environment: str,
    trigger: str,
    instance: str = "",
) -> Draft:
    """A test suite begins. Tests outside an environment run in the ``checkout``; ``instance`` is the id of the
    one they run in, as all events about it have it."""
    content = {
        "environment": {"id": instance or environment or "checkout"},
        "testSuite": {"id": suite, "name": suite},
        "trigger": {"type": trigger},
    }
    custom = {"stage": stage, "attempt": attempt, "suite": suite, "environment": environment}
    subject = suite_id(ref, stage, attempt, suite)
    return Draft(types.SUITE_STARTED, subject, content, custom, ref.deliverable, ref.run)


def suite_id(ref: RunRef, stage: str, attempt: int, suite: str) -> str:
    """The id of a test suite run, which is also the id of its report."""
    return f"{ref.stage_run(stage, attempt)}/{suite}"


def suite_finished(
    ref: RunRef,
    *,
    stage: str,
    attempt: int,
    suite: str,
    environment: str,
    outcome: Outcome,
    facts: dict[str, Any],
    event_id: str,
    instance: str = "",
) -> Draft:
    """A test suite ended. ``facts``: format, total, passed, failed, errors, skipped, flaky,
    seconds, problem, cases[{suite,name,outcome,message,seconds}] (at most ``CASES_MAX``),
    cases_left_out, report{sha256,size,path}."""
    content: dict[str, Any] = {
        "environment": {"id": instance or environment or "checkout"},
        "testSuite": {"id": suite, "name": suite},
        "outcome": outcome,
    }
    if facts.get("problem"):
        content["reason"] = shorten(str(facts["problem"]), 1024)
    custom = {
        "stage": stage,
        "attempt": attempt,
        "suite": suite,
        "environment": environment,
        **facts,
    }
    subject = suite_id(ref, stage, attempt, suite)
    return Draft(
        types.SUITE_FINISHED, subject, content, custom, ref.deliverable, ref.run, id=event_id
    )


def report_published(
    ref: RunRef,
    *,
    stage: str,
    attempt: int,
    suite: str,
    media_type: str,
    sha256: str,
    size: int,
    suite_event: str,
) -> Draft:
    """The raw report is kept by digest. CDEvents ties output to test cases only, so a link of
    kind ``suite`` names the suite's event."""
    content = {"outputType": "report", "format": media_type, "uri": f"urn:sha256:{sha256}"}
    custom = {"stage": stage, "attempt": attempt, "suite": suite, "sha256": sha256, "size": size}
    link = {"linkType": "RELATION", "linkKind": "suite", "target": {"contextId": suite_event}}
    subject = suite_id(ref, stage, attempt, suite) + "/report"
    return Draft(
        types.TEST_OUTPUT, subject, content, custom, ref.deliverable, ref.run, links=(link,)
    )
