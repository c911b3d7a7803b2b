"""In which zone times are shown: that of the settings, or the one that somebody asks for, which stays."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from cxlocal.commands.browse import make_datasette
from cxlocal.zones import zone_of


@pytest.mark.parametrize(
    ("text", "minutes"),
    [
        ("UTC", 0),
        ("+05:45", 345),
        ("-0330", -210),
        ("UTC+02:00", 120),
        ("Etc/GMT-3", 180),
        ("+14:00", 840),
    ],
)
def test_a_zone_is_named_or_an_offset(text: str, minutes: int) -> None:
    from datetime import datetime

    zone = zone_of(text)
    assert zone is not None
    offset = datetime(2026, 1, 1, tzinfo=zone).utcoffset()
    assert offset is not None and offset.total_seconds() == minutes * 60


@pytest.mark.parametrize(
    "text", ["", "Mars/Base", "../../etc/passwd", "/etc/localtime", "Europe", "+15:00", "+1", "<b>", "A" * 300,
             "Europe/Berlin\n", "Europe//Berlin", "posixrules/..", "zone.tab", "\u202eUTC"],
)  # fmt: skip
def test_what_is_no_zone_is_none(text: str) -> None:
    assert zone_of(text) is None


class Visitor:
    """A browser, as far as cookies go."""

    def __init__(self, path: Path, zone: str = "") -> None:
        self.datasette = make_datasette({path: ""}, zone=zone)
        self.cookies: dict[str, str] = {}

    def see(self, address: str) -> str:
        return asyncio.run(self._see(f"/journal/-/{address}"))

    async def _see(self, address: str) -> str:
        await self.datasette.invoke_startup()
        got = await self.datasette.client.get(address, cookies=self.cookies)
        for name, value in got.cookies.items():
            self.cookies[name] = value
        if "max-age=0" in got.headers.get("set-cookie", "").lower():
            self.cookies = {}
        return " ".join(got.text.split())


def test_a_zone_that_is_asked_for_stays(small_file: Path) -> None:
    one = Visitor(small_file)
    assert "Times are TST (UTC+05:45); each has UTC in its title." in one.see(
        "diary?day=2026-11-28"
    )
    asked = one.see("diary?day=2026-11-27&zone=UTC")
    assert "Times are UTC." in asked and "Fri 27 Nov 2026 19:37" in asked
    assert "1 rolled back" in one.see("diary?day=2026-11-27"), "it stays, and days are of it"
    assert "1 rolled back" not in one.see("diary?day=2026-11-28")
    assert "This machine knows no zone “Mars”" in one.see("diary?zone=Mars")
    assert "Times are UTC." in one.see("board"), "one that is none changes nothing"
    assert "UTC+05:45" in one.see("board?zone=") and "UTC+05:45" in one.see("board")


def test_the_settings_say_which_it_is(small_file: Path) -> None:
    one = Visitor(small_file, "Etc/GMT+10")
    text = one.see("diary?day=2026-11-27")
    assert "Etc/GMT+10 (UTC-10:00)" in text and "Fri 27 Nov 2026 09:37" in text
    assert "08:15" not in one.see("then?at=2026-11-27T09:00")
    assert "UTC+03:00" in one.see("board?zone=%2B03:00")


def test_months_are_those_of_the_zone(small_file: Path) -> None:
    """Three hours east of Greenwich a month begins at nine in the evening there."""
    one = Visitor(small_file, "+03:00")
    page = one.see("figures?deliverable=webshop")
    assert "2026-10-31T21%3A00%3A00.000Z" in page and "2026-11-30T21%3A00%3A00.000Z" in page
    month = one.see("diary?month=2026-11")
    assert "days=" in month and "2026-10-31T21%3A00%3A00.000Z" in month


def test_the_field_keeps_what_was_asked(small_file: Path) -> None:
    page = Visitor(small_file).see("diary?day=2026-11-28&zone=Etc/GMT%2B1")
    assert (
        '<input type="hidden" name="day" value="2026-11-28">' in page
        and 'value="Etc/GMT+1"' in page
    )
    hostile = Visitor(small_file).see("board?zone=%22%3E%3Cscript%3E&search=%22%3E%3Cscript%3E")
    assert "<script" not in hostile


def test_a_zone_of_the_settings_must_be_one(cx: Any, small_file: Path, tmp_path: Path) -> None:
    (tmp_path / "cx.toml").write_text(
        'cx = 1\n[deliverable]\nname = "webshop"\n[pages]\nzone = "Mars"\n'
    )
    env = {"CXLOCAL_HOME": str(small_file.parent)}
    done = cx("browse", "--get", "/journal/-/board", cwd=tmp_path, env=env)
    assert (done.code, "this machine knows no zone 'Mars'" in done.err) == (2, True)
    text = (tmp_path / "cx.toml").read_text().replace("Mars", "Etc/GMT-2")
    (tmp_path / "cx.toml").write_text(text)
    assert (
        "Etc/GMT-2 (UTC+02:00)"
        in cx.ok("browse", "--get", "/journal/-/board", cwd=tmp_path, env=env).out
    )
