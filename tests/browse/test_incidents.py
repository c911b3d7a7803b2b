"""Something was wrong with what is live: who said so, what put it right, and what repaired it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cxlocal.domain import Actor
from cxlocal.errors import Conflict, Refused, UsageError
from cxlocal.exchange.rights import Rights
from cxlocal.exchange.standing import Standing, note_standing
from cxlocal.journal.file import Journal
from cxlocal.journal.rebuild import rebuild
from cxlocal.runner.incidents import close_incident, live_version, open_incident, open_incidents

MARA = Actor("Mara <mara@example.org>", "git config")


@pytest.fixture
def journal(journals: Any, pictured: Any, tmp_path: Path) -> Iterator[Journal]:
    with pictured.build_small(journals, tmp_path) as found:
        yield found


def run_of(journal: Journal, version: str) -> str:
    return str(journal.query("SELECT id FROM run WHERE version = ?", (version,))[0]["id"])


def told(journal: Journal) -> list[tuple[Any, ...]]:
    rows = journal.query(
        "SELECT version, words, closed_words, closed_at IS NOT NULL AS over FROM incident ORDER BY opened_at"
    )
    return [tuple(row.values()) for row in rows]


def test_an_incident_is_about_what_is_live_until_it_is_over(journal: Journal) -> None:
    live = live_version(journal, "webshop")
    assert (live["version"], live["environment"]) == ("2.7.100", "production")
    open_incident(journal, live["run"], live["version"], live["environment"], MARA, "payments fail")
    (found,) = open_incidents(journal, "webshop")
    assert (
        open_incidents(journal, "billing")
        == []
        == open_incidents(journal, "webshop", run_of(journal, "2.7.1"))
    )
    close_incident(journal, found, MARA, "the bank was down")
    assert open_incidents(journal, "webshop") == []
    assert told(journal) == [("2.7.100", "payments fail", "the bank was down", 1)]
    rebuild(journal)
    assert told(journal) == [("2.7.100", "payments fail", "the bank was down", 1)]


@pytest.mark.parametrize("words", ["", "  ", "\n"])
def test_it_needs_words_and_a_known_run(journal: Journal, words: str) -> None:
    with pytest.raises(UsageError, match="needs words"):
        open_incident(journal, run_of(journal, "2.7.1"), "2.7.1", "production", MARA, words)
    with pytest.raises(UsageError, match="is not here"):
        open_incident(journal, "0" * 36, "2.7.1", "production", MARA, "x")
    assert told(journal) == []


def test_who_may_not_push_records_none(journal: Journal) -> None:
    with journal.write() as transaction:
        note_standing(transaction, Standing("mara", Rights(take=frozenset(), push=frozenset())))
    with pytest.raises(Refused, match="may not work on"):
        open_incident(journal, run_of(journal, "2.7.1"), "2.7.1", "production", MARA, "x")
    assert told(journal) == []


def test_what_is_live_must_be_one_version(journal: Journal) -> None:
    with pytest.raises(UsageError, match="no version of nothing is live"):
        live_version(journal, "nothing")
    with journal.write() as transaction:
        transaction.connection.execute(
            "UPDATE deployment SET replaced = 0 WHERE version = '2.7.3' AND environment = 'production'"
        )
    with pytest.raises(Conflict, match="several versions of webshop are live: "):
        live_version(journal, "webshop")


def test_the_command_says_what_it_is_about(cx: Any, journal: Journal, tmp_path: Path) -> None:
    env = {"CXLOCAL_HOME": str(journal.path.parent), "CXLOCAL_ACTOR": MARA.id}
    folder = tmp_path / "elsewhere"
    folder.mkdir()

    def incident(*words: str) -> Any:
        return cx("incident", *words, cwd=folder, env=env)

    unnamed = incident("open", "-m", "payments fail")
    assert (unnamed.code, "which product is meant?" in unnamed.err) == (2, True)
    done = incident("open", "-d", "webshop", "-m", "payments fail")
    assert (done.code, "webshop 2.7.100 is at fault: payments fail." in done.err) == (0, True)
    assert incident("open", "2.7.3", "-m", "slow").code == 0
    several = incident("close", "-d", "webshop", "-m", "up")
    assert (several.code, "several incidents are open: 2.7.100, 2.7.3" in several.err) == (10, True)
    assert incident("close", "2.7.100", "-m", "up again").code == 0
    rows = json.loads(incident("list", "--json").out)
    assert [(row["version"], row["closed_words"]) for row in rows] == [
        ("2.7.3", None),
        ("2.7.100", "up again"),
    ]
    none = incident("close", "2.7.100", "-m", "x")
    assert (none.code, "no incident is open about 2.7.100" in none.err) == (2, True)
    said = cx.ok("show", "2.7.100", cwd=folder, env=env).out
    assert "payments fail" in said and "up again" in said
    evidence = cx.ok("export", "evidence", "2.7.3", cwd=folder, env=env).out
    assert "incident · not over · Mara" in evidence
