"""The tool ``npm``: the real client, and a registry that keeps what it sends."""

from __future__ import annotations

import io
import json
import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cxlocal_plugins.targets.npm import Npm
from npm_registry import NpmRegistry
from weather import Weather, serving

from cxlocal.testing import Bench

pytestmark = pytest.mark.needs("npm")


@pytest.fixture(scope="module")
def registry() -> Iterator[Weather]:
    with (
        serving(NpmRegistry()) as npm,
        serving(Weather(f"http://127.0.0.1:{npm.server_address[1]}")) as weather,
    ):
        yield weather


def package(folder: Path, made: Any, version: str, content: str = "ours") -> Any:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"shop-web-{version}.tgz"
    files = {
        "package.json": json.dumps({"name": "@shop/web", "version": version}),
        "index.js": content,
    }
    with tarfile.open(path, "w:gz") as packed:
        for name, text in files.items():
            info = tarfile.TarInfo(f"package/{name}")
            info.size = len(text)
            packed.addfile(info, io.BytesIO(text.encode()))
    return made.reference("package", path)


def test_a_package_is_put_once_and_told_from_another(
    bench: Bench, registry: Weather, made: Any, tmp_path: Path
) -> None:
    registry.mood = "fine"
    options = {"registry": registry.url, "token": "NPM_TOKEN"}
    file = package(tmp_path / "a", made, "1.0.0")
    other = package(tmp_path / "b", made, "1.0.0", "a stranger's")

    def call(verb: str, one: Any, token: str = "npm-secret-token", **rest: Any) -> Any:
        ran = bench.run(
            Npm, verb, options, artifacts={"package": one}, secrets={"NPM_TOKEN": token}, **rest
        )
        assert token.encode() not in ran.log
        return ran.outcome

    assert call("ask", file).result.files["package"].state == "absent"
    refused = call("publish", file, token="npm-expired-token", put=("package",))
    assert refused.result.details["trouble"] == "credential", refused.reason
    registry.mood = "down"
    away = call("ask", file).result.files["package"]
    assert (away.state, away.trouble) == ("not known", "unreached")
    registry.mood = "gone after writing"
    lost = call("publish", file, put=("package",))
    assert (lost.outcome, lost.result.details["trouble"]) == ("failure", "unreached"), lost.reason
    registry.mood = "fine"
    held = call("ask", file).result.files["package"]
    assert held.state == "same", "it hung up, and had the bytes"
    got = subprocess.run(
        ["npm", "pack", "@shop/web@1.0.0", "--registry", registry.url],
        cwd=tmp_path, check=True, capture_output=True, timeout=50,
    )  # fmt: skip
    assert (tmp_path / got.stdout.decode().strip()).read_bytes() == file.path.read_bytes()
    there = call("ask", other).result.files["package"]
    assert (there.state, there.held) == ("other", held.held)
    assert call("publish", other, put=("package",)).outcome == "failure"
    assert call("ask", file).result.files["package"].state == "same"
    assert call("withdraw", file).result.how == "deprecated"
    assert call("ask", file).result.files["package"].yanked
