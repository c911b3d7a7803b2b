"""Builders for what happens to a run and its stages. Each returns a Draft; nothing is written.

A run is one CDEvents ``pipelineRun``; a stage's execution is one ``taskRun`` whose id is
``<run>/<stage>/<attempt>``.
"""

from __future__ import annotations

from typing import Any

from cxlocal.domain import Outcome
from cxlocal.events import types
from cxlocal.events.document import Draft
from cxlocal.text import shorten
from cxlocal.values import NamedTuple

MESSAGE_CHARACTERS_MAX = 1024


class RunRef(NamedTuple):
    """What every event of a run carries."""

    deliverable: str
    run: str
    pipeline: str
    uri: str
    """Address of the run: its page at the CI, or ``urn:uuid:`` and the run id."""
    elsewhere: str = ""
    """Where another chain began the run: the start of our own, in the ids of its stage runs."""

    def stage_run(self, stage: str, attempt: int) -> str:
        """The id of a stage run that we record."""
        return stage_run_id(self.run, stage, attempt, self.elsewhere)


def run_uri(run: str, ci_url: str) -> str:
    """The absolute address CDEvents asks for; a laptop has none, so its run names itself."""
    return ci_url if "://" in ci_url else f"urn:uuid:{run}"


def stage_run_id(run: str, stage: str, attempt: int, elsewhere: str = "") -> str:
    """The id of a stage run. Machines that report to one run do not know of each other's attempts,
    so all but the one that began it put the start of their chain (``elsewhere``) into the id."""
    return f"{run}/{stage}/{attempt}" + (f"@{elsewhere}" if elsewhere else "")


def run_queued(ref: RunRef, facts: dict[str, Any], *, at_ms: int = 0) -> Draft:
    """A run was asked for. ``facts`` holds all that can never be asked later:

    kind, actor{id,how}, reason, trigger, planned, place{…}, host, online, revision{commit, subject,
    author, committed_at, branch, tags}, repository{url,path,root}, proof{kind,remote,ref,
    age_seconds,checked_at,why}, plan_sha256, plan (whole the first time), changes{since_version,
    since_run, since_commit, total, listed[]}, uncommitted[], uncommitted_total, deliverable_title,
    owner, trace{traceparent: of whoever started it}, links{commit, ticket, log, metric: templates of addresses}, cxlocal_version, asked{to, stages}: what it was to carry out; absent where single commands
    do.
    """
    return Draft(
        types.PIPELINE_QUEUED,
        ref.run,
        {"pipelineName": ref.pipeline, "uri": ref.uri},
        facts,
        ref.deliverable,
        ref.run,
        at_ms=at_ms,
    )


def run_started(
    ref: RunRef, version: str, line: str, number: int | None, how: str, *, turn: int = 0
) -> Draft:
    """The run has its version and begins. ``how``: online, reserve, lent, suffix, rehearsal.

    ``turn`` counts how often the run was taken up again, here or elsewhere: what a later turn says
    holds, whichever machine says it (decision 11).
    """
    custom = {"version": version, "line": line, "number": number, "how": how, **_turn(turn)}
    return Draft(
        types.PIPELINE_STARTED,
        ref.run,
        {"pipelineName": ref.pipeline, "uri": ref.uri},
        custom,
        ref.deliverable,
        ref.run,
    )


def _turn(turn: int) -> dict[str, int]:
    return {"turn": turn} if turn else {}


def run_finished(
    ref: RunRef,
    *,
    outcome: Outcome,
    reason: str,
    version: str,
    seconds: float,
    stopped_before: str,
    turn: int = 0,
) -> Draft:
    """The run ended. ``stopped_before``: the protected environment it waits at, or empty."""
    content: dict[str, Any] = {"pipelineName": ref.pipeline, "uri": ref.uri, "outcome": outcome}
    if reason and outcome != Outcome.SUCCESS:
        content["errors"] = shorten(reason, MESSAGE_CHARACTERS_MAX)
    custom = {
        "version": version,
        "reason": shorten(reason, MESSAGE_CHARACTERS_MAX),
        "seconds": round(seconds, 3),
        "stopped_before": stopped_before,
        **_turn(turn),
    }
    return Draft(types.PIPELINE_FINISHED, ref.run, content, custom, ref.deliverable, ref.run)


def run_bumped(
    ref: RunRef, *, commit: str, files: list[str], remote: str, branch: str, aside: str
) -> Draft:
    """``commit``, made after the release, is on ``branch`` of ``remote``; ``aside``: why that is a branch
    of its own, or empty."""
    custom = {"commit": commit, "files": files, "remote": remote, "branch": branch,
              "aside": shorten(aside, MESSAGE_CHARACTERS_MAX)}  # fmt: skip
    return Draft(types.RUN_BUMPED, ref.run, {}, custom, ref.deliverable, ref.run)


def run_resumed(
    ref: RunRef,
    *,
    after: list[str],
    actor: dict[str, str],
    reason: str,
    turn: int = 0,
    place: dict[str, str] | None = None,
    asked: dict[str, Any] | None = None,
) -> Draft:
    """A run goes on. ``after``: stages whose success is kept; ``place``: the CI job that did it;
    ``asked``: as ``run_queued`` has it."""
    custom: dict[str, Any] = {"after": after, "actor": actor, "reason": reason, **_turn(turn)}
    if place:
        custom["place"] = place
    if asked:
        custom["asked"] = asked
    return Draft(types.RUN_RESUMED, ref.run, {}, custom, ref.deliverable, ref.run)


