"""The tool ``wheel`` on real projects."""

from __future__ import annotations

import os
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cxlocal_plugins.wheel import Wheel, missing_requirements, read_metadata, same_version

Run = Callable[..., Any]


def stamp(checkout: Path, version: str) -> None:
    file = checkout / "pyproject.toml"
    file.write_text(file.read_text().replace('"0.0.0"', f'"{version}"'))


def test_the_wheel_carries_the_version(run_verb: Run, checkout: Path) -> None:
    stamp(checkout, "2.7.14")
    ran = run_verb(Wheel, "build", version="2.7.14")
    assert ran.outcome.outcome == "success", ran.log
    (made,) = ran.outcome.result.artifacts
    assert (made.name, made.version, made.purl) == ("wheel", "2.7.14", "pkg:pypi/webshop@2.7.14")
    assert read_metadata(made.path) == ("webshop", "2.7.14")
    assert ran.outcome.result.details["isolated"] is False, "nothing had to be fetched"


def test_other_metadata_is_refused_with_the_way_out(run_verb: Run) -> None:
    ran = run_verb(Wheel, "build", version="2.7.14")
    assert ran.outcome.outcome == "failure"
    assert "says version 0.0.0, the run has 2.7.14" in ran.outcome.reason
    assert "[version] stamp" in ran.outcome.reason


def test_the_same_commit_gives_the_same_bytes(run_verb: Run) -> None:
    wheels = [run_verb(Wheel, "build").outcome.result.artifacts[0].path for _ in range(2)]
    for file in wheels[0].parent.parents[1].rglob("*.py"):
        os.utime(file)
    assert wheels[0].read_bytes() == wheels[1].read_bytes()


def test_a_broken_build_fails_with_its_words_in_the_log(run_verb: Run, checkout: Path) -> None:
    file = checkout / "pyproject.toml"
    file.write_text(file.read_text().replace('name = "webshop"', 'name = "no name at all"'))
    ran = run_verb(Wheel, "build")
    assert ran.outcome.outcome == "failure"
    assert b"ERROR Backend subprocess exited" in ran.log


@pytest.mark.parametrize("folder", ["../elsewhere", "/", "nothing-here"])
def test_a_folder_that_is_none_of_ours(run_verb: Run, folder: str) -> None:
    assert run_verb(Wheel, "build", {"folder": folder}).outcome.outcome == "failure"


def test_an_artifact_can_bear_another_name(run_verb: Run) -> None:
    ran = run_verb(Wheel, "build", {"artifact": "package"})
    assert [made.name for made in ran.outcome.result.artifacts] == ["package"]


def test_modules_of_the_checkout_do_not_take_part_in_the_build(
    run_verb: Run, checkout: Path
) -> None:
    for name in ("build", "json", "hatchling"):
        (checkout / f"{name}.py").write_text("raise SystemExit('from the checkout')\n")
    assert run_verb(Wheel, "build").outcome.outcome == "success"


def test_what_is_missing_is_named(checkout: Path) -> None:
    assert missing_requirements(checkout) == []
    wanted = "requires = ['hatchling>=99', 'no-such-thing', \"x; python_version<'3'\"]"
    (checkout / "pyproject.toml").write_text(f"[build-system]\n{wanted}\n")
    assert missing_requirements(checkout) == ["hatchling>=99", "no-such-thing"]


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("1.0", "1.0.0", True), ("1.0.0", "1.0.1", False), ("1.0.0rc1", "1.0.0-rc.1", True),
        ("0.0.0+rehearsal.ab", "0.0.0+rehearsal.ab", True), ("not one", "not one", True),
        ("not one", "1.0", False),
    ],
)  # fmt: skip
def test_versions_are_compared_as_pep_440_does(one: str, other: str, same: bool) -> None:
    assert same_version(one, other) is same


@pytest.mark.parametrize("content", [b"", b"not a zip", None])
def test_what_is_no_wheel_is_said_to_be_none(tmp_path: Path, content: bytes | None) -> None:
    from cxlocal.hooks.tool import ToolFailure

    path = tmp_path / "x.whl"
    if content is None:
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("x.dist-info/METADATA", "Summary: nameless\n")
    else:
        path.write_bytes(content)
    with pytest.raises(ToolFailure):
        read_metadata(path)
