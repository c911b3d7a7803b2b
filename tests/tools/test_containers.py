"""The tools ``podman`` and ``docker`` with a real engine: docker's own command against podman's interface."""

from __future__ import annotations

import hashlib
import os
import subprocess
import urllib.request
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar

import pytest
from cxlocal_plugins.containers import Docker, Podman
from cxlocal_plugins.oci import Oci
from engine_kit import Engine, page_project, wait_for
from page import options

from cxlocal.clock import SystemIds
from cxlocal.hooks.context import Ran
from cxlocal.hooks.tool import ArtifactRef, Created, Done, Observed
from cxlocal.testing import Bench, ComponentContract
from cxlocal.testing.contract import story

pytestmark = pytest.mark.needs("podman", "runc", "busybox", "buildah")


@pytest.fixture(scope="module")
def image(engine: Engine, tmp_path_factory: pytest.TempPathFactory) -> ArtifactRef:
    """An image that serves one page."""
    bench = Bench(tmp_path_factory.mktemp("image") / "bench")
    page_project(bench.checkout)
    ran = bench.run(Oci, "build", env=engine.env)
    assert isinstance(ran.outcome.result, Done), story(ran)
    [made] = ran.outcome.result.artifacts
    content = made.path.read_bytes()
    digest = hashlib.sha256(content).hexdigest()
    return ArtifactRef(name="image", path=made.path, sha256=digest, size=len(content))


@pytest.fixture(scope="module")
def service(engine: Engine) -> Iterator[str]:
    """podman's engine as docker's own command knows one."""
    place = engine.folder / "docker.sock"
    with open(engine.folder / "service.log", "ab") as log:
        process = subprocess.Popen(
            ["podman", "system", "service", "--time", "0", f"unix://{place}"],
            env={**os.environ, **engine.env}, stdout=log, stderr=log,
        )  # fmt: skip
    wait_for(place.exists, "the engine's interface is not there")
    yield f"unix://{place}"
    process.terminate()
    process.wait()


class TestPodman(ComponentContract):
    tool: ClassVar[Any] = Podman
    with_table: ClassVar[dict[str, Any]] = options("podman")

    @pytest.fixture(autouse=True)
    def _programs(self, engine: Engine, image: ArtifactRef) -> None:
        self.engine, self.image = engine, image

    def artifacts(self, bench: Bench, version: str) -> Mapping[str, ArtifactRef]:
        return {"image": self.image}

    def _run(self, bench: Bench, verb: str, **more: Any) -> Ran:
        return super()._run(bench, verb, env=self.environ(), **more)

    def environ(self) -> dict[str, str]:
        return self.engine.env

    def remains(self, bench: Bench, handle: Any) -> list[str]:
        return self.engine.podman("ps", "--all", "--quiet", "--external").split()

    def inspected(self, bench: Bench) -> str:
        """Every container, image, network and volume with its labels, and what they said."""
        ids = self.engine.podman("ps", "--all", "--quiet").split()
        images = self.engine.podman("images", "--quiet").split()
        looked = [self.engine.podman("inspect", *ids, *images)] if ids or images else []
        return "".join([*looked, *(self.engine.podman("logs", one) for one in ids)])

    def test_it_answers_where_it_says_and_holds_its_secret_in_a_file_alone(
        self, bench: Bench
    ) -> None:
        secret = SystemIds().token()
        ran = self._run(bench, "create", secrets={"TOKEN": secret})
        assert isinstance(ran.outcome.result, Created), story(ran)
        address = ran.outcome.result.address
        wait_for(lambda: _get(address) == b"hello", "the container does not answer")
        name = f"cxlocal-{bench.resource}"
        assert (
            self.engine.podman("exec", name, "/bin/busybox", "cat", "/run/secrets/TOKEN") == secret
        )
        listed = self.engine.podman("exec", name, "/bin/busybox", "env")
        assert "TOKEN_FILE=/run/secrets/TOKEN\n" in listed and "GREETING=hello\n" in listed
        ps = subprocess.run(
            ["ps", "-ww", "-A", "-o", "args="], capture_output=True, text=True, check=True
        )
        seen = self.engine.podman("inspect", name) + listed + ps.stdout
        assert secret not in seen and secret.encode() not in ran.log
        # The same again finds it running, and does not touch it.
        began = self.engine.podman("inspect", "--format", "{{.State.StartedAt}}", name)
        again = self._run(bench, "create", secrets={"TOKEN": secret})
        assert again.outcome.result == ran.outcome.result
        assert self.engine.podman("inspect", "--format", "{{.State.StartedAt}}", name) == began

    def test_what_stands_still_is_seen_and_what_is_not_ours_is_left_alone(
        self, bench: Bench
    ) -> None:
        assert self._run(bench, "create").outcome.outcome == "success"
        stranger = self.engine.podman("create", "--name", "stranger", self.image_id()).strip()
        try:
            self.engine.podman("stop", "--time", "0", f"cxlocal-{bench.resource}")
            [seen] = self._seen(bench)
            assert seen.healthy is False and seen.digest.startswith("sha256:")
            assert self._run(bench, "destroy").outcome.outcome == "success"
            assert self._seen(bench) == ()
            assert self.engine.podman("ps", "--all", "--quiet", "--no-trunc").split() == [stranger]
        finally:
            self.engine.podman("rm", "--force", "stranger")

    def image_id(self) -> str:
        return self.engine.podman("images", "--quiet", "--no-trunc").split()[0]


@pytest.mark.heavy
@pytest.mark.needs("docker")
class TestDocker(TestPodman):
    tool = Docker

    @pytest.fixture(autouse=True)
    def _service(self, service: str) -> None:
        self.host = service

    def environ(self) -> dict[str, str]:
        return {"DOCKER_HOST": self.host}


def _get(address: str) -> bytes:
    try:
        with urllib.request.urlopen(f"http://{address}/", timeout=5) as answer:
            return bytes(answer.read())
    except OSError:
        return b""


def test_it_needs_an_image(tmp_path: Path) -> None:
    ran = Bench(tmp_path / "bench").run(Podman, "create", resource="r", component="web")
    assert ran.outcome.outcome == "failure" and "no image to run" in ran.outcome.reason
    assert not isinstance(ran.outcome.result, Observed)
