"""Who changes an environment beside a deployment passes its door; and what is destroyed is said to be that."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from toys import APPLY, CONFIG, DB, LB, STAGES, WEB, component

from cxlocal.commands.table import OUTWARD

WAITS = '; test ! -e "$DESK/slow" || { touch "$DESK/here"; while test -e "$DESK/slow"; do sleep 0.05; done; }'
GONE = {
    "db": DB | {"destroy": 'test ! -e "$DESK/stuck"; rm -f "$DESK/db"'},
    "lb": {verb: f'test -e "$DESK/lb-made"\n{words}' for verb, words in LB.items()}
    | {"apply": 'touch "$DESK/lb-made"', "destroy": 'rm -f "$DESK"/lb*'},
    "web": WEB | {"create": WEB["create"] + WAITS},
}
KEYS = {
    "db": "mutable = true", "lb": "mutable = true",
    "web": 'artifact = "app"\ncount = 2\nneeds = ["db"]\nbehind = "lb"',
}  # fmt: skip
WHOLE = STAGES + "".join(component(name, GONE[name], KEYS[name]) for name in GONE)


class Two:
    """Two homes of one deliverable, and a store that can be away."""

    def __init__(self, shop: Any) -> None:
        self.shop = shop
        self.store = shop.root / "store.db"
        shop.environ["CXLOCAL_STORE"] = f"sqlite://{self.store}"
        assert shop.command("store", "create", shop.environ["CXLOCAL_STORE"]).code == 0
        self.second = {"CXLOCAL_HOME": str(shop.root / "second")}

    def other(self, *words: str) -> Any:
        """A command in the second home."""
        return self.shop.command(*words, env=self.second)

    def away(self, is_away: bool) -> None:
        """Nobody finds the store, or everybody does again."""
        names = (self.store, self.store.with_suffix(".away"))
        old, new = names if is_away else names[::-1]
        old.rename(new)

    def begin(self, *words: str) -> subprocess.Popen[bytes]:
        """A deployment of the first home that stands still in its first ``create``."""
        (self.shop.desk / "slow").touch()
        begun: subprocess.Popen[bytes] = self.shop.start(*words)
        until = time.monotonic() + 30
        while not (self.shop.desk / "here").exists():
            if begun.poll() is not None or time.monotonic() > until:
                begun.kill()
                pytest.fail(str(begun.communicate()))
            time.sleep(0.02)
        return begun

    def go_on(self, begun: subprocess.Popen[bytes]) -> tuple[int, str]:
        """Its end."""
        (self.shop.desk / "slow").unlink()
        _, err = begun.communicate(timeout=40)
        return begun.returncode, err.decode()


@pytest.fixture
def two(desk_shop: Any) -> Iterator[Two]:
    made = Two(desk_shop)
    done = desk_shop.release("one", WHOLE)
    assert done.code == 0, done.err
    yield made


WHY = ("-m", "because")
CHANGES = {
    "env destroy": ("production", "--yes"),
    "env destroy ": ("production", "db", "--yes"),
    "env settle": ("production", "db", *WHY),
    "env release": ("production", "old", *WHY),
    "env confirm": ("production", "--live", "0.1.0", *WHY),
    "env repair": ("production",),
    "env forget": ("RESOURCE", *WHY),
    "deploy": ("0.1.0", "--to", "production"),
    "rollback": ("production", "--to", "0.1.0"),
}
"""Every command that changes an environment, but ``env take``, the way out, and ``env reap``, which tells of each
thing why it stays."""


@pytest.mark.timeout(240)
def test_one_at_a_time_changes_an_environment(two: Two) -> None:
    shop = two.shop
    assert {one for one in OUTWARD if one.startswith("env ")} == {
        *(one.strip() for one in CHANGES if one.startswith("env ")), "env take", "env reap",
    }  # fmt: skip
    assert two.other("sync").code == 0
    begun = two.begin("deploy", "0.1.0", "--to", "production")
    before = sorted(one.name for one in shop.desk.rglob("*"))
    resource = next(iter(shop.running))
    for name, words in CHANGES.items():
        said = [resource if one == "RESOURCE" else one for one in words]
        done = two.other(*name.split(), *said)
        assert (done.code, "another machine changes production" in done.err) == (3, True), (
            name, done.err,
        )  # fmt: skip
    here = shop.command("env", "destroy", "production", "--yes")
    assert here.code == 3 and "another command changes production" in here.err, here.err
    assert sorted(one.name for one in shop.desk.rglob("*")) == before
    assert two.go_on(begun)[0] == 0
    # Nobody is there any more, and the store hears of it at once.
    gone = two.other("env", "destroy", "production", "--yes")
    assert gone.code == 0, gone.err
    assert shop.running == {} and not (shop.desk / "db").exists()
    late = shop.command("env", "destroy", "production", "--yes")
    assert late.code == 2 and "does not stand" in late.err, late.err
    listed = shop.command("env", "list")
    assert "No environment stands" in listed.err, listed.err


@pytest.mark.parametrize("way", ["env reap", "deploy"])
def test_a_deployment_finds_out_that_its_environment_was_destroyed(two: Two, way: str) -> None:
    shop = two.shop
    assert two.other("sync").code == 0
    begun = two.begin("deploy", "0.1.0", "--to", "production")
    two.away(True)
    gone = two.other("env", "destroy", "production", "--yes")
    assert gone.code == 0 and "nobody knows whether another machine" in gone.err, gone.err
    assert "not with the store yet" in gone.err
    two.away(False)
    assert two.other("sync").code == 0
    code, err = two.go_on(begun)
    assert code == 3 and "production was destroyed meanwhile" in err, err
    left = set(shop.running)
    assert left, "what it made stands"
    if way == "env reap":
        reaped = shop.command("env", "reap")
        assert reaped.code == 0 and shop.running == {}, reaped.err
        assert all(f"web {one[:8]} in production" in reaped.err for one in left), reaped.err
    again = shop.command("deploy", "0.1.0", "--to", "production")
    assert again.code == 0 and len(shop.serving) == 2, again.err


ITSELF = STAGES + component("db", {"apply": APPLY}, 'artifact = "app"')
"""One that rotates itself, by a tool that cannot take it away."""
PER_RUN = ("{ protected = false }", '{ lifetime = "per-run" }')


@pytest.mark.parametrize("lifetime", ["lasting", "per-run"])
@pytest.mark.parametrize("config", [CONFIG, ITSELF], ids=["changed in place", "rotates itself"])
def test_what_no_tool_can_take_away_is_named(desk_shop: Any, lifetime: str, config: str) -> None:
    shop = desk_shop
    if lifetime == "per-run":
        config = config.replace(*PER_RUN)
    done = shop.release("one", config)
    assert done.code == 0, done.err
    if lifetime == "lasting":
        assert "db" in shop.query("SELECT component FROM resources_now")
        one = shop.command("env", "destroy", "production", "db", "--yes")
        assert one.code == 9 and "has no verb destroy" in one.err, one.err
        done = shop.command("env", "destroy", "production", "--yes")
        assert done.code == 0 and "db stands: commands has no destroy" in done.err, done.err
        assert "is gone" not in done.err
    assert (shop.desk / "db").exists()
    assert shop.query("SELECT deleted_how FROM environment") == ["closed, not destroyed"]
    [text] = shop.query("SELECT text FROM open_flags WHERE kind = 'closed-not-destroyed'")
    assert text.count("db stands") == 1 and "lb" not in text
    made = "SELECT component, gone_how FROM resource WHERE verb IN ('provision', 'apply')"
    assert shop.query(made) == [("db", "left")]
    assert shop.query("SELECT count(*) FROM resources_now") == [0]
    assert shop.query("SELECT count(*) FROM deployments_now") == [0]


@pytest.mark.parametrize(
    ("config", "code"),
    [
        (ITSELF.replace("touch", "echo it fails; exit 1; touch"), 1),
        (ITSELF.replace("protected = false", "protected = false, check = 'exit 1'"), 1),
    ],
    ids=["apply fails", "the environment says no"],
)
def test_what_failed_in_an_environment_of_one_run_is_named(
    desk_shop: Any, config: str, code: int
) -> None:
    shop = desk_shop
    config = config.replace(PER_RUN[0][:-2], PER_RUN[1][:-2])
    done = shop.release("one", config)
    assert done.code == code and "bug in cxlocal" not in done.err, done.err
    assert shop.query("SELECT component, gone_how FROM resource") == [("db", "left")], done.err
    assert shop.query("SELECT deleted_how FROM environment") == ["closed, not destroyed"]
    assert shop.query("SELECT count(*) FROM resources_now") == [0]


def test_what_was_destroyed_in_part_is_said_to_be_that(two: Two) -> None:
    shop = two.shop
    (shop.desk / "stuck").touch()
    part = shop.command("env", "destroy", "production", "--yes")
    assert part.code == 9 and "again: cxlocal env destroy production" in part.err, part.err
    assert part.err.count("could not") == 1, part.err
    assert shop.running == {} and (shop.desk / "db").exists()
    assert two.other("sync").code == 0
    assert "partly destroyed" in two.other("env", "list").out, "the store was told"
    assert "is partly destroyed" in shop.command("env", "show", "production").err
    [settled] = shop.query("SELECT subject FROM open_flags WHERE kind = 'not-destroyed'")
    assert settled == "production"
    (shop.desk / "stuck").unlink()
    assert shop.command("env", "destroy", "production", "--yes").code == 0
    assert not (shop.desk / "db").exists()
    unknown = shop.command("env", "show", "productoin")
    assert unknown.code == 2 and "environments that stand: none" in unknown.err, unknown.err


def test_where_nothing_was_made_yet_nothing_is_left(desk_shop: Any) -> None:
    shop = desk_shop
    config = CONFIG.replace("{ protected = false }", '{ lifetime = "per-run" }')
    done = shop.release("one", config.replace(DB["preview"], "echo it is away; exit 1"))
    assert done.code != 0
    assert shop.query("SELECT deleted_how FROM environment") == ["destroyed"], done.err
    assert shop.query("SELECT kind FROM open_flags WHERE kind = 'closed-not-destroyed'") == []


def test_who_gave_a_run_up_is_told_where_it_is_looked_after(two: Two, tmp_path: Path) -> None:
    shop = two.shop
    assert two.other("sync").code == 0
    [run] = shop.query("SELECT id FROM run")
    done = two.other("env", "reap", "--run", run, "-m", "its machine is gone")
    assert done.code == 0 and "'cxlocal env reap' takes away there" in done.err, done.err
