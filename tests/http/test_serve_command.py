"""``cxlocal serve`` and ``cxlocal store invite, join, revoke, status``, as typed."""

from __future__ import annotations

import os
import re
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from http_kit import ProcessServer
from numbers_kit import open_at, open_journal, request

from cxlocal.allocation.allocator import obtain_number


@pytest.fixture
def served(tmp_path: Path) -> Iterator[ProcessServer]:
    made = ProcessServer(tmp_path / "central")
    yield made
    made.stop()


@pytest.fixture
def at(cx: Any, tmp_path: Path, served: ProcessServer) -> Any:
    """Runs a command on the machine ``name``, configured for the served store."""

    def run(name: str, *arguments: str, **rest: Any) -> Any:
        env = {"CXLOCAL_HOME": str(tmp_path / name), "CXLOCAL_STORE": served.url}
        return cx(*arguments, env={**env, **rest.pop("env", {})}, cwd=tmp_path, **rest)

    return run


def _first_code(served: ProcessServer) -> str:
    found = re.search(r"cxlocal store join (\S+) --code (\S+)", served.said())
    assert found is not None
    assert found[1] == served.url
    return found[2]


def test_from_nothing_to_two_machines(served: ProcessServer, at: Any) -> None:
    first = at("laptop", "store", "join", served.url, "--code", _first_code(served))
    assert first.code == 0, first.err
    assert "as 'admin'" in first.err
    code = at("laptop", "store", "invite", "build").out.strip()
    joined = at("build", "store", "join", served.url, "--code", code, "--json")
    assert joined.json()["member"] == "build"
    for name in ("laptop", "build", "laptop"):
        assert at(name, "sync").code == 0
    status = at("laptop", "store", "status", "--json").json()
    assert {row["member"] for row in status["machines"]} == {"admin", "build"}
    assert all(row["last_contact"] for row in status["machines"])
    assert (status["reached"], status["pending"], status["generation"]) == (True, 0, 1)
    assert at("build", "store", "invite", "x").code == 3
    assert at("build", "store", "revoke", "admin").code == 3
    assert at("laptop", "store", "revoke", "build").code == 0
    away = at("build", "sync")
    assert away.code == 4
    assert "store join" in away.err
    assert at("laptop", "store", "revoke", "nobody").code == 3


def test_a_home_that_others_may_open_is_closed(tmp_path: Path) -> None:
    home = tmp_path / "open"
    home.mkdir()
    home.chmod(0o777)
    environ = {**os.environ, "CXLOCAL_HOME": str(home)}
    asked = [sys.executable, "-m", "cxlocal", "serve", "--store", f"sqlite://{tmp_path}/s.db"]
    process = subprocess.Popen([*asked, "--port", "0"], env=environ, stdout=subprocess.PIPE)
    try:
        assert process.stdout is not None and process.stdout.readline().startswith(b"http")
        assert home.stat().st_mode & 0o777 == 0o700
    finally:
        process.terminate()
        process.communicate(timeout=20)


def test_on_the_server_no_token_is_needed(served: ProcessServer, cx: Any, at: Any) -> None:
    store = f"sqlite://{served.home / 'store.db'}"
    env = {"CXLOCAL_HOME": str(served.home / "own")}
    invited = cx("store", "invite", "laptop", "--manage", "--store", store, env=env)
    assert invited.code == 0, invited.err
    assert served.url in invited.err
    assert at("laptop", "store", "join", served.url, "--code", invited.out.strip()).code == 0
    assert at("laptop", "store", "invite", "x").code == 0
    assert cx("store", "revoke", "laptop", "--store", store, env=env).code == 0
    assert at("laptop", "store", "invite", "x").code == 4


def test_a_ci_server_gets_a_token_and_the_job_keeps_nothing(
    served: ProcessServer, at: Any, cx: Any, tmp_path: Path
) -> None:
    code = _first_code(served)
    printed = at("laptop", "store", "join", served.url, "--code", code, "--print-token")
    token = printed.out.strip()
    assert len(token) == 64
    assert not (tmp_path / "laptop" / "credentials.json").exists()
    said = dict(line.strip().split("=") for line in printed.err.splitlines() if "=" in line)
    assert said == {"CXLOCAL_STORE": served.url, "CXLOCAL_STORE_TOKEN": "(the token)"}
    project = tmp_path / "job"
    project.mkdir()
    (project / "cx.toml").write_text('cx = 1\n[deliverable]\nname = "shop"\n')
    env = {"CXLOCAL_HOME": str(tmp_path / "job-home"), **said, "CXLOCAL_STORE_TOKEN": token}
    done = cx("sync", cwd=project, env=env)
    assert done.code == 0, done.err
    assert token not in done.out + done.err
    assert cx("sync", cwd=project, env={**env, "CXLOCAL_STORE_TOKEN": "wrong"}).code == 4


def test_rights_by_command(served: ProcessServer, at: Any) -> None:
    at("laptop", "store", "join", served.url, "--code", _first_code(served))
    for options, expected in (
        ((), {"take": ["*"], "push": ["*"], "read": ["*"], "manage": False}),
        (
            ("--deliverable", "shop", "--read", "*", "--push", "b", "--manage"),
            {"take": ["shop"], "push": ["b", "shop"], "read": ["*"], "manage": True},
        ),
    ):
        code = at("laptop", "store", "invite", "m", *options).out.strip()
        rights = at("m", "store", "join", served.url, "--code", code, "--json").json()["rights"]
        assert expected.items() <= rights.items()


