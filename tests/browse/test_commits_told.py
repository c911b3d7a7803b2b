"""Which version brought a commit, how long it took to where, and which are not live yet: by the order of
versions, and by what came to the environment that is asked about."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from msgspec import convert

from cxlocal.domain import Outcome
from cxlocal.events.places import Attempt, deployment_started
from cxlocal.journal.file import Journal
from cxlocal.plan.types import Environment
from cxlocal.projection.figures import LIVE_ENVIRONMENT
from cxlocal.projection.queries import QUERIES
from cxlocal.projection.truth import plan_text
from cxlocal.runner.notes import live_environment
from cxlocal.runner.unfinished import telling, unfinished
from cxlocal.text import utc_text

DAY = 86400
PLAN: dict[str, Any] = {
    "stages": [],
    "environments": [
        {"name": "test", "lifetime": "per-run"},
        {"name": "staging", "lifetime": "lasting"},
        {"name": "production", "lifetime": "lasting", "protected": True},
    ],
}


class Shop:
    """Releases of one product, each with the commits it lists, told in the order of time."""

    def __init__(self, kit: ModuleType, folder: Path) -> None:
        self.kit, self.clock = kit, kit.HandClock()
        self.machine = kit.Machine(folder, self.clock, "laptop")
        self.journal: Journal = self.machine.journal
        self.live: dict[str, list[str]] = {}

    def release(
        self, number: int, when: str, *commits: int, line: str = "1.0", total: int = -1,
        outcome: Outcome | None = Outcome.SUCCESS,
    ) -> Any:  # fmt: skip
        """A run asked for on a day of November; commit ``n`` is made on day ``n``."""
        self.clock.ms = at(when)
        listed = [
            {"commit": self.kit.digest(str(n))[:40], "subject": f"change {n}", "author": "A",
             "committed_at": utc_text(at(f"{n:02}"))} for n in commits
        ]  # fmt: skip
        changes = {"total": len(commits) if total < 0 else total, "listed": listed}
        run = self.machine.run(
            f"{line}.{number} {when}", plan=PLAN, plan_sha256=self.kit.digest(plan_text(PLAN)), changes=changes
        ).take(number, line=line)  # fmt: skip
        for name in ("staging", "production"):
            run.place(name)
        if outcome is not None:
            run.end(outcome)
        return run

    def out(
        self, run: Any, where: str, when: str = "", *, takes_over: bool = True, **facts: Any
    ) -> None:
        """A version comes to an environment."""
        if when:
            self.clock.ms = at(when)
        before = self.live.get(where, [])
        id = f"{where}-{run.version}-{self.clock.ms}"
        run.deploy(where, id=id, replaces=tuple(before) if takes_over else (), **facts)
        self.live[where] = [id] if takes_over else [*before, id]

    def ask(self, name: str, **given: str) -> list[dict[str, Any]]:
        query = QUERIES[name]
        return self.journal.query(query.sql, {**dict.fromkeys(query.parameters, ""), **given})

    def told(self, name: str, *columns: str, **given: str) -> list[tuple[Any, ...]]:
        return [tuple(row[one] for one in columns) for row in self.ask(name, **given)]


def at(day: str) -> int:
    """``10`` or ``10 12:30`` of November 2026, in milliseconds."""
    name, _, time = day.partition(" ")
    found = datetime.fromisoformat(f"2026-11-{name}T{time or '00:00'}+00:00")
    return int(found.timestamp() * 1000)


@pytest.fixture
def shop(journals: ModuleType, tmp_path: Path) -> Iterator[Shop]:
    found = Shop(journals, tmp_path)
    yield found
    found.journal.close()


def test_the_first_version_with_a_commit_is_that_by_the_order_of_versions(shop: Shop) -> None:
    """Of ten that list all since the one that is live the lowest, and the run beside it is its own."""
    first = shop.release(0, "01", 1)
    shop.out(first, "production")
    runs = {0: first}
    for n in range(1, 12):
        runs[n] = shop.release(n, f"{n + 1:02} 12:00", *range(2, n + 2))
    wanted = [(f"change {n + 1}", f"1.0.{n}", runs[n].id) for n in range(11, 0, -1)]
    columns = ("subject", "first_in", "run")
    between = {"older": "1.0.0", "newer": "1.0.11"}
    assert shop.told("commits-between", *columns, **between) == wanted
    assert shop.told("not-live-yet", *columns) == wanted


def test_a_version_asked_for_later_may_be_the_lower_one(shop: Shop) -> None:
    """Two machines: one took its number of a reserve."""
    shop.out(shop.release(0, "01", 1, line="2.0"), "production")
    shop.release(100, "03", 2, line="2.0")
    lower = shop.release(20, "04", 2, 3, line="2.0")
    wanted = [("change 3", "2.0.20", lower.id), ("change 2", "2.0.20", lower.id)]
    columns = ("subject", "first_in", "run")
    assert shop.told("not-live-yet", *columns) == wanted
    assert shop.told("commits-between", *columns, older="2.0.0", newer="2.0.20") == wanted


def fail_on_the_way(shop: Shop) -> Any:
    """1.0.0 is live; 1.0.1 came to staging and failed; 1.0.2 lists what came since it stood there."""
    first = shop.release(0, "01", 1)
    shop.out(first, "staging")
    shop.out(first, "production")
    failed = shop.release(1, "10 12:00", 10, outcome=None)
    shop.out(failed, "staging")
    failed.end(Outcome.FAILURE, "stage unit failed")
    third = shop.release(2, "20 12:00", 20)
    shop.out(third, "staging", "20 13:00")
    return third


def test_lead_time_counts_what_came_to_the_environment(shop: Shop) -> None:
    third = fail_on_the_way(shop)
    shop.out(third, "production", "30")
    of = ("version", "oldest_commit_seconds")
    assert shop.told("lead-time", *of, environment="production")[0] == ("1.0.2", 20 * DAY)
    assert shop.told("lead-time", *of, environment="staging")[0] == ("1.0.2", 13 * 3600)
    live = max(row["seconds"] for row in shop.ask("commits-live") if row["version"] == "1.0.2")
    assert live == 20 * DAY, "the page of figures says the same"


def not_all_known(shop: Shop) -> Any:
    shop.release(1, "10 12:00", 10, total=300, outcome=Outcome.FAILURE)
    return shop.release(2, "20 12:00", 20)


def listed_before(shop: Shop) -> Any:
    return shop.release(1, "20 12:00", 1, 20)


def nothing_new(shop: Shop) -> Any:
    return shop.release(1, "20 12:00")


def skipped_and_brought(shop: Shop) -> Any:
    shop.release(1, "12", 11)
    shop.release(2, "14", 13)
    return shop.release(3, "20", 19)


@pytest.mark.parametrize(
    ("tell", "oldest"),
    [(not_all_known, None), (listed_before, 10 * DAY), (nothing_new, None), (skipped_and_brought, 19 * DAY)],
)  # fmt: skip
def test_the_oldest_commit_of_a_deployment(
    shop: Shop, tell: Callable[[Shop], Any], oldest: int | None
) -> None:
    shop.out(shop.release(0, "01", 1), "production")
    shop.out(tell(shop), "production", "30")
    assert shop.ask("lead-time", environment="production")[0]["oldest_commit_seconds"] == oldest


def test_what_is_deployed_again_or_went_back_brings_no_commit(shop: Shop) -> None:
    first, second = shop.release(0, "01", 1), shop.release(1, "03", 2)
    shop.out(first, "production", "04")
    shop.out(second, "production", "05")
    shop.out(first, "production", "06", kind="rolledback")
    shop.out(second, "production", "07")
    shop.out(first, "production", "08")
    found = shop.told("lead-time", "version", "oldest_commit_seconds", environment="production")
    assert found == [("1.0.0", None), ("1.0.1", None), ("1.0.1", 3 * DAY), ("1.0.0", 3 * DAY)]


def test_a_commit_of_a_run_that_failed_is_not_live_yet_with_the_next_that_has_it(
    shop: Shop,
) -> None:
    third = fail_on_the_way(shop)
    columns = ("subject", "first_in", "live_version", "run")
    assert shop.told("not-live-yet", *columns) == [
        ("change 20", "1.0.2", "1.0.0", third.id), ("change 10", "1.0.2", "1.0.0", third.id),
    ]  # fmt: skip
    shop.out(third, "production", "21")
    assert shop.ask("not-live-yet") == []


def test_what_no_release_has_that_went_well_is_not_told(shop: Shop) -> None:
    shop.out(shop.release(0, "01", 1), "production")
    shop.release(1, "10 12:00", 10, outcome=Outcome.FAILURE)
    assert shop.ask("not-live-yet") == []


def test_while_it_is_disputed_what_is_live_a_commit_of_either_is(shop: Shop) -> None:
    shop.out(shop.release(5, "01", 1, line="2.0"), "production")
    offline = shop.release(100, "03", 2, line="2.0")
    shop.out(offline, "production")
    other = shop.release(6, "04", 3, line="2.0")
    shop.out(other, "production", takes_over=False)
    assert shop.ask("not-live-yet") == []
    shop.release(101, "05 12:00", 3, 5, line="2.0")
    assert shop.told("not-live-yet", "subject", "first_in") == [("change 5", "2.0.101")]


def test_what_failed_after_a_dispute_is_told_with_all_that_may_be_live(shop: Shop) -> None:
    """The board, and the lines of 'status' and 'env show'."""
    shop.out(shop.release(6, "01", 1, line="2.0"), "production")
    shop.out(shop.release(100, "03", 2, line="2.0"), "production", takes_over=False)
    shop.clock.ms = at("04")
    shop.release(103, "04", 4, line="2.0").fail("production", reason="")
    board = "SELECT version, state FROM release_board ORDER BY since"
    states = [tuple(row.values()) for row in shop.journal.query(board)]
    assert states == [("2.0.6", "disputed"), ("2.0.100", "disputed")]
    (line, _) = [one for one in telling(unfinished(shop.journal)) if "production" in one]
    assert line.startswith(
        "production, shop: it is disputed whether 2.0.6 or 2.0.100 is live, 2.0.103 failed here after it"
    )


def test_one_that_is_live_is_told_by_its_version(shop: Shop) -> None:
    shop.out(shop.release(6, "01", 1, line="2.0"), "production")
    shop.release(103, "04", 4, line="2.0").fail("production", reason="")
    (line, _) = telling(unfinished(shop.journal))
    assert line.startswith("production, shop: 2.0.6 is live, 2.0.103 failed here after it")


@pytest.mark.parametrize(
    ("places", "live"),
    [
        ("", ""), ("test", ""), ("staging", "staging"), ("staging production", "production"),
        ("staging production* mirror", "production"), ("staging* production", "staging"),
        ("staging production test", "production"),
    ],
)  # fmt: skip
def test_notes_begin_where_the_pages_say_that_it_is_live(
    shop: Shop, places: str, live: str
) -> None:
    """One rule, as SQL over the plan of the newest release and over the plan at hand."""
    environments = [
        {"name": name.strip("*"), "lifetime": "per-run" if name == "test" else "lasting",
         **({"live": True} if name.endswith("*") else {})} for name in places.split()
    ]  # fmt: skip
    plan = {"stages": [], "environments": environments}
    shop.machine.run("r", plan=plan, plan_sha256=shop.kit.digest(plan_text(plan)))
    sql = f"SELECT {LIVE_ENVIRONMENT.format(of=':of')} AS place"
    assert shop.journal.query(sql, {"of": "webshop"}) == [{"place": live or None}]
    assert live_environment(convert(environments, tuple[Environment, ...])) == live


def stage_again(run: Any, attempt: int, kind: str, outcome: Outcome = Outcome.SUCCESS) -> None:
    """The stage ``production`` once more; with a kind as a deployment that begins so."""
    if kind:
        tried = Attempt(
            deployment=f"{run.id}-{attempt}", kind=kind, service="shop", environment="production",
            instance="production", version=run.version, stage="production",
            stage_run=run.ref.stage_run("production", attempt), actor=run.actor, reason="", watched=True,
        )  # fmt: skip
        run.say(deployment_started(run.ref, tried, replaces=[]), minutes=0)
    run.stage("production", outcome, attempt=attempt, environment="production")


@pytest.mark.parametrize(
    ("outcome", "kinds", "words"),
    [
        (Outcome.SUCCESS, ["rollback"], "a later rollback did it once more"),
        (Outcome.SUCCESS, ["deploy"], "a later deployment did it once more"),
        (Outcome.SUCCESS, ["deploy", "rollback"], "a later rollback did it once more"),
        (Outcome.FAILURE, ["deploy"], "replaced by a retry"),
        (Outcome.FAILURE, ["rollback"], "replaced by a retry"),
        (Outcome.SUCCESS, [""], "replaced by a retry"),
    ],
)  # fmt: skip
def test_a_stage_that_went_well_and_is_done_again_was_not_retried(
    shop: Shop, outcome: Outcome, kinds: list[str], words: str
) -> None:
    run = shop.release(4, "01", 1, line="2.0", outcome=None)
    stage_again(run, 1, "deploy", outcome)
    for attempt, kind in enumerate(kinds, 2):
        stage_again(run, attempt, kind)
    found = [row["words"] for row in shop.ask("story", run=run.id) if row["what"] == "stage"]
    assert (found[0], found[-1]) == (words, "")
    view = shop.journal.query("SELECT words FROM run_timeline WHERE what = 'stage' ORDER BY at")
    assert [row["words"] for row in view] == found
