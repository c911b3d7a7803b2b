"""Promotions by people, deployments of what was built before, and ways back."""

from __future__ import annotations

import sqlite3
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cxlocal.runner.deployment_chain import Deployment, version_before


def live(desk: Any) -> str:
    return str((desk.live / "app.bin").read_text().strip())


def test_bytes_are_built_once_and_go_where_they_are_sent(desk: Any) -> None:
    first, second = desk.release(), desk.release()
    assert desk("deploy", first, "--to", "production", "-m", "at last").code == 0
    assert live(desk) == first
    assert desk("deploy", second, "--to", "production").code == 0
    assert live(desk) == second
    rows = desk.rows(
        "SELECT d.version, d.reason, d.kind, a.sha256 = d.artifact_sha256 AS same,"
        " d.run = d.version_run AS own FROM deployment d JOIN artifact a ON a.run = d.run"
        " ORDER BY d.deployed_at"
    )
    assert [tuple(row.values()) for row in rows] == [
        (first, "at last", "deployed", 1, 1), (second, "", "upgraded", 1, 1)
    ]  # fmt: skip
    assert desk("verify").code == 0


def test_an_older_version_needs_a_word(desk: Any) -> None:
    first, second = desk.release(), desk.release()
    assert desk("deploy", second, "--to", "production").code == 0
    done = desk("deploy", first, "--to", "production")
    assert (done.code, "older than" in done.err) == (3, True)
    assert live(desk) == second
    assert desk("deploy", first, "--to", "production", "--allow-older").code == 0
    assert live(desk) == first


def test_what_commands_made_is_recorded_as_gone(desk: Any) -> None:
    version = desk.release()
    assert desk("deploy", version, "--to", "production").code == 0
    done = desk("env", "destroy", "production", "--yes", "-m", "moved away")
    assert (done.code, "production was closed and not destroyed" in done.err) == (0, True)
    assert desk.rows("SELECT * FROM deployments_now") == []
    (row,) = desk.rows("SELECT deleted_why FROM environment WHERE deleted_at IS NOT NULL")
    assert row["deleted_why"] == "moved away"
    done = desk("env", "destroy", "production", "--yes")
    assert (done.code, "does not stand" in done.err) == (2, True)
    assert desk("deploy", version, "--to", "production").code == 0
    assert len(desk.rows("SELECT * FROM deployments_now")) == 1


def test_rollbacks_go_further_back_and_never_forth(desk: Any) -> None:
    versions = [desk.release() for _ in range(3)]
    for version in versions:
        assert desk("deploy", version, "--to", "production").code == 0
    assert desk("rollback", "production", "-m", "orders fail").code == 0
    assert live(desk) == versions[1]
    assert desk("rollback", "--env", "production").code == 0
    assert live(desk) == versions[0]
    done = desk("rollback", "production")
    assert (done.code, "no version before" in done.err) == (2, True)
    assert f"{versions[1]} and {versions[2]} came after it" in done.err, (
        "the others are not forgotten"
    )
    assert f"cxlocal rollback production --to {versions[2]}" in done.err
    assert desk("rollback", "production", "--to", versions[2]).code == 0
    assert live(desk) == versions[2]
    rows = desk.rows("SELECT version, kind, reason FROM deployment ORDER BY deployed_at")[3:]
    assert [tuple(row.values()) for row in rows] == [
        (versions[1], "rolledback", "orders fail"),
        (versions[0], "rolledback", ""),
        (versions[2], "rolledback", ""),
    ]


def test_deploying_what_is_live_and_what_is_older(desk: Any) -> None:
    older, newer = desk.release(), desk.release()
    for version in (older, newer):
        assert desk("deploy", version, "--to", "production").code == 0
    done = desk("deploy", newer, "--to", "production")
    assert "it was before, too" in done.out + done.err
    done = desk("deploy", older, "--to", "production")
    assert (done.code, f"{older} is older than {newer}" in done.err) == (3, True)
    done = desk("deploy", older, "--to", "production", "--allow-older")
    assert f"before it {newer}" in done.out + done.err
    rows = desk.rows("SELECT version, kind FROM deployment ORDER BY deployed_at")
    assert [tuple(row.values()) for row in rows] == [
        (older, "deployed"), (newer, "upgraded"), (newer, "upgraded"), (older, "rolledback"),
    ]  # fmt: skip


def test_what_a_deployment_requires_is_checked(desk: Any) -> None:
    done = desk.shell(
        'eval "$(cxlocal run start)"; cxlocal stage build -- touch app.bin; cxlocal run finish'
    )
    assert done.code == 0
    done = desk("deploy", "2.7.0", "--to", "production")
    assert (done.code, "READY was not given" in done.err) == (3, True)
    assert desk.rows("SELECT * FROM deployment") == []
    done = desk("promote", "2.7.0", "READY")
    assert (done.code, "unit" in done.err) == (3, True)
    assert desk.rows("SELECT * FROM promotion") == []
    done = desk("promote", "2.7.0", "READY", "--override")
    assert (done.code, "needs a reason" in done.err) == (2, True)
    assert desk("promote", "2.7.0", "READY", "--override", "-m", "night").code == 0
    row = desk.rows("SELECT decision, reason, automatic FROM promotion")[0]
    assert tuple(row.values()) == (
        "overridden", "night (passed over: unit has not succeeded)", 0
    )  # fmt: skip
    assert desk("deploy", "2.7.0", "--to", "production").code == 0


