"""The tool ``local-service``: real services on loopback ports, rotated, undone, destroyed."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from cxlocal_plugins.local_service import process, web
from cxlocal_plugins.local_service.state import State, read_state, write_state
from cxlocal_plugins.local_service.tool import LocalService
from cxlocal_plugins.wheel import Wheel

from cxlocal.errors import ConfigError
from cxlocal.hooks.context import run_tool_here
from cxlocal.hooks.messages import Fields
from cxlocal.hooks.options import check_options
from cxlocal.hooks.running import alive, boot, own_identity
from cxlocal.hooks.tool import ArtifactRef, EnvironmentRef, ToolFailure

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
            # Stamp, build, and put the version back.
            file = self.checkout / "pyproject.toml"
            kept = file.read_text()
            file.write_text(kept.replace('"0.0.0"', f'"{version}"'))
            made = self.run_verb(Wheel, "build", version=version).outcome.result.artifacts[0]
            file.write_text(kept)
            digest = hashlib.sha256(made.path.read_bytes()).hexdigest()
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
    # By what is there: a test may have given its service another name.
    for root in list(made.folder.iterdir()):
        made.do("destroy", options={"service": root.name})


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


def test_a_service_that_says_another_version_is_seen(place: Place) -> None:
    place.do("deploy", "1.0.0", options={"version_path": ""})
    told = place.do("observe", options={"version_path": "/prices"}).outcome.result
    assert (told.version, told.healthy) == ("1.0.0", False)
    assert told.details == {"problem": "/prices does not say 1.0.0"}


def test_undo_without_a_version_before_is_refused(place: Place) -> None:
    place.do("deploy", "1.0.0")
    ran = place.do("undo", "0.9.0")
    assert ran.outcome.outcome == "failure" and "no version before" in ran.outcome.reason


def test_the_intent_is_durable_before_anything_is_made(place: Place) -> None:
    seen: list[bool] = []

    def look(handle: Any) -> None:
        seen.append((place.folder / "webshop" / "releases").exists())
        raise OSError("the disk is full")

    fields = Fields(
        checkout=place.checkout, scratch=place.checkout, version="1.0.0", run="r" * 36,
        environment=place.environment, artifacts={"wheel": place.wheel("1.0.0")},
    )  # fmt: skip
    ran = run_tool_here(LocalService, "deploy", fields, with_table=OPTIONS, on_intend=look)
    assert seen == [False] and ran.outcome.outcome == "error"
    assert not (place.folder / "webshop" / "releases").exists()


def test_what_the_disk_says_is_enough_to_clean_up(place: Place) -> None:
    place.do("deploy", "1.0.0")
    process = place.process()
    # As after a kill -9 between starting the service and writing down that it runs.
    (place.folder / "webshop" / "state.json").unlink()
    ended = place.do("destroy")
    assert ended.outcome.outcome == "success"
    assert not alive(process.pid, process.start)


def test_a_service_destroyed_while_it_starts_never_comes_to_life(tmp_path: Path) -> None:
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
    with socket.socket() as other:
        other.bind((web.LOOPBACK, 0))
        other.listen()
        port = other.getsockname()[1]
        ran = place.do("deploy", "1.0.0", options={"port": port})
    assert ran.outcome.outcome == "failure" and "in use" in ran.outcome.reason


def test_half_a_state_file_means_that_nothing_runs(tmp_path: Path) -> None:
    for content in ("", "{", "[]", '{"format": 1, "current": 5}', '{"format": "x"}'):
        (tmp_path / "state.json").write_text(content)
        assert read_state(tmp_path).current is None


def test_deploying_the_same_again_leaves_it_alone(place: Place) -> None:
    first = place.do("deploy", "1.0.0").outcome
    running = place.process()
    again = place.do("deploy", "1.0.0").outcome
    assert again.result == first.result and place.process() == running
    os.killpg(running.pid, signal.SIGKILL)
    assert place.do("deploy", "1.0.0").outcome.result.uri == first.result.uri
    assert place.says(first.result.uri) == "1.0.0", "a dead one is not left alone"


def test_an_undo_goes_to_the_version_that_is_meant_or_nowhere(place: Place) -> None:
    place.do("deploy", "1.0.0")
    uri = place.do("deploy", "1.0.1").outcome.result.uri
    running = place.process()
    ran = place.do("undo", "0.9.0")
    assert ran.outcome.outcome == "failure"
    assert ran.outcome.reason == "the version before is 1.0.0 here, not 0.9.0"
    assert place.says(uri) == "1.0.1" and place.process() == running


def test_what_was_cut_off_while_taking_over_is_found(place: Place) -> None:
    """The new version runs already and the state was not written: as after kill -9 there."""
    uri = place.do("deploy", "1.0.0").outcome.result.uri
    place.do("deploy", "1.0.1")
    new = place.process()
    root = place.folder / "webshop"
    state = read_state(root)
    write_state(root, State(state.previous, None, state.port, next=state.current))
    assert place.do("observe").outcome.result.version == "1.0.1"
    assert place.do("health").outcome.outcome == "success"
    third = place.do("deploy", "1.0.2").outcome
    assert third.result.uri == uri and place.says(uri) == "1.0.2", "its port stays its own"
    assert not alive(new.pid, new.start)
    kept = read_state(root)
    assert kept.previous is not None and kept.previous.version == "1.0.1" and kept.next is None


def test_a_version_that_kills_its_deployment_is_found_all_the_same(place: Place) -> None:
    """At the worst moment: the old one has ended, the new one runs, nobody wrote it down."""
    uri = place.do("deploy", "1.0.0").outcome.result.uri
    port = uri.rpartition(":")[2]
    main = place.checkout / "src" / "webshop" / "__main__.py"
    good = main.read_text()
    kill = f"import os\nif os.environ['PORT'] == '{port}': os.kill(os.getppid(), 9)\n"
    main.write_text(good.replace("import os\n", kill))
    assert place.do("deploy", "1.0.1").outcome.outcome == "error"
    assert place.do("observe").outcome.result.version == "1.0.1"
    main.write_text(good)
    assert place.do("deploy", "1.0.2").outcome.result.uri == uri and place.says(uri) == "1.0.2"


@pytest.mark.parametrize("after_seconds", [0.7, 1.3, 2.0])
def test_kill_9_while_rotating_loses_neither_address_nor_service(
    place: Place, after_seconds: float
) -> None:
    uri = place.do("deploy", "1.0.0").outcome.result.uri
    place.do("deploy", "1.0.1", kill_after_seconds=after_seconds)
    again = place.do("deploy", "1.0.1").outcome
    assert again.outcome == "success", again.reason
    assert again.result.uri == uri and place.says(uri) == "1.0.1"
    assert place.do("undo", "1.0.0").outcome.result.uri == uri
    listing = subprocess.run(
        ["ps", "-ww", "-A", "-o", "args="], capture_output=True, text=True, check=True
    )
    alive_here = [line for line in listing.stdout.splitlines() if str(place.folder) in line]
    assert len(alive_here) == 1, "and nothing else is left running"


def test_the_old_one_is_put_back_when_the_new_one_fails_on_its_port(place: Place) -> None:
    uri = place.do("deploy", "1.0.0").outcome.result.uri
    port = uri.rpartition(":")[2]
    main = place.checkout / "src" / "webshop" / "__main__.py"
    good = main.read_text()
    refuse = f"import os\nif os.environ['PORT'] == '{port}': raise SystemExit(7)\n"
    main.write_text(good.replace("import os\n", refuse))
    ran = place.do("deploy", "1.0.1", options={"start_timeout": 4.0})
    assert ran.outcome.outcome == "failure", ran.outcome
    assert f"not healthy on port {port}" in ran.outcome.reason
    assert ran.outcome.reason.endswith("1.0.0 was put back")
    assert place.says(uri) == "1.0.0"
    assert place.do("observe").outcome.result.version == "1.0.0"


def test_services_of_one_environment_keep_apart(place: Place) -> None:
    shop = place.do("deploy", "1.0.0", options={"service": "shop"})
    (handle,) = shop.intents
    # A release gives the last handle of the tool, which may be of the other service.
    admin = place.do("deploy", "1.0.0", options={"service": "admin"}, handle=handle)
    uris = [ran.outcome.result.uri for ran in (shop, admin)]
    assert len(set(uris)) == 2 and [place.says(uri) for uri in uris] == ["1.0.0", "1.0.0"]
    assert place.do("destroy", options={"service": "admin"}, handle=admin.intents[0])
    assert place.says(uris[0]) == "1.0.0"
    assert place.do("destroy", options={"service": "shop"}, handle=handle)
    assert not list(place.folder.iterdir())


def test_destroying_touches_nothing_but_what_it_made(place: Place, tmp_path: Path) -> None:
    precious = tmp_path / "home" / "photo.jpg"
    precious.parent.mkdir()
    precious.write_text("x")
    (precious.parent / "releases").mkdir()
    (precious.parent / "state.json").write_text("{}")
    before = sorted(precious.parent.iterdir())
    for root in (str(precious.parent), "relative", "/", str(place.folder / ".." / "home")):
        ran = place.do("destroy", handle={"root": root, "release": "releases/x"})
        assert ran.outcome.outcome == "success"
        assert sorted(precious.parent.iterdir()) == before
    assert place.do("destroy", environment=None, handle=None).outcome.outcome == "failure"


def test_a_command_of_the_wheel_with_secrets_of_the_stage(place: Place) -> None:
    file = place.checkout / "pyproject.toml"
    file.write_text(file.read_text() + '\n[project.scripts]\nserve = "webshop.serve:main"\n')
    (place.checkout / "src" / "webshop" / "serve.py").write_text(
        "import os, runpy, sys\ndef main():\n"
        "    assert os.environ['TOKEN'] == 'very-secret-value' and sys.argv[1:] == ['--now']\n"
        "    runpy.run_module('webshop', run_name='__main__')\n"
    )
    ran = place.do(
        "deploy", "1.0.0", secrets={"TOKEN": "very-secret-value"},
        options={"module": "", "command": ["serve"], "args": ["--now"], "service": "shop"},
    )  # fmt: skip
    assert ran.outcome.outcome == "success", ran.outcome.reason
    assert place.says(ran.outcome.result.uri) == "1.0.0"
    missing = {"module": "", "command": ["no-such-program"], "service": "shop"}
    ran = place.do("deploy", "1.0.1", options=missing)
    assert ran.outcome.outcome == "failure" and "no program 'no-such-program'" in ran.outcome.reason


def test_dependencies_from_beside_cxlocal_or_from_pip(place: Place, tmp_path: Path) -> None:
    file = place.checkout / "pyproject.toml"
    good = file.read_text()
    main = place.checkout / "src" / "webshop" / "__main__.py"
    main.write_text(main.read_text().replace("import os\n", "import os\nimport click\n"))
    file.write_text(good.replace("[project]", "[project]\ndependencies = ['click']"))
    ran = place.do("deploy", "1.0.0", env={"PIP_NO_INDEX": "1"})
    assert ran.outcome.outcome == "error" and "needs could not be installed (click)" in (
        ran.outcome.reason
    )
    assert not list((place.folder / "webshop" / "releases").iterdir())
    ran = place.do("deploy", "1.0.0", options={"shared": True}, env={"PIP_NO_INDEX": "1"})
    assert ran.outcome.outcome == "success", ran.outcome.reason
    file.write_text(good.replace("[project]", "[project]\ndependencies = ['no-such-thing>=3']"))
    ran = place.do("deploy", "1.0.1", options={"shared": True})
    assert (
        ran.outcome.outcome == "failure" and "needs no-such-thing>=3, which" in ran.outcome.reason
    )
    # Over pip, from a folder of wheels as a person would keep it for an outage.
    file.write_text(good.replace("[project]", "[project]\ndependencies = ['extra-thing']"))
    main.write_text(main.read_text().replace("import click\n", "import extra_thing\n"))
    with zipfile.ZipFile(tmp_path / "extra_thing-1-py3-none-any.whl", "w") as wheel:
        wheel.writestr("extra_thing.py", "")
        wheel.writestr("extra_thing-1.dist-info/METADATA", "Metadata-Version: 2.1\n"
                       "Name: extra-thing\nVersion: 1\n")  # fmt: skip
        wheel.writestr("extra_thing-1.dist-info/WHEEL", "Wheel-Version: 1.0\nGenerator: us\n"
                       "Root-Is-Purelib: true\nTag: py3-none-any\n")  # fmt: skip
        wheel.writestr("extra_thing-1.dist-info/RECORD", "extra_thing.py,,\n")
    pip = {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(tmp_path)}
    ran = place.do("deploy", "1.0.2", env=pip)
    assert ran.outcome.outcome == "success", ran.log
    assert place.says(ran.outcome.result.uri) == "1.0.2"


@pytest.mark.parametrize(
    ("options", "words"),
    [({"module": ""}, "give either module or command"), ({"command": ["x"]}, "give either"),
     ({"port": 70000}, "70000 is no port"), ({"health": "up"}, "begin with a slash")],
)  # fmt: skip
def test_options_that_cannot_work_are_refused_before_anything_runs(
    options: dict[str, Any], words: str
) -> None:
    with pytest.raises(ConfigError, match=words):
        check_options(LocalService, {**OPTIONS, **options})


@pytest.mark.parametrize("kind", ["drips", "silent", "nonsense", "endless"])
def test_a_service_that_answers_badly_is_not_waited_for(kind: str) -> None:
    with socket.socket() as server:
        server.bind((web.LOOPBACK, 0))
        server.listen()
        stop = threading.Event()

        def serve() -> None:
            talk, _ = server.accept()
            with talk, contextlib.suppress(OSError):
                if kind == "nonsense":
                    talk.sendall(b"\xff\x00 hello\r\n\r\n")
                if kind == "endless":
                    talk.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
                while kind in ("drips", "endless") and not stop.wait(0.1 * (kind == "drips")):
                    talk.sendall(b"x" if kind == "drips" else b"y" * 65536)
                stop.wait(10)

        thread = threading.Thread(target=serve)
        thread.start()
        began = time.monotonic()
        status, body = web.ask(server.getsockname()[1], "/")
        assert time.monotonic() - began < web.ANSWER_SECONDS + 3
        stop.set()
        thread.join()
    assert (status, len(body)) == ((200, web.ANSWER_BYTES_MAX) if kind == "endless" else (None, 0))


def test_a_state_of_a_newer_cxlocal_is_not_guessed_at(tmp_path: Path) -> None:
    (tmp_path / "state.json").write_text('{"format": 2}')
    with pytest.raises(ToolFailure, match="newer cxlocal"):
        read_state(tmp_path)


def test_a_process_of_an_earlier_boot_is_not_ours(tmp_path: Path) -> None:
    own = own_identity()
    said = {"pid": own.pid, "start": own.start, "boot": boot()}
    for changed, known in (({}, True), ({"boot": "another"}, False), ({"pid": "x"}, False)):
        (tmp_path / "process.json").write_text(json.dumps({**said, **changed}))
        assert (process.identity_in(tmp_path) is not None) is known
