"""What was out of the ordinary, how fresh this is, and what proves a version: the pages, and the sheet that
``export`` prints."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from datasette_cxlocal.machines import ready_sentence, unsent_sentence
from datasette_cxlocal.parts import Part
from datasette_cxlocal.unusual import unusual_sentences

from cxlocal.domain import Actor
from cxlocal.journal.blobs import keep_chunks
from cxlocal.journal.file import Journal
from cxlocal.projection.evidence import TOPICS, evidence_sentences, pushed
from cxlocal.projection.oversight_questions import READINESS
from cxlocal.projection.queries import QUERIES
from cxlocal.runner.review import answer_for


def part(*rows: dict[str, Any], late: bool = False, more: bool = False) -> Part:
    return Part("", list(rows), late, more, "", "", "")


@pytest.fixture
def small_copy(journals: ModuleType, small_file: Path, tmp_path: Path) -> Any:
    """The small journal, opened for writing."""
    folder = tmp_path / "home"
    folder.mkdir()
    shutil.copy(small_file, folder / "journal.db")
    with journals.open_journal(
        folder, journals.HandClock(journals.START_MS + 9 * journals.DAY_MS)
    ) as found:
        yield found


def test_an_emergency_stands_there_until_somebody_answers_for_it(
    small_copy: Journal, make_pages: Callable[[Path], Any]
) -> None:
    pages = make_pages(small_copy.path)
    text = pages.one("/journal/-/unusual").words
    assert text.startswith(
        "Unusual 1 release was out of the ordinary; nobody has answered for it. Not settled:"
    )
    assert "2.7.100 Web shop" in text and "unplanned, without the store" in text
    assert "Payments are down" in text and "○" not in text and "nobody yet" in text
    assert "No two versions claim one place" in text
    assert "the next deployment there that succeeds" in text, "what settles it stands beside it"
    run = small_copy.query("SELECT id FROM run WHERE version = '2.7.100'")[0]["id"]
    answer_for(small_copy, run, Actor("Mara <mara@example.org>", "git config"), "right as it was")
    text = pages.one("/journal/-/unusual").words
    assert "somebody has answered for it." in text and "Mara" in text and "right as it was" in text


def test_disputes_and_flags_of_a_history_stand_beside_each_other(full_pages: Any) -> None:
    text = full_pages.one("/journal/-/unusual").words
    assert "its place in production" in text and "its number 1.0." in text
    assert "Not settled: 4 disputes and" in text


@pytest.mark.parametrize(
    ("rows", "more", "words"),
    [
        ([], False, []),
        ([{"reviewed_by": None}], False, ["1 release was out of the ordinary; nobody has answered for it."]),
        ([{"reviewed_by": "M"}], False, ["1 release was out of the ordinary; somebody has answered for it."]),
        ([{"reviewed_by": None}, {"reviewed_by": "M"}], False,
         ["2 releases were out of the ordinary; nobody has answered for 1 of them."]),
        ([{"reviewed_by": "M"}] * 2, True,
         ["At least 2 releases were out of the ordinary; somebody has answered for each of them."]),
    ],
)  # fmt: skip
def test_the_first_sentence_counts(rows: list[Any], more: bool, words: list[str]) -> None:
    expected = words or ["No release was out of the ordinary."]
    assert unusual_sentences(part(*rows, more=more), part(), part()) == expected
    assert unusual_sentences(part(late=True), part(), part()) == []


def test_machines_say_how_fresh_this_is_and_what_lies_here(
    small_copy: Journal, make_pages: Callable[[Path], Any]
) -> None:
    digest, _ = keep_chunks(small_copy.home, [b"the bytes"], "shop.whl")
    with small_copy.write() as transaction:
        execute = transaction.connection.execute
        execute("UPDATE artifact SET sha256 = ? WHERE version = '4.1.1'", (digest,))
        execute("INSERT INTO reserve VALUES ('webshop', '2.7', 100, 120, 103, 'x', 1, 1, 0)")
        execute("INSERT INTO reserve_wish VALUES (1, 'webshop', '2.7', 20, 100)")
        execute("INSERT INTO reserve VALUES ('billing', '4.1', 9, 9, 10, 'x', 1, 1, 1)")
        told = {"at": "2026-11-28T10:00:00.000Z", "ready": False, "because": ["store: <b>is away"]}
        transaction.set_value(f"{READINESS}webshop", json.dumps(told))
        transaction.set_value(f"{READINESS}billing", "no JSON")
        transaction.set_value("doctors", json.dumps(told))
    text = make_pages(small_copy.path).one("/journal/-/machines").words
    assert text.startswith(
        "Machines A release without the store would not work for Web shop, as was found last."
        " The store has all that was written here."
    )
    assert "Web shop ✗ no store: <b>is away Sat 28 Nov 2026 15:45" in text
    assert "Web shop 2.7 18 20 103 to 120 ✓ ready" in text
    assert "Billing 4.1 0" in text and "⚠ not to be used" in text
    assert "4.1.1 Billing Staging, shop live ✓ is here" in text
    assert "4.1.0 Billing Staging, shop what was there before ○ not here" in text
    assert "laptop-mara (this one)" in text


def test_what_is_not_known_of_this_machine_is_said_to_be_so(empty_pages: Any, small: Any) -> None:
    for pages in (empty_pages, small):
        text = pages.one("/journal/-/machines").words
        assert "was never asked on this machine" in text and "without the store no number" in text
    assert "Nothing was written here yet." in empty_pages.one("/journal/-/machines").words


def test_sentences_about_machines() -> None:
    yes, no = {"ready": 1, "title": "A"}, {"ready": 0, "title": "B"}
    assert "would work without the store, as far" in ready_sentence(part(yes))
    assert "would not work for B," in ready_sentence(part(yes, no))
    assert ready_sentence(part(late=True)) == "" == unsent_sentence(part())
    assert unsent_sentence(part({"not_at_store": 1}, {"not_at_store": None})) == (
        "1 event of this machine is not at the store yet."
    )


def test_what_doctor_finds_stands_on_the_page(
    cx: Any, tmp_path: Path, make_pages: Callable[[Path], Any]
) -> None:
    project, home = tmp_path / "p", tmp_path / "home"
    project.mkdir()
    (project / "cx.toml").write_text(
        'cx = 1\n[deliverable]\nname = "shop"\n[stages.build]\ncommand = "true"\n'
    )
    env = {"CXLOCAL_HOME": str(home)}
    cx("doctor", cwd=project, env=env)
    text = make_pages(home / "journal.db").one("/journal/-/machines").words
    assert "A release without the store would not work for shop, as was found last." in text
    assert "shop ✗ no" in text and "git" in text


ROW = {"topic": "", "name": "n", "result": "", "who": "", "at": "1", "words": "", "sha256": None}


def row(topic: str, **values: Any) -> dict[str, Any]:
    return {**ROW, "topic": topic, **values}


@pytest.mark.parametrize(
    ("rows", "sentence"),
    [
        ([], "No person approved it."),
        ([row("commit", who="A <a@x>"), row("decision", result="granted", who="B <b@x>")],
         "Approved by somebody else than its author: B; the author is A."),
        # The same person under another name, and another with the same one.
        ([row("commit", who="A <a@x>"), row("decision", result="granted", who="Ann <A@x>")],
         "Approved by its author alone: A."),
        ([row("commit", who="A <a@x>"), row("decision", result="granted", who="A <b@x>")],
         "Approved by somebody else than its author: A; the author is A."),
        ([row("commit", who="A <a@x>"), row("decision", result="denied", who="B <b@x>")],
         "No person approved it."),
        ([row("decision", result="granted", who="B")],
         "Whether its author approved it is not known: who wrote the commit was not recorded."),
        ([row("decision", result="overridden", who="B <b@x>", words="gate down", name="Tested")],
         "Tested was passed over by B: gate down."),
        ([row("decision", result="overridden", who="", name="Tested")],
         "Tested was passed over by nobody named, no reason given."),
        ([row("tests", name="unit", result="failure, 1 of 2 passed", at="1"),
          row("tests", name="unit", result="success, 2 of 2 passed", at="2")], "All tests passed (1 suite)."),
        ([row("tests", name="unit", result="success, 2 of 2 passed", at="1"),
          row("tests", name="unit", result="failure, 1 of 2 passed", at="2")], "Tests did not pass: unit."),
        ([row("deployed", name="Live, web", result="other bytes than were made"), row("deployed", result="the bytes that were made")],
         "Other bytes than were made ran in Live, web."),
        ([row("deployed", result="which bytes is not known"), row("deployed", result="the bytes that were made")],
         "Which bytes ran is not known of 1 of 2 deployments."),
        ([row("run", result="success, unplanned")], "It was made unplanned. Nobody has answered for it."),
        ([row("run", result="success, unplanned, without the store"), row("review", who="M <m@x>")],
         "It was made unplanned, without the store. M answered for it."),
    ],
)  # fmt: skip
def test_the_sheet_says_first_what_counts(rows: list[dict[str, Any]], sentence: str) -> None:
    assert sentence in evidence_sentences(rows)


def test_a_usual_release_needs_no_excuse() -> None:
    assert not any(
        "Nobody has answered" in one for one in evidence_sentences([row("run", result="success")])
    )


@pytest.mark.parametrize(
    ("result", "told"),
    [
        ("confirmed, origin", "yes: origin was asked and has it"),
        ("tracking ref, origin; the remote agreed later",
         "by the copy of origin on that machine alone; the remote agreed later"),
        ("mirror only, /srv/m, 2", "the mirror /srv/m, 2 alone has it"),
        ("confirmed", "confirmed"), ("not known", "not known"), ("odd, origin", "odd, origin"),
    ],
)  # fmt: skip
def test_a_proof_that_a_commit_was_pushed_is_told_in_words(result: str, told: str) -> None:
    assert pushed(result) == told


def test_the_sheet_of_a_version_is_one_page(small: Any, empty_pages: Any) -> None:
    page = small.one("/journal/-/evidence/2.7.100")
    text = page.words
    assert text.startswith("What proves Web shop 2.7.100")
    assert "Approved by somebody else than its author: Mara; the author is Jonas." in text
    assert "What ran everywhere is what was made, byte for byte." in text
    assert "It was made unplanned, without the store. Nobody has answered for it." in text
    assert "cxlocal export evidence 2.7.100" in text
    assert (
        "yes: origin was asked and has it Jonas" in text
        and "Tested ✓ given earned by its stages" in text
    )
    assert "Said" not in text, "each column has the word for what stands in it"
    assert len(page.text.split("<tr>")) < 40
    assert small.one("/journal/-/evidence/9.9.9").status == 404
    assert empty_pages.one("/journal/-/evidence/latest").status == 404
    run = small.one("/journal/-/run/2.7.100")
    assert "/-/evidence/" in run.text, "one click from the run"


def test_the_sheet_is_printed_too(cx: Any, small_copy: Journal, tmp_path: Path) -> None:
    env = {"CXLOCAL_HOME": str(small_copy.path.parent)}
    said = cx.ok("export", "evidence", "2.7.100", cwd=tmp_path, env=env).out
    lines = said.splitlines()
    assert lines[0] == "What proves webshop 2.7.100"
    assert " · yes: origin was asked and has it · " in said and "  Tested · given · " in said
    assert "Approved by somebody else than its author: Mara; the author is Jonas." in lines
    assert [title for title in TOPICS.values() if title in lines] == [
        title for name, title in TOPICS.items() if name not in ("gate", "look", "review")
    ]
    head = small_copy.query(
        "SELECT hash FROM event_log WHERE run = (SELECT id FROM run WHERE version = '2.7.100')"
        " ORDER BY id DESC LIMIT 1"
    )[0]["hash"]
    assert f"    SHA-256 {head}" in lines
    told = json.loads(cx.ok("export", "evidence", "2.7.100", "--json", cwd=tmp_path, env=env).out)
    assert {one["topic"] for one in told["rows"]} <= set(TOPICS) and told["version"] == "2.7.100"
    assert cx("export", "evidence", "9.9.9", cwd=tmp_path, env=env).code == 2
    assert cx("export", "evidence", "2.7.100", "--bundle", "x", cwd=tmp_path, env=env).code == 2
    assert cx("export", "2.7.100", cwd=tmp_path, env=env).code == 2


def test_topics_are_those_of_the_question(small_copy: Journal) -> None:
    query = QUERIES["evidence"]
    for version in ("2.7.100", "2.7.4", ""):
        rows = small_copy.query(query.sql, {"run": version, "deliverable": ""})
        order = list(TOPICS)
        places = [order.index(one["topic"]) for one in rows]
        assert places == sorted(places) and places
