"""A kept machine numbers the releases of passing ones while the store is down."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from cxlocal.revision.local_file import LocalFile, agree_to_local

ONE = '[stages]\nbuild = { command = "true" }\n'
GITHUB = {"CI": "true", "GITHUB_ACTIONS": "true"}
JOIN = re.compile(r"cxlocal store join (\S+) --code (\S+)")


class Site:
    """A store that can go away, a laptop, a machine that lends, and CI jobs with empty homes."""

    def __init__(self, shop: Any, root: Path) -> None:
        self.shop, self.root = shop, root
        self.store = root / "shared" / "store.db"
        self.common = {"CXLOCAL_STORE": f"sqlite://{self.store}"}
        self.laptop = {**self.common, "CXLOCAL_HOME": str(root / "laptop")}
        self.lender = {**self.common, "CXLOCAL_HOME": str(root / "lender")}
        self.process: subprocess.Popen[str] | None = None
        self.url = self.token = ""
        shop.write(ONE)
        (shop.tree / ".gitignore").write_text("*.bundle\ncx.local.toml\n.cx/run\n")
        shop.push("ignore")
        self.local("[store]\nlends = 6\n")
        shop.command("store", "create", self.common["CXLOCAL_STORE"], env=self.laptop)

    def local(self, text: str) -> None:
        """Write the file of this machine, and agree to it on each."""
        path = self.shop.tree / "cx.local.toml"
        path.write_text(text)
        found = LocalFile(path, text.encode(), tracked=False, ignored="")
        for env in (self.laptop, self.lender):
            agree_to_local(found, Path(env["CXLOCAL_HOME"]), "now")

    def job(self, name: str, **more: str) -> dict[str, str]:
        return {
            **self.common, **GITHUB, "CXLOCAL_HOME": str(self.root / name),
            "CXLOCAL_PATIENCE": "1s", "CXLOCAL_LENDER": self.url, "CXLOCAL_LENDER_TOKEN": self.token, **more,
        }  # fmt: skip

    def lend(self, **more: str) -> str:
        """Begin to lend; what was said on standard error until then."""
        said = self.root / "lender.err"
        with open(said, "w", encoding="utf-8") as errors:
            self.process = subprocess.Popen(
                [self.shop.cx.program, "serve", "--lend", "--port",
                 self.url.rpartition(":")[2] or "0"],
                cwd=self.shop.tree, stdout=subprocess.PIPE, stderr=errors, text=True,
                env={**os.environ, **self.shop.environ, **self.lender, **more},
            )  # fmt: skip
        assert self.process.stdout is not None
        self.url = self.process.stdout.readline().strip()
        assert self.url, said.read_text()
        return said.read_text()

    def enrol(self, said: str) -> None:
        """Give the jobs a token, as an administrator does."""
        found = JOIN.search(said)
        assert found is not None, said
        done = self.shop.command(
            "store", "join", found[1], "--code", found[2], "--print-token", env=self.laptop
        )
        assert done.code == 0, done.err
        self.token = done.out.strip()
        assert f"CXLOCAL_LENDER={self.url}" in done.err and "CXLOCAL_LENDER_TOKEN" in done.err

    def stop(self, number: int = signal.SIGTERM) -> None:
        if self.process is not None:
            process, self.process = self.process, None
            process.send_signal(number)
            process.wait(20)
            assert process.stdout is not None
            process.stdout.close()

    def away(self) -> None:
        """A file in the place of the folder: an empty place would be filled with a new store."""
        folder = self.store.parent
        folder.rename(folder.with_name("shared.away"))
        folder.touch()

    def back(self) -> None:
        folder = self.store.parent
        folder.unlink()
        folder.with_name("shared.away").rename(folder)

    def begin(self) -> None:
        """Two online releases on the laptop, a lender with its reserve, and then no store."""
        for _ in range(2):
            assert self.shop.run(env=self.laptop).code == 0
        self.enrol(self.lend())
        self.away()

    def released(self, name: str, **more: str) -> Any:
        return self.shop.run("--json", env=self.job(name, **more))

    def known(self, sql: str, env: dict[str, str] | None = None) -> Any:
        return self.shop.command("sql", sql, "--json", env=env or self.laptop).json()

    def bundles(self) -> list[Path]:
        return sorted(self.shop.tree.glob("cxlocal-*.bundle"))

    def ask(self, run: str = "a-run", **more: Any) -> requests.Response:
        asked = {"deliverable": "shop", "line": "0.1", "scheme": "semver", "run": run,
                 "node": "ab" * 16, "actor": {"id": "ann"}, "above": -1, **more}  # fmt: skip
        headers = {"authorization": f"Bearer {self.token}"}
        return requests.post(f"{self.url}/v1/lend", json=asked, headers=headers, timeout=10)


@pytest.fixture
def site(shop: Any, tmp_path: Path) -> Iterator[Site]:
    made = Site(shop, tmp_path)
    yield made
    made.stop()


STATES = "SELECT number, state, how FROM number_uses ORDER BY number"


def test_a_job_is_numbered_by_the_lender_while_the_store_is_down(site: Site, shop: Any) -> None:
    site.begin()
    done = site.released("job")
    assert done.code == 6, done.err
    told = json.loads(done.out)
    assert told["version"] == "0.1.106"
    [path] = site.bundles()
    assert "lent by another machine" in done.err
    # The lender goes on releasing by itself, and counts on above what it lent.
    assert json.loads(shop.run("--json", env=site.lender).out)["version"] == "0.1.107"
    assert json.loads(shop.run("--json", env=site.laptop).out)["version"] == "0.1.100"
    site.back()
    assert shop.command("import", path, env=site.laptop).code == 0
    for env in (site.lender, site.laptop):
        assert shop.command("sync", "--require-sync", env=env).code == 0
    for env in (site.lender, site.laptop):
        states = site.known(STATES, env)
        assert {row["state"] for row in states} == {"in use, confirmed"}, states
        assert [row["how"] for row in states if row["number"] == 106] == ["lent"]
        assert shop.command("verify", env=env).code == 0
    explained = shop.command("version", "explain", "0.1.106", env=site.laptop)
    assert "another machine, which lent it" in explained.out, explained.out
    online = json.loads(site.released("next").out)["version"]
    assert int(online.rpartition(".")[2]) > 107


def test_the_store_knows_of_a_loan_by_the_lender_alone(site: Site, shop: Any) -> None:
    site.begin()
    assert site.released("job").code == 6
    site.back()
    # The bundle is still on its way, or lost: the number is that run's all the same.
    assert shop.command("sync", "--require-sync", env=site.lender).code == 0
    assert shop.command("sync", env=site.laptop).code == 0
    assert site.known(STATES)[-1] == {
        "number": 106, "state": "in use, confirmed", "how": "lent"
    }  # fmt: skip
    assert json.loads(shop.run("--json", env=site.laptop).out)["version"] == "0.1.112"


def test_two_jobs_at_once_and_the_same_run_twice(site: Site, shop: Any) -> None:
    site.begin()
    jobs = [
        subprocess.Popen(
            [shop.cx.program, "run", "--json"], cwd=shop.tree, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            env={**os.environ, **shop.environ, **site.job(f"job{index}")},
        )
        for index in range(2)
    ]  # fmt: skip
    found = [(job.communicate(timeout=50), job.returncode) for job in jobs]
    assert [code for _, code in found] == [6, 6], found
    assert {json.loads(out)["version"] for (out, _), _ in found} == {"0.1.106", "0.1.107"}
    once, again, other = site.ask("a-run"), site.ask("a-run"), site.ask("other")
    assert once.json() == again.json()
    assert (once.json()["text"], other.json()["text"]) == ("0.1.108", "0.1.109")
    assert once.json()["k"] > 0 and once.json()["generation"] == 1


def test_a_number_that_the_job_knows_to_be_in_use_is_not_lent(site: Site) -> None:
    site.begin()
    assert site.ask("a-run", above=108).json()["number"] == 109
    refused = site.ask("b-run", above=10**6)
    assert (refused.status_code, refused.json()["error"]) == (403, "lender-empty")
    assert site.ask("c-run").json()["number"] == 110, "a question burns nothing it cannot use"


def test_a_lender_killed_after_its_commit_gives_the_same_number_again(site: Site) -> None:
    site.begin()
    first = site.ask("a-run").json()
    site.stop(signal.SIGKILL)
    site.lend()
    assert site.ask("a-run").json() == first
    assert site.ask("b-run").json()["number"] == first["number"] + 1


@pytest.mark.parametrize("point", ["before", "after"])
def test_a_lender_killed_around_its_commit_lends_no_number_twice(
    point: str, site: Site, tmp_path: Path
) -> None:
    site.begin()
    site.stop()
    # The process ends itself at the first loan it is about to answer.
    (tmp_path / "dying").mkdir()
    (tmp_path / "dying" / "sitecustomize.py").write_text(DYING)
    site.lend(PYTHONPATH=str(tmp_path / "dying"), DIES=point)
    with pytest.raises(requests.ConnectionError):
        site.ask("a-run")
    site.stop(signal.SIGKILL)
    site.lend()
    other, same = site.ask("b-run").json(), site.ask("a-run").json()
    wanted = (106, 107) if point == "before" else (107, 106)
    assert (other["number"], same["number"]) == wanted


DYING = """
import os, sys
if "serve" in sys.argv:
    import cxlocal.allocation.allocator as obtain
    import cxlocal.allocation.lender as lending
    def die(*given, **named):
        os._exit(9)
    if os.environ["DIES"] == "before":
        record = obtain.record_use
        def record_use(*given, **named):
            record(*given, **named)
            die()  # inside the transaction
        obtain.record_use = record_use
    else:
        lending._granted = die
