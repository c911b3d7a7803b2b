"""docs/server.md, done as it says: from nothing to two machines, a release, an outage."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import requests
import trustme
from http_kit import listen

PAGE = Path(__file__).resolve().parents[2] / "docs" / "server.md"
PROGRAM = str(Path(sys.executable).with_name("cxlocal"))
CX_TOML = """cx = 1
[deliverable]
name = "shop"
[version]
line = "1.0"
scheme = "semver"
[stages.build]
command = "echo built"
"""


def _blocks(kind: str) -> list[str]:
    return re.findall(rf"```{kind}\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)


def _commands() -> list[str]:
    text = "".join(_blocks("sh")).replace("\\\n", " ")
    return [line.partition("  #")[0].strip() for line in text.splitlines()]


class Walk:
    """Carries out commands of the page on machines of a test."""

    def __init__(self, tmp_path: Path, cx: Any) -> None:
        self.tmp_path, self.cx = tmp_path, cx
        with listen("127.0.0.1", 0) as free:
            self.port = free.getsockname()[1]
        self.url = f"https://localhost:{self.port}"
        self.code = ""
        self.server: subprocess.Popen[bytes] | None = None

    def words(self, line: str) -> list[str]:
        """A command of the page, with the names of this test in it."""
        for written, here in (
            ("https://store.example.org:8377", self.url), ("/srv/cx", str(self.tmp_path / "srv")),
            ("/etc/cx", str(self.tmp_path / "etc")), ("0.0.0.0", "127.0.0.1"), ("CODE", self.code),
        ):  # fmt: skip
            line = line.replace(written, here)
        return shlex.split(line)[1:]

    def at(self, machine: str, line: str) -> Any:
        env = {"CXLOCAL_HOME": str(self.tmp_path / machine)}
        done = self.cx(*self.words(line), env=env, cwd=self.tmp_path / "work")
        found = re.search(r"--code ([0-9A-Z-]{19})", done.err)
        self.code = found[1] if found else self.code
        return done

    def serve(self, line: str) -> str:
        with open(self.tmp_path / "said", "wb") as said:
            self.server = subprocess.Popen(
                [PROGRAM, *self.words(line), "--port", str(self.port)],
                stdout=subprocess.PIPE, stderr=said, cwd=self.tmp_path,
            )  # fmt: skip
        assert self.server.stdout is not None
        assert self.server.stdout.readline().decode().strip() == f"https://127.0.0.1:{self.port}"
        return (self.tmp_path / "said").read_text()

    def stop(self) -> None:
        server, self.server = self.server, None
        if server is not None:
            server.terminate()
            server.wait(20)
            assert server.stdout is not None
            server.stdout.close()


@pytest.mark.needs("git")
def test_the_page_as_a_new_operator(tmp_path: Path, cx: Any) -> None:
    commands = _commands()
    (tmp_path / "etc").mkdir()
    authority = trustme.CA()
    leaf = authority.issue_cert("localhost")
    leaf.cert_chain_pems[0].write_to_path(tmp_path / "etc" / "cert.pem")
    leaf.private_key_pem.write_to_path(tmp_path / "etc" / "key.pem")
    authority.cert_pem.write_to_path(tmp_path / "etc" / "ca.pem")
    work = _repository(tmp_path)
    walk = Walk(tmp_path, cx)
    serve, join = commands[2], commands[3]
    assert serve.startswith("cxlocal serve")
    started = time.monotonic()
    try:
        said = walk.serve(serve)
        printed = _blocks("text")[0].replace("https://store.example.org:8377", walk.url)
        code = re.search(r"--code (\S+)", said)
        assert code is not None
        walk.code = code[1]
        assert said == printed.replace("CODE", walk.code).replace("/srv/cx", f"{tmp_path}/srv")
        assert "as 'admin'" in walk.at("laptop", join).err
        _push(
            work, CX_TOML + _blocks("toml")[0].replace("https://store.example.org:8377", walk.url)
        )
        invite, second, sync, status = commands[4:8]
        assert walk.at("laptop", invite).code == 0
        assert "as 'build-server'" in walk.at("build", second).err
        for machine in ("laptop", "build"):
            done = walk.at(machine, sync)
            assert "in step" in done.err.lower(), done.err
        shown = walk.at("laptop", status)
        assert "admin" in shown.out
        assert "build-server" in shown.out
        assert time.monotonic() - started < 300
        assert "1.0.0" in walk.at("laptop", "cxlocal run").err
        walk.stop()
        away = walk.at("laptop", "cxlocal run")
        assert away.code == 0, away.err
        assert "reserve" in away.err + away.out
        walk.serve(serve)
        _read_pages(walk, commands)
        assert "in step" in walk.at("laptop", sync).err
        assert walk.at("laptop", status + " --json").json()["pending"] == 0
    finally:
        walk.stop()


def _read_pages(walk: Walk, commands: list[str]) -> None:
    """The pages of the store beside it: somebody gets in by what the commands print."""
    found = next(n for n, line in enumerate(commands) if "--pages" in line)
    pages, browse, feed = commands[found : found + 3]
    with listen("127.0.0.1", 0) as free:
        port = free.getsockname()[1]
    shown = Walk(walk.tmp_path, walk.cx)
    shown.port = port
    try:
        shown.serve(pages.replace("8378", str(port)).replace("store.example.org", "localhost"))
        got = [
            requests.get(address, verify=walk.tmp_path / "etc" / "ca.pem", timeout=20)
            for line in (f"{browse} --no-open", feed)
            for address in walk.at("laptop", line).out.split()
        ]
    finally:
        shown.stop()
    # What is made for the first time may take longer than a page waits.
    assert [answer.status_code in (200, 503) for answer in got] == [True] * 3
    assert got[0].history[0].headers["set-cookie"].endswith("; Secure")


def _repository(tmp_path: Path) -> Path:
    work = tmp_path / "work"
    for line in (
        f"git init -q --bare {tmp_path / 'remote.git'}",
        f"git clone -q {tmp_path / 'remote.git'} {work}",
    ):
        subprocess.run(shlex.split(line), check=True, capture_output=True)
    _push(work, CX_TOML)
    return work


def _push(work: Path, config: str) -> None:
    (work / "cx.toml").write_text(config)
    for line in ("git add .", "git commit -qm first", "git push -q origin HEAD"):
        subprocess.run(shlex.split(line), check=True, capture_output=True, cwd=work)


def test_every_command_of_the_page_exists(cx: Any) -> None:
    """Those that the walk leaves out: the rights, and the token of a CI server."""
    commands = _commands()
    walked = [
        *commands[2:8],
        *(line for line in commands if "--pages" in line or "browse --store" in line),
    ]
    options: dict[str, set[str]] = {}
    for line in commands:
        words = shlex.split(line)
        if words[:1] == ["cxlocal"] and line not in walked:
            named = {word for word in words if word.startswith("--")}
            options.setdefault(" ".join(words[1:3]), set()).update(named)
    assert set(options) == {
        "store adopt", "store grant", "store invite", "store join", "store members", "store revoke",
    }  # fmt: skip
    for command, named in options.items():
        shown = cx.ok(*command.split(), "--help").out
        assert all(option in shown for option in named)
