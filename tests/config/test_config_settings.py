"""Which value holds: flag, variable, cx.local.toml, cx.toml, user file, default."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from cxlocal.config.load import parse
from cxlocal.config.locate import find_config, home_setting, user_file
from cxlocal.config.settings import processors, settings
from cxlocal.errors import ConfigError

HEAD = 'cx = 1\n[deliverable]\nname = "shop"\n'
SHARED = HEAD + (
    '[store]\nurl = "sqlite:/shared"\npatience = "60s"\n[defaults]\njobs = 3\n'
    '[secrets]\nA = { env = "A" }\nB = { env = "B" }\n'
)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    folder = tmp_path / "shop"
    folder.mkdir()
    return folder


def local_of(project: Path) -> str | None:
    """The file of this machine there, as one that was agreed to."""
    path = project / "cx.local.toml"
    return str(path) if path.is_file() else None


def environment(tmp_path: Path, **variables: str) -> dict[str, str]:
    return {"HOME": str(tmp_path / "home"), **variables}


def write_user(tmp_path: Path, text: str) -> None:
    path = tmp_path / "home" / ".config" / "cxlocal" / "config.toml"
    path.parent.mkdir(parents=True)
    path.write_text(text)


def test_the_ladder_of_one_value(tmp_path: Path, project: Path) -> None:
    environ = environment(tmp_path)
    seen: list[tuple[int, str]] = []

    def look(config: Any, **rest: Any) -> None:
        found = settings(config, local=local_of(project), environ=environ, **rest)
        seen.append((found.jobs, found.origins["jobs"]))

    empty, shared = parse(HEAD), parse(SHARED)
    look(empty)
    write_user(tmp_path, "jobs = 2")
    look(empty)
    look(shared)
    (project / "cx.local.toml").write_text("jobs = 4")
    look(shared)
    environ["CXLOCAL_JOBS"] = "5"
    look(shared)
    look(shared, flags={"jobs": None})
    look(shared, flags={"jobs": 6})
    assert seen == [
        (processors(), "default"), (2, "user file"), (3, "cx.toml"), (4, "cx.local.toml"),
        (5, "environment"), (5, "environment"), (6, "flag"),
    ]  # fmt: skip


def test_secrets_are_overridden_one_by_one(tmp_path: Path, project: Path) -> None:
    (project / "cx.local.toml").write_text('[secrets]\nB = { file = "~/b" }')
    write_user(tmp_path, '[secrets]\nA = { env = "LOW" }\nC = { keyring = "cx/c" }')
    found = settings(parse(SHARED), local=local_of(project), environ=environment(tmp_path))
    assert found.secrets == {"A": {"env": "A"}, "B": {"file": "~/b"}, "C": {"keyring": "cx/c"}}
    assert found.origins["secrets.B"] == "cx.local.toml"
    assert found.origins["secrets.C"] == "user file"


def test_a_written_value_counts_even_if_it_is_the_default(tmp_path: Path, project: Path) -> None:
    write_user(tmp_path, '[store]\npatience = "5s"')
    found = settings(parse(SHARED), local=local_of(project), environ=environment(tmp_path))
    assert (found.store_patience_seconds, found.origins["store.patience"]) == (60, "cx.toml")


def test_paths_begin_where_they_are_written(tmp_path: Path, project: Path) -> None:
    (project / "cx.local.toml").write_text(
        'home = "records"\n[scm]\nmirrors = ["../usb/shop.git", "~/m.git", "host:shop.git",'
        ' "https://example.com/shop.git", "/media/x.git"]'
    )
    found = settings(None, local=local_of(project), environ=environment(tmp_path))
    assert found.home == str(project / "records")
    assert found.mirrors == (
        str(tmp_path / "usb/shop.git"), str(tmp_path / "home/m.git"), "host:shop.git",
        "https://example.com/shop.git", "/media/x.git",
    )  # fmt: skip


def test_outside_a_project(tmp_path: Path) -> None:
    found = settings(None, local=None, environ=environment(tmp_path, CXLOCAL_STORE="sqlite:/x"))
    assert (found.store_url, found.home, found.output) == ("sqlite:/x", None, "table")
    assert found.origins["store.url"] == "environment"
    assert settings(None, local=None, environ={}).mirrors == ()


@pytest.mark.parametrize(
    ("name", "value", "what"),
    [
        ("CXLOCAL_JOBS", "many", "CXLOCAL_JOBS: 'many' is not a number from 1 to 256"),
        ("CXLOCAL_JOBS", "0", "CXLOCAL_JOBS: '0' is not a number from 1 to 256"),
        ("CXLOCAL_JOBS", "²", "CXLOCAL_JOBS: '²' is not a number from 1 to 256"),
        ("CXLOCAL_PATIENCE", "soon", "CXLOCAL_PATIENCE: 'soon' is not a duration"),
        ("CXLOCAL_OUTPUT", "xml", "CXLOCAL_OUTPUT: 'xml' is no form of output"),
    ],
)
def test_a_variable_that_makes_no_sense(name: str, value: str, what: str) -> None:
    with pytest.raises(ConfigError) as caught:
        settings(None, local=None, environ={name: value})
    assert caught.value.what == what


def test_the_home_is_found_without_parsing_anything_else(tmp_path: Path, project: Path) -> None:
    environ = environment(tmp_path)
    assert home_setting(environ, local_of(project)) is None
    write_user(tmp_path, 'home = "~/everywhere"')
    assert home_setting(environ, local_of(project)) == str(tmp_path / "home/everywhere")
    (project / "cx.local.toml").write_text('home = ".records"')
    assert home_setting(environ, local_of(project)) == str(project / ".records")
    assert (
        home_setting({**environ, "CXLOCAL_HOME": "/else/where"}, local_of(project)) == "/else/where"
    )


def test_the_file_of_the_user() -> None:
    assert user_file({"HOME": "/h"}) == "/h/.config/cxlocal/config.toml"
    assert user_file({"HOME": "/h", "XDG_CONFIG_HOME": "/c"}) == "/c/cxlocal/config.toml"
    assert user_file({"HOME": "/h", "XDG_CONFIG_HOME": "rel"}) == "/h/.config/cxlocal/config.toml"
    assert user_file({}) is None


def test_the_nearest_file_upward(tmp_path: Path) -> None:
    deep = tmp_path / "a" / "b" / "c"
    deep.mkdir(parents=True)
    assert find_config(str(deep)) is None
    (tmp_path / "cx.toml").touch()
    (tmp_path / "a" / "cx.toml").mkdir()
    assert find_config(str(deep)) == str(tmp_path / "cx.toml")
    (tmp_path / "a" / "b" / "cx.toml").touch()
    assert find_config(str(deep)) == str(tmp_path / "a" / "b" / "cx.toml")
