"""The tool ``local-service``: real services on loopback ports, rotated, undone, destroyed."""

from __future__ import annotations

import json
import os
import signal
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from cxlocal_plugins.local_service import process, web
from cxlocal_plugins.local_service.state import read_state
from cxlocal_plugins.local_service.tool import LocalService
from cxlocal_plugins.wheel import Wheel

from cxlocal.hooks.running import alive
from cxlocal.hooks.tool import ArtifactRef, EnvironmentRef

Run = Callable[..., Any]
OPTIONS = {"module": "webshop", "version_path": "/version", "start_timeout": 10.0}


class Place:
    """An environment and the wheels to put there."""

    def __init__(self, run_verb: Run, checkout: Path, folder: Path) -> None:
        self.run_verb, self.checkout, self.folder = run_verb, checkout, folder
        folder.mkdir()
        self.environment = EnvironmentRef(
            name="production", instance="production", lifetime="lasting", folder=folder
        )
        self.wheels: dict[str, ArtifactRef] = {}

    def wheel(self, version: str) -> ArtifactRef:
        if version not in self.wheels:
            file = self.checkout / "pyproject.toml"
            kept = file.read_text()
            file.write_text(kept.replace('"0.0.0"', f'"{version}"'))
            made = self.run_verb(Wheel, "build", version=version).outcome.result.artifacts[0]
            file.write_text(kept)
            digest = f"{len(self.wheels):064x}"
            self.wheels[version] = ArtifactRef(name="wheel", path=made.path, sha256=digest, size=1)
        return self.wheels[version]

    def do(self, verb: str, version: str = "0.0.0", **fields: Any) -> Any:
        table = {**OPTIONS, **fields.pop("options", {})}
        given = {"environment": self.environment, **fields}
        if verb == "deploy":
            given["artifacts"] = {"wheel": self.wheel(version)}
        return self.run_verb(LocalService, verb, table, version=version, **given)

    def says(self, uri: str) -> str:
        with urllib.request.urlopen(f"{uri}/version", timeout=5) as answer:
            return str(json.load(answer))

    def process(self) -> Any:
        state = read_state(self.folder / "webshop")
        assert state.current is not None
        return process.identity_in(self.folder / "webshop" / state.current.folder)


@pytest.fixture
def place(run_verb: Run, checkout: Path, tmp_path: Path) -> Iterator[Place]:
    made = Place(run_verb, checkout, tmp_path / "environment")
    yield made
    made.do("destroy")


def test_a_version_is_deployed_observed_and_destroyed(place: Place) -> None:
    deployed = place.do("deploy", "1.0.0").outcome
    assert deployed.outcome == "success", deployed
    uri = deployed.result.uri
    assert place.says(uri) == "1.0.0"
    seen = place.do("observe").outcome.result
    assert (seen.version, seen.uri, seen.healthy) == ("1.0.0", uri, True)
    process = place.process()
    assert place.do("destroy").outcome.outcome == "success"
    assert not alive(process.pid, process.start)
    assert not list(place.folder.iterdir())
    assert place.do("observe").outcome.result.version == ""
    assert place.do("destroy").outcome.outcome == "success", "destroying twice does no harm"


def test_the_next_version_takes_over_the_address_and_undo_gives_it_back(place: Place) -> None:
    first = place.do("deploy", "1.0.0").outcome.result.uri
    old = place.process()
    second = place.do("deploy", "1.0.1").outcome.result.uri
    assert second == first and place.says(first) == "1.0.1"
    assert not alive(old.pid, old.start)
    undone = place.do("undo", "1.0.0").outcome
    assert undone.result.uri == first and undone.result.details["version"] == "1.0.0"
    assert place.says(first) == "1.0.0"


