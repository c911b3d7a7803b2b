"""The five figures, worked by hand on twenty deployments; and the page that shows them.

Times are UTC; the zone of the tests is five hours and three quarters ahead of it, which decides in which
month the night of 30 September counts.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import ModuleType
from typing import Any
from urllib.parse import quote_plus

import pytest
from datasette_cxlocal.bars import Bar, bars
from datasette_cxlocal.figures import figures_sentences
from datasette_cxlocal.parts import Part

from cxlocal.events.incidents import incident_detected, incident_resolved
from cxlocal.events.places import service_deployed
from cxlocal.journal.file import Journal
from cxlocal.journal.rebuild import rebuild
from cxlocal.projection.queries import QUERIES
from cxlocal.projection.truth import plan_text
from cxlocal.text import utc_text

HOUR = 3600


class Teller:
    """Says in the order of time what happened to one product."""

    def __init__(self, kit: ModuleType, folder: Path, plan: dict[str, Any]) -> None:
        self.kit, self.plan = kit, plan
        self.clock = kit.HandClock(at("08-31 00"))
        self.machine = kit.Machine(folder, self.clock, "laptop")
        self.runs: dict[str, Any] = {}
        self.live = ""
        self.count = 0

    def release(
        self, name: str, when: str, *, hours: float = 0, again: str = "", **facts: Any
    ) -> None:
        """A run asked for at that time, with a commit made so many hours before it is live, an hour after; and
        once more the commit of ``again``."""
        self.clock.ms = at(when)
        listed = (
            [self._commit(name, at(when) + HOUR * 1000 - round(hours * HOUR * 1000))]
            if hours
            else []
        )
        listed += [self._commit(again, 0)] if again else []
        plan_sha = self.kit.digest(plan_text(self.plan))
        changes = {"since_version": "", "total": len(listed), "listed": listed}
        self.runs[name] = self.machine.run(
            name, "webshop", plan=self.plan, plan_sha256=plan_sha, changes=changes, **facts
        ).take(len(self.runs), line="1.0")  # fmt: skip

    def _commit(self, name: str, made_ms: int) -> dict[str, Any]:
        if made_ms:
            self.made = {**getattr(self, "made", {}), name: made_ms}
        return {"commit": self.kit.digest(f"commit {name}")[:40], "subject": f"Change {name}", "author": "A",
                "committed_at": utc_text(self.made[name])}  # fmt: skip

    def deploy(self, name: str, when: str, *, kind: str = "upgraded", service: str = "web", takes_over: bool = True) -> None:  # fmt: skip
        """Its version goes live then, and takes over."""
        run, self.clock.ms = self.runs[name], at(when)
        self.count += 1
        id = f"d{self.count}"
        replaces = [self.live] if self.live and takes_over else []
        run.say(service_deployed(
            run.ref, kind=kind, event_id=id, service=service, environment="production", instance="production",
            artifact={"name": "w", "sha256": self.kit.digest(name), "purl": "p"}, version=run.version,
            number=run.number, version_run=run.id, replaces=replaces, uri="", stage_run="", actor=run.actor,
            reason="", details={}), minutes=0)  # fmt: skip
        self.live = id if takes_over else self.live

    def out(self, name: str, when: str, **facts: Any) -> None:
        """A release asked for an hour before it goes live."""
        asked = utc_text(at(when) - HOUR * 1000)
        self.release(name, f"{asked[5:10]} {asked[11:16]}", **facts)
        self.deploy(name, when)

    def incident(self, name: str, opened: str, closed: str = "") -> None:
        """Somebody says that a version was at fault, from then until then."""
        run = self.runs[name]
        self.clock.ms = at(opened)
        about = {"incident": f"i-{name}-{opened}", "environment": "production", "actor": run.actor}
        run.say(incident_detected(run.ref, version=run.version, words="down", **about), minutes=0)
        self.open = (run, about, closed)

    def over(self) -> None:
        """The incident told last is over, at the time that was said."""
        run, about, closed = self.open
        self.clock.ms = at(closed)
        run.say(incident_resolved(run.ref, words="up", **about), minutes=0)


def at(text: str) -> int:
    """``09-30 19`` or ``09-30 19:30`` of 2026, in milliseconds."""
    day, _, hour = text.partition(" ")
    found = datetime.fromisoformat(f"2026-{day}T{hour if ':' in hour else hour + ':00'}+00:00")
    return int(found.timestamp() * 1000)


def tell_two_months(told: Teller) -> None:
    """Twenty deployments: nine to live and one back in September, nine and one in October."""
    told.out("v0", "09-01 10", hours=1)
    told.out("v1", "09-03 10", hours=2, again="v0")
    told.deploy("v0", "09-03 12", kind="rolledback")  # after 2 h
    told.out("v2", "09-05 10", hours=3)
    told.out(
        "v3", "09-05 14", hours=4, planned=False, fixes="1.0.2"
    )  # repairs it after 4 h: rework
    told.out("v4", "09-10 10", hours=5)
    told.incident("v4", "09-10 11", "09-10 16")
    told.over()  # 6 h after it went live, and nothing was deployed for it
    told.out("v5", "09-12 10", hours=6, planned=False)  # unplanned, but repairs nothing: no rework
    told.out("v6", "09-14 10", hours=7)
    told.out("v7", "09-20 10", hours=8)
    told.out("v8", "09-25 10", hours=9)
    told.out("v9", "09-30 19", hours=2)  # 1 October, 00:45, where the page is read
    told.deploy("v8", "10-02 10", kind="rolledback")  # 39 h after v9
    told.release(
        "x", "10-03 10", hours=71
    )  # never went live itself: its commit did with v10, 116 h after it was made
    told.out("v10", "10-05 08", hours=4)
    told.incident("v10", "10-05 12", "10-06 20")
    told.out("v11", "10-06 12", hours=6, planned=False)  # asked for while that was open: rework
    told.over()  # 36 h after v10
    told.out("v12", "10-08 10", hours=8)
    told.deploy(
        "v12", "10-08 10:01", service="api", takes_over=False
    )  # a second service of one deployment
    told.out(
        "v13", "10-10 10", hours=10, fixes="1.0.13"
    )  # repairs v12 after 48 h; planned, so no rework
    told.out("v14", "10-12 10", hours=12)
    told.incident("v14", "10-12 11")  # not over
    told.out("v15", "10-14 10", hours=14)
    told.deploy("v15", "10-20 08")  # once more
    told.incident("v15", "10-21 08", "10-21 11")  # so this is about the second time
    told.over()  # 27 h after that
    told.out("v16", "10-25 10", hours=16)


@pytest.fixture(scope="module")
def told_file(journals: ModuleType, pictured: ModuleType, tmp_path_factory: Any) -> Path:
    folder: Path = tmp_path_factory.mktemp("figures")
    told = Teller(journals, folder, pictured.plan())
    tell_two_months(told)
    told.machine.journal.close()
    return folder / "journal.db"


@pytest.fixture
def told(told_file: Path, journals: ModuleType, tmp_path: Path) -> Iterator[Journal]:
    import shutil

    shutil.copy(told_file, tmp_path / "journal.db")
    with journals.open_journal(tmp_path, journals.HandClock(at("11-01 00"))) as found:
        yield found


ZONE = timedelta(hours=5, minutes=45)


def month(name: str) -> list[str]:
    """A month of the zone of the tests."""
    first = datetime.fromisoformat(f"{name}-01T00:00:00+00:00")
    after = (first + timedelta(days=32)).replace(day=1)
    return [
        name,
        *(utc_text(int((one - ZONE).astimezone(UTC).timestamp() * 1000)) for one in (first, after)),
    ]


def ask(journal: Journal, question: str, *months: str) -> list[dict[str, Any]]:
    given = {
        "deliverable": "webshop",
        "months": json.dumps([month(one) for one in months]) if months else "",
    }
    query = QUERIES[question]
    return journal.query(query.sql, {one: given[one] for one in query.parameters})


def test_the_five_figures_of_two_months(told: Journal) -> None:
    september, october = ask(told, "figures", "2026-09", "2026-10")
    hours = {name: value / HOUR for name, value in october.items() if name.endswith("_seconds")}
    # How often: v0 to v8, and back once. Lead time of 1 to 9 h: the fifth, and the ninth.
    assert (september["deployments"], september["rollbacks"]) == (9, 1)
    assert (september["commits"], september["lead_median_seconds"], september["lead_slow_tenth_seconds"]) == (9, 5 * HOUR, 9 * HOUR)  # fmt: skip
    # Wrong: v1 (rolled back after 2 h), v2 (repaired after 4 h), v4 (incident of 6 h).
    assert (september["failed"], september["fail_share"]) == (3, 0.333)
    assert (september["recovered"], september["recovery_median_seconds"]) == (3, 4 * HOUR)
    assert (september["rework"], september["rework_share"]) == (1, 0.111)
    # v9 to v16, v15 twice, v12 once though it has two services; commits after 2, 4 … 16 h, and one after 116.
    assert (october["deployments"], october["rollbacks"]) == (9, 1)
    assert (october["commits"], hours["lead_median_seconds"], hours["lead_slow_tenth_seconds"]) == (9, 10, 116)  # fmt: skip
    # Wrong: v9 (39 h), v10 (36 h), v12 (48 h), v14 (not over), v15 the second time (27 h).
    assert (october["failed"], october["fail_share"]) == (5, 0.556)
    assert (october["recovered"], hours["recovery_median_seconds"]) == (4, 36)
    assert (october["rework"], october["rework_share"]) == (1, 0.111)
    assert october["environment"] == "production"


def test_there_are_twenty_and_each_number_has_its_rows(told: Journal) -> None:
    rows = ask(told, "gone-live", "2026-09", "2026-10")
    assert len(rows) == 20
    wrong = {row["at"][:10]: (row["version"], row["why"]) for row in rows if row["failed"]}
    assert wrong == {
        "2026-09-03": ("1.0.1", "it was rolled back"), "2026-09-05": ("1.0.2", "another release fixes it"),
        "2026-09-10": ("1.0.4", "an incident names it"), "2026-09-30": ("1.0.9", "it was rolled back"),
        "2026-10-05": ("1.0.11", "an incident names it"), "2026-10-08": ("1.0.13", "another release fixes it"),
        "2026-10-12": ("1.0.15", "an incident names it"), "2026-10-20": ("1.0.16", "an incident names it"),
    }  # fmt: skip
    assert [row["version"] for row in rows if row["rework"]] == ["1.0.12", "1.0.3"]
    for name in ("2026-09", "2026-10"):
        (figures,) = ask(told, "figures", name)
        rows, commits = ask(told, "gone-live", name), ask(told, "commits-live", name)
        assert sum(row["failed"] for row in rows) == figures["failed"]
        assert sum(row["what"] == "went out" for row in rows) == figures["deployments"]
        assert len({one["revision"] for one in commits}) == len(commits) == figures["commits"]


def test_without_months_they_are_the_last_twelve_of_the_zone_here(told: Journal) -> None:
    rows = ask(told, "figures")
    assert [row["month"] for row in rows][-2:] == ["2026-09", "2026-10"] and len(rows) == 12
    assert rows[-2:] == ask(told, "figures", "2026-09", "2026-10")


def test_a_month_without_a_record_is_not_one_without_failures(told: Journal, small: Any) -> None:
    for row in ask(told, "figures", "2026-07", "2026-08"):
        assert (row["deployments"], row["fail_share"], row["rework_share"]) == (0, None, None)
    text = small.one("/journal/-/figures?deliverable=billing").words
    assert "Whether any of them went wrong was not recorded." in text
    assert "nothing was recorded" in text and "0 %" not in text


def test_a_rebuild_changes_no_figure(told: Journal) -> None:
    before = ask(told, "figures"), ask(told, "gone-live")
    rebuild(told)
    assert before == (ask(told, "figures"), ask(told, "gone-live"))


def test_the_plan_says_what_is_live(
    journals: ModuleType, pictured: ModuleType, tmp_path: Path
) -> None:
    """Without a word it is the last lasting environment; with ``live`` the one that has it; else not known."""
    plan = pictured.plan()
    plan["environments"][1]["live"] = True
    told = Teller(journals, tmp_path, plan)
    told.out("v0", "09-01 10", hours=1)
    (row,) = ask(told.machine.journal, "figures", "2026-09")
    assert (row["environment"], row["deployments"]) == ("staging", 0)
    told.machine.journal.close()


def test_what_is_live_is_not_guessed(full_pages: Any) -> None:
    text = full_pages.one("/journal/-/figures?deliverable=webshop").words
    assert "What is live of Web shop is not known: no plan names an environment that lasts." in text


def test_the_page_says_it_in_sentences_and_leads_from_each_number_to_its_rows(
    told_file: Path, make_pages: Callable[[Path], Any]
) -> None:
    pages = make_pages(told_file)
    page = pages.one("/journal/-/figures?deliverable=webshop")
    assert page.words.startswith(
        "Figures: Web shop Earlier In Oct 2026 Web shop went live 9 times and was rolled back once."
        " Half of its commits were live within 10 h, nine of ten within 4 d 20 h. 5 of 9 went wrong; half of"
        " them were put right within 1 d 12 h."
    ), page.words[:400]
    assert "56 %, 5 of 9" in page.words and "11 %, 1 of 9" in page.words and "4 of 5" in page.words
    links = {
        one.replace("&amp;", "&")
        for one in re.findall(r'href="(/journal/(?:gone|commits)-live\?[^"]*)"', page.text)
    }
    october = [
        one for one in links if f"months={quote_plus(json.dumps([month('2026-10')]))}" in one
    ]
    assert len(october) == 2
    for each in pages.get(*october):
        assert each.status == 200 and "1.0.17" in each.text and "1.0.7" not in each.text
    assert "1.0.15 down" in page.words and "not over" in page.words
    before = pages.one("/journal/-/figures?deliverable=webshop&until=2026-08").words
    assert "Nothing went live in these months." in before


@pytest.mark.parametrize("until", ["1970-01", "9999-12", "2026-13", "x", "0001-01", "2026-1"])
def test_odd_months_show_nothing_of_another(small: Any, empty_pages: Any, until: str) -> None:
    wanted = 200 if until == "1970-01" else 400
    for pages in (small, empty_pages):
        assert pages.one(f"/journal/-/figures?until={until}").status == wanted


def test_sentences_say_what_is_not_known() -> None:
    row = {"month": "2026-10", "deployments": 1, "rollbacks": 0, "commits": 0, "failed": 1, "recovered": 0,
           "environment": "live"}  # fmt: skip
    part = Part("", [row], False, False, "", "", "")
    assert figures_sentences("Shop", part) == [
        "In Oct 2026 Shop went live once.", "1 of 1 went wrong; it is not put right yet.",
    ]  # fmt: skip
    assert figures_sentences("Shop", part._replace(late=True)) == []


@pytest.mark.parametrize("form", [0, 1])
def test_bars_are_as_long_as_their_value_and_what_is_not_known_is_none(form: int) -> None:
    values = [
        Bar("a", 1, "1", "/a"),
        Bar("b", 4, "4", "/b", 8),
        Bar("c", None, "not known", "/c"),
        Bar("d", 0, "0", ""),
    ]
    drawn = bars(values, "t", "d", "x", "good")
    assert drawn is not None
    size = "height" if form == 0 else "width"
    found = [float(one) for one in re.findall(rf'<rect [^>]*\b{size}="([\d.]+)"', drawn[form])]
    assert len(found) == 3 and found[1] == pytest.approx(4 * found[0], abs=0.2) and found[2] == 1
    assert drawn[form].count("cx-usual") == 1 and drawn[form].count("<a ") == 3
    assert bars([Bar("a", None, "", "")] * 2, "t", "d", "x", "good") is None
    assert bars(values[:1], "t", "d", "x", "good") is None, "a month alone has nothing beside it"
    if form == 0:
        assert "M2 142 L522 142" in drawn[form], "the ground ends where the months do"


@pytest.mark.parametrize("name", ["nosuch", "webshopp", "<b>"])
def test_figures_of_an_unknown_product_say_so(small: Any, name: str) -> None:
    page = small.one(f"/journal/-/figures?deliverable={name}")
    assert page.status == 404 and "knows of no product" in page.text and "<b>”" not in page.text


@pytest.fixture
def tied(journals: ModuleType, pictured: ModuleType, tmp_path: Path) -> Iterator[Journal]:
    """Versions 1.0.1 to 1.0.11 go live in one millisecond, out of order; each says that it repairs the first."""
    told = Teller(journals, tmp_path, pictured.plan())
    for number in range(12):
        told.release(f"v{number}", f"09-01 10:{number:02}", fixes="1.0.1" if number > 1 else "")
    for number in (10, 2, 9, 1, 11):
        told.deploy(f"v{number}", "09-02 10", service=f"s{number}", takes_over=False)
    told.machine.journal.close()
    with journals.open_journal(tmp_path, journals.HandClock(at("11-01 00"))) as found:
        yield found


def test_versions_of_one_moment_are_in_the_order_of_versions(tied: Journal) -> None:
    rows = ask(tied, "gone-live", "2026-09")
    assert len({row["at"] for row in rows}) == 1
    wanted = [row["version"] for row in rows]
    assert wanted == sorted(wanted, key=lambda one: int(one.rpartition(".")[2]), reverse=True)
    assert len(wanted) == 5 and "1.0.9" in wanted and "1.0.10" in wanted
    diary = QUERIES["diary"]
    given = dict.fromkeys(diary.parameters, "") | {"since": "2026-09-01", "until": "2026-09-30"}
    happened = tied.query(diary.sql, {one: given[one] for one in diary.parameters})
    out = [
        row["version"] for row in happened if row["version"] in wanted and "production" in str(row)
    ]
    assert out == wanted[::-1], happened


def test_what_repairs_a_version_is_told_in_the_order_of_versions(tied: Journal) -> None:
    [run] = tied.query("SELECT id FROM run WHERE version = '1.0.1'")
    query = next(one for one in QUERIES.values() if "AS fixed_by" in one.sql)
    given = dict.fromkeys(query.parameters, "") | {"run": run["id"]}
    [row] = tied.query(query.sql, {one: given[one] for one in query.parameters})
    assert row["fixed_by"].split(", ") == [f"1.0.{number}" for number in range(2, 12)]
