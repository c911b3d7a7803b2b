"""One that rotates itself, by whole commands: its script and its bytes are those of the version that is applied."""

from __future__ import annotations

import os
import subprocess
import time
from typing import Any

import pytest
from toys import DB, OBSERVE, REMOVE, STAGES, component

OPS = """\
word=$(cat "$CXLOCAL_ARTIFACT")
echo "between" > "$DESK/shop"
test ! -e "$DESK/hold" || { touch "$DESK/here"; sleep 60; }
test "$word" != bad || { echo "the shop does not come up"; exit 1; }
echo "$CXLOCAL_VERSION by SCRIPT with $word, back ${CXLOCAL_BACK:-0}" > "$DESK/shop"
echo '{"outputs": {"url": "http://shop.test"}}' > "$CXLOCAL_RESULT"
"""
SHOP = {
    "apply": "sh ops/shop.sh",
    "preview": 'echo "the shop comes to $CXLOCAL_VERSION"',
    "observe": """printf '{"version": "%s"}' "$(cut -d' ' -f1 "$DESK/shop")" > "$CXLOCAL_RESULT" """,
    "destroy": 'rm -f "$DESK/shop"',
}
CREATE = 'test ! -e "$DESK/stop"; mkdir -p "$DESK/web"; echo "$CXLOCAL_VERSION" > "$DESK/web/$CXLOCAL_RESOURCE"'
WEB = {"create": CREATE, "remove": REMOVE, "observe": OBSERVE}
CONFIG = (
    STAGES
    + component("db", DB, "mutable = true")
    + component("web", WEB, 'artifact = "app"\nneeds = ["db"]')
    + component("shop", SHOP, 'artifact = "app"\nneeds = ["db"]\ncheck = "grep -q with $DESK/shop"')
)


class Place:
    """A shop at a desk, whose script says its own name."""

    def __init__(self, shop: Any) -> None:
        self.shop = shop
        shop.environ["CXLOCAL_STORE"] = f"sqlite://{shop.root}/shared/store.db"
        assert shop.command("store", "create", shop.environ["CXLOCAL_STORE"]).code == 0

    def release(self, word: str, *words: str, **rest: Any) -> Any:
        files = {
            "ops/shop.sh": OPS.replace("SCRIPT", word), "site.txt": f"{word}\n", ".gitignore": "app.txt\n",
        }  # fmt: skip
        self.shop.write(CONFIG, files)
        return self.shop.run("--no-input", *words, **rest)

    @property
    def at(self) -> str:
        return str((self.shop.desk / "shop").read_text().strip())

    def kill_in_apply(self, word: str) -> None:
        """Release, and kill -9 while it is applied."""
        (self.shop.desk / "hold").touch()
        self.release(word, "--dry-run")
        with subprocess.Popen(
            [self.shop.cx.program, "run", "--no-input"], cwd=self.shop.tree,
            env={**os.environ, **self.shop.environ},
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        ) as run:  # fmt: skip
            until = time.monotonic() + 40
            while not (self.shop.desk / "here").exists() and time.monotonic() < until:
                time.sleep(0.02)
            run.kill()
        (self.shop.desk / "hold").unlink()


@pytest.fixture
def place(desk_shop: Any) -> Place:
    return Place(desk_shop)


def test_the_version_before_is_applied_by_its_own_script_and_bytes(place: Place) -> None:
    shop = place.shop
    done = place.release("one")
    assert done.code == 0, done.err
    assert place.at == "0.1.0 by one with one, back 0"
    told = place.release("two", "--dry-run")
    assert "shop in production: applied when all others are ready" in told.err, told.err
    told = shop.command("deploy", "0.1.0", "--to", "production", "--dry-run")
    assert "shop in production: the shop comes to 0.1.0" in told.err, told.err
    failed = place.release("bad")
    assert failed.code == 1 and "shop in production is at 0.1.0 again" in failed.err, failed.err
    assert place.at == "0.1.0 by one with one, back 1"
    assert set(shop.running.values()) == {"0.1.0"}
    done = place.release("three")
    assert done.code == 0 and place.at == "0.1.2 by three with three, back 0", done.err
    assert shop.query("SELECT service, version, uri FROM deployments_now ORDER BY service") == [
        ("shop", "0.1.2", "http://shop.test"), ("web", "0.1.2", "http://shop.test"),
    ]  # fmt: skip
    shown = shop.command("env", "show", "production").out
    assert "shop" in shown and "0.1.1" in shown, shown
    seen = shop.command("env", "observe", "production", "--json").json()
    assert (seen["observed"], seen["agrees"]) == ("0.1.2", True)
    done = shop.command("rollback", "production")
    assert done.code == 0 and place.at == "0.1.0 by one with one, back 1", done.err
    done = shop.command("env", "destroy", "production", "--yes")
    assert done.code == 0 and not (shop.desk / "shop").exists(), done.err
    assert shop.query("SELECT resource FROM resources_now") == []


