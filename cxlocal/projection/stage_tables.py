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
    counts INTEGER - | 1 where it speaks for its part, 0 where a retry replaced it.
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
    details TEXT finished | Facts the tool gave (JSON).
    """,
)
