"""What lies where in the repository, and what a wheel of it holds."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path
from typing import Any

import pytest

TOP_LEVEL = {
    "pyproject.toml",
    "README.md",
    "datasette-metadata.yml",
    "cxlocal",
    "sync",
    "plugins",
    "tests",
    "docs",
    "LICENSE",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
}
PACKAGES = ("cxlocal", "cxlocal_sync", "cxlocal_plugins", "datasette_cxlocal")


def _tracked(root: Path) -> list[str]:
    done = subprocess.run(
        ["git", "-c", f"safe.directory={root}", "ls-files", "-z"],
        cwd=root,
        capture_output=True,
        text=True,
        check=True,
    )
    return [name for name in done.stdout.split("\0") if name and (root / name).exists()]


@pytest.mark.needs("git")
def test_the_top_level_is_fixed(root: Path) -> None:
    names = {name.partition("/")[0] for name in _tracked(root)}
    assert {name for name in names if not name.startswith(".")} == TOP_LEVEL


@pytest.mark.parametrize("folder", ["sync", "plugins"])
def test_no_loose_modules(root: Path, folder: str) -> None:
    # `datasette .` runs every plugins/*.py it finds.
    assert list((root / folder).glob("*.py")) == []


def test_test_files_have_names_of_their_own(root: Path) -> None:
    names = [path.name for path in (root / "tests").rglob("test_*.py")]
    assert sorted(names) == sorted(set(names))
    assert list((root / "tests").rglob("__init__.py")) == []


def test_changelog_and_version_agree(root: Path) -> None:
    from cxlocal.version import VERSION

    text = (root / "CHANGELOG.md").read_text(encoding="utf-8")
    headings = re.findall(r"^## \[(.+?)\]", text, re.MULTILINE)
    assert headings[0] == "Unreleased"
    released = headings[1:]
    assert VERSION == (released[0] if released else "0.1.0")


def test_version_stands_in_one_place(root: Path, cx: Any) -> None:
    from importlib.metadata import version

    from cxlocal.version import VERSION

    project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))
    assert project["project"]["dynamic"] == ["version"]
    assert cx.ok("--version").out == f"cxlocal {VERSION}\n"
    assert version("cxlocal") == VERSION


@pytest.fixture(scope="module")
def wheel_names(root: Path, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    folder = tmp_path_factory.mktemp("wheel")
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)],
        cwd=root,
        check=True,
        capture_output=True,
    )
    (wheel,) = folder.glob("*.whl")
    return zipfile.ZipFile(wheel).namelist()


def test_wheel_holds_the_four_packages_and_nothing_else(wheel_names: list[str]) -> None:
    tops = {name.partition("/")[0] for name in wheel_names}
    assert {top for top in tops if not top.endswith(".dist-info")} == set(PACKAGES)


@pytest.mark.needs("git")
def test_wheel_holds_every_file_of_the_packages(root: Path, wheel_names: list[str]) -> None:
    folders = (
        "cxlocal/",
        "sync/cxlocal_sync/",
        "plugins/cxlocal_plugins/",
        "plugins/datasette_cxlocal/",
    )
    wanted = {
        name.removeprefix("sync/").removeprefix("plugins/")
        for name in _tracked(root)
        if name.startswith(folders)
    }
    assert wanted - set(wheel_names) == set()


def test_wheel_holds_the_metadata_of_the_pages(wheel_names: list[str]) -> None:
    assert "datasette_cxlocal/datasette-metadata.yml" in wheel_names


@pytest.mark.parametrize("package", PACKAGES)
def test_packages_say_that_they_are_typed(wheel_names: list[str], package: str) -> None:
    assert f"{package}/py.typed" in wheel_names


def test_scripts_can_be_run(root: Path) -> None:
    for script in ("tests/run", ".ci/run"):
        assert (root / script).stat().st_mode & 0o111, script
