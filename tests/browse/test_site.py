"""The pages as plain files: every link leads to a file, nothing is asked of anybody, an unchanged journal gives
equal bytes, and one product names no other."""

from __future__ import annotations

import csv
import hashlib
import json
import re
import shutil
import zipfile
from html import unescape
from pathlib import Path
from types import ModuleType
from typing import Any
from urllib.parse import unquote
from xml.etree import ElementTree

import pytest


@pytest.fixture(scope="module")
def homes(
    small_file: Path, hostile_file: Path, full_file: Path, empty_file: Path
) -> dict[str, Path]:
    return {"small": small_file.parent, "hostile": hostile_file.parent, "full": full_file.parent, "empty": empty_file.parent}  # fmt: skip


def export(cx: Any, home: Path, into: Path, *words: str) -> Any:
    return cx("export", "--site", "site", *words, cwd=into, env={"CXLOCAL_HOME": str(home)})


def digest(folder: Path) -> dict[str, str]:
    return {
        str(one.relative_to(folder)): hashlib.sha256(one.read_bytes()).hexdigest()
        for one in folder.rglob("*") if one.is_file()
    }  # fmt: skip


@pytest.mark.parametrize("name", ["small", "hostile", "full", "empty"])
def test_every_link_leads_to_a_file_that_is_there(
    cx: Any, homes: dict[str, Path], tmp_path: Path, name: str
) -> None:
    done = export(cx, homes[name], tmp_path)
    assert done.code == 0, done.err
    site = tmp_path / "site"
    pages = list(site.rglob("*.html"))
    assert f"{len(digest(site)) - 1} files, " in done.err and site / "index.html" in pages
    for page in pages:
        text = page.read_text()
        assert "<form" not in text and "<script" not in text.lower() and "http-equiv" not in text
        assert "could not be found out in time" not in text and "cx-ago" not in text
        for link in re.findall(r'(?:href|src)="([^"]*)"', text):
            address = unquote(unescape(link))
            if address.startswith(
                (
                    "https://git.example.org/",
                    "https://ci.example.org/",
                    "https://tickets.example.org/",
                    "https://logs.example.org/",
                )
            ):
                continue  # what the project itself leads to, and nothing loads
            assert address and not address.startswith(("/", "http")), (page.name, link)
            assert address.startswith("#") or (page.parent / address).is_file(), (page.name, link)


