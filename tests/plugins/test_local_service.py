"""The tool ``local-service``: real services on loopback ports, rotated and removed."""

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
import urllib.error
import urllib.request
import uuid
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from cxlocal_plugins.local_service import process, web
from cxlocal_plugins.local_service.balance import Route, read_route
from cxlocal_plugins.local_service.instance import folder_of
from cxlocal_plugins.local_service.tool import LocalService
from cxlocal_plugins.wheel import Wheel

from cxlocal.errors import ConfigError
from cxlocal.hooks.options import check_options
from cxlocal.hooks.running import alive, boot, own_identity
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
        self.made: dict[str, str] = {}
        """Addresses by the id of the instance."""
        self.turn = 1

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
        given = {
            "environment": self.environment, "component": "shop", "turn": self.turn, **fields,
        }  # fmt: skip
        return self.run_verb(LocalService, verb, table, version=version, **given)

    def create(self, version: str, resource: str = "", **fields: Any) -> tuple[str, Any]:
        """A new instance; its id, and what came of it."""
        one = resource or str(uuid.uuid4())
        self.made.setdefault(one, "")
        ran = self.do("create", version, resource=one, artifact=self.wheel(version), **fields)
        if ran.outcome.outcome == "success":
            self.made[one] = ran.outcome.result.address
        return one, ran

    def rotate(self, *ids: str, **fields: Any) -> Any:
        wanted = dict.fromkeys(ids, 100 // max(1, len(ids)))
        addresses = {one: at for one, at in self.made.items() if at}
        return self.do("rotate", wanted=wanted, addresses=addresses, behind="shop", **fields)

    def deploy(self, version: str, **fields: Any) -> tuple[str, str]:
        """A new instance that gets everything; its id, and where the service answers."""
        one, ran = self.create(version, **fields)
        assert ran.outcome.outcome == "success", ran.outcome
        turned = self.rotate(one, **fields)
        assert turned.outcome.outcome == "success", turned.outcome
        return one, turned.outcome.result.details["uri"]

    def remove(self, one: str) -> None:
        assert self.do("remove", resource=one).outcome.outcome == "success"
        self.made.pop(one, None)

    def observe(self, **fields: Any) -> Any:
        return self.do("observe", behind="shop", **fields).outcome.result

    def says(self, uri: str) -> str:
        with urllib.request.urlopen(f"{uri}/version", timeout=5) as answer:
            return str(json.load(answer))

    def process(self, one: str) -> Any:
        return process.identity_in(folder_of(self.folder / "shop", one))


@pytest.fixture
def place(run_verb: Run, checkout: Path, tmp_path: Path) -> Iterator[Place]:
    made = Place(run_verb, checkout, tmp_path / "environment")
    yield made
    for one in list(made.made):
        made.remove(one)
    listing = subprocess.run(
        ["ps", "-ww", "-A", "-o", "args="], capture_output=True, text=True, check=True
    )
    left = [line for line in listing.stdout.splitlines() if str(made.folder) in line]
    assert not left and not list(made.folder.iterdir()), "something is left"


def test_an_instance_is_made_served_observed_and_removed(place: Place) -> None:
    one, uri = place.deploy("1.0.0")
    assert place.says(uri) == "1.0.0"
    seen = place.observe()
    [found] = seen.resources
    assert (found.id, found.version, found.weight, found.healthy) == (one, "1.0.0", 100, True)
    assert (seen.uri, seen.turn) == (uri, 1)
    known = place.process(one)
    place.remove(one)
    assert not alive(known.pid, known.start)
    assert not list(place.folder.iterdir())
    assert place.observe().resources == () and place.observe().uri == ""
    place.remove(one)


def test_the_next_version_takes_over_the_address(place: Place) -> None:
    first, uri = place.deploy("1.0.0")
    second, same = place.deploy("1.0.1")
    assert same == uri and place.says(uri) == "1.0.1"
    assert place.rotate(first).outcome.outcome == "success"
    assert place.says(uri) == "1.0.0", "the one before still stands"
    place.rotate(second)
    place.remove(first)
    assert place.says(uri) == "1.0.1"


def test_one_that_is_not_healthy_changes_nothing(place: Place) -> None:
    first, uri = place.deploy("1.0.0")
    running = place.process(first)
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
        bad, ran = place.create("1.0.1", options={"start_timeout": 2.0})
        assert ran.outcome.outcome == "failure" and word in ran.outcome.reason, ran.outcome.reason
        place.remove(bad)
        assert place.says(uri) == "1.0.0"
    assert place.process(first) == running, "the old one was not even restarted"


def test_a_service_that_says_another_version_is_seen(place: Place) -> None:
    place.deploy("1.0.0", options={"version_path": ""})
    [told] = place.observe(options={"version_path": "/prices"}).resources
    assert (told.version, told.healthy) == ("1.0.0", False)


def test_a_service_removed_while_it_starts_never_comes_to_life(tmp_path: Path) -> None:
    folder = tmp_path / "instance"
    folder.mkdir()
    process.end(folder)
    launch = Path(process.__file__).with_name("launch.py")
    command = [sys.executable, str(launch), str(folder), "/bin/sh", "-c", "echo alive > lived"]
    subprocess.run(command, cwd=folder, check=True)
    assert not (folder / "lived").exists()


def test_a_dead_service_is_seen_as_such_and_another_takes_its_place(place: Place) -> None:
    first, uri = place.deploy("1.0.0")
    known = place.process(first)
    os.killpg(known.pid, signal.SIGKILL)
    while alive(known.pid, known.start):
        time.sleep(0.01)
    assert [one.healthy for one in place.observe().resources] == [False]
    with pytest.raises(urllib.error.HTTPError, match="503"):
        place.says(uri)
    _, again = place.deploy("1.0.1")
    assert again == uri and place.says(uri) == "1.0.1"
    place.remove(first)


def test_made_again_it_is_left_alone_and_a_dead_one_is_not(place: Place) -> None:
    one, uri = place.deploy("1.0.0")
    running = place.process(one)
    assert place.create("1.0.0", one)[1].outcome.outcome == "success"
    assert place.process(one) == running
    os.killpg(running.pid, signal.SIGKILL)
    place.create("1.0.0", one)
    place.rotate(one)
    assert place.says(uri) == "1.0.0"


def test_the_front_comes_back_where_it_was_with_what_was_wanted(place: Place) -> None:
    one, uri = place.deploy("1.0.0")
    front = process.identity_in(place.folder / "shop" / "front")
    assert front is not None
    os.killpg(front.pid, signal.SIGKILL)
    while alive(front.pid, front.start):
        time.sleep(0.01)
    seen = place.observe()
    assert (seen.turn, seen.uri, seen.resources[0].weight) == (1, "", None)
    place.turn = 0
    assert "turn 1 was here" in place.rotate(one).outcome.reason
    place.turn = 2
    assert place.rotate(one).outcome.result.details["uri"] == uri
    assert place.says(uri) == "1.0.0"


@pytest.mark.parametrize("damaged", ["", "{", "[]", '{"turn": {}}', '{"wanted": 5}'])
def test_a_damaged_route_is_none(tmp_path: Path, damaged: str) -> None:
    (tmp_path / "front").mkdir()
    (tmp_path / "front" / "route.json").write_text(damaged)
    assert read_route(tmp_path) == Route()


def test_a_port_somebody_else_has_is_refused(place: Place) -> None:
    with socket.socket() as other:
        other.bind((web.LOOPBACK, 0))
        other.listen()
        port = other.getsockname()[1]
        one, ran = place.create("1.0.0", options={"port": port})
        assert ran.outcome.outcome == "success", ran.outcome
        turned = place.rotate(one, options={"port": port})
    assert turned.outcome.outcome == "failure" and "in use" in turned.outcome.reason


def test_another_port_is_another_address(place: Place) -> None:
    one, before = place.deploy("1.0.0")
    port = web.free_port()
    turned = place.rotate(one, options={"port": port})
    after = turned.outcome.result.details["uri"]
    assert after.endswith(f":{port}") and place.says(after) == "1.0.0"
    with pytest.raises(urllib.error.URLError):
        place.says(before)


def test_requests_go_to_what_was_started_here_alone(place: Place) -> None:
    """Ids and addresses come from history, where others may have said them."""
    _, uri = place.deploy("1.0.0")
    other = str(uuid.uuid4())
    addresses = {other: uri.removeprefix("http://")}
    ran = place.do("rotate", behind="shop", wanted={other: 100}, addresses=addresses)
    assert ran.outcome.outcome == "success"
    with pytest.raises(urllib.error.HTTPError, match="503"):
        place.says(uri)


def test_services_of_one_environment_keep_apart(place: Place) -> None:
    _, shop = place.deploy("1.0.0")
    one, _ = place.create("1.0.0", component="admin")
    turned = place.do("rotate", component="admin", wanted={one: 100}, addresses=place.made)
    admin = turned.outcome.result.details["uri"]
    assert admin != shop and [place.says(uri) for uri in (shop, admin)] == ["1.0.0", "1.0.0"]
    place.do("remove", component="admin", resource=one)
    assert place.says(shop) == "1.0.0" and not (place.folder / "admin").exists()


@pytest.mark.parametrize("after_seconds", [0.3, 0.7, 1.3])
def test_kill_9_while_it_is_made_leaves_the_old_one_and_can_be_removed(
    place: Place, after_seconds: float
) -> None:
    _, uri = place.deploy("1.0.0")
    one, _ = place.create("1.0.1", kill_after_seconds=after_seconds)
    assert place.says(uri) == "1.0.0"
    place.remove(one)
    assert place.says(uri) == "1.0.0"


def test_a_command_of_the_wheel_with_secrets_of_the_stage(place: Place) -> None:
    file = place.checkout / "pyproject.toml"
    file.write_text(file.read_text() + '\n[project.scripts]\nserve = "webshop.serve:main"\n')
    (place.checkout / "src" / "webshop" / "serve.py").write_text(
        "import os, runpy, sys\ndef main():\n"
        "    assert os.environ['TOKEN'] == 'very-secret-value' and sys.argv[1:] == ['--now']\n"
        "    runpy.run_module('webshop', run_name='__main__')\n"
    )
    options = {"module": "", "command": ["serve"], "args": ["--now"]}
    _, ran = place.create("1.0.0", secrets={"TOKEN": "very-secret-value"}, options=options)
    assert ran.outcome.outcome == "success", ran.outcome.reason
    assert place.says(f"http://{ran.outcome.result.address}") == "1.0.0"
    _, ran = place.create("1.0.1", options={"module": "", "command": ["no-such-program"]})
    assert ran.outcome.outcome == "failure" and "no program 'no-such-program'" in ran.outcome.reason


def test_dependencies_from_beside_cxlocal_or_from_pip(place: Place, tmp_path: Path) -> None:
    file = place.checkout / "pyproject.toml"
    good = file.read_text()
    main = place.checkout / "src" / "webshop" / "__main__.py"
    main.write_text(main.read_text().replace("import os\n", "import os\nimport click\n"))
    file.write_text(good.replace("[project]", "[project]\ndependencies = ['click']"))
    first, ran = place.create("1.0.0", env={"PIP_NO_INDEX": "1"})
    assert ran.outcome.outcome == "error" and "needs could not be installed (click)" in (
        ran.outcome.reason
    )
    assert not folder_of(place.folder / "shop", first).exists()
    _, ran = place.create("1.0.0", options={"shared": True}, env={"PIP_NO_INDEX": "1"})
    assert ran.outcome.outcome == "success", ran.outcome.reason
    file.write_text(good.replace("[project]", "[project]\ndependencies = ['no-such-thing>=3']"))
    _, ran = place.create("1.0.1", options={"shared": True})
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
    _, ran = place.create("1.0.2", env=pip)
    assert ran.outcome.outcome == "success", ran.log
    assert place.says(f"http://{ran.outcome.result.address}") == "1.0.2"


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


def test_a_process_of_an_earlier_boot_is_not_ours(tmp_path: Path) -> None:
    own = own_identity()
    said = {"pid": own.pid, "start": own.start, "boot": boot()}
    for changed, known in (({}, True), ({"boot": "another"}, False), ({"pid": "x"}, False)):
        (tmp_path / "process.json").write_text(json.dumps({**said, **changed}))
        assert (process.identity_in(tmp_path) is not None) is known
