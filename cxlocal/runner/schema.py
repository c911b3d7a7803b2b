"""Local tables of the runner: what runs on this machine now, and what it owes.

They are never sent anywhere. Who lost them loses no history: debts can be read from the events.
"""

SCHEMA = """
-- Runs whose process lives on this machine; a row whose process is dead is an orphan.
CREATE TABLE IF NOT EXISTS process (
  run TEXT PRIMARY KEY, -- The run.
  pid INTEGER NOT NULL, -- Process id of the runner.
  started TEXT NOT NULL, -- Start time of that process as the system tells it; pids are reused.
  boot TEXT NOT NULL, -- Boot id of the machine; after a reboot every row is an orphan.
  command TEXT NOT NULL, -- What was typed, for messages.
  pieces INTEGER NOT NULL DEFAULT 0 -- 1: a run made of single commands; no process holds it open.
);
-- Environments and services this machine created and still has to destroy.
CREATE TABLE IF NOT EXISTS owed (
  id INTEGER PRIMARY KEY, -- Order in which the debts were made.
  run TEXT NOT NULL, -- Run that made the debt.
  deliverable TEXT NOT NULL, -- Its deliverable.
  environment TEXT NOT NULL, -- Name of the environment.
  instance TEXT NOT NULL, -- Its id.
  stage TEXT NOT NULL, -- Stage that made it.
  tool TEXT NOT NULL, -- Tool whose verb destroy pays it.
  options TEXT NOT NULL, -- The tool's options as they were then (JSON).
  handle TEXT NOT NULL, -- What the tool made durable before the side effect (JSON).
  lifetime TEXT NOT NULL, -- per-run is owed at the run's end, lasting never.
  since INTEGER NOT NULL, -- When, milliseconds since 1970 (UTC).
  paid INTEGER -- When it was destroyed, milliseconds since 1970 (UTC); NULL while owed.
);
CREATE INDEX IF NOT EXISTS owed_open ON owed(run) WHERE paid IS NULL;
"""
