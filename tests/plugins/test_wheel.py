"""The tool ``wheel`` on real projects."""

from __future__ import annotations

import os
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cxlocal_plugins.wheel import Wheel
from cxlocal_plugins.wheel_file import read_metadata, unpack

from cxlocal.hooks.carried import same_version
from cxlocal.hooks.tool import ToolFailure

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
    assert read_metadata(made.path)[:2] == ("webshop", "2.7.14")
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


def test_what_is_missing_and_out_of_reach_is_trouble(run_verb: Run, checkout: Path) -> None:
    """As without a network: there is no index, and nothing is found."""
    wanted = "requires = ['hatchling>=99', 'no-such-thing', \"x; python_version<'3'\"]"
    (checkout / "pyproject.toml").write_text(f"[build-system]\n{wanted}\n")
    ran = run_verb(Wheel, "build", env={"PIP_NO_INDEX": "1"})
    assert ran.outcome.outcome == "error"
    assert "the build needs hatchling>=99, no-such-thing, which is not" in ran.outcome.reason
    assert b"No matching distribution found" in ran.log


BACKEND = """
import os, zipfile
def get_requires_for_build_wheel(config_settings=None):
    return REQUIRES
def build_wheel(folder, config_settings=None, metadata_directory=None):
    for name in NAMES:
        with zipfile.ZipFile(os.path.join(folder, name), "w") as file:
            file.writestr("it-1.0.dist-info/METADATA", "Name: Some_Thing.x\\nVersion: 1.0+a\\n")
    return NAMES[0]
"""


def own_backend(checkout: Path, names: list[str], requires: list[str]) -> None:
    table = "[build-system]\nrequires = []\nbackend-path = ['.']\nbuild-backend = 'own'\n"
    (checkout / "pyproject.toml").write_text(table)
    text = BACKEND.replace("NAMES", repr(names)).replace("REQUIRES", repr(requires))
    (checkout / "own.py").write_text(text)


def test_what_the_backend_asks_for_is_looked_for_as_well(run_verb: Run, checkout: Path) -> None:
    own_backend(checkout, ["it-1.0+a-py3-none-any.whl"], ["no-such-thing"])
    ran = run_verb(Wheel, "build", version="1.0+a", env={"PIP_NO_INDEX": "1"})
    assert ran.outcome.outcome == "error" and "no-such-thing" in ran.outcome.reason
    own_backend(checkout, ["it-1.0+a-py3-none-any.whl"], ["packaging"])
    ran = run_verb(Wheel, "build", version="1.0+a")
    assert ran.outcome.result.artifacts[0].purl == "pkg:pypi/some-thing-x@1.0%2Ba"


def test_what_is_missing_is_fetched_for_this_build_only(
    run_verb: Run, checkout: Path, tmp_path: Path
) -> None:
    """From a folder of wheels here; from an index where there is a network."""
    folder = tmp_path / "wheels"
    folder.mkdir()
    shutil.copy(run_verb(Wheel, "build").outcome.result.artifacts[0].path, folder)
    own_backend(checkout, ["it-1.0+a-py3-none-any.whl"], ["webshop"])
    with open(checkout / "own.py", "a", encoding="utf-8") as file:
        file.write("build_wheel_ = build_wheel\ndef build_wheel(*args, **others):\n")
        file.write("    import webshop\n    return build_wheel_(*args, **others)\n")
    (checkout / "pip.py").write_text("raise SystemExit('pip from the checkout')\n")
    env = {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(folder)}
    ran = run_verb(Wheel, "build", version="1.0+a", env=env)
    assert ran.outcome.outcome == "success", ran.log
    assert ran.outcome.result.details["isolated"] is True


@pytest.mark.parametrize(
    ("names", "words"),
    [
        (["it-2.0-py3-none-any.whl"], "says version 1.0+a within"),
        (["nonsense.whl"], "is no name of a wheel"),
        (["a-1-py3-none-any.whl", "b-1-py3-none-any.whl"], "made 2 wheels"),
    ],
)
def test_a_build_that_lies_is_refused(
    run_verb: Run, checkout: Path, names: list[str], words: str
) -> None:
    own_backend(checkout, names, [])
    ran = run_verb(Wheel, "build", version="1.0+a")
    assert ran.outcome.outcome == "failure" and words in ran.outcome.reason


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


def wheel_of(path: Path, **files: str) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name, text in files.items():
            archive.writestr(name.replace("__", "/"), text)
    return path


@pytest.mark.parametrize("content", [b"", b"not a zip", b"PK\x03\x04" + b"x" * 40])
def test_what_is_no_wheel_is_said_to_be_none(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "x.whl"
    path.write_bytes(content)
    with pytest.raises(ToolFailure, match="not a wheel"):
        read_metadata(path)


@pytest.mark.parametrize("text", ["Summary: nameless\n", "Name: a\nVersion: 1\nRequires-Dist: !\n"])
def test_metadata_that_says_nothing_is_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(ToolFailure):
        read_metadata(wheel_of(tmp_path / "x.whl", **{"x.dist-info__METADATA": text}))


def test_needs_for_other_machines_and_extras_do_not_count(tmp_path: Path) -> None:
    lines = ["a>=1", "b; extra == 'x'", "c; sys_platform == 'win32'", "d; python_version > '3'"]
    text = "Name: n\nVersion: 1\n" + "".join(f"Requires-Dist: {line}\n" for line in lines)
    found = read_metadata(wheel_of(tmp_path / "x.whl", **{"x.dist-info__METADATA": text}))
    assert [one.partition(";")[0] for one in found.requires] == ["a>=1", "d"]


def test_a_wheel_that_was_changed_is_not_unpacked(run_verb: Run, tmp_path: Path) -> None:
    wheel = run_verb(Wheel, "build").outcome.result.artifacts[0].path
    good, bad = tmp_path / "good", tmp_path / "bad"
    unpack(wheel, good, good, "python")
    assert (good / "webshop" / "__init__.py").is_file()
    with zipfile.ZipFile(wheel) as source:
        files = {name: source.read(name) for name in source.namelist()}
    files["webshop/__init__.py"] += b"# changed\n"
    changed = tmp_path / wheel.name
    with zipfile.ZipFile(changed, "w") as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    with pytest.raises(ToolFailure, match="cannot be unpacked"):
        unpack(changed, bad, bad, "python")


def test_no_file_of_a_wheel_lands_outside(tmp_path: Path) -> None:
    import base64
    import hashlib

    digest = base64.urlsafe_b64encode(hashlib.sha256(b"x").digest()).decode().rstrip("=")
    record = f"../../evil.txt,sha256={digest},1\nit-1.dist-info/RECORD,,\n"
    with zipfile.ZipFile(tmp_path / "it-1-py3-none-any.whl", "w") as archive:
        archive.writestr("../../evil.txt", "x")
        archive.writestr("it-1.dist-info/METADATA", "Name: it\nVersion: 1\n")
        archive.writestr("it-1.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\n")
        archive.writestr("it-1.dist-info/RECORD", record)
    inner = tmp_path / "a" / "b"
    with pytest.raises(ToolFailure):
        unpack(tmp_path / "it-1-py3-none-any.whl", inner, inner, "python")
    assert not list(tmp_path.rglob("evil.txt"))
