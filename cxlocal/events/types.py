"""The event types cxlocal writes: CDEvents 0.5.1 and six custom subjects of our own.

What CDEvents has no place for stands in ``customData``; version, promotion, deployment, publication, node and run
are the subjects it lacks (its service events tell of what runs, not of what was tried). A custom type has single-digit version parts and letters only in
subject and predicate, because the official schema demands it.
"""

from __future__ import annotations

SPECVERSION = "0.5.1"

PIPELINE_QUEUED = "dev.cdevents.pipelinerun.queued.0.3.0"
PIPELINE_STARTED = "dev.cdevents.pipelinerun.started.0.3.0"
PIPELINE_FINISHED = "dev.cdevents.pipelinerun.finished.0.3.0"
TASK_STARTED = "dev.cdevents.taskrun.started.0.3.0"
TASK_FINISHED = "dev.cdevents.taskrun.finished.0.3.0"
BUILD_STARTED = "dev.cdevents.build.started.0.3.0"
BUILD_FINISHED = "dev.cdevents.build.finished.0.3.0"
ARTIFACT_PACKAGED = "dev.cdevents.artifact.packaged.0.3.0"
ARTIFACT_PUBLISHED = "dev.cdevents.artifact.published.0.3.0"
SUITE_STARTED = "dev.cdevents.testsuiterun.started.0.3.0"
SUITE_FINISHED = "dev.cdevents.testsuiterun.finished.0.3.0"
TEST_OUTPUT = "dev.cdevents.testoutput.published.0.3.0"
ENVIRONMENT_CREATED = "dev.cdevents.environment.created.0.3.0"
ENVIRONMENT_MODIFIED = "dev.cdevents.environment.modified.0.3.0"
ENVIRONMENT_DELETED = "dev.cdevents.environment.deleted.0.3.0"
SERVICE_DEPLOYED = "dev.cdevents.service.deployed.0.3.0"
SERVICE_UPGRADED = "dev.cdevents.service.upgraded.0.3.0"
SERVICE_ROLLEDBACK = "dev.cdevents.service.rolledback.0.3.0"
SERVICE_REMOVED = "dev.cdevents.service.removed.0.3.0"
INCIDENT_DETECTED = "dev.cdevents.incident.detected.0.3.0"
INCIDENT_RESOLVED = "dev.cdevents.incident.resolved.0.3.0"

_OURS = "dev.cdeventsx.cxlocal-"
VERSION_USED = _OURS + "version.used.0.1.0"
VERSION_RESERVED = _OURS + "version.reserved.0.1.0"
VERSION_SKIPPED = _OURS + "version.skipped.0.1.0"
PROMOTION_GRANTED = _OURS + "promotion.granted.0.1.0"
PROMOTION_DENIED = _OURS + "promotion.denied.0.1.0"
PROMOTION_UNDECIDED = _OURS + "promotion.undecided.0.1.0"
PROMOTION_OVERRIDDEN = _OURS + "promotion.overridden.0.1.0"
DEPLOYMENT_STARTED = _OURS + "deployment.started.0.1.0"
DEPLOYMENT_FAILED = _OURS + "deployment.failed.0.1.0"
DEPLOYMENT_REFUSED = _OURS + "deployment.refused.0.1.0"
PUBLICATION_BEGUN = _OURS + "publication.begun.0.1.0"
"""A target is to be given files of a version: with their names right before, without them after others."""
PUBLICATION_FOUND = _OURS + "publication.found.0.1.0"
"""What a target holds of a version, as it says."""
PUBLICATION_WITHDRAWN = _OURS + "publication.withdrawn.0.1.0"
NODE_BEGAN = _OURS + "node.began.0.1.0"
NODE_MOVED = _OURS + "node.moved.0.1.0"
NODE_MIRRORED = _OURS + "node.mirrored.0.1.0"
NODE_PRUNED = _OURS + "node.pruned.0.1.0"
NODE_HANDED = _OURS + "node.handed.0.1.0"
"""How far a machine that goes away has delivered to its sinks."""
NODE_SETTLED = _OURS + "node.settled.0.1.0"
"""Which of two histories of one chain counts, as a person said."""
RUN_INTENDED = _OURS + "run.intended.0.1.0"
RUN_RESOURCEGONE = _OURS + "run.resourcegone.0.1.0"
RUN_GIVENUP = _OURS + "run.givenup.0.1.0"
"""Nobody will end a run any more: its machine is gone."""
RUN_TURNASKED = _OURS + "run.turnasked.0.1.0"
"""Somebody is about to change a lasting environment."""
RUN_TURNENDED = _OURS + "run.turnended.0.1.0"
RUN_CUTOVER = _OURS + "run.cutover.0.1.0"
RUN_CLOSED = _OURS + "run.closed.0.1.0"
"""An environment is used no more, and nothing could destroy what was made in it."""
RUN_JUDGED = _OURS + "run.judged.0.1.0"
RUN_RESUMED = _OURS + "run.resumed.0.1.0"
RUN_REPEATED = _OURS + "run.repeated.0.1.0"
"""A stage that was done ran again for its working files; what is recorded of it stays."""
RUN_BUMPED = _OURS + "run.bumped.0.1.0"
"""The repository has a commit that says what was released."""
RUN_OBSERVED = _OURS + "run.observed.0.1.0"
RUN_REVERIFIED = _OURS + "run.reverified.0.1.0"
RUN_STAMPED = _OURS + "run.stamped.0.1.0"
RUN_RESTRICTED = _OURS + "run.restricted.0.1.0"
RUN_REVIEWED = _OURS + "run.reviewed.0.1.0"
"""Somebody answers for a run, in words."""
RUN_REDACTED = _OURS + "run.redacted.0.1.0"
"""Bytes that a run told of are to be nowhere any more."""
RUN_FLAGGED = _OURS + "run.flagged.0.1.0"
"""Something a person should look at: an orphan, a report that could not be read, a lying tool."""

KNOWN = frozenset(
    value for name, value in list(globals().items()) if name.isupper() and "dev." in str(value)
) - {_OURS}


WITHOUT_DELIVERABLE = frozenset(
    {NODE_BEGAN, NODE_MOVED, NODE_MIRRORED, NODE_PRUNED, NODE_HANDED, NODE_SETTLED, RUN_FLAGGED}
)
"""What a machine may say that is about no deliverable."""
