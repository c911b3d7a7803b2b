"""Deployments tell the truth: nothing older goes over something newer by any way, and what failed is
said of its environment until something comes to run there."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

ONE_STAGE = """
[version]
line = "1.0"
[stages]
build = {{ kind = "build", command = "cat src.txt > app.txt", produces = {{ app = "app.txt" }} }}
live = {{ kind = "deploy", command = {command}, needs = ["build"], environment = "production" }}
[environments]
production = {{ title = "Live" }}
"""
HOW = "echo half > {live}; {rest}; echo $CXLOCAL_VERSION > {live}"


class Site:
    """A shop that is deployed by writing its version into a file."""

    def __init__(self, shop: Any, root: Path) -> None:
        self.shop = shop
        self.file = root / "LIVE"
        self.trouble = root / "trouble"

    def write(self, rest: str = "true", **files: str) -> None:
        """The project; ``rest`` is what a deployment does in the middle of it."""
        command = HOW.format(live=self.file, rest=rest)
        config = ONE_STAGE.format(command=repr(command))
        self.shop.write(config, {"src.txt": "one", ".gitignore": "app.txt\n.cx/run\n", **files})

    def live(self) -> str:
        """What runs there."""
        return self.file.read_text().strip()

    def release(self, *arguments: str) -> Any:
        """One more version, into production."""
        self.shop.push("one more")
        return self.shop.run("--to", "production", *arguments)

    def start(self, *arguments: str) -> subprocess.Popen[bytes]:
        """A command that is in the middle of a deployment when this returns."""
        self.file.unlink(missing_ok=True)
        process: subprocess.Popen[bytes] = self.shop.start(*arguments)
        wait_until(lambda: self.file.exists() and self.live() == "half", process)
        return process

    def said(self) -> dict[str, str]:
        """What status, env and the pages say of production."""
        rows = self.shop.query("SELECT coalesce(after_it, '') FROM release_board")
        return {
            "status": self.shop.command("status").out,
            "env list": self.shop.command("env", "list").out,
            "env show": self.shop.command("env", "show", "production").err,
            "board": "; ".join(rows),
        }


def wait_until(holds: Callable[[], bool], process: subprocess.Popen[bytes]) -> None:
    while not holds():
        try:
            process.wait(0.05)
        except subprocess.TimeoutExpired:
            continue
        raise AssertionError((process.communicate(), process.returncode))


@pytest.fixture
def site(shop: Any, tmp_path: Path) -> Site:
    return Site(shop, tmp_path)


def test_nothing_older_goes_over_something_newer_by_any_way(site: Site) -> None:
    site.write()
    shop = site.shop
    assert shop.run().code == 0
    older = shop.last()
    # A run of single commands, begun before the newer version and not deployed yet.
    done = shop.command("run", "start", "--json")
    begun = {"CXLOCAL_RUN": done.json()["run"]}
    assert site.release().code == 0
    newer = site.live()
    assert newer == "1.0.2"
    shop.git("checkout", "-q", "HEAD~")

    api = (
        "import cxlocal\n"
        "with cxlocal.open_run() as run:\n"
        "    with run.stage('live'{}) as stage:\n"
        f"        open({str(site.file)!r}, 'w').write(run.version)\n"
    )
    put = f"echo $CXLOCAL_VERSION > {site.file}"
    ways: dict[str, Callable[..., tuple[int, str]]] = {
        "run --resume": lambda *more: told(
            shop.run("--resume", older, "--to", "production", *more)
        ),
        "deploy": lambda *more: told(shop.command("deploy", "1.0.0", "--to", "production", *more)),
        "stage": lambda *more: told(
            shop.command("stage", "live", *more, "--", "sh", "-c", put, env=begun)
        ),
        "stage of another kind": lambda *more: told(
            shop.command("stage", "live", "--kind", "task", *more, "--", "sh", "-c", put, env=begun)
        ),
        "stage --began": lambda *more: told(
            shop.command("stage", "live", *more, "--began", env=begun)
        ),
        "open_run": lambda *more: python(
            shop, api.format(", allow_older=True" if more else ""), begun
        ),
    }
    for name, way in ways.items():
        code, err = way()
        assert code == 3, (name, err)
        assert f"is older than {newer}, which is live in production" in err, name
        assert "cxlocal rollback production --to 1.0." in err, name
        assert "--allow-older" in err or "allow_older=True" in err, name
        assert site.live() == newer, name
    refused = shop.query("SELECT version FROM deployment_attempt WHERE outcome = 'refused'")
    assert sorted(refused) == ["1.0.0"] * 2 + ["1.0.1"] * 4
    assert "failed here" not in "".join(site.said().values()), "nothing was changed"
    assert "refused" in shop.command("env", "show", "production").out

    for name in ("run --resume", "stage", "open_run", "deploy"):
        assert shop.command("deploy", newer, "--to", "production").code == 0
        code, err = ways[name]("--allow-older")
        assert (code, site.live()) == (0, "1.0.0" if name in ("run --resume", "deploy") else "1.0.1"), (
            name, err,
        )  # fmt: skip
        now = shop.query("SELECT version, kind FROM deployments_now")
        assert now == [(site.live(), "rolledback")], name


def told(done: Any) -> tuple[int, str]:
    return done.code, done.err


def python(shop: Any, program: str, env: dict[str, str]) -> tuple[int, str]:
    """A Python program that reports; its exit code is that of the error it ends in."""
    end = "\nexcept cxlocal.CxError as problem:\n    sys.exit(print(problem, problem.hint) or int(problem.exit_code))\n"
    body = "".join(f"    {line}\n" for line in program.splitlines())
    done = subprocess.run(
        [sys.executable, "-c", f"import sys\nimport cxlocal\ntry:\n{body}{end}"],
        cwd=shop.tree, env={**os.environ, **shop.environ, **env}, capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    return done.returncode, done.stdout + done.stderr


def test_a_slow_older_run_that_ends_last_is_refused(site: Site, tmp_path: Path) -> None:
    go = tmp_path / "go"
    site.write()
    site.shop.write(
        ONE_STAGE.format(command=repr(f"echo $CXLOCAL_VERSION > {site.file}")).replace(
            "cat src.txt >", f"touch {go}.begun; while grep -q slow src.txt && [ ! -e {go} ];"
            " do sleep 0.05; done; cat src.txt >"
        ),
        {"src.txt": "slow"},
    )  # fmt: skip
    slow = site.shop.start("run", "--to", "production")
    wait_until(Path(f"{go}.begun").exists, slow)
    site.shop.write((site.shop.tree / "cx.toml").read_text().partition("\n\n")[2], {"src.txt": "q"})
    assert site.shop.run("--to", "production").code == 0
    assert site.live() == "1.0.1"
    go.touch()
    err = slow.communicate()[1].decode()
    assert (slow.returncode, "1.0.0 is older than 1.0.1" in err) == (3, True), err
    assert site.live() == "1.0.1"
    # Its way out is one that works.
    done = site.shop.command("rollback", "production", "--to", "1.0.0")
    assert (done.code, site.live()) == (0, "1.0.0"), done.err


def test_what_another_machine_deployed_meanwhile_is_asked_for(site: Site, tmp_path: Path) -> None:
    store = {"CXLOCAL_STORE": f"sqlite://{tmp_path}/shared/store.db"}
    assert site.shop.command("store", "create", store["CXLOCAL_STORE"]).code == 0
    other = {**store, "CXLOCAL_HOME": str(tmp_path / "other")}
    go = tmp_path / "go"
    site.write(rest="true")
    site.shop.write(
        ONE_STAGE.format(command=repr(f"echo $CXLOCAL_VERSION > {site.file}")).replace(
            "cat src.txt >", f"touch {go}.begun; while [ $CXLOCAL_VERSION = 1.0.0 ] &&"
            f" [ ! -e {go} ]; do sleep 0.05; done; cat src.txt >"
        )
    )  # fmt: skip
    site.shop.environ.update(store)
    slow = site.shop.start("run", "--to", "production")
    wait_until(Path(f"{go}.begun").exists, slow)
    done = site.shop.run("--to", "production", env=other)
    assert (done.code, site.live() > "1.0.0") == (0, True), done.err
    newer = site.live()
    go.touch()
    err = slow.communicate()[1].decode()
    assert (slow.returncode, f"1.0.0 is older than {newer}" in err) == (3, True), err
    assert site.live() == newer
    # And it is the other's to know what was refused here.
    assert site.shop.command("sync", env=other).code == 0
    assert "refused" in site.shop.command("env", "show", "production", env=other).out


def failing(site: Site) -> None:
    site.trouble.touch()
    assert site.release().code == 1


def too_long(site: Site) -> None:
    (site.shop.tree / "cx.toml").write_text(
        (site.shop.tree / "cx.toml").read_text().replace("needs =", 'timeout = "1s", needs =')
    )
    site.trouble.write_text("long")
    assert site.release().code == 9


def tried_twice(site: Site) -> None:
    (site.shop.tree / "cx.toml").write_text(
        (site.shop.tree / "cx.toml").read_text().replace("needs =", "retries = 1, needs =")
    )
    failing(site)


def cancelled(site: Site) -> None:
    site.trouble.write_text("long")
    site.shop.push("one more")
    process = site.start("run", "--to", "production")
    process.send_signal(signal.SIGTERM)
    process.communicate()


def killed(site: Site) -> None:
    site.trouble.write_text("long")
    site.shop.push("one more")
    process = site.start("run", "--to", "production")
    process.kill()
    process.communicate()


def killed_deploy(site: Site) -> None:
    site.shop.push("one more")
    assert site.shop.run().code == 0
    site.trouble.write_text("long")
    process = site.start("deploy", "1.0.2", "--to", "production")
    assert "1.0.2 is being deployed here" in site.shop.command("status").out
    process.kill()
    process.communicate()


REST = "[ ! -e {0} ] || if grep -q long {0}; then sleep 60; else exit 1; fi"


@pytest.mark.parametrize(
    ("trouble", "words"),
    [
        (failing, "1.0.2 failed here"),
        (too_long, "1.0.2 failed here"),
        (tried_twice, "1.0.2 failed here"),
        (cancelled, "1.0.2 was cancelled here"),
        (killed, "1.0.2 was cut off here"),
        (killed_deploy, "1.0.2 was cut off here"),
    ],
)
def test_what_failed_is_said_and_rollback_puts_back_what_was_well(
    site: Site, trouble: Callable[[Site], None], words: str
) -> None:
    site.write(rest=REST.format(site.trouble))
    for version in ("1.0.0", "1.0.1"):
        assert site.release().code == 0
        assert site.live() == version
    trouble(site)
    assert site.live() == "half"
    said = site.said()
    for where in ("status", "env list", "env show"):
        assert f"{words} after it" in said[where], where
        assert said[where].count(f"{words} after it") <= 2, "once in its row, once with the way out"
    if "cut off" in words:
        # Only a machine that can look at the process knows more than that it did not end.
        assert said["board"] == "1.0.2 began here, and its end is not known after it"
    else:
        assert said["board"] == f"{words} after it"

    site.trouble.unlink()
    done = site.shop.command("rollback", "production", "-m", "it failed")
    assert (done.code, site.live()) == (0, "1.0.1"), done.err
    assert words.partition(" ")[2] not in "".join(site.said().values())
    assert site.shop.query("SELECT version, kind FROM deployments_now") == [("1.0.1", "rolledback")]
    story = site.shop.query("SELECT outcome FROM deployment_attempt WHERE version = '1.0.2'")
    assert set(story) == {words.removeprefix("1.0.2 ").removesuffix(" here").removeprefix("was ")}
    assert site.shop.command("verify").code == 0
    # And from there one further, not back to what failed.
    assert site.shop.command("rollback", "production").code == 0
    assert site.live() == "1.0.0"


def test_a_rollback_that_failed_is_tried_again(site: Site) -> None:
    site.write(rest=REST.format(site.trouble))
    for _ in range(3):
        assert site.release().code == 0
    site.trouble.touch()
    assert site.shop.command("rollback", "production").code == 1
    assert "1.0.1 failed here after it" in site.said()["status"]
    site.trouble.unlink()
    done = site.shop.command("rollback", "production")
    assert (done.code, site.live()) == (0, "1.0.1"), done.err


def test_a_first_deployment_that_failed_leaves_nothing_live(site: Site) -> None:
    site.write(rest=REST.format(site.trouble))
    site.trouble.touch()
    assert site.release().code == 1
    said = site.said()
    assert "nothing live; 1.0.0 failed here  " in said["status"]
    assert "nothing runs there; 1.0.0 failed here\n" in said["env list"]
    assert "nothing is live, 1.0.0 failed here" in said["env show"]
    done = site.shop.command("rollback", "production")
    assert (done.code, "no version to go back to" in done.err) == (2, True)
    site.trouble.unlink()
    assert site.shop.command("deploy", "1.0.0", "--to", "production").code == 0
    assert "failed here" not in "".join(site.said().values())


@pytest.mark.parametrize("settle", [
    ("env", "confirm", "production", "--live", "1.0.0", "-m", "looked"),
    ("env", "destroy", "production", "--yes"),
])  # fmt: skip
def test_a_person_settles_what_failed(site: Site, settle: tuple[str, ...]) -> None:
    site.write(rest=REST.format(site.trouble))
    assert site.release().code == 0
    site.trouble.touch()
    assert site.release().code == 1
    assert "1.0.1 failed here after it" in site.said()["status"]
    assert site.shop.command(*settle).code == 0
    assert "failed here" not in "".join(site.said().values())


HALF = """
[version]
line = "1.0"
[stages]
build = {{ kind = "build", command = "echo $CXLOCAL_VERSION > a.txt", produces = {{ app = "a.txt" }} }}
web = {{ kind = "deploy", command = "echo $CXLOCAL_VERSION > {0}/web", needs = ["build"], environment = "production" }}
job = {{ kind = "deploy", command = "test ! -e {0}/broken; echo $CXLOCAL_VERSION > {0}/job", needs = ["web"], environment = "production" }}
[environments]
production = {{}}
"""


def test_an_environment_that_was_deployed_by_half(shop: Any, tmp_path: Path) -> None:
    live = tmp_path / "live"
    live.mkdir()

    def there() -> tuple[str, str]:
        return (live / "web").read_text().strip(), (live / "job").read_text().strip()

    shop.write(HALF.format(live))
    assert shop.run("--to", "production").code == 0
    board = "SELECT service, version, state, coalesce(after_it, '') FROM release_board ORDER BY 1"
    assert [row[:2] for row in shop.query(board)] == [("job", "1.0.0"), ("web", "1.0.0")]
    shop.push("two")
    (live / "broken").touch()
    assert shop.run("--to", "production").code == 1
    assert there() == ("1.0.1", "1.0.0")
    assert shop.query(board) == [
        ("job", "1.0.0", "partly", "1.0.1 failed here after it"), ("web", "1.0.1", "partly", ""),
    ]  # fmt: skip
    for words in (("status",), ("env", "list")):
        out = shop.command(*words).out
        assert "service" in out.splitlines()[0]
        assert out.count("partly") == 2
        assert "partly; 1.0.1 failed here after it" in out
    (live / "broken").unlink()
    done = shop.command("rollback", "production", "-m", "half")
    assert (done.code, there()) == (0, ("1.0.0", "1.0.0")), done.err
    assert "partly" not in shop.command("status").out
    # The other way out is to go on.
    shop.push("three")
    (live / "broken").touch()
    assert shop.run("--to", "production").code == 1
    (live / "broken").unlink()
    assert shop.run("--resume", "1.0.2", "--to", "production").code == 0
    assert there() == ("1.0.2", "1.0.2")
    assert [row[1] for row in shop.query(board)] == ["1.0.2", "1.0.2"]
    assert {row[2] for row in shop.query(board)}.isdisjoint({"partly"})
    assert shop.command("rollback", "production").code == 0
    assert there() == ("1.0.0", "1.0.0")


def test_deploy_and_rollback_take_the_flags_of_run(site: Site) -> None:
    site.write()
    away = {"CXLOCAL_STORE": "http://127.0.0.1:9"}
    for _ in range(2):
        assert site.release("--no-input").code == 0
    flags = ("--no-input", "--offline", "--json")
    done = site.shop.command("deploy", "1.0.1", "--to", "production", *flags)
    assert (done.code, done.json()["outcome"]) == (0, "success")
    done = site.shop.command("rollback", "production", "--require-sync", *flags)
    assert (done.code, site.live()) == (6, "1.0.0"), done.err
    done = site.shop.command("deploy", "1.0.1", "--to", "production", "--require-sync", env=away)
    assert (done.code, site.live()) == (6, "1.0.1"), done.err


def test_a_stage_within_a_deployment_is_part_of_it(site: Site) -> None:
    site.write(rest="cxlocal stage live -- true")
    path = f"{Path(site.shop.cx.program).parent}{os.pathsep}{os.environ['PATH']}"
    done = site.shop.run("--to", "production", env={"PATH": path})
    assert (done.code, site.live()) == (0, "1.0.0"), done.err
    assert site.shop.query("SELECT count(*) FROM deployment") == [1]


def test_why_a_run_was_begun_is_why_it_deployed(site: Site) -> None:
    """Whoever ends it says it otherwise; a later deployment of the version has a reason of its own."""

    def said() -> str:
        (row,) = site.shop.command("env", "show", "production", "--json").json()[:1]
        now = site.shop.query("SELECT reason FROM deployments_now")
        assert now == [row["reason"]]
        return str(row["reason"] or "")

    site.write(f"test ! -e {site.trouble}")
    assert site.release("-m", "the sale begins").code == 0 and said() == "the sale begins"
    for words, reason in (((), "it broke"), (("-m", "now with power"), "now with power")):
        site.trouble.touch()
        assert site.release("-m", "it broke").code == 1
        site.trouble.unlink()
        done = site.shop.run("--resume", site.shop.last(), "--to", "production", *words)
        assert done.code == 0 and said() == reason, done.err
    again = site.shop.command("deploy", "1.0.0", "--to", "production", "--allow-older")
    assert again.code == 0 and said() == "", again.err
    site.shop.push("single commands")
    begun = site.shop.command("run", "start", "-m", "by hand").out
    site.shop.environ |= dict(re.findall(r"(?m)^export (CXLOCAL_\w+)=(\S+?);?$", begun))
    told = site.shop.command("stage", "live", "--", "sh", "-c", "true")
    assert told.code == 0 and said() == "by hand", told.err
