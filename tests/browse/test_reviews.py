"""Who answered for what was out of the ordinary; and what was not recorded is not guessed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from cxlocal.domain import Actor
from cxlocal.errors import Refused
from cxlocal.journal.file import Journal
from cxlocal.projection.queries import QUERIES
from cxlocal.runner.review import answer_for


def test_what_was_not_recorded_is_not_guessed(journals: Any, tmp_path: Path) -> None:
    """Runs of an older cxlocal, and plans that are none."""
    with journals.build_full_journal(tmp_path) as journal:
        for table in ("run_asked", "plan_stage", "plan_environment", "review"):
            assert journal.query(f"SELECT * FROM {table}") == [], table
        rows = journal.query("SELECT position FROM release_board")
        assert {row["position"] for row in rows} == {None}


def unusual(journal: Journal) -> list[tuple[Any, ...]]:
    return [
        (row["version"], row["unusual"], row["reviewed_by"], row["words"])
        for row in journal.query(QUERIES["unusual"].sql, {"deliverable": ""})
    ]


def test_somebody_answers_for_an_emergency(journals: Any, tmp_path: Path, cx: Any) -> None:
    with journals.build_full_journal(tmp_path) as journal:
        both = "unplanned, without the store, a decision was passed over"
        assert unusual(journal) == [
            ("1.0.101", "without the store", None, None), ("1.0.100", both, None, None),
        ]  # fmt: skip
        env = {"CXLOCAL_HOME": str(tmp_path), "CXLOCAL_ACTOR": "Mara <mara@example.org>"}
        cx.ok("review", "1.0.101", "-m", "payments were down", env=env)
        cx.ok("review", "1.0.101", "-m", "and are up again", env=env)
        assert unusual(journal) == [
            ("1.0.100", both, None, None),
            ("1.0.101", "without the store", "Mara <mara@example.org>", "and are up again"),
        ]
        said = cx.ok("show", "1.0.101", env=env).out
        assert "payments were down" in said and "answered for" in said
        silent = cx("review", "1.0.101", "-m", "  ", env=env)
        assert (silent.code, "a review says what was found" in silent.err) == (2, True)
        unknown = cx("review", "9.9.9", "-m", "x", env=env)
        assert (unknown.code, "no run is known" in unknown.err) == (2, True)


def test_only_a_named_person_answers(journals: Any, tmp_path: Path) -> None:
    with journals.build_full_journal(tmp_path) as journal:
        run = journals.run_id("night")
        with pytest.raises(Refused, match="a review needs a named person"):
            answer_for(journal, run, Actor("root", "operating system"), "looked")
        assert journal.query("SELECT * FROM review") == []
