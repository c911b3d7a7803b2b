"""The tables about stages: their attempts, and what they earn."""

from __future__ import annotations

from cxlocal.projection.description import Table

PROMOTION_RULE = Table(
    "Which stages earn a promotion, by the plan.",
    "union",
    "plan_sha256 promotion stage",
    """
    plan_sha256 TEXT - | Plan that says so.
    promotion TEXT - | Name of the promotion.
    stage TEXT - | A stage that has to succeed.
    """,
)

PLAN_STAGE = Table(
    "Stages of a plan, in its order.",
    "union",
    "plan_sha256 stage",
    """
    plan_sha256 TEXT - | Plan that has it.
    stage TEXT - | Name of the stage.
    position INTEGER planned | 1 is the first of the file.
    kind TEXT planned | build, test, deploy, publish or task.
    environment TEXT planned | Environment it works in; empty for none.
    waits_for TEXT planned | Stages that must have succeeded before (JSON array).
    requires TEXT planned | Promotions it requires (JSON array).
    """,
)

PLAN_ENVIRONMENT = Table(
    "Environments of a plan, in its order: what comes later is nearer to the people who use it.",
    "union",
    "plan_sha256 name",
    """
    plan_sha256 TEXT - | Plan that has it.
    name TEXT - | Name of the environment.
    position INTEGER planned | 1 is the first of the file.
    title TEXT planned | Title for readers.
    lifetime TEXT planned | lasting or per-run.
    live INTEGER planned | 1 where the plan calls it the one that is live; empty where it does not say.
    protected INTEGER planned | 1 when a run stops before it unless told to go on.
    """,
)

RUN_ASKED = Table(
    "What a run was asked to carry out: at its beginning, and each time it went on.",
    "owned",
    "id",
    """
    id TEXT - | Id of the event.
    run TEXT asked | Run that was asked for.
    resumed INTEGER asked | 1 when the run went on, 0 at its beginning.
    up_to TEXT asked | What `--to` named; empty without it, and where that was not recorded.
    stages TEXT asked | Stages to be carried out (JSON array); empty where that was not recorded.
    kept TEXT asked | Stages whose success was kept (JSON array).
    actor TEXT asked | On whose behalf.
    reason TEXT asked | Reason given.
    asked_at TEXT asked | When (UTC).
    """,
)

REVIEW = Table(
    "Somebody answered for a run that was out of the ordinary.",
    "union",
    "id",
    """
    id TEXT - | Id of the event.
    deliverable TEXT reviewed | Deliverable of the run.
    run TEXT reviewed | Run that was looked at.
    actor TEXT reviewed | Who answers for it.
    words TEXT reviewed | What they found.
    reviewed_at TEXT reviewed | When (UTC).
    received_at TEXT reviewed | When this journal first held it (UTC).
    """,
)

REDACTION = Table(
    "Bytes of a run that are to be nowhere any more: something stands in them that should not.",
    "union",
    "id sha256",
    """
    id TEXT - | Id of the event.
    sha256 TEXT - | Digest of the bytes: a log, last lines or a raw report of the run.
    deliverable TEXT redacted | Deliverable of the run.
    run TEXT redacted | Run that told of them.
    stage TEXT redacted | Stage that they are of; empty for a report.
    actor TEXT redacted | Who said so.
    reason TEXT redacted | Why.
    redacted_at TEXT redacted | When (UTC).
    """,
)

STAGE_RUN = Table(
    "One execution of a stage.",
    "owned",
    "id",
    """
    id TEXT - | run/stage/attempt, and the start of the chain where another one began the run.
    run TEXT started | Run it belongs to.
    stage TEXT started | Name of the stage.
    attempt INTEGER started | 1 for the first try that its chain knew of.
    part TEXT started | Part of the stage (of a matrix, a shard); empty for the only one.
    parts_total INTEGER started | How many parts the CI server said there are; empty if it did not.
    place TEXT started | Which CI server reported it; empty outside of one.
    job TEXT started | Job of that server.
    job_id TEXT started | Its id there.
    run_attempt INTEGER started | Attempt of the server's run; empty if it does not count them.
    job_attempt INTEGER started | Attempt of the server's job; empty if it does not count them.
    replaces TEXT started | Attempts it is a retry of (JSON array); empty: all before it.
    beside TEXT started | Attempts that still ran when it began (JSON array): of those it is no retry.
    revision TEXT started | Commit it was made from; empty where that was not recorded.
    counts INTEGER - | 1 where it speaks for its part, 0 where a later attempt replaced it, -1 where it was made from another commit than the run.
    kind TEXT started | build, test, deploy or task.
    tool TEXT started | Tool that did the work; command for a plain command.
    tool_version TEXT finished | Version of that tool.
    verb TEXT started | What the tool was asked to do.
    environment TEXT started | Environment it worked in; empty for none.
    outcome TEXT finished | success, failure, cancel or error; empty while it runs.
    reason TEXT finished | Why it ended so.
    exit_code INTEGER finished | Exit code of the command; empty for tools.
    ready_at TEXT started | When all it needed was done (UTC).
    started_at TEXT started | When it started (UTC).
    finished_at TEXT finished | When it ended (UTC).
    waiting_seconds REAL started | Time from ready to start, in seconds.
    duration_seconds REAL finished | Time from start to end, in seconds.
    host TEXT started | Host it ran on (with the times, the key into logs and metrics kept elsewhere).
    log TEXT finished | Log file below the journal's folder.
    log_bytes INTEGER finished | Size of the log in bytes.
    log_sha256 TEXT finished | Digest of the log.
    tail_sha256 TEXT finished | Digest of its last lines, kept where it failed; empty for none.
    details TEXT finished | Facts the tool gave (JSON).
    """,
)
