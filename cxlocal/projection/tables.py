"""The projected tables: columns, meaning, merge rule. One description for SQL, docs and pages.

Every column belongs to a *group*. All columns of a group are written together by one kind of
event, and the group remembers in ``<group>_from`` which event that was, as
``<turn>.<sequence>.<start of its hash>``. Where two events claim the same group of the same row, the
greater ``_from`` wins: highest turn first (of what several machines may say: decision 11), then the
sequence, then the hash. That comparison does not depend on
arrival, so any order, with duplicates and branches, ends in the same row.

Three rules come out of this one mechanism: *owned* (a row only one machine writes: its highest
sequence wins), *union* (rows that are only ever added: the key is the fact), and *replaces* (a
table of pairs; what is live is decided by it in a view). Where two histories of one chain disagree,
``disputes`` decides what a row says (decision 24).
"""

from __future__ import annotations

from cxlocal.projection.description import Column, Table
from cxlocal.projection.history_tables import HISTORY_TABLES, MACHINE
from cxlocal.projection.incident_tables import INCIDENT
from cxlocal.projection.live_places import LIVE_PLACE
from cxlocal.projection.publication_tables import PLAN_TARGET, PUBLICATION, PUBLICATION_FILE
from cxlocal.projection.resource_tables import DEPLOYMENT_RESOURCE, ENVIRONMENT, RESOURCE
from cxlocal.projection.stage_tables import (
    PLAN_ENVIRONMENT,
    PLAN_STAGE,
    PROMOTION_RULE,
    REDACTION,
    REVIEW,
    RUN_ASKED,
    STAGE_RUN,
)
from cxlocal.projection.turn_tables import TURN

PROJECTION_VERSION = 19
"""Raised whenever the same events would project differently or a view says something else; a newer
binary then rebuilds."""

FORMER_TABLES = ("task_run",)
"""What earlier versions called their tables: a rebuild takes them away."""


