"""What the columns of views mean, and what pages make of tables: labels, order, facets.

Columns of projected tables carry their meaning in ``tables``; those of the journal's own tables as
comments in their DDL. Views have no place for either, so theirs stand here.
"""

from __future__ import annotations

from cxlocal.values import NamedTuple

_VIEW_COLUMNS = {
    "resources_now": """
        deliverable | Deliverable it was made for.
        environment | Name of the environment.
        instance | Id of the environment.
        component | The component, or the stage that deploys it; empty for the environment itself.
        tool | Tool that made it, and takes it away.
        lifetime | per-run or lasting.
        serves | 1 when what is live is served by it.
        due | 1 when it was made for a run that is over or given up: it has to be taken away.
        spare | 1 when it is one of a component of a lasting environment, serves nowhere, and its deployment is over.
        released_at | Since when another one serves in its place (UTC); empty where it never served.
        keep_seconds | How long it stays once it serves no more, in seconds.
        weight | Its share of what comes, in percent; 0 where it does not serve.
        since | When it was to be made (UTC).
        version | Version that it runs, else that of the run that made it.
        expires_seconds | How long nothing may be heard of its run before it counts as left behind, in seconds.
        run | Run that made it.
        stage | Stage that made it.
        stage_run | Stage run that made it.
        machine | Mark of the machine that made it; empty where it has none.
        node | Id of the journal chain that made it.
        verb | What its tool was asked: create, apply, provision or deploy.
        host | Host it was made on; empty where its component names none.
        address | Where it answers; empty where that is not known.
        deployment | Deployment it was made for.
        options | The tool's options, with their placeholders (JSON).
        handle | What the tool made durable before the side effect (JSON).
        resource | Its id.
        """,
    "deployment_specs": """
        deliverable | Deliverable that was deployed.
        environment | Name of the environment.
        instance | Id of the environment.
        service | The component.
        version | Version that was deployed.
        deployment | Id of the deployment.
        spec | What its instances are: component, digest of its spec, and what makes it another here.
        but_for | What the environment says differently all the same.
        since | When it was deployed (UTC).
        """,
    "deployments_unfinished": """
        deliverable | Deliverable to be deployed.
        environment | Name of the environment.
        instance | Id of the environment.
        service | Service it was to run as.
        stage | Stage that was to deploy it.
        version | Version to be deployed.
        state | failed, cancelled, cut off, or not ended (as far as is known here).
        since | Since when it is so (UTC).
        why | Why; empty while it has not ended.
        actor | On whose behalf.
        kind | deploy or rollback.
        run | Run that made the version and was to deploy it.
        stage_run | Stage run that did.
        node | Id of the journal chain that tried it.
        watched | 1 when one process saw it through, 0 when its end was to be told later.
        deployment | Id of the attempt.
        words | The same as words for people.
        """,
    "deployment_periods": """
        deliverable | Deliverable that ran.
        environment | Name of the environment.
        instance | Id of the environment: its name, or name and run for a per-run one.
        service | Service that ran it.
        version | Version that ran.
        number | Its number; empty for rehearsals.
        since | When it began to run (UTC).
        until | When that ended (UTC); empty while it runs.
        ended_by | What ended it: a deployment or rollback of a version, removal or confirmation.
        seconds | How long it ran; empty while it runs, negative where clocks disagreed.
        kind | How it came there: deployed, upgraded or rolledback.
        actor | On whose behalf.
        reason | Reason given.
        version_run | Run that made the version.
        run | Run that deployed it.
        deployment | Id of the deployment.
        """,
    "deployments_now": """
        deliverable | Deliverable that runs there.
        environment | Name of the environment.
        instance | Id of the environment: its name, or name and run for a per-run one.
        service | Service that runs it.
        version | Version that is live.
        number | Its number; empty for rehearsals.
        uri | Address of the service; empty when it has none.
        since | Since when it is live (UTC).
        actor | On whose behalf it was put there.
        reason | Reason given.
        kind | deployed (first), upgraded or rolledback.
        version_run | Run that made the version.
        run | Run that deployed it.
        artifact_sha256 | Digest of the artifact deployed.
        deployment | Id of the deployment.
        disputed | 1 when another deployment or another history claims the same place, 0 when not.
        after_it | What failed there after it, in words; empty for nothing.
        """,
    "services_now": """
        deliverable | Deliverable.
        environment | Name of the environment.
        instance | Id of the environment: its name, or name and run for a per-run one.
        service | Service.
        version | Version that is live; empty where nothing is.
        since | Since when it is live, or since when it failed where nothing is (UTC).
        actor | On whose behalf that was done.
        reason | Reason given, or why it failed.
        disputed | 1 when two deployments claim the place, 0 when not.
        after_it | What failed there after it, in words; empty for nothing.
        uri | Address of the service; empty when it has none.
        run | Run that made the version; empty where nothing is live.
        deployment | Id of the deployment; empty where nothing is live.
        partly | 1 when the services of the environment run different versions, 0 when not.
        number | Number of the version; empty for rehearsals, and where nothing is live.
        lasting | 1 in a lasting environment, 0 in one made for a run.
        failed | 1 when something failed there after it, or began and has not ended; 0 when not.
        """,
    "promotion_board": """
        deliverable | Deliverable decided about.
        version | Version text.
        name | Name of the promotion.
        decision | granted, denied or overridden.
        automatic | 1 earned by its stages, 0 decided by a person.
        actor | On whose behalf.
        reason | Why.
        decided_at | When (UTC).
        run | Run whose version it is.
        promotion | Id of the decision.
        contradicted_by | Stages and parts that earn it and did not succeed; empty for none.
        """,
    "release_board": """
        deliverable | Name of the deliverable.
        title | Title of the deliverable for readers.
        environment | Name of the environment.
        environment_title | Title of the environment for readers.
        service | Service that runs it.
        version | Version that is live; empty where nothing is.
        since | Since when it is live (UTC).
        actor | On whose behalf it was put there.
        reason | Reason given.
        state | State of its number; disputed (two deployments claim the place); partly (services differ).
        after_it | What failed there after it, in words; empty for nothing.
        promotions | Promotions the version has, separated by commas.
        uri | Address of the service; empty when it has none.
        run | Run that made the version; empty where nothing is live.
        deployment | Id of the deployment; empty where nothing is live.
        position | Place of the environment in the newest release's plan, from 1; empty if not known here.
        look | 1 when somebody should look at it: disputed, partly, conflicted, nothing live, or failed after it; else 0.
        """,
    "half_published": """
        deliverable | Deliverable.
        version | Version.
        run | Run that made it.
        there | Targets that hold all of it.
        targets | Targets it was to go to, without those it was taken back from.
        words | How many of how many, and how it stands at the others, in words.
        since | Since when the first of them is so (UTC).
        """,
    "number_uses": """
        deliverable | Deliverable.
        line | Version line, such as 2.7.
        number | The number; -1 where the text is unique without one (suffix).
        run | Run that holds it.
        version | The version text.
        how | How it was taken: online, reserve, lent or suffix.
        used_at | When it was taken (UTC).
        actor | On whose behalf.
        state | in use, confirmed · in use, not yet confirmed · conflicted.
        confirmed_at | When this machine learned that the store knows of it (UTC); empty until then.
        node | Id of the journal chain whose event took it.
        sequence | Position of that event in the chain.
        """,
    "number_ledger": """
        deliverable | Deliverable.
        line | Version line, such as 2.7.
        lo | The number, or the first of a stretch of one fate.
        hi | The last number of the stretch; the same for a number in use.
        state | in use (confirmed or not), reserved, skipped or conflicted.
        why | Why: the words of `cxlocal version explain`.
        version | Version text made of it; empty while it is not in use.
        run | Run that holds it.
        how | How it was taken: online, reserve or lent.
        used_at | When it was taken (UTC).
        machine | Machine that took it, holds it or gave it up.
        node | Id of the journal chain of that machine.
        """,
    "run_board": """
        run | Id of the run (UUID).
        deliverable | Deliverable it is a run of.
        kind | release, rehearsal or drill.
        version | Version text of the run.
        outcome | success, failure, cancel, error; open while it runs; given up; not yet seen.
        number_state | State of its number; no number where it has none.
        outcome_reason | Why it ended so.
        stopped_before | Protected environment the run stopped before; empty if none.
        place | Which CI server, or laptop.
        host | Host name where it began.
        actor | On whose behalf it ran.
        reason | Reason given for the run.
        revision | Commit the run was made from.
        revision_subject | First line of the commit message.
        proof | How we know it was pushed: confirmed, tracking ref or mirror only.
        online | 1 when the store answered at the start, 0 when it did not.
        queued_at | When it was asked for (UTC).
        started_at | When it had its version and began (UTC).
        finished_at | When it ended (UTC); empty while it is open.
        duration_seconds | Time from start to end, in seconds.
        place_url | Page of the run at the CI server.
        trouble | Deployments of it that failed, with nothing deployed there since; empty for none.
        """,
    "open_flags": """
        raised_at | When it was noticed (UTC).
        kind | Slug of what it is; clock-ahead is said of a machine, everything else of an event.
        text | What it is, as a sentence.
        deliverable | Deliverable it is about; empty for none.
        version | Version of the run it is about; empty for none.
        run | Run it is about; empty for none.
        subject | What it is about: a run, an environment, a journal chain.
        """,
    "run_timeline": """
        run | Run it happened in.
        at | When (UTC); for a stage, when it started.
        what | stage, tests, deployment, publication, promotion, number, review, redaction, incident; run where it went on.
        name | Name of the stage, suite, service, target or promotion, or the version text.
        result | Outcome, kind of deployment (or how it failed), decision, or how the number was taken.
        environment | Environment it was in; empty for none.
        waiting_seconds | For a stage: time from ready to start, in seconds.
        duration_seconds | For a stage or tests: time it took, in seconds.
        words | Why it ended so, how many tests passed, the version, or the version line.
        """,
    "event_log": """
        id | Order of arrival in this file.
        happened_at | When it happened (UTC), as the event says.
        received_at | When this file first held it (UTC).
        type | What happened: the CDEvents type.
        deliverable | Deliverable it belongs to; empty for none.
        run | Run it belongs to; empty for none.
        node | Id of the journal chain it belongs to.
        sequence | Position in that chain, from 1.
        branch | 0, or which second history of the chain.
        hash | SHA-256 that chains it to the event before, in hexadecimal.
        document | The event itself: a CDEvents document (JSON).
        """,
}

