"""What another machine says of a run that this one recorded: the pages tell whose word they show."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from cxlocal.journal.file import Journal
from cxlocal.projection.queries import QUERIES

LIE = "f" * 40


def told_again(
    journals: ModuleType, folder: Path, facts: dict[str, Any], made: bool, heeded: bool
) -> tuple[Journal, str]:
    """A journal with a run of its own, which another machine tells again. Of two words about one run that
    of the longer history is shown: the other one's where it is to be ``heeded``."""
    own = journals.Machine(folder / "own", journals.HandClock(), "laptop-ada")
    other = journals.Machine(folder / "other", journals.HandClock(), "laptop-eve")
    longer = other if heeded else own
    for _ in range(3):
        longer.say(
            journals.node_mirrored(node="host", url="/srv/shop.git", created=True, refs=[]),
            minutes=0,
        )
    run = journals.Story(own, "one", journals.SHOP, {"asked": {"to": ""}})
    run.take(1).stage("build").package().end()
    again = journals.Story(other, "one", journals.SHOP, {"asked": {"to": ""}, **facts})
    if made:
        again.id = "never made so"
        again.package()
    journals.take_in(own.journal, journals.events_of(other.journal))
    other.journal.close()
    return own.journal, run.id


def asked(journal: Journal, run: str) -> list[tuple[Any, ...]]:
    given = {"run": run, "deliverable": ""}
    rows = journal.query(QUERIES["recorded-otherwise"].sql, given)
    return [tuple(row.values()) for row in rows]


OTHER_PLAN = '{"stages":["build","unit","deploy","steal"]}'
LIES = {
    "commit": ({"revision": {"commit": LIE}}, False),
    "plan": ({"plan": OTHER_PLAN}, False),
    "artifact wheel": ({}, True),
}


def lie(journals: ModuleType, folder: Path, what: str, heeded: bool) -> tuple[Journal, str]:
    facts, made = LIES[what]
    if "plan" in facts:
        facts = {**facts, "plan_sha256": journals.digest(OTHER_PLAN)}
    return told_again(journals, folder, facts, made, heeded)


@pytest.mark.parametrize("what", LIES)
def test_a_page_says_that_what_it_shows_is_the_word_of_another(
    what: str, journals: ModuleType, tmp_path: Path, make_pages: Any
) -> None:
    journal, run = lie(journals, tmp_path, what, True)
    ((told, here, shown),) = asked(journal, run)
    assert told == what and here != shown
    path = journal.path
    journal.close()
    page, sheet = make_pages(path).get(f"/journal/-/run/{run}", f"/journal/-/evidence/{run}")
    assert "Told otherwise by another machine" in page.words
    assert here in page.text and shown in page.text
    assert f"says otherwise than was recorded on this one: {what}." in sheet.words


@pytest.mark.parametrize("what", ["commit", "plan"])
def test_where_what_was_recorded_here_is_shown_nothing_is_said(
    what: str, journals: ModuleType, tmp_path: Path, make_pages: Any
) -> None:
    journal, run = lie(journals, tmp_path, what, False)
    assert asked(journal, run) == []
    path = journal.path
    journal.close()
    page, sheet = make_pages(path).get(f"/journal/-/run/{run}", f"/journal/-/evidence/{run}")
    assert "otherwise" not in page.words and "otherwise" not in sheet.words


def test_a_machine_that_recorded_nothing_of_a_run_says_nothing(
    journals: ModuleType, tmp_path: Path, make_pages: Any
) -> None:
    journal, _ = lie(journals, tmp_path, "commit", True)
    reader = journals.open_journal(tmp_path / "reader", journals.HandClock())
    journals.take_in(reader, journals.events_of(journal))
    path, rows = reader.path, asked(reader, "")
    journal.close()
    reader.close()
    assert rows == []
    assert "Told otherwise" not in make_pages(path).one("/journal/-/run/latest").words


def test_artifacts_of_single_commands_may_be_made_anew_elsewhere(
    journals: ModuleType, tmp_path: Path
) -> None:
    """Only what cxlocal run carried out here is final (decision 128)."""
    own = journals.Machine(tmp_path / "own", journals.HandClock(), "laptop-ada")
    run = journals.Story(own, "one", journals.SHOP, {})
    run.take(1).package()
    clock = journals.HandClock(journals.START_MS + 60 * journals.MINUTE_MS)
    other = journals.Machine(tmp_path / "other", clock, "ci", ci=True)
    again = journals.Story(other, "one", journals.SHOP, {})
    again.id = "anew"
    again.package()
    journals.take_in(own.journal, journals.events_of(other.journal))
    assert asked(own.journal, run.id) == []
    own.journal.close()
    other.journal.close()