def test_a_denial_holds(desk: Any) -> None:
    version = desk.release()
    assert desk("promote", version, "READY", "--deny", "-m", "too slow").code == 0
    done = desk("deploy", version, "--to", "production")
    assert (done.code, "READY was denied by Ann <ann@example.org>: too slow" in done.err) == (
        3,
        True,
    )
    assert f"cxlocal promote {version} READY --override --reason WHY" in done.err
    assert f"then: cxlocal deploy {version} --to production" in done.err
    again = desk("promote", version, "READY")
    assert (again.code, "READY was denied to" in again.err) == (3, True)
    assert desk("promote", version, "READY", "--override", "-m", "fast enough").code == 0
    assert desk("deploy", version, "--to", "production").code == 0


def test_an_override_needs_a_named_person(desk: Any) -> None:
    version = desk.release()
    nobody = {"CXLOCAL_ACTOR": None, "GIT_AUTHOR_NAME": "", "GIT_AUTHOR_EMAIL": "", "USER": "root"}
    done = desk("promote", version, "READY", "--override", "-m", "x", env=nobody)
    assert (done.code, "named person" in done.err) == (3, True)


def test_a_person_gives_what_no_stage_earns(desk: Any) -> None:
    version = desk.release()
    found = desk("promote", "APPROVED", "--version", version, "--json").json()
    assert (found["decision"], found["actor"]) == ("granted", "Ann <ann@example.org>")
    assert desk("promote", version, "NO_SUCH").code == 2
    assert "did you mean 'APPROVED'?" in desk("promote", version, "APROVED").err
    assert "did you mean 'production'?" in desk("deploy", version, "--to", "prod").err


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (["deploy", "9.9.9", "--to", "production"], 2, "no run is known here"),
        (["deploy", "2.7.0", "--to", "moon"], 2, "To do: name one of them, or add it to"),
        (["rollback", "production"], 2, "nothing of shop is live"),
        (["rollback"], 2, "nothing of shop is live in production"),
        (["env", "confirm", "production", "--live", "2.7.0", "-m", "x"], 2, "is not among"),
        (["env", "observe", "production"], 2, "nothing of shop is live"),
    ],
)
def test_wrong_turns_say_what_to_do(desk: Any, words: list[str], code: int, says: str) -> None:
    desk.release()
    done = desk(*words)
    assert (done.code, says in done.err) == (code, True), done.err
    assert "To do:" in done.err


def test_a_failed_deployment_changes_nothing_of_the_record(desk: Any) -> None:
    first = desk.release()
    assert desk("deploy", first, "--to", "production").code == 0
    desk.write({"deploy.sh": "exit 3\n"})
    second = desk.release()
    done = desk("deploy", second, "--to", "production")
    assert done.code == 1
    assert [row["version"] for row in desk.rows("SELECT version FROM deployments_now")] == [first]
    assert desk.stages()[-1] == ("deploy", 1, "failure", 3)


def test_bytes_that_were_changed_are_not_deployed(desk: Any) -> None:
    version = desk.release()
    digest = desk.rows("SELECT sha256 FROM artifact")[0]["sha256"]
    blob = desk.home / "blobs" / digest[:2] / digest
    blob.chmod(0o600)
    blob.write_bytes(b"something else")
    assert desk("deploy", version, "--to", "production").code == 10
    assert not desk.live.exists()


def test_a_number_held_twice_is_refused_until_a_run_is_named(desk: Any) -> None:
    desk.release()
    desk.release()
    first, second = desk.rows("SELECT id, number FROM run ORDER BY queued_at")
    _claim(desk, first["id"], second["id"])
    done = desk("promote", "2.7.0", "READY")
    assert done.code == 10, done.err
    done = desk("deploy", "2.7.0", "--to", "production")
    assert done.code == 10, done.err
    assert desk("deploy", first["id"], "--to", "production").code == 0


def _claim(desk: Any, holder: str, other: str) -> None:
    """Let a second run say that it has the same number, as a copied machine would."""
    from cxlocal.clock import SystemClock, SystemIds
    from cxlocal.events.machines import version_used
    from cxlocal.journal.file import Journal

    with Journal.open(desk.home / "journal.db", clock=SystemClock(), ids=SystemIds()) as journal:
        row = journal.one("SELECT * FROM version WHERE run = ?", (holder,))
        assert row is not None
        journal.append(
            version_used(
                deliverable="shop", run=other, line="2.7", number=row["number"], scheme="semver",
                text=row["text"], sort_key=row["sort_key"], how="reserve",
                lineage=row["lineage"], generation=row["generation"], k=1, actor={},
            )
        )  # fmt: skip


