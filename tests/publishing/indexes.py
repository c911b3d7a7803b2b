"""Real package indexes, each behind a server with moods, on loopback."""

from __future__ import annotations

import base64
import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple
from urllib.request import Request, urlopen

from weather import Weather, answers_at, free_port, serving, wait_for

PASSWORD = "index-secret-password"
DEVPI = "shop/release"
"""A user and an index of its own."""


class Index(NamedTuple):
    """An index: the weather before it, and what a target needs to be told."""

    weather: Weather
    options: dict[str, Any]


def program(name: str) -> str:
    """A program beside the Python of the tests."""
    return str(Path(sys.executable).with_name(name))


@contextmanager
def running(command: Sequence[str], port: int, path: str = "/") -> Iterator[Weather]:
    """A server that answers at a port, and the weather before it; it ends with the block."""
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        wait_for(lambda: process.poll() is None and answers_at(port, path))
        with serving(Weather(f"http://127.0.0.1:{port}")) as weather:
            yield weather
    finally:
        process.kill()
        process.wait()


@contextmanager
def pypiserver(folder: Path) -> Iterator[Index]:
    """pypiserver, which asks for no password."""
    port = free_port()
    command = [
        program("pypi-server"), "run", "-i", "127.0.0.1", "-p", str(port), "-P", ".", "-a", ".",
        "--hash-algo", "sha256", "--disable-fallback", str(folder),
    ]  # fmt: skip
    with running(command, port) as weather:
        yield Index(weather, {"url": f"{weather.url}/", "simple": f"{weather.url}/simple/"})


@contextmanager
def devpi(folder: Path) -> Iterator[Index]:
    """devpi-server with an index that keeps what it has (``volatile`` is off)."""
    port, kept = free_port(), str(folder / "server")
    subprocess.run(
        [program("devpi-init"), "--serverdir", kept, "--no-root-pypi"],
        check=True, capture_output=True,
    )  # fmt: skip
    command = [
        program("devpi-server"), "--serverdir", kept, "--host", "127.0.0.1", "--port", str(port),
        "--offline-mode", "--threads", "4", "--argon2-time-cost", "1", "--argon2-memory-cost", "1024",
    ]  # fmt: skip
    with running(command, port, "/+api") as weather:
        _tell(f"http://127.0.0.1:{port}/shop", {"password": PASSWORD})
        login = {"user": "shop", "password": PASSWORD}
        answer = json.loads(_tell(f"http://127.0.0.1:{port}/+login", login, "POST"))
        _tell(
            f"http://127.0.0.1:{port}/{DEVPI}", {"type": "stage", "volatile": False, "bases": []},
            login=f"shop:{answer['result']['password']}",
        )  # fmt: skip
        at = f"{weather.url}/{DEVPI}/"
        yield Index(weather, {"url": at, "simple": f"{at}+simple/", "user": "shop"})


def _tell(url: str, said: Any, method: str = "PUT", login: str = "") -> bytes:
    headers = {"Content-Type": "application/json", "Accept": "application/json"}
    if login:
        headers["X-Devpi-Auth"] = base64.b64encode(login.encode()).decode()
    request = Request(url, json.dumps(said).encode(), headers, method=method)
    with urlopen(request, timeout=20) as answer:
        return bytes(answer.read())


MADE = {"pypiserver": pypiserver, "devpi": devpi}
