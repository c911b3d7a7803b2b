"""``cxlocal config``: show, schema, path."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest


@pytest.fixture
def project(tmp_path: Path, cx: Any) -> Path:
    (tmp_path / "cx.toml").write_text(
        'cx = 1\n[deliverable]\nname = "shop"\n[defaults]\ntimeout = "5m"\n'
        '[stages]\nunit = { command = "make test", retries = 1 }\n'
        '[secrets]\nTOKEN = { env = "TOKEN" }\n'
        '[version]\nstamp = [{ file = "package.json", key = "version" }]\n'
    )
    (tmp_path / "cx.local.toml").write_text('jobs = 7\n[store]\nurl = "sqlite:/data/store.db"')
    cx.ok("trust", "--yes", cwd=tmp_path)
    return tmp_path


def test_every_value_with_its_origin(cx: Any, project: Path) -> None:
    rows = cx.ok("config", "show", "--origin", "--json", cwd=project, env={"TOKEN": "hush"}).json()
    found = {row["key"]: (row["value"], row["origin"]) for row in rows}
    assert found["deliverable.name"] == ("shop", "cx.toml")
    assert found["version.reserve"] == (None, "default")
    assert found["version.stamp"] == ([{"file": "package.json", "key": "version"}], "cx.toml")
    assert found["store.url"] == ("sqlite:/data/store.db", "cx.local.toml")
    assert found["jobs"] == (7, "cx.local.toml")
    assert found["stages.unit.command"] == ("make test", "cx.toml")
    assert found["stages.unit.timeout"] == ("5m", "cx.toml [defaults]")
    assert found["stages.unit.retries"] == (1, "cx.toml")
    assert found["secrets.TOKEN"] == ({"env": "TOKEN"}, "cx.toml")
    assert "hush" not in str(rows)


def test_one_value_or_table(cx: Any, project: Path) -> None:
    rows = cx.ok("config", "show", "stages.unit", "--json", cwd=project).json()
    assert {row["key"] for row in rows} >= {"stages.unit.command", "stages.unit.retries"}
    assert set(rows[0]) == {"key", "value"}
    result = cx("config", "show", "stages.unix", cwd=project)
    assert result.code == 2
    assert "there is no value 'stages.unix'" in result.err


def test_variables_win(cx: Any, project: Path) -> None:
    rows = cx.ok(
        "config", "show", "jobs", "--origin", "--json", cwd=project, env={"CXLOCAL_JOBS": "2"}
    ).json()
    assert rows == [{"key": "jobs", "value": 2, "origin": "environment"}]


def test_outside_a_project(cx: Any, tmp_path: Path) -> None:
    result = cx.ok("config", "show", cwd=tmp_path)
    assert "cxlocal init" in result.err
    assert "jobs" in result.out


def test_a_broken_file_ends_in_words(cx: Any, project: Path) -> None:
    (project / "cx.toml").write_text("cx = 1\n[deliverable]\nname = shop\n")
    result = cx("config", "show", cwd=project)
    assert (result.code, result.out) == (2, "")
    assert "line 3, column 8 is not valid TOML" in result.err
    assert "Traceback" not in result.err


def test_the_schema(cx: Any, tmp_path: Path) -> None:
    assert cx.ok("config", "schema", cwd=tmp_path).json()["title"] == "cx.toml of cxlocal"
    assert "home" in str(cx.ok("config", "schema", "--local", cwd=tmp_path).json())


def test_the_paths(cx: Any, project: Path) -> None:
    below = project / "deep"
    below.mkdir()
    rows = cx.ok("config", "path", "--json", cwd=below).json()
    assert [(row["file"], row["there"]) for row in rows] == [
        ("cx.toml", "yes"), ("cx.local.toml", "yes"), ("user file", "no"),
    ]  # fmt: skip
    assert rows[0]["path"] == str(project / "cx.toml")
