"""Checks of the project: plan, tools, secrets, remotes, store, reserve, kept artifacts."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Mapping
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement

from cxlocal.clock import Clock
from cxlocal.config.settings import Settings
from cxlocal.config.types import SecretSource
from cxlocal.doctor.check import BAD, NOTE, OK, Check
from cxlocal.errors import CxError
from cxlocal.exchange.copies import why_doubtful
from cxlocal.exchange.sync import SyncReport
from cxlocal.hooks.manager import Manager
from cxlocal.hooks.registered import find_tool
from cxlocal.journal.blobs import check_blob
from cxlocal.journal.file import Journal
from cxlocal.numbers.holdings import reserves
from cxlocal.plan.select import sends
from cxlocal.plan.types import Plan
from cxlocal.projection.functions import in_order
from cxlocal.revision.mirrors import list_mirrors
from cxlocal.revision.proof import prove
from cxlocal.revision.repository import open_repository, read_file, repository_key, resolve
from cxlocal.runner.admission import lasting_place
from cxlocal.runner.caches import kept_folder, key_of
from cxlocal.runner.foresight import Ahead, look_ahead_of_run, not_run_yet
from cxlocal.runner.source import Machine, make_plan, open_source
from cxlocal.runner.waiting import ready_artifacts
from cxlocal.secrets import describe, probe
from cxlocal.survey.python_tests import describing, requirements
from cxlocal.survey.tree import Survey
from cxlocal.text import counted, duration_text, quoted

LENDER_SECONDS = 3.0
"""How long a machine that lends numbers may take to answer a check."""
REMOTE_SECONDS = 5.0
"""How long a remote may take to answer a check."""


def check_tools(plan: Plan, manager: Manager) -> list[Check]:
    """Every tool of the plan and every program it needs is here."""
    checks = []
    for name in plan.tools:
        try:
            tool = find_tool(manager, name)
        except CxError as problem:
            checks.append(Check(f"tool {name}", BAD, problem.what, problem.hint, offline=True))
            continue
        missing = [program for program in tool.executables if shutil.which(program) is None]
        if missing:
            found = f"{', '.join(missing)} not on PATH"
            checks.append(Check(f"tool {name}", BAD, found, "install it", offline=True))
        else:
            checks.append(Check(f"tool {name}", OK, "found", offline=True))
    for stage in plan.stages:
        program = stage.command[0] if isinstance(stage.command, tuple) else "sh"
        if "/" not in program and shutil.which(program) is None:
            found = f"{program} not on PATH"
            checks.append(Check(f"stage {stage.name}", BAD, found, "install it", offline=True))
    return checks


def check_secrets(
    settings: Settings, environ: Mapping[str, str], root: Path, agreed: bool
) -> list[Check]:
    """Every secret can be had, without showing it. What only cx.toml says about them is not tried
    before somebody ``agreed``."""
    sources = {name: SecretSource(**source) for name, source in settings.secrets.items()}
    strange = [
        name for name in sources
        if not agreed and settings.origins[f"secrets.{name}"] == "cx.toml"
    ]  # fmt: skip
    found = (
        "not tried by doctor: nobody agreed to the secrets of this project here (stages get them)"
    )
    untried = [
        Check(f"secret {name}", NOTE, f"{describe(sources.pop(name))}; {found}", "cxlocal trust",
              offline=True)
        for name in strange
    ]  # fmt: skip
    return untried + [
        Check(
            f"secret {found.name}",
            OK if found.ok else BAD,
            found.source if found.ok else found.problem,
            "" if found.ok else f"see [secrets] {found.name} in cx.toml",
            offline=True,
        )
        for found in probe(sources, environ=environ, folder=root)
    ]


def check_revision(plan: Plan, root: Path, home: Path, clock: Clock) -> Check:
    """Whether HEAD could be released: pushed to a named remote, or held by a mirror."""
    try:
        repository = open_repository(root)
        revision = resolve(repository)
        mirrors = list_mirrors(home, repository_key(repository, revision.commit))
        proof = prove(
            repository,
            revision.commit,
            plan.remotes,
            mirrors,
            clock=clock,
            budget_seconds=REMOTE_SECONDS,
        )
    except CxError as problem:
        return Check("revision", BAD, problem.what, problem.hint, offline=True)
    age = "" if proof.age_seconds is None else f", {duration_text(proof.age_seconds)} old"
    words = f"{revision.commit[:12]} is at {proof.remote} ({proof.kind}{age})"
    if proof.kind == "confirmed" and not mirrors:
        hint = "cxlocal mirror add PATH keeps you working while the git host is down"
        return Check("revision", OK, words, hint, offline=True)
    return Check("revision", OK, words, offline=True)


def check_test_needs(plan: Plan, root: Path) -> list[Check]:
    """Whether tests that run beside cxlocal find there what the project says they need. What a stage
    makes for them (``python`` of the tool pytest) is there when it runs."""
    beside = [
        one.name for one in plan.stages if one.tool == "pytest" and not one.options.get("python")
    ]
    if not beside:
        return []
    read = {name: root / name for name in describing() if (root / name).is_file()}
    described = {name: path.read_text(errors="replace") for name, path in read.items()}
    survey = Survey(root.name, frozenset(described), described)
    wanted = map(Requirement, requirements(survey))
    absent = [one.name for one in wanted if _applies(one) and not _is_installed(one.name)]
    if not absent:
        return []
    found = f"its tests run beside cxlocal, where {', '.join(absent)} is not installed"
    hint = "'cxlocal init --print' shows the stage that installs what tests need"
    return [Check(f"stage {name}", NOTE, found, hint, offline=True) for name in beside]


def _applies(one: Requirement) -> bool:
    return one.marker is None or one.marker.evaluate({"extra": ""})


def _is_installed(name: str) -> bool:
    try:
        return bool(distribution(name))
    except PackageNotFoundError:
        return False


def check_process(root: Path) -> list[Check]:
    """Whether HEAD has the cx.toml that a run would go by, and whether it is the one that lies here;
    nothing where there is no commit, which ``check_revision`` says."""
    try:
        repository = open_repository(root)
        commit = resolve(repository).commit
        path = os.path.join(repository.prefix, "cx.toml")
        committed = read_file(repository, commit, path)
    except CxError:
        return []
    if committed is None:
        found = f"{commit[:12]} has no {path}: 'cxlocal run' goes by the one of the commit"
        hint = f"git add {path} && git commit && git push"
        return [Check("process", BAD, found, hint, offline=True)]
    if committed != (root / "cx.toml").read_bytes():
        found = "the cx.toml here is not the one of HEAD, by which 'cxlocal run' goes"
        return [Check("process", NOTE, found, f"git commit {path}, and push it", offline=True)]
    return [Check("process", OK, f"cx.toml of {commit[:12]}", offline=True)]


def check_kinds(plan: Plan) -> list[Check]:
    """Stages that push, upload or publish though their kind does not say so."""
    return [
        Check(
            f"stage {stage.name}",
            NOTE,
            f"'{words}' leaves something outside, and its kind is {stage.kind}: a rehearsal leaves it"
            " out",
            'write kind = "publish" there',
            offline=True,
        )
        for stage in plan.stages
        if (words := sends(stage))
    ]


def check_store(report: SyncReport, *, own: bool) -> Check:
    """Whether the store answers, and what waits to be sent. ``own``: only this machine has it."""
    if report.stopped:
        found = f"hands out no numbers: {report.stopped}"
        hint = "set [store] url to where it went on" if report.left else "cxlocal store recover"
        return Check("store", BAD, found, hint)
    if not report.reached:
        found = f"cannot be reached: {report.why}; {counted(report.pending, 'event waits', 'events wait')} here"
        return Check("store", NOTE, found, "cxlocal sync, once it is back")
    found = f"answers; {counted(report.pending, 'event waits', 'events wait')} to be sent"
    if own:
        found += "; it is this machine's own: any other would hand out the same numbers"
        return Check("store", NOTE, found, "set [store] url before a second machine releases this")
    return Check("store", OK, found)


def refused_by_store(problem: CxError) -> Check:
    """The store answers and says no: not enrolled, not allowed, another store, another protocol."""
    found = f"{problem.what}: {problem.why}" if problem.why else problem.what
    return Check("store", BAD, found, problem.hint)


def check_lender(plan: Plan, lender: Callable[[], Any] | None, *, passing: bool) -> list[Check]:
    """Whether a passing machine could be numbered while the store is down: ``lender`` opens the
    machine that lends, None where there is none."""
    if plan.version.when_empty == "suffix" or (lender is None and not passing):
        return []
    if lender is None:
        found = "none is set: without one a CI job cannot number releases while the store is down"
        hint = "set [store] lender to a kept machine that runs 'cxlocal serve --lend'"
        return [Check("lender", BAD, found, hint, offline=True)]
    try:
        opened = lender()
        try:
            asked = {"deliverable": plan.deliverable, "line": plan.version.line}
            told = opened.left(asked, timeout=LENDER_SECONDS)
        finally:
            opened.close()
    except CxError as problem:
        found = f"{problem.what}: {problem.why}" if problem.why else problem.what
        # A kept machine has a reserve of its own; that it may not ask the lender is no fault of it.
        return [Check("lender", BAD if passing else NOTE, found, problem.hint, offline=passing)]
    left = 0 if told.get("locked") else told.get("left")
    if not isinstance(left, int) or left <= 0:
        found = f"it answers and has no number of line {plan.version.line} to lend"
        hint = "on that machine: cxlocal sync"
        return [Check("lender", BAD if passing else NOTE, found, hint, offline=passing)]
    found = f"answers; holds {counted(left, 'number')} of line {plan.version.line}"
    return [Check("lender", OK, found, offline=passing)]


def check_reserve(plan: Plan, journal: Journal, *, wanted: int) -> Check:
    """Whether a number could be taken without the store; ``wanted`` are held, as far as they can be."""
    if not wanted:
        found = "none is kept: the store is this machine's own, and here when it is"
        return Check("reserve", OK, found, offline=True)
    if plan.version.when_empty == "suffix":
        return Check("reserve", OK, "not needed: when_empty is 'suffix'", offline=True)
    held = [
        reserve
        for reserve in reserves(journal)
        if reserve.deliverable == plan.deliverable and reserve.line == plan.version.line
    ]
    left = sum(reserve.hi - reserve.next + 1 for reserve in held)
    if held and (why_doubtful(journal) or any(reserve.locked for reserve in held)):
        found = "locked: the journal looks moved, copied or put back to an earlier state"
        return Check("reserve", BAD, found, "cxlocal sync", offline=True)
    if left <= 0:
        found = f"no number of line {plan.version.line} is held here"
        hint = "cxlocal sync, after the first release with the store"
        return Check("reserve", BAD, found, hint, offline=True)
    first = min(reserve.next for reserve in held)
    found = f"{counted(left, 'number')} of line {plan.version.line} from {first} on"
    return Check("reserve", OK, found, offline=True)


def check_artifacts(plan: Plan, journal: Journal) -> list[Check]:
    """The bytes of what is live, of what a rollback leads to and of the newest version that waits: needed
    to deploy them."""
    checks = []
    for one in ready_artifacts(journal, plan.deliverable):
        name = f"artifact {one.name} {one.version}".rstrip()
        try:
            check_blob(journal.home, one.sha256)
        except CxError as problem:
            hint = "'cxlocal sync' where it is, then here: cxlocal prepare"
            checks.append(Check(name, BAD, problem.what, hint, offline=True))
        else:
            checks.append(Check(name, OK, f"{one.size} bytes are here", offline=True))
    return checks


def check_caches(plan: Plan, root: Path, home: Path) -> list[Check]:
    """Whether what stages keep between runs is here for the present lock files."""
    checks = []
    for stage in plan.stages:
        for cache in stage.caches:
            name = f"cache {cache.path}"
            try:
                here = kept_folder(home, plan.deliverable, key_of(root, cache, {})).is_dir()
            except (CxError, OSError) as problem:
                checks.append(Check(name, NOTE, str(problem)))
                continue
            if here:
                checks.append(Check(name, OK, f"kept, for stage {stage.name}"))
            else:
                found = f"stage {stage.name} would have to make it anew"
                checks.append(
                    Check(name, NOTE, found, "cxlocal rehearse, while there is a network")
                )
    return checks


def check_deployments(machine: Machine, journal: Journal) -> list[Check]:
    """What the commit here would meet in each lasting environment that its components are deployed into, and what it
    would change in place there: asked as ``run --dry-run`` asks."""
    try:
        source = open_source(machine, "HEAD", {})
        plan = make_plan(machine, source, None)
    except CxError:
        return []  # another check says why
    found = []
    record = not_run_yet(journal, source, plan)
    for stage in plan.stages:
        if stage.by_components and lasting_place(plan, stage) is not None:
            ahead = look_ahead_of_run(machine, source, record, [stage])
            found.append(_deployment(stage.environment, ahead))
    return found


def _deployment(environment: str, ahead: Ahead) -> Check:
    name = f"deployment into {environment}"
    if ahead.refusal is not None:
        words = ": ".join(one for one in (ahead.refusal.what, ahead.refusal.why) if one)
        return Check(name, NOTE, f"it would not begin: {words}", ahead.refusal.hint)
    if ahead.not_asked:
        return Check(name, NOTE, f"not asked: {ahead.not_asked}")
    changes = [line for one in ahead.changes for line in one.lines()]
    return Check(name, OK, "; ".join(changes) or "nothing speaks against it")


DISPUTED = """
SELECT environment, json_group_array(version) AS versions FROM deployments_now
WHERE deliverable = :name AND disputed GROUP BY environment ORDER BY environment
"""
QUESTIONED = """
SELECT kind, text, subject FROM open_flags
WHERE kind IN ('two-histories', 'store-changed', 'contradicted')
  AND (deliverable = :name OR coalesce(deliverable, '') = '') ORDER BY raised_at DESC LIMIT 5
"""


def check_disputes(journal: Journal, deliverable: str) -> list[Check]:
    """What nothing is granted on, or what a person has to settle: it keeps no release from beginning,
    but promotions and deployments from being made."""
    wanted = {"name": deliverable}
    checks = [
        Check(
            f"environment {row['environment']}", NOTE,
            f"it is disputed what is live: {', '.join(in_order(json.loads(row['versions'])))}",
            f"cxlocal env confirm {quoted(row['environment'])} --live VERSION --reason WHY",
        )
        for row in journal.query(DISPUTED, wanted)
    ]  # fmt: skip
    return checks + [
        Check(row["kind"], NOTE, row["text"], "'cxlocal status' says what settles it")
        for row in journal.query(QUESTIONED, wanted)
    ]