EVENT_LOG_MEANING = "Every event of the journal with names and times, in order of arrival."


def _pairs(text: str) -> dict[str, str]:
    pairs = (line.split("|", 1) for line in text.strip().splitlines())
    return {name.strip(): meaning.strip() for name, meaning in pairs}


VIEW_COLUMNS: dict[str, dict[str, str]] = {
    view: _pairs(text) for view, text in _VIEW_COLUMNS.items()
}
"""View, column: its meaning, with its unit."""


class Shape(NamedTuple):
    """How pages show a table or view."""

    label: str = ""
    """Column that names a row where another table refers to it."""
    newest: str = ""
    """Column to sort by, newest first."""
    facets: tuple[str, ...] = ()
    """Columns to count by; only where a table stays small."""


SHAPES: dict[str, Shape] = {
    "deliverable": Shape("title"),
    "run": Shape("version", "queued_at", ("kind", "outcome", "place_kind")),
    "plan": Shape("sha256"),
    "promotion_rule": Shape("stage"),
    "plan_stage": Shape("stage"),
    "plan_environment": Shape("name"),
    "plan_target": Shape("name"),
    "publication": Shape("version", "found_at", ("target", "state")),
    "publication_file": Shape("name", "found_at"),
    "run_asked": Shape("", "asked_at"),
    "review": Shape("", "reviewed_at"),
    "redaction": Shape("", "redacted_at"),
    "run_change": Shape("", "committed_at"),
    "stage_run": Shape("stage", "started_at"),
    "artifact": Shape("", "packaged_at"),
    "artifact_location": Shape("", "since"),
    "report": Shape("suite", "finished_at"),
    "environment": Shape("", "created_at"),
    "deployment": Shape("version", "deployed_at", ("environment",)),
    "resource": Shape("component", "intended_at", ("tool",)),
    "deployment_resource": Shape(),
    "incident": Shape("", "opened_at"),
    "turn": Shape("", "asked_at", ("ended_how",)),
    "resources_now": Shape("", "since"),
    "deployment_attempt": Shape("version", "tried_at", ("outcome",)),
    "deployment_replaces": Shape("", "since"),
    "live_place": Shape("version"),
    "promotion": Shape("name", "decided_at", ("name", "decision")),
    "verdict": Shape("gate", "judged_at"),
    "left_out": Shape("plugin", "at"),
    "version": Shape("", "used_at"),
    "number_range": Shape("", "reserved_at"),
    "number_skip": Shape("", "skipped_at"),
    "machine": Shape("host", "began_at"),
    "flag": Shape("", "raised_at", ("kind",)),
    "disputed": Shape("", "", ("what",)),
    "settlement": Shape("", "settled_at"),
    "deployment_periods": Shape("", "since"),
    "deployments_now": Shape("", "since"),
    "deployment_specs": Shape("", "since"),
    "deployments_unfinished": Shape("", "since"),
    "services_now": Shape("", "since"),
    "promotion_board": Shape("", "decided_at"),
    "release_board": Shape("", "since"),
    "half_published": Shape("", "since"),
    "number_uses": Shape("", "used_at"),
    "run_board": Shape("", "queued_at"),
    "open_flags": Shape("", "raised_at", ("kind",)),
    "run_timeline": Shape("", "at"),
    "event_log": Shape("", "id"),
}