def test_what_is_disputed_is_settled_by_a_person(desk: Any) -> None:
    first, second = desk.release(), desk.release()
    assert desk("deploy", first, "--to", "production").code == 0
    _dispute(desk, first, second)
    assert {row["version"] for row in desk.rows("SELECT version FROM deployments_now")} == {
        first, second,
    }  # fmt: skip
    assert desk("rollback", "production").code == 10
    assert "disputed" in desk("env", "list").out
    done = desk("env", "confirm", "production", "--live", second, "-m", "looked")
    assert done.code == 0, done.err
    assert [row["version"] for row in desk.rows("SELECT version FROM deployments_now")] == [second]
    again = desk("env", "confirm", "production", "--live", second, "-m", "looked")
    assert (again.code, "nothing is disputed" in again.err) == (0, True)
    assert desk("verify").code == 0


def _dispute(desk: Any, first: str, second: str) -> None:
    """A deployment by a machine that did not know of the first one."""
    from cxlocal.clock import SystemClock, SystemIds
    from cxlocal.events.places import service_deployed
    from cxlocal.events.runs import RunRef
    from cxlocal.journal.file import Journal

    with Journal.open(desk.home / "journal.db", clock=SystemClock(), ids=SystemIds()) as journal:
        row = journal.one("SELECT id FROM run WHERE version = ?", (second,))
        assert row is not None
        journal.append(
            service_deployed(
                RunRef("shop", row["id"], "shop", "urn:x"), kind="deployed",
                event_id=journal.ids.uuid(), service="shop", environment="production",
                instance="production", artifact={}, version=second, number=1,
                version_run=row["id"], replaces=[], uri="", stage_run="", actor={}, reason="",
                details={},
            )
        )  # fmt: skip


def test_two_deployments_into_one_place_do_not_meet(desk: Any) -> None:
    import fcntl

    version = desk.release()
    path = desk.home / "locks" / "shop.production"
    path.parent.mkdir(exist_ok=True)
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        done = desk("deploy", version, "--to", "production")
    assert (done.code, "another command changes" in done.err) == (3, True)
    assert desk("deploy", version, "--to", "production").code == 0


def test_nothing_is_left_behind_by_a_deployment(desk: Any) -> None:
    version = desk.release()
    assert desk("deploy", version, "--to", "production").code == 0
    assert [one.name for one in (desk.home / "checkouts").iterdir()] == []
    with sqlite3.connect(desk.home / "journal.db") as connection:
        assert connection.execute("SELECT count(*) FROM process").fetchone() == (0,)


histories = st.lists(st.tuples(st.sampled_from("ABCD"), st.booleans()), min_size=1, max_size=12)


@settings(deadline=None, max_examples=100)
@given(histories)
def test_the_version_before_is_another_one(history: list[tuple[str, bool]]) -> None:
    chain = [
        Deployment(str(index), name, name, "rolledback" if back else "upgraded")
        for index, (name, back) in enumerate(history)
    ]
    before = version_before(chain)
    assert before is None or before.version_run != chain[0].version_run


@settings(deadline=None, max_examples=100)
@given(st.integers(2, 8))
def test_repeated_rollbacks_walk_down_the_versions(count: int) -> None:
    chain = [Deployment(str(n), str(n), str(n), "upgraded") for n in reversed(range(count))]
    for wanted in reversed(range(count - 1)):
        before = version_before(chain)
        assert before is not None
        assert before.version == str(wanted)
        chain.insert(0, Deployment(f"r{wanted}", before.version, before.version_run, "rolledback"))
    assert version_before(chain) is None


def test_two_environments_are_deployed_to_at_once(desk: Any) -> None:
    config = (desk.tree / "cx.toml").read_text()
    second = config[config.index("[stages.deploy]") : config.index("[promotions]")]
    second = second.replace("stages.deploy", "stages.second").replace("production", "staging")
    meet = (
        f'mkdir -p "{desk.live}"; touch "{desk.live}/$CXLOCAL_ENVIRONMENT"\n'
        f'until test -e "{desk.live}/production" -a -e "{desk.live}/staging"; do sleep 0.02; done\n'
        f'cp "$CXLOCAL_ARTIFACT_APP" "{desk.live}/$CXLOCAL_ENVIRONMENT"; test -e deploy.sh\n'
    )
    desk.write({
        "cx.toml": config.replace("[promotions]", f"{second}\n[promotions]")
        + 'staging = { lifetime = "lasting" }\n', "deploy.sh": meet,
    })  # fmt: skip
    version = desk.release()
    done = desk.shell(
        f"cxlocal deploy {version} --to production & cxlocal deploy {version} --to staging; wait $!"
    )
    assert done.code == 0, done.err
    assert [(desk.live / name).read_text().strip() for name in ("production", "staging")] == [
        version, version,
    ]  # fmt: skip
    assert len(desk.rows("SELECT 1 FROM deployments_now")) == 2