TABLES: dict[str, Table] = {
    "deliverable": Table(
        "A named product whose versions are handed out.",
        "owned",
        "id",
        """
        id TEXT - | Name of the deliverable.
        title TEXT said | Title for readers, as the last known run gave it.
        owner TEXT said | Who answers for it.
        links TEXT said | Where the pages lead to: kind to template of an address (JSON).
        repository TEXT said | Address of its repository, without credentials.
        path TEXT said | Folder of its cx.toml inside the repository.
        repository_root TEXT said | First commit of the repository, which identifies it.
        """,
    ),
    "run": Table(
        "One execution of the pipeline.",
        "owned",
        "id",
        """
        id TEXT - | Id of the run (UUID).
        deliverable TEXT queued | Deliverable it is a run of.
        kind TEXT queued | release, rehearsal or drill.
        version TEXT started | Version text of the run.
        line TEXT started | Version line, such as 2.7.
        number INTEGER started | The counted number; empty for rehearsals.
        number_how TEXT started | How the number came: online, reserve, lent or suffix.
        outcome TEXT finished | success, failure, cancel or error; empty while it is open.
        outcome_reason TEXT finished | Why it ended so.
        stopped_before TEXT finished | Protected environment the run stopped before; empty if none.
        actor TEXT queued | On whose behalf it ran.
        actor_how TEXT queued | How that is known.
        reason TEXT queued | Reason given for the run.
        trigger TEXT queued | manual, pipeline, event, schedule or other.
        planned INTEGER queued | 1 planned, 0 unplanned (hotfix, emergency).
        fixes TEXT queued | Version that it repairs, as who asked for it said; empty for none.
        place_kind TEXT queued | laptop or ci.
        place TEXT queued | Which CI server; empty on a laptop.
        place_url TEXT queued | Page of the run at the CI server.
        place_number TEXT queued | The CI server's own number of the run.
        place_run TEXT queued | What identifies the CI server's run, the same in all its attempts.
        place_attempt INTEGER queued | Attempt of that run; empty where the server counts none.
        host TEXT queued | Host name where it began.
        online INTEGER queued | 1 when the store answered at the start, 0 when it did not.
        revision TEXT queued | Commit the run was made from.
        revision_subject TEXT queued | First line of the commit message.
        revision_author TEXT queued | Author of the commit.
        revision_at TEXT queued | Commit time (UTC).
        branch TEXT queued | Branch the commit was taken from; empty when detached.
        tags TEXT queued | Tags on the commit (JSON array).
        proof TEXT queued | How we know it was pushed: confirmed, tracking ref or mirror only.
        proof_remote TEXT queued | Remote or mirror that holds the commit.
        proof_age_seconds REAL queued | Age of what the proof rests on, in seconds.
        reverified INTEGER reverified | 1 the remote agreed later, 0 it disagreed, empty not asked.
        plan_sha256 TEXT queued | Digest of the frozen plan.
        changes_total INTEGER queued | Commits since the version before: that live in the target, or released where nothing is to be live.
        changes_since TEXT queued | That version; empty when there was none.
        uncommitted_total INTEGER queued | Changed files in the working tree not in this run.
        final_of TEXT queued | Run of the pre-release that this run makes final; empty for others.
        cxlocal_version TEXT queued | Version of cxlocal that ran it.
        queued_at TEXT queued | When it was asked for (UTC).
        started_at TEXT started | When it had its version and began (UTC).
        finished_at TEXT finished | When it ended (UTC); empty while it is open.
        duration_seconds REAL finished | Time from start to end, in seconds.
        given_up_at TEXT givenup | When it was given up (UTC): nobody will end it any more.
        given_up_why TEXT givenup | Why.
        node TEXT queued | Id of the journal chain that began it.
        received_at TEXT queued | When this journal first held it (UTC).
        """,
    ),
    "plan": Table(
        "The frozen plan of runs: the pipeline as it was when it ran.",
        "union",
        "sha256",
        """
        sha256 TEXT - | Digest of the plan.
        plan TEXT frozen | The plan itself (JSON).
        """,
    ),
    "promotion_rule": PROMOTION_RULE,
    "plan_stage": PLAN_STAGE,
    "plan_environment": PLAN_ENVIRONMENT,
    "plan_target": PLAN_TARGET,
    "run_asked": RUN_ASKED,
    "review": REVIEW,
    "redaction": REDACTION,
    "run_change": Table(
        "A commit that a run brought compared with the version before (200 at most, then a count).",
        "union",
        "run revision",
        """
        run TEXT - | Run that brought it.
        revision TEXT - | Commit id.
        position INTEGER listed | 1 is the newest.
        subject TEXT listed | First line of the commit message.
        author TEXT listed | Author of the commit.
        committed_at TEXT listed | Commit time (UTC).
        """,
    ),
    "stage_run": STAGE_RUN,
    "artifact": Table(
        "An immutable output of a run.",
        "owned",
        "run name sha256",
        """
        run TEXT - | Run that made it.
        name TEXT - | Name in the plan.
        sha256 TEXT - | Digest of its bytes.
        deliverable TEXT packaged | Deliverable it belongs to.
        version TEXT packaged | Version the run gave it.
        purl TEXT packaged | Package URL.
        size_bytes INTEGER packaged | Size in bytes.
        file_name TEXT packaged | File name it was built as.
        media_type TEXT packaged | Media type, where known.
        stage TEXT packaged | Stage that made it.
        stage_run TEXT packaged | Stage run that made it.
        revision TEXT packaged | Commit it was made from.
        packaged_at TEXT packaged | When it was made (UTC).
        replaced_at TEXT replaced | When other bytes took its name, unused until then (UTC).
        """,
    ),
    "artifact_location": Table(
        "A place where the bytes of an artifact can be had.",
        "union",
        "deliverable sha256 location",
        """
        deliverable TEXT - | Deliverable whose artifact it is: of the same bytes of another one it says nothing.
        sha256 TEXT - | Digest of the artifact.
        location TEXT - | Address or path.
        since TEXT stated | Since when (UTC).
        """,
    ),
    "report": Table(
        "A parsed test report: counts here, failing and flaky cases in report_case.",
        "owned",
        "id",
        """
        id TEXT - | run/stage/attempt/suite.
        run TEXT started | Run it belongs to.
        stage_run TEXT started | Stage run it belongs to.
        stage TEXT started | Stage that made it.
        suite TEXT started | Name of the suite.
        environment TEXT started | Environment the tests ran in; empty for the checkout.
        format TEXT finished | Format of the report file.
        outcome TEXT finished | success, failure, cancel or error.
        total INTEGER finished | Number of test cases.
        passed INTEGER finished | Cases that passed.
        failed INTEGER finished | Cases that failed.
        errors INTEGER finished | Cases that broke before they could fail.
        skipped INTEGER finished | Cases not run.
        flaky INTEGER finished | Cases that failed and then passed on a rerun.
        duration_seconds REAL finished | Time the cases took together, in seconds.
        problem TEXT finished | Why the file could not be read in full; empty if it could.
        sha256 TEXT finished | Digest of the raw report.
        size_bytes INTEGER finished | Size of the raw report in bytes.
        started_at TEXT started | When the suite started (UTC).
        finished_at TEXT finished | When it ended (UTC).
        """,
    ),
    "report_case": Table(
        "A failing, flaky or new test case (200 a report at most; all are in the raw report).",
        "union",
        "report suite name",
        """
        report TEXT - | Report it stands in.
        suite TEXT - | Suite or class.
        name TEXT - | Name of the case.
        outcome TEXT listed | failed, error, flaky, or passed where the case is new.
        message TEXT listed | First message, at most 1 KiB.
        duration_seconds REAL listed | Time it took, in seconds.
        """,
    ),
    "environment": ENVIRONMENT,
    "resource": RESOURCE,
    "deployment_resource": DEPLOYMENT_RESOURCE,
    "turn": TURN,
    "publication": PUBLICATION,
    "publication_file": PUBLICATION_FILE,
    "incident": INCIDENT,
    "deployment": Table(
        "A version came to run in an environment.",
        "owned",
        "id",
        """
        id TEXT - | Id of the deployment.
        deliverable TEXT deployed | Deliverable deployed.
        environment TEXT deployed | Name of the environment.
        instance TEXT deployed | Id of the environment.
        service TEXT deployed | Service that runs it.
        kind TEXT deployed | deployed (first), upgraded or rolledback.
        version TEXT deployed | Version deployed.
        number INTEGER deployed | Its number; empty for rehearsals.
        version_run TEXT deployed | Run that made the version.
        run TEXT deployed | Run that deployed it.
        stage_run TEXT deployed | Stage run that deployed it.
        artifact_sha256 TEXT deployed | Digest of the artifact deployed.
        uri TEXT deployed | Address of the service.
        actor TEXT deployed | On whose behalf.
        reason TEXT deployed | Reason given.
        deployed_at TEXT deployed | When it was done (UTC).
        received_at TEXT deployed | When this journal first held it (UTC).
        removed_at TEXT removed | When it was taken away (UTC); empty while it runs, and where another took over (deployment_periods).
        removed_received_at TEXT removed | When this journal first held that (UTC).
        replaced INTEGER - | 1 when something took over from it, 0 when not.
        """,
    ),
    "deployment_attempt": Table(
        "A deployment into a lasting environment that began or was refused, and how it failed.",
        "owned",
        "id",
        """
        id TEXT - | Its id; the deployment of that id is what came of it.
        deliverable TEXT tried | Deliverable to be deployed.
        environment TEXT tried | Name of the environment.
        instance TEXT tried | Id of the environment.
        service TEXT tried | Service it was to run as.
        kind TEXT tried | deploy or rollback.
        version TEXT tried | Version to be deployed.
        run TEXT tried | Run that made the version and was to deploy it.
        stage TEXT tried | Stage that was to deploy it.
        stage_run TEXT tried | Stage run that did; empty where it was refused.
        actor TEXT tried | On whose behalf.
        reason TEXT tried | Reason given.
        watched INTEGER tried | 1 when one process saw it through, 0 when its end was to be told later.
        turn INTEGER tried | Number of the turn in which it was tried; 0 where none is known.
        node TEXT tried | Id of the journal chain that tried it.
        tried_at TEXT tried | When it began to change the environment, or was refused (UTC).
        outcome TEXT ended | failed, cancelled, cut off or refused; empty under way and after success.
        why TEXT ended | Why.
        ended_at TEXT ended | When that was recorded (UTC).
        settled INTEGER - | 1 when it came to run there and was not refused, or something was deployed since; 0 when not.
        """,
    ),
    "deployment_replaces": Table(
        "What a deployment (or a confirmation, or a removal) put an end to. Decides what is live.",
        "replaces",
        "deployment replaced",
        """
        deployment TEXT - | The deployment that took over, or the event that says so.
        replaced TEXT - | The deployment it replaced, or the failed attempt it made up for.
        since TEXT stated | When (UTC).
        received_at TEXT stated | When this journal first held that (UTC).
        """,
    ),
    "live_place": LIVE_PLACE,
    "promotion": Table(
        "A decision recorded about a version.",
        "owned",
        "id",
        """
        id TEXT - | Id of the decision.
        deliverable TEXT decided | Deliverable decided about.
        run TEXT decided | Run whose version it is.
        version TEXT decided | Version text.
        number INTEGER decided | Its number; empty for rehearsals.
        name TEXT decided | Name of the promotion, such as PASSED_TEST.
        title TEXT decided | Title for readers.
        decision TEXT decided | granted, denied, undecided or overridden (given although a gate, a stage or a denial was against it).
        turn INTEGER decided | Decisions about it known when it was made; the greatest holds.
        automatic INTEGER decided | 1 earned by its stages, 0 decided by a person.
        actor TEXT decided | On whose behalf.
        reason TEXT decided | Why; of an overridden one also what was passed over, in brackets: where all gates allow, a stage or a denial.
        data_age_seconds REAL decided | How old our copy of other machines' history was, in seconds.
        decided_at TEXT decided | When (UTC).
        received_at TEXT decided | When this journal first held it (UTC).
        """,
    ),
    "promotion_artifact": Table(
        "An artifact a promotion was decided about.",
        "union",
        "promotion name",
        """
        promotion TEXT - | Id of the decision.
        name TEXT - | Name of the artifact.
        sha256 TEXT decided | Its digest.
        """,
    ),
    "verdict": Table(
        "What a gate said before a stage.",
        "owned",
        "id",
        """
        id TEXT - | Id of the event.
        run TEXT judged | Run it was asked for.
        gate TEXT judged | Which gate.
        verdict TEXT judged | allow, deny or undecided: the gate's own word, which an override leaves as it is.
        reason TEXT judged | Why.
        stage TEXT judged | Stage it was asked for.
        environment TEXT judged | Environment it was asked for.
        promotion TEXT judged | Promotion it was about.
        data_age_seconds REAL judged | How old our copy of other machines' history was, in seconds.
        judged_at TEXT judged | When (UTC).
        """,
    ),
    "left_out": Table(
        "A plugin that was left out of a command of a run.",
        "owned",
        "event plugin distribution",
        """
        event TEXT - | Id of the event.
        plugin TEXT - | Name of the plugin.
        distribution TEXT - | Distribution it comes from.
        run TEXT restricted | Run the command was about.
        version TEXT restricted | Version of that distribution.
        how TEXT restricted | What left it out: `-p no:NAME`, `[plugins] block`, a variable.
        at TEXT restricted | When the command began (UTC).
        """,
    ),
    "version": Table(
        "A number taken by a run. Two rows with one number are a conflict.",
        "owned",
        "deliverable line number run",
        """
        deliverable TEXT - | Deliverable.
        line TEXT - | Version line.
        number INTEGER - | The number; -1 where the text is unique without one (suffix).
        run TEXT - | Run that holds it.
        text TEXT used | The version text, made once and never made again.
        scheme TEXT used | Scheme that made it.
        sort_key TEXT used | Orders versions of one deliverable by plain comparison.
        how TEXT used | online, reserve, lent or suffix.
        actor TEXT used | On whose behalf.
        used_at TEXT used | When it was taken (UTC).
        lineage TEXT used | Store it was granted by.
        generation INTEGER used | Life of that store.
        node TEXT used | Chain whose event took it.
        sequence INTEGER used | Position of that event in the chain.
        received_at TEXT used | When this journal first held it (UTC).
        shared INTEGER - | 1 when another run holds the number, too, 0 when not.
        """,
    ),
    "number_range": Table(
        "Numbers a machine received as a reserve.",
        "union",
        "deliverable line lo node",
        """
        deliverable TEXT - | Deliverable.
        line TEXT - | Version line.
        lo INTEGER - | First number.
        node TEXT - | Chain that holds it.
        hi INTEGER reserved | Last number.
        reserved_at TEXT reserved | When (UTC).
        """,
    ),
    "number_skip": Table(
        "Numbers that were given up, and why. What else never becomes a version (what was passed over, an old"
        " reserve) the view number_ledger says.",
        "union",
        "deliverable line lo hi",
        """
        deliverable TEXT - | Deliverable.
        line TEXT - | Version line.
        lo INTEGER - | First number.
        hi INTEGER - | Last number.
        why TEXT skipped | Why they are skipped.
        node TEXT skipped | Chain that said so.
        skipped_at TEXT skipped | When (UTC).
        """,
    ),
    "machine": MACHINE,
    "flag": Table(
        "Something a person should look at.",
        "union",
        "id",
        """
        id TEXT - | Id of the event.
        kind TEXT raised | Slug of what it is.
        subject TEXT raised | What it is about.
        deliverable TEXT raised | Deliverable, if any.
        run TEXT raised | Run, if any.
        text TEXT raised | A sentence.
        raised_at TEXT raised | When (UTC).
        """,
    ),
    **HISTORY_TABLES,
}


