"""What prune lets go: the rules as pure functions, and carried out on a real home."""

from __future__ import annotations

import os
import time
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from cxlocal.runner.retention import (
    Folder,
    KeptFile,
    KnownRun,
    Rules,
    artifacts_to_remove,
    folders_to_remove,
    logs_to_remove,
    reports_to_remove,
    runs_to_keep,
)

NOW = 1_000_000_000
ids = st.sampled_from([f"run{n}" for n in range(8)])
runs = st.lists(
    st.builds(
        KnownRun,
        ids,
        st.sampled_from(["release", "rehearsal"]),
        st.integers(0, NOW),
        st.none() | st.integers(0, NOW),
        st.booleans(),
        st.booleans(),
    ),
    max_size=8,
    unique_by=lambda run: run.id,
)
rules = st.builds(
    Rules, st.integers(0, NOW), st.integers(0, NOW), st.integers(0, 5), st.integers(0, 3)
)
files = st.lists(
    st.builds(KeptFile, st.sampled_from("abcdef"), ids, st.integers(0, NOW)), max_size=12
)


@settings(deadline=None, max_examples=100)
@given(runs, st.sets(ids, max_size=3), rules, files)
def test_what_is_needed_or_open_or_recent_never_goes(
    known: list[KnownRun], needed: set[str], keep: Rules, found: list[KeptFile]
) -> None:
    kept = runs_to_keep(known, needed, keep)
    assert needed <= kept
    assert {run.id for run in known if run.finished_ms is None or run.carried_out} <= kept
    releases = [run for run in known if run.kind == "release" and run.built]
    newest = sorted(releases, key=lambda run: (run.queued_ms, run.id), reverse=True)
    assert {run.id for run in newest[: keep.artifacts]} <= kept
    going = {one.sha256 for one in artifacts_to_remove(found, [run.id for run in known], kept)}
    strangers = {one.run for one in found} - {run.id for run in known}
    staying = {one.sha256 for one in found if one.run in kept or one.run in strangers}
    assert not going & staying
    assert going | staying == {one.sha256 for one in found}


@settings(deadline=None, max_examples=100)
@given(runs, rules)
def test_keeping_more_removes_less(known: list[KnownRun], keep: Rules) -> None:
    more = keep._replace(artifacts=keep.artifacts + 1, logs_ms=keep.logs_ms + 10)
    assert runs_to_keep(known, (), keep) <= runs_to_keep(known, (), more)
    assert set(logs_to_remove(known, more, NOW)) <= set(logs_to_remove(known, keep, NOW))


@settings(deadline=None, max_examples=100)
@given(runs, rules)
def test_logs_of_open_runs_stay(known: list[KnownRun], keep: Rules) -> None:
    going = set(logs_to_remove(known, keep, NOW))
    for run in known:
        if run.finished_ms is None or run.carried_out or run.finished_ms >= NOW - keep.logs_ms:
            assert run.id not in going


@settings(deadline=None, max_examples=100)
@given(runs, rules, files)
def test_reports_with_bytes_that_a_newer_one_has_stay(
    known: list[KnownRun], keep: Rules, found: list[KeptFile]
) -> None:
    going = {one.sha256 for one in reports_to_remove(found, [run.id for run in known], keep, NOW)}
    young = {one.sha256 for one in found if one.at_ms >= NOW - keep.reports_ms}
    assert not going & young


@settings(deadline=None, max_examples=100)
@given(runs, rules, st.lists(st.builds(Folder, ids, st.integers(0, NOW)), max_size=8,
                             unique_by=lambda one: one.run))  # fmt: skip
def test_the_last_failed_checkouts_stay(
    known: list[KnownRun], keep: Rules, folders: list[Folder]
) -> None:
    going = folders_to_remove(folders, known, keep, NOW)
    over = {run.id for run in known if run.finished_ms is not None and not run.carried_out}
    staying = [one for one in folders if one.run in over and one not in going]
    assert len(staying) == min(keep.checkouts, len([one for one in folders if one.run in over]))
    oldest = min((one.changed_ms for one in staying), default=NOW)
    assert all(one.changed_ms <= oldest for one in going if one.run in over)
    open_now = {run.id for run in known} - over
    assert not [one for one in going if one.run in open_now]


def test_prune_keeps_what_is_live_and_says_what_went(desk: Any) -> None:
    versions = [desk.release() for _ in range(4)]
    for version in versions[:2]:
        assert desk("deploy", version, "--to", "production").code == 0
    config = (desk.tree / "cx.toml").read_text()
    (desk.tree / "cx.toml").write_text(config + '[keep]\nartifacts = 1\nlogs = "90d"\n')
    looked = desk("prune", "--dry-run", "--json").json()
    before = len(desk.rows("SELECT id FROM event"))
    done = desk("prune", "--json")
    assert done.json() == looked
    assert {one["kind"] for one in looked} == {"artifact"}
    gone = {one["sha256"] for one in looked}
    rows = desk.rows("SELECT version, sha256 FROM artifact")
    assert [row["version"] for row in rows if row["sha256"] in gone] == [versions[2]]
    for row in rows:
        path = desk.home / "blobs" / row["sha256"][:2] / row["sha256"]
        assert path.exists() == (row["version"] != versions[2])
    assert len(desk.rows("SELECT id FROM event")) == before + 1
    assert "freed" in done.err
    assert desk("prune", "--json").json() == []
    assert len(desk.rows("SELECT id FROM event")) == before + 1
    assert desk("rollback", "production").code == 0
    done = desk("deploy", versions[2], "--to", "production")
    assert (done.code, "not on this machine" in done.err) == (9, True)
    assert desk("verify").code == 0


def test_old_logs_reports_and_checkouts_go(desk: Any) -> None:
    desk.release()
    run = desk.rows("SELECT id FROM run")[0]["id"]
    left = desk.home / "checkouts" / "0f0e0d0c-0b0a-4908-8706-050403020100"
    young = desk.home / "checkouts" / "1f0e0d0c-0b0a-4908-8706-050403020100"
    for folder in (left, young):
        folder.mkdir(parents=True)
        (folder / "file").write_text("left behind")
    old = time.time() - 3 * 24 * 3600
    os.utime(left, (old, old))
    config = (desk.tree / "cx.toml").read_text()
    (desk.tree / "cx.toml").write_text(config + '[keep]\nlogs = "0d"\nreports = "0d"\n')
    kinds = {(one["kind"], one["run"]) for one in desk("prune", "--json").json()}
    assert kinds == {("log", run), ("checkout", left.name)}
    assert not left.exists()
    assert young.exists()
    assert not (desk.home / "logs" / run).exists()
    assert desk("show", run).code == 0


def test_an_open_run_keeps_everything(desk: Any) -> None:
    desk.start()
    assert desk("stage", "build", "--", "touch", "app.bin").code == 0
    config = (desk.tree / "cx.toml").read_text()
    keep = '[keep]\nlogs = "0d"\nreports = "0d"\nartifacts = 0\ncheckouts = 0\n'
    (desk.tree / "cx.toml").write_text(config + keep)
    assert desk("prune", "--json").json() == []
