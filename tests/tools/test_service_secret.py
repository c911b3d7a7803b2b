"""A secret that reaches a service: what docs/environments.md shows, carried out with real containers."""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path
from socketserver import BaseRequestHandler, ThreadingTCPServer
from threading import Thread
from typing import Any

import pytest
from cxlocal_plugins.oci import Oci
from engine_kit import Engine, page_project

from cxlocal.clock import SystemIds
from cxlocal.hooks.tool import Done
from cxlocal.testing import Bench
from cxlocal.testing.contract import story

pytestmark = pytest.mark.needs("podman", "runc", "busybox", "buildah")

PAGE = Path(__file__).resolve().parents[2] / "docs" / "environments.md"
ENGINE = '["CONTAINERS_*"]'
REST = f"""
[stages]
image = {{ command = "cp \\"$IMAGE\\" image.tar", produces = {{ image = "image.tar" }}, pass_env = ["IMAGE"] }}
live = {{ kind = "deploy", environment = "production", needs = ["image"] }}
[environments]
production = {{ protected = false }}
[defaults]
pass_env = {ENGINE}
"""


def example() -> str:
    """The block of the page."""
    section = PAGE.read_text("utf-8").split("\n## A secret for a service\n")[1].split("\n## ")[0]
    [block] = re.findall(r"```toml\n(.*?)```", section, re.DOTALL)
    return str(block)


def programs_without(folder: Path, left_out: str) -> str:
    """A PATH on which everything is that is on this one, but for one program."""
    folder.mkdir()
    for place in os.environ["PATH"].split(os.pathsep):
        for one in Path(place).glob("*"):
            if one.name != left_out and not (folder / one.name).is_symlink():
                (folder / one.name).symlink_to(one)
    return str(folder)


@pytest.mark.timeout(120)
def test_a_service_finds_its_secret_in_a_file_and_nobody_else_does(
    project: Any, engine: Engine, tmp_path: Path
) -> None:
    bench = Bench(tmp_path / "bench")
    page_project(bench.checkout)
    built = bench.run(Oci, "build", env=engine.env)
    assert isinstance(built.outcome.result, Done), story(built)
    secret = SystemIds().token()
    project.environ |= {
        **engine.env, "IMAGE": str(built.outcome.result.artifacts[0].path), "API_KEY": secret,
    }  # fmt: skip
    project.write(example() + REST)
    done = project.run()
    assert done.code == 0, done.err
    [resource] = project.query("SELECT resource FROM resources_now WHERE serves")
    name = f"cxlocal-{resource}"
    try:
        told = engine.podman("exec", name, "/bin/busybox", "cat", "/run/secrets/API_KEY")
        assert told == secret
        assert "API_KEY_FILE=/run/secrets/API_KEY" in engine.podman("inspect", name)
        shown = engine.podman("inspect", name) + engine.podman("logs", name) + done.err + done.out
        assert secret not in shown
        files = [one for one in project.home.rglob("*") if one.is_file()]
        assert len(files) > 3
        assert [one for one in files if secret.encode() in one.read_bytes()] == []
        _reaches_the_host(engine, name)
        _names_the_program(project, tmp_path)
    finally:
        engine.podman("rm", "--force", "--time", "0", name)


def _reaches_the_host(engine: Engine, name: str) -> None:
    """What listens at an address that is not loopback alone is reached by the name that the page gives it."""
    [host] = re.findall(r"`(host\.[\w.]+)`, which podman", PAGE.read_text("utf-8"))
    with ThreadingTCPServer(("0.0.0.0", 0), Hello) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        try:
            # A static busybox in an image from nothing looks no names up.
            known = engine.podman("exec", name, "/bin/busybox", "cat", "/etc/hosts")
            [address] = re.findall(rf"^([\d.]+)\s.*\b{re.escape(host)}\b", known, re.MULTILINE)
            ask = ("/bin/busybox", "nc", "-w", "5", address, str(server.server_address[1]))
            assert engine.podman("exec", name, *ask) == "from the host"
        finally:
            server.shutdown()


class Hello(BaseRequestHandler):
    """A service on the host."""

    def handle(self) -> None:
        self.request.sendall(b"from the host")


def _names_the_program(project: Any, folder: Path) -> None:
    """Where podman is not on PATH the rehearsal of a run says so, and hints at no version that there is not."""
    project.push("another")
    assert project.command("trust", "--yes").code == 0
    path = programs_without(folder / "programs", "podman")
    assert shutil.which("git", path=path)
    for asked in (("run", "--dry-run"), ("doctor",)):
        said = project.command(*asked, env={"PATH": path})
        assert said.code == 3 or asked == ("doctor",), said.err
        text = said.out + said.err
        assert "install podman, or add the folder of it to PATH" in text, text
        assert "''" not in text and "--unobserved" not in text
