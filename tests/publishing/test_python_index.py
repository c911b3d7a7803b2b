"""The tool ``python-index`` against pypiserver and devpi, on good and on bad days."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cxlocal_plugins.targets.python_index import PythonIndex
from indexes import MADE, PASSWORD, Index

from cxlocal.testing import Bench


class Desk:
    """Asks and puts versions at the index."""

    def __init__(self, bench: Bench, index: Index, made: Any) -> None:
        self.bench, self.weather, self.made = bench, index.weather, made
        self.options = {**index.options, "token": "TOKEN"}

    def call(self, verb: str, file: Any, **rest: Any) -> Any:
        ran = self.bench.run(
            PythonIndex, verb, self.options, artifacts={"wheel": file},
            secrets={"TOKEN": PASSWORD}, **rest,
        )  # fmt: skip
        assert PASSWORD.encode() not in ran.log
        return ran.outcome

    def ask(self, file: Any) -> Any:
        return self.call("ask", file).result.files["wheel"]

    def put(self, file: Any) -> Any:
        return self.call("publish", file, put=("wheel",))


@pytest.fixture(scope="module", params=list(MADE))
def index(request: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Index]:
    """Each of the real ones."""
    with MADE[request.param](tmp_path_factory.mktemp("index")) as found:
        yield found


@pytest.fixture
def desk(bench: Bench, index: Index, made: Any) -> Desk:
    index.weather.mood = "fine"
    return Desk(bench, index, made)


def test_a_wheel_is_absent_put_and_the_same(desk: Desk, tmp_path: Path) -> None:
    file = desk.made.wheel(tmp_path, "1.0.0")
    assert desk.ask(file).state == "absent"
    assert desk.put(file).outcome == "success"
    held = desk.ask(file)
    assert (held.state, held.held) == ("same", f"sha256:{file.sha256}")
    got = tmp_path / "got"
    subprocess.run(
        [sys.executable, "-m", "pip", "--isolated", "download", "-q", "--no-deps", "-d", str(got),
         "--index-url", desk.options["simple"], "webshop==1.0.0"],
        check=True, timeout=50,
    )  # fmt: skip
    assert (got / file.path.name).read_bytes() == file.path.read_bytes()


def test_other_bytes_are_told_apart_and_not_replaced(desk: Desk, tmp_path: Path) -> None:
    first = desk.made.wheel(tmp_path / "a", "1.1.0")
    second = desk.made.wheel(tmp_path / "b", "1.1.0", "a stranger's")
    assert desk.put(first).outcome == "success"
    held = desk.ask(second)
    assert (held.state, held.held) == ("other", f"sha256:{first.sha256}")
    assert desk.put(second).outcome == "failure"
    assert desk.ask(first).state == "same"


def test_bytes_that_were_taken_by_an_index_that_then_hung_up(desk: Desk, tmp_path: Path) -> None:
    file = desk.made.wheel(tmp_path, "1.2.0")
    desk.weather.mood = "gone after writing"
    lost = desk.put(file)
    assert (lost.outcome, lost.result.details["trouble"]) == ("failure", "unreached")
    desk.weather.mood = "fine"
    assert desk.ask(file).state == "same"


@pytest.mark.parametrize(
    ("mood", "asked", "put", "words"),
    [
        ("down", ("not known", "unreached"), "unreached", "502"),
        ("expired", ("not known", "credential"), "credential", "the token has expired"),
        ("no writing", ("absent", ""), "credential", "read-only"),
    ],
)
def test_a_bad_day_is_neither_absent_nor_there(
    desk: Desk, tmp_path: Path, mood: str, asked: tuple[str, str], put: str, words: str
) -> None:
    file = desk.made.wheel(tmp_path, "1.3.0")
    desk.weather.mood = mood
    held = desk.ask(file)
    assert (held.state, held.trouble) == asked
    refused = desk.put(file)
    assert refused.outcome == "failure" and words in refused.reason, refused.reason
    assert refused.result.details["trouble"] == put
    desk.weather.mood = "fine"
    assert desk.ask(file).state == "absent"


def test_nobody_listens(desk: Desk, tmp_path: Path, bench: Bench) -> None:
    file = desk.made.wheel(tmp_path, "1.4.0")
    options = {"url": "http://127.0.0.1:9/", "simple": "http://127.0.0.1:9/simple/"}
    held = bench.run(PythonIndex, "ask", options, artifacts={"wheel": file}).outcome.result
    assert held.files["wheel"].trouble == "unreached" and "127.0.0.1:9" in held.files["wheel"].why


def test_what_is_no_package_is_said(desk: Desk, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("notes")
    said = desk.call("ask", desk.made.reference("wheel", tmp_path / "notes.txt"))
    assert said.outcome == "failure" and "neither a wheel nor a source distribution" in said.reason
