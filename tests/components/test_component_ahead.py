"""What a deployment refuses before it changes anything is refused beforehand: the same, in the same words."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from deployments import CONFIG, Faults, Moment, World, run, started
from toys import CONFIG as WHOLE

from cxlocal.config.load import parse
from cxlocal.journal.blobs import blob_path
from cxlocal.plan.resolve import resolve

WITHOUT_DB = CONFIG.replace('[components.db]\nmutable = true\ntool = "toy"\n', "").replace(
    'needs = ["db"]\n', ""
)
STRANGER = "0f0e0d0c-0000-4000-8000-000000000001"


def _leaves(world: World) -> None:
    world.plan = resolve(parse(WITHOUT_DB))


def _unknown_turn(world: World) -> None:
    world.turn += 7


def _stranger(world: World) -> None:
    world.running[STRANGER] = "9.9.9"


def _destroys(world: World) -> None:
    world.destroys = True


def _refuses(world: World) -> None:
    world.refuses = "the database has 2_totals.sql, which this version does not know"


def _nothing(world: World) -> None:
    """All is as the record says."""


IN_PROCESS: dict[str, tuple[Callable[[World], None], dict[str, str], str]] = {
    "nothing": (_nothing, {}, "success"),
    "a component left the file": (_leaves, {}, "component-left"),
    "another turn stands there": (_unknown_turn, {}, "unknown-turn"),
    "instances nobody knows": (_stranger, {}, "found-instances"),
    "it would destroy something": (_destroys, {}, "would-destroy"),
    "a rule refuses what it wants": (_refuses, {}, "not-to-be-changed"),
    "instances cannot be asked": (_nothing, {"web observe": "error"}, "not-observed"),
    "the balancer cannot be asked": (_nothing, {"lb observe": "failure"}, "not-observed"),
    "a preview fails": (_nothing, {"db preview": "failure"}, "failure"),
    "a preview breaks": (_nothing, {"db preview": "error"}, "error"),
}


@pytest.mark.parametrize("what", IN_PROCESS)
@pytest.mark.parametrize("back", [False, True], ids=["deploy", "rollback"])
def test_what_ends_a_deployment_beforehand_is_foreseen(world: World, what: str, back: bool) -> None:
    change, faults, ended = IN_PROCESS[what]
    first = started(world)
    change(world)

    def fault(moment: Moment) -> Faults:
        return faults.get(moment.what) if moment.when == "before" else None

    record = first.begin("0.1.1")
    events = first.journal.query("SELECT count(*) FROM event")
    before = dict(world.running), dict(world.weights), world.turn, world.migrated
    foreseen = run(first.foresee("0.1.1", record=record, back=back), fault)
    assert first.journal.query("SELECT count(*) FROM event") == events, "nothing is recorded"
    assert (world.running, world.weights, world.turn, world.migrated) == before
    record.muted = False
    if (
        back
        and ended in ("component-left", "would-destroy", "not-to-be-changed")
        or (back and "preview" in what)
    ):
        ended = "success"  # what is changed in place stays as it is
    assert foreseen == run(first.deploy("0.1.1", record=record, back=back), fault) == ended


CONFIG_WHOLE = WHOLE.replace(
    "[environments]\n",
    """gated = { kind = "deploy", environment = "vault", requires = ["BLESSED"], command = "true" }