def create_sql() -> str:
    """The DDL of all projected tables, with the meaning of each table and column beside it."""
    from cxlocal.projection.following import FOLLOWING
    from cxlocal.projection.indexes import INDEXES

    statements = []
    for name, table in TABLES.items():
        lines = [
            f"  {column} {spec.type}, -- {spec.meaning}" for column, spec in _typed(name, table)
        ]
        lines += [
            f"  {group}_from TEXT, -- Event that wrote {', '.join(columns[:2])} …: turn.sequence.hash"
            for group, columns in table.groups.items()
        ]
        lines.append(f"  PRIMARY KEY ({', '.join(table.key)})")
        body = "\n".join(lines)
        statements.append(
            f"-- {table.meaning} Merges by: {table.rule}.\n"
            f"CREATE TABLE IF NOT EXISTS {name} (\n{body}\n);"
        )
    return "\n".join(statements) + INDEXES + FOLLOWING


def _typed(name: str, table: Table) -> list[tuple[str, Column]]:
    return [
        (f'"{column}"', spec._replace(type=spec.type + _constraints(name, table, column)))
        for column, spec in table.columns.items()
    ]


def _constraints(name: str, table: Table, column: str) -> str:
    target = REFERENCES.get((name, column))
    not_null = " NOT NULL" if column in table.key else ""
    return not_null + (f" REFERENCES {target}({TABLES[target].key[0]})" if target else "")