def _used(folder: Path, name: str, hint: str = "") -> str:
    """A store that has handed out a number; ``hint``: what it remembers of where it is."""
    store, journal = (
        open_at(f"sqlite://{folder / name}", folder),
        open_journal(folder / f"{name}.j"),
    )
    store.create()
    obtain_number(journal, store, request("r1"))
    store.close()
    journal.close()
    if hint:
        with closing(sqlite3.connect(folder / name)) as file:
            file.execute("UPDATE store SET hint = ?", (hint,))
            file.commit()
    return f"sqlite://{folder / name}"


def test_what_cannot_be_served(cx: Any, tmp_path: Path, served: ProcessServer) -> None:
    store = f"sqlite://{tmp_path / 'x.db'}"
    (tmp_path / "text").write_text("nothing")
    text = str(tmp_path / "text")
    for arguments, said in (
        (("--store", store, "--host", "0.0.0.0"), "no TLS"),
        (("--store", store, "--cert", "c.pem"), "its key"),
        (("--store", store, "--cert", "gone.pem", "--key", "gone.pem"), "gone.pem"),
        (("--store", store, "--cert", text, "--key", text, "--port", "0"), "PEM"),
        (("--store", "https://store.example.org"), "served already"),
        (("--store", "nonsense:"), "no store speaks"),
        (("--store", _used(tmp_path, "moved.db", "was moved to sqlite:///new.db")), "///new.db"),
        # Where nobody looks for the members that it had, it is said before anything else is.
        (
            ("--store", _used(tmp_path, "used.db"), "--port", str(served.port)),
            "nobody who was enrolled",
        ),
        (("--store", store, "--port", str(served.port)), "in use"),
    ):
        done = cx("serve", *arguments, cwd=tmp_path, timeout=20)
        assert done.code != 0
        assert said in done.err, done.err
        assert "To do:" in done.err or "gone.pem" in done.err
        assert not list(tmp_path.glob("x.db*")), "a start that fails begins no store"


def test_codes_that_are_wrong(at: Any, served: ProcessServer) -> None:
    done = at("laptop", "store", "join", served.url, "--code", "AAAA-BBBB")
    assert done.code == 4
    assert "store invite" in done.err
    typed = at("laptop", "store", "join", served.url, input=_first_code(served) + "\n")
    assert typed.code == 0, typed.err


def test_a_store_without_members_says_so(cx: Any, tmp_path: Path) -> None:
    env = {"CXLOCAL_HOME": str(tmp_path / "home")}
    for arguments in (("invite", "x"), ("revoke", "x"), ("join", "sqlite:", "--code", "x")):
        done = cx("store", *arguments, env=env)
        assert done.code == 2
        assert "cxlocal serve" in done.err
    assert cx("store", "status", env=env).code == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_ends_with_a_signal(served: ProcessServer, number: int) -> None:
    process = served.process
    assert process is not None
    process.send_signal(number)
    assert process.wait(10) in (0, -number, 128 + number)
    assert "Traceback" not in served.said()


def test_no_argument_of_a_process_holds_a_token(
    served: ProcessServer, at: Any, tmp_path: Path
) -> None:
    at("laptop", "store", "join", served.url, "--code", _first_code(served))
    kept = (tmp_path / "laptop" / "credentials.json").read_text()
    token = re.search(r'"token": "(\w+)"', kept)
    assert token is not None
    assert at("laptop", "sync").code == 0
    assert at("laptop", "store", "status").code == 0
    holders = [path for path in tmp_path.rglob("*") if path.is_file() and token[1] in _text(path)]
    assert holders == [tmp_path / "laptop" / "credentials.json"]


def _text(path: Path) -> str:
    return path.read_bytes().decode("latin-1")


@pytest.mark.parametrize("arguments", [("--help",), ("sync",), ("status",), ("version", "list")])
def test_the_embedded_store_loads_none_of_it(arguments: tuple[str, ...], tmp_path: Path) -> None:
    code = (
        "import sys; sys.argv[0] = 'cxlocal'\n"
        "from cxlocal.commands.main import main\n"
        "main()\n"
        "print(*sys.modules, file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments], capture_output=True, text=True, cwd=tmp_path,
        env={**os.environ, "CXLOCAL_HOME": str(tmp_path / "home")}, check=False,
    )  # fmt: skip
    loaded = set(done.stderr.splitlines()[-1].split())
    assert "cxlocal.commands" in loaded
    wrong = ("cxlocal_sync.http", "httpx2", "starlette", "uvicorn")
    assert [name for name in loaded if name.startswith(wrong)] == []


def test_doctor_says_what_the_store_says(tmp_path: Path, cx: Any, served: ProcessServer) -> None:
    project = tmp_path / "work"
    project.mkdir()
    (project / "cx.toml").write_text(
        f'cx = 1\n[deliverable]\nname = "shop"\n[version]\nline = "1.0"\n'
        f'[store]\nurl = "{served.url}"\n[stages.build]\ncommand = "true"\n'
    )
    subprocess.run(["git", "init", "-q"], cwd=project, check=True)
    env = {"CXLOCAL_HOME": str(tmp_path / "home")}
    cx.ok("trust", "--store", served.url, env=env)
    rows = cx("doctor", "--json", cwd=project, env=env).json()
    (store,) = [row for row in rows if row["name"] == "store"]
    assert "not enrolled" in store["found"]
    assert "store join" in store["to_do"]
