"""One version of a service: installed, started, asked, ended."""

from __future__ import annotations

import http.client
import json
import os
import shutil
import signal
import socket
import sys
import time
import zipfile
from email.parser import Parser
from pathlib import Path

from packaging.requirements import Requirement

from cxlocal.hooks.running import Identity, alive, stage_environment
from cxlocal.hooks.tool import ArtifactRef, Context, ToolFailure
from cxlocal_plugins.local_service.launch import ENDED, IDENTITY
from cxlocal_plugins.local_service.state import Release

LOOPBACK = "127.0.0.1"
LOOK_SECONDS = 0.05
"""Between two looks at a service that is starting or ending."""
END_SECONDS = 5.0
"""A service has this long to end after SIGTERM."""
ANSWER_SECONDS = 2.0
ANSWER_BYTES_MAX = 64 * 1024


def install(ctx: Context, artifact: ArtifactRef, folder: Path) -> Path:
    """A virtual environment with the wheel in it; the interpreter to start it with.

    A wheel without dependencies is unpacked by PyPA's ``installer`` and needs no network; one with
    dependencies is installed by pip, which needs an index or ``PIP_FIND_LINKS``.
    """
    import venv

    shutil.rmtree(folder, ignore_errors=True)
    venv.create(folder / "venv", with_pip=False, symlinks=True)
    python = folder / "venv" / "bin" / "python"
    if needs := _dependencies(artifact.path):
        ctx.progress(f"installing {artifact.path.name} with {', '.join(needs)}")
        pip = [sys.executable, "-P", "-m", "pip", "--python", str(python), "install", "--quiet"]
        ctx.exec([*pip, "--no-input", "--disable-pip-version-check", str(artifact.path)])
    else:
        _unpack(artifact.path, folder / "venv", python)
    return python


def _unpack(wheel: Path, prefix: Path, python: Path) -> None:
    from installer import install as install_wheel
    from installer.destinations import SchemeDictionaryDestination
    from installer.sources import WheelFile

    site = next((prefix / "lib").glob("python*/site-packages"))
    scheme = {
        "purelib": str(site),
        "platlib": str(site),
        "headers": str(prefix / "include"),
        "scripts": str(prefix / "bin"),
        "data": str(prefix),
    }
    destination = SchemeDictionaryDestination(scheme, str(python), "posix")
    with WheelFile.open(wheel) as source:
        install_wheel(source, destination, additional_metadata={"INSTALLER": b"cxlocal"})


def _dependencies(wheel: Path) -> list[str]:
    """What the wheel requires on this machine, extras aside."""
    with zipfile.ZipFile(wheel) as archive:
        name = next(name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        headers = Parser().parsestr(archive.read(name).decode("utf-8", "replace"), headersonly=True)
    wanted = [Requirement(text) for text in headers.get_all("Requires-Dist") or []]
    return [
        str(requirement)
        for requirement in wanted
        if requirement.marker is None or requirement.marker.evaluate({"extra": ""})
    ]


def free_port() -> int:
    """A loopback port nobody uses at this moment."""
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        return int(probe.getsockname()[1])


def is_free(port: int) -> bool:
    """Whether a service could listen on a loopback port now."""
    with socket.socket() as probe:
        # As servers do: connections in TIME_WAIT of the version before must not count.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            return False
        return True


def start(ctx: Context, root: Path, release: Release, port: int) -> Identity:
    """Start an installed version on a port. Raises ToolFailure when it does not come to life."""
    folder = root / release.folder
    for mark in (IDENTITY, ENDED):
        (folder / mark).unlink(missing_ok=True)
    environment = stage_environment(
        os.environ,
        extra={
            "HOST": LOOPBACK,
            "PORT": str(port),
            "CXLOCAL_VERSION": release.version,
            "CXLOCAL_RUN": release.run,
        },
    )
    command = [sys.executable, "-P", str(Path(__file__).with_name("launch.py")), str(folder)]
    python = folder / "venv" / "bin" / "python"
    ctx.daemon(
        [*command, str(python), *release.command],
        cwd=folder,
        env=environment,
        log=folder / "service.log",
    )
    began = ctx.timeout
    while began - ctx.timeout < END_SECONDS:
        found = identity_in(folder)
        if found is not None:
            return found
        # Waiting for another process: there is nothing to be woken by.
        time.sleep(LOOK_SECONDS)
    raise ToolFailure(f"the service was started and never said who it is ({folder})")


def identity_in(folder: Path) -> Identity | None:
    """The process last started in a release's folder."""
    try:
        pid, begun = json.loads((folder / IDENTITY).read_text())
        return Identity(int(pid), str(begun))
    except (OSError, ValueError, TypeError):
        return None


def is_running(folder: Path) -> bool:
    """Whether the process last started there is alive."""
    found = identity_in(folder)
    return found is not None and alive(found.pid, found.start)


def wait_until_healthy(ctx: Context, folder: Path, port: int, version: str) -> str:
    """Ask the service until it answers well; what was wrong last, or nothing when it is healthy.

    Health is any answer below 400 at ``health`` and, with ``version_path``, an answer there that
    holds the version.
    """
    options = ctx.options
    began, problem = ctx.timeout, "it did not answer"
    while began - ctx.timeout < options.start_timeout and ctx.timeout > 0:
        problem = look(port, options.health, options.version_path, version)
        if not problem:
            return ""
        if not is_running(folder):
            return f"it ended by itself; its last words: {_last_words(folder)}"
        # Waiting for another process: there is nothing to be woken by.
        time.sleep(LOOK_SECONDS)
    return problem


def look(port: int, health: str, version_path: str, version: str) -> str:
    """One look at a service; what is wrong with it, or nothing."""
    status, _ = ask(port, health)
    if status is None:
        return f"it does not answer on port {port}"
    if status >= 400:
        return f"{health} answers with status {status}"
    if version_path:
        status, body = ask(port, version_path)
        if status is None or status >= 400 or version.encode() not in body:
            return f"{version_path} does not say {version}"
    return ""


def ask(port: int, path: str) -> tuple[int | None, bytes]:
    """Status and body of one GET; None when nobody answers."""
    connection = http.client.HTTPConnection(LOOPBACK, port, timeout=ANSWER_SECONDS)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, answer.read(ANSWER_BYTES_MAX)
    except (OSError, http.client.HTTPException):
        return None, b""
    finally:
        connection.close()


def end(folder: Path) -> bool:
    """End the process of a release: SIGTERM, then SIGKILL; whether there was one.

    Also keeps a process from coming to life that is just being started there.
    """
    if not folder.is_dir():
        return False
    (folder / ENDED).touch()
    found = identity_in(folder)
    if found is None or not alive(found.pid, found.start):
        return False
    _signal(found, signal.SIGTERM)
    for _ in range(int(END_SECONDS / LOOK_SECONDS)):
        if not alive(found.pid, found.start):
            return True
        # Waiting for another process: there is nothing to be woken by.
        time.sleep(LOOK_SECONDS)
    _signal(found, signal.SIGKILL)
    return True


def _signal(found: Identity, number: int) -> None:
    """To the whole session of the service; its pid was just seen alive with its start time."""
    try:
        os.killpg(found.pid, number)
    except (ProcessLookupError, PermissionError):
        # It ended in between, or only a zombie is left (EPERM on macOS).
        return


def _last_words(folder: Path) -> str:
    try:
        lines = (folder / "service.log").read_bytes()[-2000:].decode("utf-8", "replace")
    except OSError:
        return "none"
    return " / ".join(lines.strip().splitlines()[-3:]) or "none"