secret = { kind = "deploy", environment = "safe", command = "true", secrets = ["KEY"] }
[promotions]
BLESSED = {}
[secrets]
KEY = { env = "KEY" }
[environments]
each = { lifetime = "per-run" }
vault = {}
safe = {}
""",
)


@pytest.fixture(scope="module")
def shop(shared_desk: Any) -> Any:
    """0.1.0 and 0.1.1 are released, and 0.1.1 is live in production."""
    shop = shared_desk
    for text in ("one", "two"):
        done = shop.release(text, CONFIG_WHOLE, env={"KEY": "open-sesame"})
        assert done.code == 0, done.err
    assert shop.command("trust", "--yes").code == 0
    return shop


@contextlib.contextmanager
def as_it_is(shop: Any) -> Iterator[None]:
    """All is as the record says."""
    yield


@contextlib.contextmanager
def a_stranger(shop: Any) -> Iterator[None]:
    """An instance that no record knows."""
    file = shop.desk / "web" / STRANGER
    file.write_text("9.9.9")
    try:
        yield
    finally:
        file.unlink()


@contextlib.contextmanager
def a_broken_balancer(shop: Any) -> Iterator[None]:
    """It cannot be asked."""
    file = shop.desk / "lb"
    said = file.read_text()
    file.write_text('"\n')
    try:
        yield
    finally:
        file.write_text(said)


@contextlib.contextmanager
def somebody_deploys(shop: Any) -> Iterator[None]:
    """Another process has the environment."""
    [path] = (shop.home / "locks").glob("*.production")
    handle = os.open(path, os.O_RDWR)
    fcntl.flock(handle, fcntl.LOCK_EX)
    try:
        yield
    finally:
        os.close(handle)


@contextlib.contextmanager
def not_pushed(shop: Any) -> Iterator[None]:
    """There is a commit that is here alone."""
    shop.git("commit", "-q", "--allow-empty", "-m", "here alone")
    try:
        yield
    finally:
        shop.git("push", "-q", "origin", "HEAD:main")


@contextlib.contextmanager
def _changed(shop: Any, more: str, *, old: str = "", new: str = "") -> Iterator[None]:
    """Another cx.toml, by which no number is to be taken."""
    file = shop.tree / "cx.toml"
    before, numbers = file.read_text(), shop.query("SELECT count(*) FROM version")
    file.write_text(before.replace(old, new, 1) + more)
    shop.push("another cx.toml")
    try:
        yield
        assert shop.query("SELECT count(*) FROM version") == numbers
    finally:
        file.write_text(before)
        shop.push("the former cx.toml")


def a_strange_store(shop: Any) -> contextlib.AbstractContextManager[None]:
    """cx.toml names one, and nobody agreed to it here."""
    return _changed(shop, '\n[store]\nurl = "https://store.example.org"\n')


def an_unset_variable(shop: Any) -> contextlib.AbstractContextManager[None]:
    """Instances are to find one that is passed on and not set."""
    told = 'env = { KEY = "{env.NOT_SET}" }\npass_env = ["DESK", "NOT_SET"]'
    web = '[components.web]\ntool = "commands"\n'
    return _changed(shop, "", old=f'{web}pass_env = ["DESK"]', new=web + told)


@contextlib.contextmanager
def no_bytes(shop: Any) -> Iterator[None]:
    """The bytes of 0.1.0 are gone."""
    [digest] = shop.query(
        "SELECT sha256 FROM artifact a JOIN version v ON v.run = a.run WHERE v.text = '0.1.0'"
    )
    path = blob_path(shop.home, digest)
    path.rename(shop.root / "aside")
    try:
        yield
    finally:
        (shop.root / "aside").rename(path)


def outside(shop: Any) -> tuple[dict[str, str], str]:
    """What runs, and what the balancer holds."""
    return shop.running, (shop.desk / "lb").read_text()


def recorded(shop: Any) -> tuple[list[int], list[str]]:
    """How much the journal holds, and the folders of checkouts."""
    folders = [one.name for one in (shop.home / "checkouts").glob("*")]
    return shop.query("SELECT count(*) FROM event"), sorted(folders)


REFUSALS: dict[str, tuple[tuple[str, ...], Any, int, str]] = {
    "a run goes on without a promotion": (("run", "--resume", "0.1.0", "--to", "vault"), as_it_is, 3, "gate-denied"),
    "a run goes on without its secret": (("run", "--resume", "0.1.0", "--to", "safe"), as_it_is, 9, "no-secret"),
    "no such version": (("deploy", "9.9.9", "--env", "production"), as_it_is, 2, "no-such-run"),
    "no such environment": (("deploy", "0.1.0", "--env", "elsewhere"), as_it_is, 2, "no-such-environment"),
    "an environment of one run": (("deploy", "0.1.0", "--env", "each"), as_it_is, 2, "per-run-environment"),
    "older than live": (("deploy", "0.1.0", "--env", "production"), as_it_is, 3, "older-than-live"),
    "a promotion is missing": (("deploy", "0.1.1", "--env", "vault"), as_it_is, 3, "gate-denied"),
    "a secret is missing": (("deploy", "0.1.1", "--env", "safe"), as_it_is, 9, "no-secret"),
    "somebody else deploys": (("deploy", "0.1.1", "--env", "production"), somebody_deploys, 3, "environment-busy"),
    "unknown instances": (("deploy", "0.1.1", "--env", "production"), a_stranger, 3, "found-instances"),
    "cannot be asked": (("deploy", "0.1.1", "--env", "production"), a_broken_balancer, 3, "not-observed"),
    "the bytes are gone": (
        ("deploy", "0.1.0", "--env", "production", "--allow-older"), no_bytes, 9, "blob-missing"
    ),
    "a run without its secret": (("run", "--to", "safe"), as_it_is, 9, "no-secret"),
    "nothing is live": (("rollback", "vault"), as_it_is, 2, "nothing-live"),
    "back to what is not there": (("rollback", "production", "--to", "9.9.9"), as_it_is, 2, "no-such-run"),
    "back, and unknown instances": (("rollback", "production"), a_stranger, 3, "found-instances"),
    "a run, and unknown instances": (("run",), a_stranger, 3, "found-instances"),
    "a run is not pushed": (("run",), not_pushed, 3, "not-pushed"),
    "a strange store": (("run",), a_strange_store, 3, "not-agreed"),
    "a variable is not set": (("run",), an_unset_variable, 2, "no-value"),
    "back, and cannot be asked": (("rollback", "production"), a_broken_balancer, 3, "not-observed"),
}  # fmt: skip


@pytest.mark.parametrize("what", REFUSALS)
def test_a_refusal_is_the_same_beforehand(shop: Any, what: str) -> None:
    command, state, code, name = REFUSALS[what]
    with state(shop):
        held, before = recorded(shop), outside(shop)
        ahead = shop.command(*command, "--dry-run", "--json")
        assert recorded(shop) == held, "nothing is recorded, nothing is left"
        real = shop.command(*command, "--json")
        assert outside(shop) == before, "nothing was changed"
    assert (ahead.code, real.code) == (code, code), (ahead.err, real.err)
    told = [json.loads(one.err.strip().splitlines()[-1]) for one in (ahead, real)]
    assert [one["error"] for one in told] == [name, name]
    assert all(told[0][key] == told[1][key] for key in ("what", "why", "hint")), told


def test_what_would_be_done_is_said(shop: Any) -> None:
    events = shop.query("SELECT count(*) FROM event")
    back = shop.command("rollback", "production", "--dry-run", "-m", "two is wrong")
    assert back.code == 0 and "0.1.0 would be put back into production" in back.err, back.err
    assert "2 new instances" in back.err and "db in production" not in back.err
    older = shop.command("deploy", "0.1.0", "--env", "production", "--allow-older", "--dry-run")
    assert older.code == 0 and "in place of 0.1.1" in older.err, older.err
    assert shop.query("SELECT count(*) FROM event") == events


def test_that_a_schema_may_be_ahead_is_recorded(shop: Any) -> None:
    done = shop.command("deploy", "0.1.1", "--env", "production", "--schema-ahead")
    assert done.code == 0, done.err
    [details] = shop.query(
        "SELECT details FROM stage_run WHERE outcome = 'success' ORDER BY finished_at DESC LIMIT 1"
    )
    assert json.loads(details)["schema_ahead"] is True


def test_what_is_whole_is_not_settled(shop: Any) -> None:
    refused = shop.command("env", "settle", "production", "db", "-m", "by hand")
    assert refused.code == 2 and "db in production is not half applied" in refused.err, refused.err
