"""The tool ``npm``: the real client; a registry that keeps what it sends, and verdaccio."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple
from urllib.request import Request, urlopen

import pytest
from cxlocal_plugins.targets.npm import Npm
from indexes import running
from npm_registry import NpmRegistry
from weather import Weather, free_port, serving

from cxlocal.testing import Bench

pytestmark = pytest.mark.needs("npm")


class Registry(NamedTuple):
    """A registry behind a server with moods, and a token that it takes."""

    weather: Weather
    token: str


@contextmanager
def small(_: Path) -> Iterator[Registry]:
    """The one made for these tests."""
    with (
        serving(NpmRegistry()) as npm,
        serving(Weather(npm.url)) as weather,
    ):
        yield Registry(weather, "npm-secret-token")


@contextmanager
def verdaccio(folder: Path) -> Iterator[Registry]:
    """A real one, of a hundred megabytes, which npm brings."""
    # What it asks for by a name that not every mirror of the registry has (node-fetch@cjs).
    wanted = {"private": True, "overrides": {"node-fetch": "2.7.0"}}
    (folder / "package.json").write_text(json.dumps(wanted))
    (folder / "config.yaml").write_text(VERDACCIO)
    install = ["npm", "install", "--no-audit", "--no-fund", "--silent", "verdaccio@6"]
    subprocess.run(install, cwd=folder, check=True, capture_output=True)
    port = free_port()
    command = [str(folder / "node_modules" / ".bin" / "verdaccio"), "--config",
               str(folder / "config.yaml"), "--listen", f"127.0.0.1:{port}"]  # fmt: skip
    with running(command, port, "/-/ping") as weather:
        said = json.dumps({"name": "shop", "password": "npm-secret-password"}).encode()
        request = Request(
            f"http://127.0.0.1:{port}/-/user/org.couchdb.user:shop", said,
            {"Content-Type": "application/json"}, method="PUT",
        )  # fmt: skip
        with urlopen(request, timeout=20) as answer:
            yield Registry(weather, json.load(answer)["token"])


VERDACCIO = """
storage: ./storage
auth: { htpasswd: { file: ./htpasswd } }
uplinks: {}
packages: { "**": { access: $all, publish: $authenticated } }
log: { type: stdout, format: pretty, level: error }
"""


@pytest.fixture(
    scope="module", params=[small, pytest.param(verdaccio, marks=pytest.mark.heavy)],
    ids=["small", "verdaccio"],
)  # fmt: skip
def registry(request: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    """Each of them."""
    with request.param(tmp_path_factory.mktemp("npm")) as found:
        yield found


@pytest.mark.timeout(200)
def test_a_package_is_put_once_and_told_from_another(
    bench: Bench, registry: Registry, made: Any, tmp_path: Path
) -> None:
    weather = registry.weather
    weather.mood = "fine"
    options = {"registry": weather.url, "token": "NPM_TOKEN"}
    file = made.package(tmp_path / "a")
    other = made.package(tmp_path / "b", content="a stranger's")

    def call(verb: str, one: Any, token: str = registry.token, **rest: Any) -> Any:
        ran = bench.run(
            Npm, verb, options, artifacts={"package": one}, secrets={"NPM_TOKEN": token}, **rest
        )
        assert token.encode() not in ran.log
        return ran.outcome

    assert call("ask", file).result.files["package"].state == "absent"
    refused = call("publish", file, token="npm-expired-token", put=("package",))
    assert refused.result.details["trouble"] == "credential", refused.reason
    weather.mood = "down"
    away = call("ask", file).result.files["package"]
    assert (away.state, away.trouble) == ("not known", "unreached")
    weather.mood = "gone after writing"
    lost = call("publish", file, put=("package",))
    assert (lost.outcome, lost.result.details["trouble"]) == ("failure", "unreached"), lost.reason
    weather.mood = "fine"
    held = call("ask", file).result.files["package"]
    assert held.state == "same", "it hung up, and had the bytes"
    got = subprocess.run(
        ["npm", "pack", "@shop/web@1.0.0", "--registry", weather.url],
        cwd=tmp_path, check=True, capture_output=True, timeout=50,
    )  # fmt: skip
    assert (tmp_path / got.stdout.decode().strip()).read_bytes() == file.path.read_bytes()
    there = call("ask", other).result.files["package"]
    assert (there.state, there.held) == ("other", held.held)
    assert call("publish", other, put=("package",)).outcome == "failure"
    assert call("ask", file).result.files["package"].state == "same"
    assert call("withdraw", file).result.how == "deprecated"
    assert call("ask", file).result.files["package"].yanked


PAGE = Path(__file__).resolve().parents[2] / "docs" / "publishing.md"
PACKAGE = {"name": "@acme/shop", "version": "1.0.0", "scripts": {"test": "node --test test.js"}}
SOURCES = {
    "package.json": json.dumps(PACKAGE), "index.js": "exports.add = (a, b) => a + b;\n",
    "test.js": 'require("node:test")("adds", () => { if (require("./index.js").add(1, 2) !== 3) throw 1; });\n',
}  # fmt: skip


@pytest.mark.heavy
@pytest.mark.timeout(300)
def test_a_fresh_project_by_the_page_alone_and_a_half_release(
    registry: Registry, shop: Any
) -> None:
    """What a newcomer types: ``init``, the lines of the page, a release; then one that was cut off."""
    weather = registry.weather
    weather.mood = "fine"
    shop.environ["NPM_TOKEN"] = registry.token
    for name, text in SOURCES.items():
        (shop.tree / name).write_text(text)
    shop.push("feat: add")
    done = shop.command("init")
    assert done.code == 0 and "Next is 1.0.0" in done.err, done.err
    [lines] = re.findall(r"\n## npm\n.*?```toml\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL)
    lines = lines.replace('access = "public"', f'access = "public", registry = "{weather.url}"')
    with (shop.tree / "cx.toml").open("a") as file:
        file.write(f'\n{lines}\n[targets.tag]\ntool = "git-tag"\n')
    shop.push("Describe the release")
    assert shop.run().code == 0
    assert shop.command("trust", "--yes").code == 0
    for _ in range(2):
        done = shop.command("publish", "1.0.0")
        assert done.code == 0 and "1.0.0 is at 2 of 2 targets" in done.err, done.err
    shop.push("feat: more")
    assert shop.run().code == 0
    weather.mood = "down"
    done = shop.command("publish", "1.0.1")
    assert done.code == 9 and "cxlocal publish 1.0.1 puts what is missing" in done.err, done.err
    status = shop.command("status").out
    assert "1.0.1 is at 0 of 2: " in status and "npm not known" in status, status
    assert "to finish it: cxlocal publish 1.0.1" in status, status
    weather.taken.clear()
    for mood in ("gone after writing", "fine"):
        weather.mood = mood
        done = shop.command("publish", "1.0.1")
    assert done.code == 0 and "1.0.1 is at 2 of 2 targets" in done.err, done.err
    assert len(weather.taken) == 1, "put once"
    shown = subprocess.run(
        ["npm", "view", "@acme/shop", "versions", "--json", "--registry", weather.url],
        cwd=shop.tree, check=True, capture_output=True, timeout=50,
    )  # fmt: skip
    assert json.loads(shown.stdout) == ["1.0.0", "1.0.1"]
    assert "refs/tags/v1.0.1" in shop.git("ls-remote", "origin")
    assert "- Describe the release" in shop.command("notes", "1.0.0").out
    assert shop.command("withdraw", "1.0.1", "-m", "loses data").code == 0
    assert shop.command("publish", "1.0.1").code == 3
