"""Indexes of the projected tables: what commands and pages look for in a long history."""

from __future__ import annotations

INDEXES = """
CREATE INDEX IF NOT EXISTS run_by_deliverable ON run(deliverable, queued_at);
CREATE INDEX IF NOT EXISTS run_by_time ON run(queued_at DESC, id);
CREATE INDEX IF NOT EXISTS run_by_version ON run(version);
CREATE INDEX IF NOT EXISTS run_change_by_revision ON run_change(revision);
CREATE INDEX IF NOT EXISTS run_open ON run(id) WHERE outcome IS NULL;
CREATE INDEX IF NOT EXISTS run_by_place ON run(place_run, place_attempt)
  WHERE place_run <> '';
CREATE INDEX IF NOT EXISTS run_final ON run(final_of) WHERE final_of IS NOT NULL;
CREATE INDEX IF NOT EXISTS run_fixing ON run(deliverable, fixes) WHERE fixes IS NOT NULL;
CREATE INDEX IF NOT EXISTS incident_by_run ON incident(run);
CREATE INDEX IF NOT EXISTS run_released ON run(deliverable, queued_at)
  WHERE kind = 'release' AND outcome = 'success';
CREATE INDEX IF NOT EXISTS stage_run_by_run ON stage_run(run, stage);
CREATE INDEX IF NOT EXISTS stage_run_bad ON stage_run(run)
  WHERE counts = 1 AND outcome <> 'success';
CREATE INDEX IF NOT EXISTS stage_run_elsewhere ON stage_run(run) WHERE counts = -1;
CREATE INDEX IF NOT EXISTS run_asked_by_run ON run_asked(run);
CREATE INDEX IF NOT EXISTS review_by_run ON review(run, reviewed_at);
CREATE INDEX IF NOT EXISTS redaction_by_run ON redaction(run, sha256);
CREATE INDEX IF NOT EXISTS redaction_by_digest ON redaction(sha256, deliverable);
CREATE INDEX IF NOT EXISTS run_unusual ON run(queued_at) WHERE planned = 0 OR online = 0;
CREATE INDEX IF NOT EXISTS promotion_overridden ON promotion(run) WHERE decision = 'overridden';
CREATE INDEX IF NOT EXISTS promotion_by_hand ON promotion(decided_at) WHERE automatic = 0;
CREATE INDEX IF NOT EXISTS report_by_run ON report(run);
CREATE INDEX IF NOT EXISTS deployment_by_environment
  ON deployment(deliverable, environment, deployed_at);
CREATE INDEX IF NOT EXISTS attempt_bad ON deployment_attempt(tried_at)
  WHERE outcome IN ('failed', 'cancelled', 'cut off');
CREATE INDEX IF NOT EXISTS version_offline ON version(used_at) WHERE how <> 'online';
CREATE INDEX IF NOT EXISTS deployment_by_time ON deployment(deployed_at);
CREATE INDEX IF NOT EXISTS turn_open ON turn(deliverable, instance) WHERE ended_at IS NULL;
CREATE INDEX IF NOT EXISTS resource_by_place ON resource(deliverable, instance)
  WHERE gone_at IS NULL;
CREATE INDEX IF NOT EXISTS resource_by_run ON resource(run);
CREATE INDEX IF NOT EXISTS deployment_resource_by_resource ON deployment_resource(resource);
CREATE INDEX IF NOT EXISTS publication_open ON publication(run)
  WHERE wanted_at IS NOT NULL AND coalesce(state, '') <> 'there' AND withdrawn_at IS NULL;
CREATE INDEX IF NOT EXISTS publication_there ON publication(deliverable, target, found_at)
  WHERE state = 'there' AND withdrawn_at IS NULL;
CREATE INDEX IF NOT EXISTS deployment_by_run ON deployment(run);
CREATE INDEX IF NOT EXISTS deployment_by_version ON deployment(version_run);
CREATE INDEX IF NOT EXISTS deployment_live ON deployment(deliverable, instance, service)
  WHERE replaced = 0 AND removed_at IS NULL;
CREATE INDEX IF NOT EXISTS attempt_open ON deployment_attempt(deliverable, instance, service)
  WHERE settled = 0 AND coalesce(outcome, '') <> 'refused';
CREATE INDEX IF NOT EXISTS version_shared ON version(run) WHERE shared = 1;
CREATE INDEX IF NOT EXISTS version_by_chain ON version(node, sequence);
CREATE INDEX IF NOT EXISTS attempt_by_stage_run ON deployment_attempt(stage_run);
CREATE INDEX IF NOT EXISTS attempt_by_run ON deployment_attempt(run);
CREATE INDEX IF NOT EXISTS deployment_replaced ON deployment_replaces(replaced);
CREATE INDEX IF NOT EXISTS promotion_by_run ON promotion(run);
CREATE INDEX IF NOT EXISTS verdict_by_run ON verdict(run);
CREATE INDEX IF NOT EXISTS left_out_by_run ON left_out(run);
CREATE INDEX IF NOT EXISTS version_by_run ON version(run);
CREATE INDEX IF NOT EXISTS version_by_order ON version(deliverable, sort_key);
CREATE INDEX IF NOT EXISTS environment_by_run ON environment(created_by_run);
CREATE INDEX IF NOT EXISTS machine_by_host ON machine(host, name);
CREATE INDEX IF NOT EXISTS flag_by_run ON flag(run);
CREATE INDEX IF NOT EXISTS flag_by_subject ON flag(kind, subject, raised_at);
"""
