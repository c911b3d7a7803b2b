"""docs/ci.md: two Buildbot masters, a workflow by act, and a laptop release one product."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Any

import pytest
from ci_kit import BLOCKS, CANCELLED, EXCEPTION, RETRY, SUCCESS, Buildbot, Farm, planted, until
from typed import type_in

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

RUNS = (
    "SELECT b.version, b.place, coalesce(b.place_url, '') AS place_url, b.outcome, b.revision, b.run"
    " FROM run_board b JOIN run r ON r.id = b.run WHERE b.version <> '' ORDER BY r.number"
)
TOLD = (
    "SELECT r.version, r.outcome, r.place_url AS url, p.run_id, CAST(p.attempt AS INTEGER) AS attempt,"
    " p.branch FROM run r JOIN (SELECT l.name AS run, e.document ->> '$.customData.cxlocal.place.run_id'"
    " AS run_id, e.document ->> '$.customData.cxlocal.place.attempt' AS attempt,"
    " e.document ->> '$.customData.cxlocal.place.branch' AS branch FROM event e JOIN run_lookup l"
    " ON l.id = e.run) p ON p.run = r.id WHERE p.run_id IS NOT NULL AND r.place = 'buildbot-a'"
    " AND CAST(r.place_number AS INTEGER) >= {} ORDER BY attempt"
)
GATED = BLOCKS["cx.toml"].replace(
    "'echo", "'touch @GATE@/began-$CXLOCAL_VERSION; until test -e @GATE@/open; do sleep 0.05; done; echo"
)  # fmt: skip


@pytest.fixture(scope="module")
def farm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Farm]:
    made = Farm(tmp_path_factory.mktemp("farm"))
    yield made
    made.close()


@pytest.fixture(scope="module")
def buildbot(farm: Farm) -> Buildbot:
    """A master whose worker stays."""
    return Buildbot(farm, "a")


def test_two_ci_servers_and_a_laptop_make_one_history(
    farm: Farm, buildbot: Buildbot, monkeypatch: pytest.MonkeyPatch
) -> None:
    token, first = farm.token("passing"), buildbot
    other = Buildbot(farm, "b", token)
    for name, value in farm.environ("laptop").items():
        monkeypatch.setenv(name, value)
    assert "Releasing shop 0.1.0" in first.release()
    type_in(farm.work, BLOCKS["laptop"].replace("https://ci-a.example.org/", first.url))
    # One push, which three servers build at the same moment. Two of them are then gone.
    commit = farm.push(BLOCKS["cx.toml"] + "\n")
    farm.act("act-server", "act-user", CXLOCAL_STORE_TOKEN=token)
    assert (first.result(2), other.result(1)) == (SUCCESS, SUCCESS)
    for machine in ("act-user", other.machine):
        farm.forget(machine)
    runs = farm.rows("laptop", RUNS)[1:]
    assert [run["version"] for run in runs] == ["0.1.1", "0.1.2", "0.1.3"]
    assert {run["place"]: run["place_url"] for run in runs} == {
        "act": "https://ci-c.example.org/runs/1",
        "buildbot-a": f"{first.url}#/builders/1/builds/2",
        "buildbot-b": f"{other.url}#/builders/1/builds/1",
    }
    assert {(run["revision"], run["outcome"]) for run in runs} == {(commit, "success")}
    built = {
        row["version"]: row["sha256"]
        for row in farm.rows("laptop", "SELECT version, sha256 FROM artifact")
    }
    assert len(set(built.values())) == len(built) == 4, "each server built bytes of its own"
    for version in ("0.1.1", "0.1.2", "0.1.3"):
        farm.at("laptop", "cxlocal", "deploy", version, "--to", "production")
        assert live(farm) == built[version]
    laptop_itself(farm)
    again(farm, first)
    without_the_store(farm, first, other)
    one_history(farm, first, other, token)
    other.close()


def live(farm: Farm) -> str:
    """The digest of what the laptop deployed."""
    return hashlib.sha256((farm.root / "laptop" / "live" / "app.txt").read_bytes()).hexdigest()


def laptop_itself(farm: Farm) -> None:
    """A workflow by act on a laptop: the machine that it is."""
    said = farm.act("act", "laptop")
    assert "Releasing shop 0.1.4" in said
    [run] = farm.rows("laptop", f"SELECT * FROM ({RUNS}) WHERE version = '0.1.4'")
    assert (run["place"], run["place_url"]) == ("laptop", "")


def again(farm: Farm, server: Buildbot) -> None:
    """A rebuild is a later attempt of the same CI run."""
    server.tell("builders/1/builds/1", "rebuild")
    assert server.result(3) == SUCCESS
    former, _, later = farm.rows("laptop", TOLD.format(1))
    assert (former["version"], former["attempt"], later["version"]) == ("0.1.0", 1, "0.1.5")
    assert (later["run_id"], later["attempt"]) == (former["run_id"], 3)


def without_the_store(farm: Farm, server: Buildbot, other: Buildbot) -> None:
    """The worker that stays has numbers left; those that are made for a build have none."""
    farm.store.stop()
    said = server.release()
    assert "Releasing shop 0.1.100  (number from the reserve, not yet confirmed)" in said
    other.force()
    assert other.result(2) == EXCEPTION
    assert "there is no version number for this run" in other.said(2)
    farm.store.start()
    farm.at(server.machine, "cxlocal", "sync", "--require-sync")
    farm.at("laptop", "cxlocal", "sync")
    farm.at("laptop", "cxlocal", "deploy", "0.1.100", "--to", "production")
    assert "0.1.100" in (farm.root / "laptop" / "live" / "app.txt").read_text()
    assert "Releasing shop 0.1.103" in server.release()


def one_history(farm: Farm, server: Buildbot, other: Buildbot, token: str) -> None:
    """The same on the laptop and on a worker, pages included, and no token in it."""
    runs = farm.rows("laptop", RUNS)
    assert runs == farm.rows(server.machine, RUNS)
    versions = [run["version"] for run in runs if run["version"]]
    assert len(versions) == len(set(versions)) == 8
    for machine in ("laptop", server.machine):
        farm.at(machine, "cxlocal", "verify")
    page = farm.at("laptop", "cxlocal", "browse", "--get", "/journal/-/run/0.1.3?deliverable=shop")
    [run] = [run for run in runs if run["version"] == "0.1.3"]
    assert f'<a href="{run["place_url"]}" rel="noopener noreferrer">{run["place"]}</a>' in page
    assert "main" in page.partition("Branch")[2][:100], "no branch is checked out, but told"
    # Only where it was put for the master, and for act by the environment.
    assert planted(farm.root, token, but=("store-token",)) == []


def test_a_build_that_is_cut_off_is_told_and_begun_anew(farm: Farm, buildbot: Buildbot) -> None:
    gate, last = farm.root / "gate", buildbot.builds()
    gate.mkdir(exist_ok=True)
    farm.push(GATED.replace("@GATE@", str(gate)))

    def began(count: int) -> None:
        until(lambda: len(list(gate.glob("began-*"))) == count, f"{count} builds have begun")

    def go_on(number: int) -> int:
        (gate / "open").touch()
        return buildbot.result(number)

    # The worker alone: what it had started goes on, beside the build that takes its place.
    began(1)
    buildbot.kill_worker()
    buildbot.start_worker()
    began(2)
    assert (go_on(last + 2), buildbot.result(last + 1)) == (SUCCESS, RETRY)
    assert "cut off" not in buildbot.said(last + 2)
    ended(farm, buildbot, last, 2)
    # With its machine: nothing goes on.
    (gate / "open").unlink()
    buildbot.force()
    began(3)
    buildbot.kill_worker(whole_machine=True)
    buildbot.start_worker()
    began(4)
    assert (go_on(last + 4), buildbot.result(last + 3)) == (SUCCESS, RETRY)
    assert "had been cut off (cxlocal run --no-input); it is recorded as an error" in buildbot.said(
        last + 4
    )
    # By its button.
    (gate / "open").unlink()
    buildbot.force()
    began(5)
    buildbot.tell(f"builders/1/builds/{last + 5}", "stop", reason="enough")
    assert buildbot.result(last + 5) == CANCELLED
    runs = ended(farm, buildbot, last, 5)
    assert [run["outcome"] for run in runs] == ["success", "success", "error", "success", "cancel"]
    assert [run["attempt"] for run in runs] == [last + count for count in range(1, 6)]
    ids = [run["run_id"] for run in runs]
    assert ids[0] == ids[1] != ids[2] == ids[3] != ids[4], "a repetition is of the same CI run"
    assert [run["url"] for run in runs] == [
        f"{buildbot.url}#/builders/1/builds/{last + count}" for count in range(1, 6)
    ]


def ended(farm: Farm, buildbot: Buildbot, last: int, count: int) -> list[dict[str, Any]]:
    """What is recorded of the builds after one, as soon as so many have ended: Buildbot does not wait for that."""

    def all_ended() -> Any:
        farm.at(buildbot.machine, "cxlocal", "sync")
        runs = farm.rows("laptop", TOLD.format(last + 1))
        return len(runs) == count and all(run["outcome"] for run in runs) and runs

    found: list[dict[str, Any]] = until(all_ended, f"{count} runs have ended")
    return found