def test_a_version_that_is_not_healthy_changes_nothing(place: Place) -> None:
    uri = place.do("deploy", "1.0.0").outcome.result.uri
    running = place.process()
    main = place.checkout / "src" / "webshop" / "__main__.py"
    good = main.read_text()
    for broken, word in (
        ("raise SystemExit('no shop today')\n", "no shop today"),
        (good.replace("self.answer(200, PRICES)", "self.answer(500, {})"), "status 500"),
        (good.replace('version("webshop")', '"9.9.9"'), "does not say"),
        ("import time\ntime.sleep(60)\n", "does not answer"),
    ):
        main.write_text(broken)
        place.wheels.pop("1.0.1", None)
        ran = place.do("deploy", "1.0.1", options={"start_timeout": 2.0})
        assert ran.outcome.outcome == "failure" and word in ran.outcome.reason, ran.outcome.reason
        assert place.says(uri) == "1.0.0"
        assert place.process() == running, "the old version was not even restarted"
    kept = [folder.name for folder in (place.folder / "webshop" / "releases").iterdir()]
    assert len(kept) == 1, "what failed is not left lying about"


def test_undo_without_a_version_before_is_refused(place: Place) -> None:
    place.do("deploy", "1.0.0")
    ran = place.do("undo", "0.9.0")
    assert ran.outcome.outcome == "failure" and "no version before" in ran.outcome.reason


def test_the_intent_is_durable_before_anything_is_made(place: Place) -> None:
    seen: list[bool] = []

    def look(handle: Any) -> None:
        seen.append((place.folder / "webshop" / "releases").exists())
        raise OSError("the disk is full")

    from cxlocal.hooks.context import run_tool_here
    from cxlocal.hooks.messages import Fields

    fields = Fields(
        checkout=place.checkout, scratch=place.checkout, version="1.0.0", run="r" * 36,
        environment=place.environment, artifacts={"wheel": place.wheel("1.0.0")},
    )  # fmt: skip
    ran = run_tool_here(LocalService, "deploy", fields, with_table=OPTIONS, on_intend=look)
    assert seen == [False] and ran.outcome.outcome == "error"
    assert not (place.folder / "webshop" / "releases").exists()


def test_the_handle_alone_is_enough_to_clean_up(place: Place) -> None:
    ran = place.do("deploy", "1.0.0")
    process = place.process()
    (handle,) = ran.intents
    # As after a kill -9 between starting the service and writing down that it runs.
    (place.folder / "webshop" / "state.json").unlink()
    ended = place.do("destroy", environment=None, handle=handle)
    assert ended.outcome.outcome == "success"
    assert not alive(process.pid, process.start)


def test_a_service_destroyed_while_it_starts_never_comes_to_life(tmp_path: Path) -> None:
    import subprocess
    import sys

    folder = tmp_path / "release"
    folder.mkdir()
    process.end(folder)
    launch = Path(process.__file__).with_name("launch.py")
    command = [sys.executable, str(launch), str(folder), "/bin/sh", "-c", "echo alive > lived"]
    subprocess.run(command, cwd=folder, check=True)
    assert not (folder / "lived").exists()


def test_a_dead_service_is_seen_as_such_and_can_be_deployed_again(place: Place) -> None:
    uri = place.do("deploy", "1.0.0").outcome.result.uri
    process = place.process()
    os.killpg(process.pid, signal.SIGKILL)
    for _ in range(100):
        if not alive(process.pid, process.start):
            break
    assert place.do("observe").outcome.result.version == ""
    assert place.do("health").outcome.outcome == "failure"
    again = place.do("deploy", "1.0.1").outcome.result.uri
    assert again == uri and place.says(uri) == "1.0.1"


def test_a_port_somebody_else_has_is_refused(place: Place) -> None:
    import socket

    with socket.socket() as other:
        other.bind((web.LOOPBACK, 0))
        other.listen()
        port = other.getsockname()[1]
        ran = place.do("deploy", "1.0.0", options={"port": port})
    assert ran.outcome.outcome == "failure" and "in use" in ran.outcome.reason


def test_half_a_state_file_means_that_nothing_runs(tmp_path: Path) -> None:
    for content in ("", "{", '{"current": 5}', '{"current": null, "previous": null}'):
        (tmp_path / "state.json").write_text(content)
        assert read_state(tmp_path).current is None