def test_rows_stand_beside_each_page(cx: Any, homes: dict[str, Path], tmp_path: Path) -> None:
    assert export(cx, homes["small"], tmp_path).code == 0
    site = tmp_path / "site"
    told = json.loads((site / "index.json").read_text())
    assert [row["version"] for row in told["board"]["rows"]] == [
        "4.1.1",
        "4.1.0",
        "2.7.101",
        "2.7.100",
    ]
    with (site / "index.board.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["version"] for row in rows] == [row["version"] for row in told["board"]["rows"]]
    days = sorted(one.name for one in (site / "diary").glob("*.html"))
    assert days[0] == "2026-11-23.html" and days[-1] == "2026-11-29.html" and len(days) == 7
    assert sorted(one.name for one in (site / "then").glob("*.html")) == days


def test_feeds_lie_beside_the_pages_and_lead_to_files(
    cx: Any, homes: dict[str, Path], tmp_path: Path
) -> None:
    """A calendar has no address to lead to: its links may not be relative."""
    for name in ("small", "hostile", "full", "empty"):
        assert export(cx, homes[name], tmp_path).code == 0
        site = tmp_path / "site"
        feed = ElementTree.parse(site / "diary.atom").getroot()
        links = [unquote(one.attrib["href"]) for one in feed.iter() if one.tag.endswith("}link")]
        assert bool(links) == (name != "empty")
        assert all((site / link).is_file() for link in links)
        calendar = (site / "diary.ics").read_text(encoding="utf-8")
        assert calendar.startswith("BEGIN:VCALENDAR") and "\nURL:" not in calendar
        assert calendar.count("BEGIN:VEVENT") == sum(one.tag.endswith("}entry") for one in feed)
    assert export(cx, homes["small"], tmp_path, "--since", "2026-11-28").code == 0
    told = (tmp_path / "site" / "diary.ics").read_text(encoding="utf-8")
    days = re.findall(r"DTSTART:(\d{8})", told)
    assert days and min(days) >= "20261127"


def test_an_unchanged_journal_gives_equal_bytes_at_another_time(
    cx: Any, homes: dict[str, Path], tmp_path: Path
) -> None:
    copy = shutil.copytree(homes["small"], tmp_path / "home")
    assert export(cx, copy, tmp_path).code == 0
    first = digest(tmp_path / "site")
    env = {"CXLOCAL_HOME": str(copy), "PYTHONHASHSEED": "7"}
    assert cx("export", "--site", "site", cwd=tmp_path, env=env).code == 0
    assert digest(tmp_path / "site") == first
    assert cx("export", "--site", "site", "--zip", cwd=tmp_path, env=env).code == 0
    one = (tmp_path / "site.zip").read_bytes()
    assert cx("export", "--site", "site", "--zip", cwd=tmp_path, env=env).code == 0
    assert (tmp_path / "site.zip").read_bytes() == one
    with zipfile.ZipFile(tmp_path / "site.zip") as found:
        assert set(found.namelist()) == set(first)


def test_one_product_names_no_other(cx: Any, homes: dict[str, Path], tmp_path: Path) -> None:
    assert export(cx, homes["small"], tmp_path, "-d", "billing").code == 0
    site = tmp_path / "site"
    named = [
        path
        for path in site.rglob("*")
        if path.is_file() and re.search(rb"web ?shop", path.read_bytes(), re.IGNORECASE)
    ]
    assert named == []
    assert "4.1.1 failed here after it" in (site / "index.html").read_text()
    unknown = export(cx, homes["small"], tmp_path, "-d", "nothing")
    assert (unknown.code, "no release of 'nothing'" in unknown.err) == (2, True)


def test_lines_of_logs_are_left_out_unless_they_are_asked_for(
    cx: Any, homes: dict[str, Path], tmp_path: Path
) -> None:
    lines = b"assert 409 == 200"
    for words, wanted in (((), False), (("--log-lines",), True)):
        assert export(cx, homes["small"], tmp_path, *words).code == 0
        found = [
            path.suffix
            for path in (tmp_path / "site" / "run").iterdir()
            if lines in path.read_bytes()
        ]
        assert bool(found) is wanted
    assert export(cx, homes["small"], tmp_path).code == 0
    assert any(
        "Lines of logs are left out here." in one.read_text()
        for one in (tmp_path / "site" / "run").glob("*.html")
    )


def test_since_a_day(cx: Any, homes: dict[str, Path], tmp_path: Path) -> None:
    """28 November in the zone of the tests begins at 18:15 UTC of the day before."""
    assert export(cx, homes["small"], tmp_path, "--since", "2026-11-28").code == 0
    site = tmp_path / "site"
    assert min(one.stem for one in (site / "diary").glob("*.html")) == "2026-11-28"
    listed = (site / "index.html").read_text().partition('id="list"')[2]
    assert ">4.1.0<" in listed, "what is live is named, also where its own page is not written"
    everything = len(list((site / "run").glob("*.html")))
    assert export(cx, homes["small"], tmp_path).code == 0
    assert 0 < everything < len(list((site / "run").glob("*.html")))


@pytest.mark.parametrize(
    "words",
    [
        ("--since", "yesterday"),
        ("--since", "2026-02-31"),
        ("--bundle", "x"),
        ("--reports",),
        ("evidence", "2.7.1"),
    ],
)
def test_what_makes_no_sense_is_refused(
    cx: Any, homes: dict[str, Path], tmp_path: Path, words: tuple[str, ...]
) -> None:
    assert export(cx, homes["small"], tmp_path, *words).code == 2
    assert list(tmp_path.iterdir()) == []


def test_what_is_there_and_is_no_site_stays(
    cx: Any, homes: dict[str, Path], tmp_path: Path
) -> None:
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "thesis.txt").write_text("mine")
    done = export(cx, homes["small"], tmp_path)
    assert (done.code, "would be lost" in done.err) == (3, True)
    assert [one.name for one in (tmp_path / "site").iterdir()] == ["thesis.txt"]
    (tmp_path / "site.zip").write_text("mine")
    assert export(cx, homes["small"], tmp_path, "--zip").code == 3
    shutil.rmtree(tmp_path / "site")
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "site").symlink_to(tmp_path / "elsewhere")
    assert export(cx, homes["small"], tmp_path).code == 3
    assert list((tmp_path / "elsewhere").iterdir()) == []
    assert sorted(one.name for one in tmp_path.iterdir()) == ["elsewhere", "site", "site.zip"]


def test_the_newest_releases_are_written_unless_all_are_asked_for(
    journals: ModuleType, small_file: Path, make_pages: Any
) -> None:
    import asyncio

    from datasette_cxlocal.site import Scope, make_site

    from cxlocal.commands.browse import make_datasette

    async def names(scope: Scope) -> list[str]:
        return [name async for name, _ in make_site(make_datasette({small_file: ""}), scope)]

    def in_a_context(count: int) -> int:
        import contextvars

        found = contextvars.copy_context().run(asyncio.run, names(Scope(releases=count)))
        assert len(found) == len(set(found))
        return sum(one.startswith("way/") and one.endswith(".html") for one in found)

    assert [in_a_context(count) for count in (2, 200, -1)] == [2, 11, 11]