"""


def test_an_empty_lender_says_every_way_out(site: Site, shop: Any) -> None:
    site.begin()
    for index in range(6):
        assert site.ask(f"run{index}").status_code == 200
    done = shop.run(env=site.job("job"))
    assert done.code == 5, done.err
    for words in (
        "once the store answers", "the lender gave none", "none above", "'cxlocal sync'",
        "[store] lends", "when_empty",
    ):  # fmt: skip
        assert words in done.err, done.err
    assert len(site.bundles()) == 1
    # With the store back, the lender fetches more.
    site.back()
    assert shop.command("sync", env=site.lender).code == 0
    site.away()
    assert site.ask("one-more").json()["number"] > 111


def test_strangers_and_members_without_the_right_get_nothing(site: Site, shop: Any) -> None:
    site.begin()
    refused = site.released("job", CXLOCAL_LENDER_TOKEN="0" * 64)
    assert refused.code == 5
    assert "the lender does not know this machine" in refused.err
    env = {**site.lender}
    code = shop.command("store", "invite", "reader", "--read", "*", "--store", "lend:", env=env)
    assert code.code == 0, code.err
    joined = shop.command(
        "store", "join", site.url, "--code", code.out.strip(), "--print-token", env=site.laptop
    )
    site.token = joined.out.strip()
    refused_answer = site.ask()
    assert (refused_answer.status_code, refused_answer.json()["error"]) == (403, "not-allowed")
    assert requests.post(f"{site.url}/v1/lend", json={}, timeout=10).status_code == 401
    rows = site.known("SELECT count(*) AS lent FROM version WHERE how = 'lent'", site.lender)
    assert rows == [{"lent": 0}]


def test_the_token_of_a_job_borrows_and_does_nothing_else(site: Site) -> None:
    """It stands in the secrets of a CI server, where many can read it."""
    site.begin()
    for path, body in (
        ("members/invite", {"name": "intruder", "rights": {"manage": True}}),
        ("members/revoke", {"name": "ci"}),
    ):
        answer = requests.post(
            f"{site.url}/v1/{path}", json=body, timeout=10,
            headers={"authorization": f"Bearer {site.token}"},
        )  # fmt: skip
        assert (answer.status_code, answer.json()["error"]) == (403, "not-allowed"), path
    seen = requests.get(
        f"{site.url}/v1/members", headers={"authorization": f"Bearer {site.token}"}, timeout=10
    ).json()
    rights = {"take": ["*"], "push": [], "read": [], "manage": False}
    assert [(one["name"], one["rights"]) for one in seen["members"]] == [("ci", rights)]
    assert site.ask().status_code == 200
    # Started again, it prints no further code.
    site.stop()
    assert not JOIN.search(site.lend())


def test_malformed_questions_are_refused(site: Site) -> None:
    site.begin()
    wrong: list[dict[str, Any]] = [
        {"run": ""}, {"run": "x" * 300}, {"node": "me"}, {"above": "1"}, {"above": True},
        {"actor": ["x"]}, {"actor": {"id": 1}}, {"line": None}, {"deliverable": " "},
        {"scheme": "roman"}, {"line": "not a line"},
    ]  # fmt: skip
    for one in wrong:
        assert site.ask(**one).status_code == 400, one
    assert site.ask(deliverable="other").json()["error"] == "lender-empty"


def test_a_copy_of_the_lender_lends_nothing(site: Site, tmp_path: Path) -> None:
    site.begin()
    site.stop()
    shutil.copytree(tmp_path / "lender", tmp_path / "copy")
    site.lender["CXLOCAL_HOME"] = str(tmp_path / "copy")
    site.lend()
    refused = site.ask()
    assert (refused.status_code, refused.json()["error"]) == (403, "reserve-locked")
    done = site.released("job")
    assert done.code == 5 and "locked" in done.err, done.err


def test_doctor_says_what_a_ci_job_may_hope_for(site: Site, shop: Any) -> None:
    def lender(env: dict[str, str]) -> dict[str, Any]:
        rows = shop.command("doctor", "--json", env=env).json()
        return next((row for row in rows if row["name"] == "lender"), {})

    site.begin()
    found = lender(site.job("a"))
    assert (found["state"], found["found"]) == ("ok", "answers; holds 6 numbers of line 0.1")
    found = lender(site.job("b", CXLOCAL_LENDER="", CXLOCAL_LENDER_TOKEN=""))
    assert found["state"] == "bad" and "cannot number releases" in found["found"]
    assert "serve --lend" in found["to_do"]
    assert lender({**site.laptop, "CXLOCAL_LENDER": site.url})["state"] == "note"
    assert lender(site.laptop) == {}
    site.stop()
    found = lender(site.job("c"))
    assert found["state"] == "bad" and "lender cannot be reached" in found["found"]


def test_a_lender_that_is_away_or_wrong_costs_the_job_its_number_only(
    site: Site, shop: Any
) -> None:
    site.begin()
    site.stop()
    assert site.released("gone").code == 5
    done = site.released("file", CXLOCAL_LENDER="file:///x")
    assert done.code == 5 and "no address of a machine that lends" in done.err, done.err
    assert site.released("told", CXLOCAL_LENDER="", CXLOCAL_LENDER_TOKEN="").code == 5


def test_what_cannot_lend_says_so(site: Site, shop: Any) -> None:
    own = shop.command("serve", "--lend", env={**site.lender, "CXLOCAL_STORE": ""})
    assert own.code == 3 and "nothing to lend" in own.err
    both = shop.command("serve", "--lend", "--store", "sqlite:", env=site.lender)
    assert both.code == 2, both.err


def test_the_lender_is_no_store(site: Site, shop: Any) -> None:
    site.begin()
    assert requests.get(f"{site.url}/v1/health", timeout=10).status_code == 200
    done = shop.command("store", "join", site.url, "--code", "x" * 16, env={**site.laptop})
    assert done.code == 4
    env = {"CXLOCAL_HOME": str(site.root / "fresh"), "CXLOCAL_STORE": site.url}
    done = shop.command("sync", env={**env, "CXLOCAL_STORE_TOKEN": site.token})
    assert done.code != 0 and "no store is served here" in done.err, done.err


def test_the_reserve_grows_to_what_is_to_be_lent(site: Site, shop: Any) -> None:
    site.local("")
    assert shop.run(env=site.lender).code == 0
    assert site.known("SELECT hi - lo + 1 AS size FROM reserve", site.lender) == [{"size": 3}]
    site.local("[store]\nlends = 20\n")
    site.lend()
    assert site.known("SELECT hi - lo + 1 AS size FROM reserve", site.lender) == [{"size": 20}]
    for _ in range(2):
        shop.command("sync", env=site.lender)
    assert site.known("SELECT count(*) AS n FROM number_range", site.lender) == [{"n": 2}]


def test_a_lender_of_another_store_is_refused(site: Site, shop: Any) -> None:
    site.lender["CXLOCAL_STORE"] = f"sqlite://{site.root / 'other.db'}"
    site.shop.command("store", "create", site.lender["CXLOCAL_STORE"], env=site.lender)
    assert shop.run(env=site.lender).code == 0
    site.enrol(site.lend())
    # This job has met its store before, so it knows that the numbers mean something else there.
    assert site.released("job", CXLOCAL_NODE="passing").code == 0
    site.away()
    done = site.released("job", CXLOCAL_NODE="passing")
    assert done.code == 5 and "the lender belongs to another store" in done.err, done.err
    site.back()
    assert json.loads(site.released("next").out)["version"] == "0.1.1"


def test_without_any_number_left_a_name_is_made_up_if_that_is_set(site: Site, shop: Any) -> None:
    shop.write('[version]\nwhen_empty = "suffix"\n' + ONE)
    site.begin()
    site.stop()
    done = site.released("job")
    assert done.code == 6 and "-offline." in json.loads(done.out)["version"], done.err


def test_one_run_in_single_commands_has_one_number(site: Site, shop: Any) -> None:
    site.begin()
    env = site.job("job", CXLOCAL_NODE="passing", GITHUB_RUN_ID="7", GITHUB_RUN_ATTEMPT="1")
    started = shop.command("run", "start", env=env)
    assert started.code == 0, started.err
    for _ in range(2):
        assert shop.command("version", "next", env=env).out == "0.1.106\n"
    assert shop.command("run", "finish", env=env).code == 6
    assert len(site.bundles()) == 1