def run_repeated(
    ref: RunRef, *, stage: str, outcome: Outcome, reason: str, facts: dict[str, Any]
) -> Draft:
    """A stage that is done ran again, for its working files only: its recorded outcome and artifacts
    stay. ``facts``: missing (files that were not there), seconds, log{path, size, sha256},
    other_bytes (artifacts that came out differently: name, recorded, made)."""
    custom = {
        "stage": stage,
        "outcome": outcome,
        "reason": shorten(reason, MESSAGE_CHARACTERS_MAX),
        **facts,
    }
    return Draft(types.RUN_REPEATED, ref.run, {}, custom, ref.deliverable, ref.run)


def run_stamped(ref: RunRef, *, stamps: list[dict[str, str]]) -> Draft:
    """The version was written into the checkout: file, key or pattern, old, new."""
    return Draft(types.RUN_STAMPED, ref.run, {}, {"stamps": stamps}, ref.deliverable, ref.run)


def run_judged(
    ref: RunRef,
    *,
    gate: str,
    verdict: str,
    reason: str,
    stage: str = "",
    environment: str = "",
    promotion: str = "",
    data_age_seconds: float | None = None,
) -> Draft:
    """A gate gave its verdict before a stage."""
    custom = {
        "gate": gate,
        "verdict": verdict,
        "reason": shorten(reason, MESSAGE_CHARACTERS_MAX),
        "stage": stage,
        "environment": environment,
        "promotion": promotion,
        "data_age_seconds": data_age_seconds,
    }
    return Draft(types.RUN_JUDGED, ref.run, {}, custom, ref.deliverable, ref.run)


def run_restricted(ref: RunRef, *, plugins: list[dict[str, str]]) -> Draft:
    """Plugins were left out of a command of a run: name, distribution, version, how."""
    return Draft(types.RUN_RESTRICTED, ref.run, {}, {"plugins": plugins}, ref.deliverable, ref.run)


def run_observed(
    ref: RunRef, *, environment: str, expected: str, observed: str, agrees: bool, details: Any
) -> Draft:
    """What an environment said it runs, before we changed it."""
    custom = {
        "environment": environment,
        "expected": expected,
        "observed": observed,
        "agrees": agrees,
        "details": details,
    }
    return Draft(types.RUN_OBSERVED, ref.run, {}, custom, ref.deliverable, ref.run)


def run_reverified(ref: RunRef, *, proof: dict[str, Any], agrees: bool) -> Draft:
    """The remote was asked again whether it holds the revision of a run."""
    custom = {"proof": proof, "agrees": agrees}
    return Draft(types.RUN_REVERIFIED, ref.run, {}, custom, ref.deliverable, ref.run)


def run_reviewed(ref: RunRef, *, actor: dict[str, str], words: str) -> Draft:
    """Somebody looked at a run that was out of the ordinary, and answers for it."""
    custom = {"actor": actor, "words": shorten(words, MESSAGE_CHARACTERS_MAX)}
    return Draft(types.RUN_REVIEWED, ref.run, {}, custom, ref.deliverable, ref.run)


def run_redacted(
    ref: RunRef, *, stage: str, sha256: list[str], actor: dict[str, str], reason: str
) -> Draft:
    """Bytes that the run told of by these digests (logs, last lines, reports) are to be nowhere any
    more: something stands in them that should not. ``stage``: whose they are; empty for reports."""
    custom = {
        "stage": stage, "sha256": sha256, "actor": actor,
        "reason": shorten(reason, MESSAGE_CHARACTERS_MAX),
    }  # fmt: skip
    return Draft(types.RUN_REDACTED, ref.run, {}, custom, ref.deliverable, ref.run)


def run_flagged(
    *, kind: str, subject: str, text: str, deliverable: str | None = None, run: str | None = None
) -> Draft:
    """Something a person should look at. ``kind`` is a slug, ``text`` a sentence."""
    custom = {"kind": kind, "subject": subject, "text": shorten(text, MESSAGE_CHARACTERS_MAX)}
    return Draft(types.RUN_FLAGGED, run or subject, {}, custom, deliverable, run)


def stage_started(ref: RunRef, *, stage: str, attempt: int, facts: dict[str, Any]) -> Draft:
    """A stage begins. ``facts``: kind, tool, verb, environment, instance, ready_at, host, revision (the
    commit that is checked out, where that is known); where a
    single command reports it also part, parts (how many there are), place (of the CI server: name,
    job, job_id, attempt, job_attempt) and replaces (the attempts that it is a retry of).
    """
    content = {"taskName": stage, "pipelineRun": {"id": ref.run}}
    custom = {"stage": stage, "attempt": attempt, **facts}
    subject = ref.stage_run(stage, attempt)
    return Draft(types.TASK_STARTED, subject, content, custom, ref.deliverable, ref.run)


def stage_finished(
    ref: RunRef, *, stage: str, attempt: int, outcome: Outcome, reason: str, facts: dict[str, Any]
) -> Draft:
    """A stage ended. ``facts``: started_at, finished_at, seconds, exit_code, log{path, size,
    sha256, lines, times_sha256: of the index that says when each line came}, tail{sha256, size}: its last lines, kept by digest, of one that failed, tool_version,
    details, host."""
    content: dict[str, Any] = {
        "taskName": stage,
        "pipelineRun": {"id": ref.run},
        "outcome": outcome,
    }
    if reason and outcome != Outcome.SUCCESS:
        content["errors"] = shorten(reason, MESSAGE_CHARACTERS_MAX)
    custom = {
        "stage": stage,
        "attempt": attempt,
        "reason": shorten(reason, MESSAGE_CHARACTERS_MAX),
        **facts,
    }
    subject = ref.stage_run(stage, attempt)
    return Draft(types.TASK_FINISHED, subject, content, custom, ref.deliverable, ref.run)
