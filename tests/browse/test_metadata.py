"""datasette-metadata.yml and the generated docs say everything, and nothing that is not there."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def journal_entry() -> Any:
    text = (ROOT / "datasette-metadata.yml").read_text(encoding="utf-8")
    return yaml.safe_load(text)["databases"]["journal"]


@pytest.fixture(scope="module")
def stored(full_file: Path) -> dict[str, list[str]]:
    """Tables and views of a real journal with their columns."""
    connection = sqlite3.connect(full_file)
    names = connection.execute(
        "SELECT name FROM sqlite_master WHERE type IN ('table', 'view')"
        " AND name NOT LIKE 'sqlite_%'"
    ).fetchall()
    found = {
        name: [row[1] for row in connection.execute(f'PRAGMA table_info("{name}")')]
        for (name,) in names
    }
    connection.close()
    return found


def test_written_pages_are_up_to_date() -> None:
    done = subprocess.run(
        [sys.executable, str(ROOT / "tests" / "browse" / "pages.py"), "--check"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_table_view_and_column_has_its_sentence(
    journal_entry: Any, stored: dict[str, list[str]]
) -> None:
    said = journal_entry["tables"]
    assert set(said) == set(stored)
    for name, columns in stored.items():
        assert len(said[name]["description"]) > 10, name
        lacking = [c for c in columns if len(said[name]["columns"].get(c, "")) < 4]
        assert (name, lacking) == (name, [])
        assert list(said[name]["columns"]) == columns


def test_units_are_in_the_words(journal_entry: Any) -> None:
    for name, entry in journal_entry["tables"].items():
        for column, sentence in entry["columns"].items():
            where = f"{name}.{column}: {sentence}"
            if column.endswith("_seconds"):
                assert "seconds" in sentence, where
            if column.endswith("_bytes"):
                assert "bytes" in sentence, where
            if column.endswith("_at") or column == "since":
                assert "UTC" in sentence, where


def test_labels_orders_and_facets_name_columns(
    journal_entry: Any, stored: dict[str, list[str]]
) -> None:
    for name, entry in journal_entry["tables"].items():
        for key in ("label_column", "sort_desc"):
            assert entry.get(key) is None or entry[key] in stored[name], (name, key)
        assert set(entry.get("facets", ())) <= set(stored[name])
    assert "facets" not in journal_entry["tables"]["event"]


def test_bookkeeping_is_hidden_and_nothing_else(journal_entry: Any) -> None:
    shown = {name for name, entry in journal_entry["tables"].items() if not entry.get("hidden")}
    assert {"run", "release_board", "event", "event_log"} <= shown
    assert not shown & {"spent", "node_lookup", "contact", "ack", "local_value"}


def test_references_lead_to_labelled_tables(
    pages_script: ModuleType, stored: dict[str, list[str]]
) -> None:
    for (table, column), target in pages_script.REFERENCES.items():
        assert column in stored[table]
        assert pages_script.SHAPES[target].label or target in ("plan",)


def test_columns_of_views_are_all_described(pages_script: ModuleType) -> None:
    assert set(pages_script.VIEW_COLUMNS) == set(pages_script.VIEWS) | {"event_log"}


def test_no_word_of_the_machinery_in_what_people_read(journal_entry: Any) -> None:
    words = [journal_entry["description_html"]]
    words += [f"{q['title']} {q['description']}" for q in journal_entry["queries"].values()]
    for text in words:
        assert not {"node", "grant", "lineage", "token"} & set(text.lower().split()), text


def test_plain_datasette_finds_the_words_and_queries(cx: Any, tmp_path: Path) -> None:
    """``browse --metadata-path``, for who opens a journal in a Datasette of their own."""
    told = cx("browse", "--metadata-path", cwd=tmp_path).out.strip()
    assert Path(told).samefile(ROOT / "datasette-metadata.yml")
    assert "live-now" in yaml.safe_load(Path(told).read_text())["databases"]["journal"]["queries"]
