"""docs/running.md is run: its example is a release."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

PAGE = Path(__file__).parents[2] / "docs" / "running.md"


def test_the_example_of_the_page_is_a_release(shop: Any) -> None:
    found = re.search(r"```toml\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL)
    assert found is not None
    (shop.tree / "cx.toml").write_text(found[1])
    shop.push("the page")
    first = shop.run()
    assert first.code == 0, first.err
    assert "production is protected" in first.err
    assert shop.run("--resume", shop.last(), "--to", "production").code == 0
    assert shop.query("SELECT environment, version FROM deployments_now") == [
        ("production", "0.1.0")
    ]


def test_every_option_of_the_page_exists(cx: Any) -> None:
    told = set(re.findall(r"`(--?[a-z-]+)", PAGE.read_text("utf-8")))
    shown = cx("run", "--help").out + cx("--help").out
    assert {one for one in told if one not in shown} == set()


def test_the_page_names_every_server_that_is_recognised() -> None:
    from cxlocal_plugins.ci import SERVERS

    (told,) = re.findall(r"Recognised are (.*?);", PAGE.read_text("utf-8"), re.DOTALL)
    names = re.split(r",\s+|\s+and\s+", told)
    assert names == sorted({server.name for server in SERVERS})