def test_another_machine_goes_on_after_a_kill(place: Place) -> None:
    """With its own home, and the store alone: what is live is applied again before anything else."""
    shop = place.shop
    assert place.release("one").code == 0
    assert shop.command("sync").code == 0
    place.kill_in_apply("two")
    assert place.at == "between"
    other = {"CXLOCAL_HOME": str(shop.root / "other")}
    assert shop.command("sync", env=other).code == 0
    (shop.desk / "stop").touch()
    failed = shop.command("deploy", "0.1.0", "--to", "production", env=other)
    assert failed.code in (1, 3), failed.err
    taken = shop.command("env", "take", "production", "-m", "it was killed", env=other)
    assert taken.code == 0, taken.err
    failed = place.release("three", env=other)
    assert failed.code == 1, failed.err
    assert place.at == "0.1.0 by one with one, back 1", "nothing else could be made"
    (shop.desk / "stop").unlink()
    done = place.release("four", env=other)
    assert done.code == 0 and " by four with four" in place.at, done.err
    rows = shop.command(
        "sql", "SELECT component FROM resources_now ORDER BY component", "--json", env=other
    ).json()
    assert [row["component"] for row in rows] == ["db", "shop", "web"]


def test_one_that_is_destroyed_alone_serves_no_more(place: Place) -> None:
    """And what it was at is not come back to: whatever fails next is the first of it."""
    shop = place.shop
    assert place.release("one").code == 0
    kept = shop.command("env", "release", "production", "shop", "-m", "others have it")
    assert kept.code == 2 and "is still in the file" in kept.err, kept.err
    done = shop.command("env", "destroy", "production", "shop", "--yes")
    assert done.code == 0 and not (shop.desk / "shop").exists(), done.err
    now = "SELECT service, version FROM deployments_now"
    assert shop.query(now) == [("web", "0.1.0")]
    assert [row["service"] for row in shop.command("env", "list", "--json").json()] == ["web"]
    failed = place.release("bad")
    assert failed.code == 1 and "is at 0.1.0 again" not in failed.err, failed.err
    assert not (shop.desk / "shop").exists() and shop.query(now) == [("web", "0.1.0")]
    done = place.release("two")
    assert done.code == 0 and " by two with two" in place.at, done.err


STAGE = """
[stages]
build = { command = "cp site.txt app.txt", produces = { app = "app.txt" } }
live = { tool = "commands", environment = "production", NEEDS, pass_env = ["DESK"], with = { apply = "touch $DESK/it", destroy = 'DESTROY' } }
[environments]
production = { protected = false }
"""


@pytest.mark.parametrize("needs", ['needs = ["build"]', "needs = []"])
def test_what_a_stage_with_a_tool_brought_is_destroyed_alone(desk_shop: Any, needs: str) -> None:
    """What is left of it serves on; when it is gone nothing does."""
    shop = desk_shop
    config = STAGE.replace("NEEDS", needs).replace(
        "DESTROY", 'test ! -e "$DESK/stuck"; rm "$DESK/it"'
    )
    assert shop.release("one", config).code == 0
    [service] = shop.query("SELECT service FROM deployments_now")
    (shop.desk / "stuck").touch()
    command = ("env", "destroy", "production", service, "--yes")
    part = shop.command(*command)
    assert part.code == 9, part.err
    assert shop.query("SELECT service FROM deployments_now") == [service]
    (shop.desk / "stuck").unlink()
    done = shop.command(*command)
    assert done.code == 0 and not (shop.desk / "it").exists(), done.err
    assert shop.query("SELECT service FROM deployments_now") == []