_REFERENCES = {
    "run": "deliverable>deliverable plan_sha256>plan node>machine",
    "promotion_rule": "plan_sha256>plan",
    "plan_stage": "plan_sha256>plan",
    "plan_environment": "plan_sha256>plan",
    "plan_target": "plan_sha256>plan",
    "publication": "deliverable>deliverable run>run stage_run>stage_run",
    "publication_file": "run>run",
    "run_asked": "run>run",
    "review": "deliverable>deliverable run>run",
    "redaction": "deliverable>deliverable run>run",
    "run_change": "run>run",
    "stage_run": "run>run",
    "artifact": "run>run deliverable>deliverable stage_run>stage_run",
    "report": "run>run stage_run>stage_run",
    "report_case": "report>report",
    "environment": "deliverable>deliverable created_by_run>run",
    "resource": "deliverable>deliverable run>run stage_run>stage_run node>machine",
    "deployment_resource": "deployment>deployment resource>resource",
    "turn": "deliverable>deliverable run>run node>machine",
    "incident": "deliverable>deliverable run>run",
    "deployment": "deliverable>deliverable version_run>run run>run stage_run>stage_run",
    "deployment_attempt": "deliverable>deliverable run>run stage_run>stage_run node>machine",
    "deployment_replaces": "deployment>deployment replaced>deployment",
    "live_place": "deliverable>deliverable run>run",
    "promotion": "deliverable>deliverable run>run",
    "promotion_artifact": "promotion>promotion",
    "verdict": "run>run",
    "left_out": "run>run",
    "version": "deliverable>deliverable run>run node>machine",
    "number_range": "deliverable>deliverable node>machine",
    "number_skip": "deliverable>deliverable node>machine",
    "machine": "parent>machine",
    "flag": "deliverable>deliverable run>run",
    "disputed": "node>machine deliverable>deliverable run>run",
    "settlement": "node>machine deliverable>deliverable",
}

REFERENCES: dict[tuple[str, str], str] = {
    (table, column): target
    for table, pairs in _REFERENCES.items()
    for column, _, target in (pair.partition(">") for pair in pairs.split())
}
"""(table, column): the table whose only key column it holds."""
