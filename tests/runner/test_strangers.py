"""A checkout is a stranger: what it says about stores, tokens, secrets and this machine is acted
upon only after a person has agreed."""

from __future__ import annotations

import json
import os
import shlex
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

ONE = '[version]\nline = "1.0"\n[stages]\nbuild = { command = "true" }\n'


class Recorder(HTTPServer):
    """A server that refuses everybody and keeps what it was told."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Refusing)
        self.heard: list[tuple[str, str]] = []
        self.says: dict[str, str] | None = None
        """What it answers instead of refusing."""
        self.url = f"http://127.0.0.1:{self.server_port}"


class Refusing(BaseHTTPRequestHandler):
    """Keeps what a request says of who asks, and what its body holds."""

    def do_POST(self) -> None:
        assert isinstance(self.server, Recorder)
        body = self.rfile.read(int(self.headers.get("content-length", 0)))
        told = body.decode("latin-1")
        self.server.heard.append((self.headers.get("authorization", ""), told))
        answer = b"" if self.server.says is None else json.dumps(self.server.says).encode()
        self.send_response(200 if answer else 503)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    do_GET = do_PUT = do_POST

    def log_message(self, *words: object) -> None:
        """Say nothing."""


@pytest.fixture
def server() -> Iterator[Recorder]:
    made = Recorder()
    thread = threading.Thread(target=made.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    yield made
    made.shutdown()
    thread.join()
    made.server_close()


def test_the_store_of_a_strangers_checkout(shop: Any, server: Recorder) -> None:
    """Nothing is sent there, nothing is taken from elsewhere instead, and one's own work goes on."""
    env = {"STORE_TOKEN": "person-secret"}
    shop.write(ONE)
    assert shop.run().code == 0
    named = f'[store]\nurl = "{server.url}"\ntoken = {{ env = "STORE_TOKEN" }}\n'
    shop.write(ONE + named)
    before = (shop.home / "store.db").read_bytes()
    for words in (("sync",), ("run",), ("run", "--offline"), ("run", "start"), ("store", "status")):
        done = shop.command(*words, env=env)
        assert done.code == 3 and "cxlocal trust" in done.err, (words, done.err)
        assert server.url in done.err
    for words, code in ((("status",), 0), (("log",), 0), (("doctor",), 1)):
        done = shop.command(*words, env=env)
        assert done.code == code, (words, done.err)
        assert (server.url in done.out + done.err) is (words != ("log",)), words
    assert server.heard == [] and (shop.home / "store.db").read_bytes() == before

    # Agreed, the address belongs to another store than this journal: still nothing of it is shown.
    assert shop.command("trust", "--yes", env=env).code == 0
    assert "here already" in shop.command("trust", env=env).err
    for words in (("sync",), ("run",), ("run", "--offline")):
        done = shop.command(*words, env=env)
        assert done.code == 3 and "belongs to the store at sqlite:" in done.err, (words, done.err)
        assert "cxlocal store moved" in done.err and "cxlocal store adopt" in done.err
    assert server.heard == []
    # A machine that has no history of another store speaks to it, with the token it was shown.
    fresh = {**env, "CXLOCAL_HOME": str(shop.root / "fresh")}
    assert shop.command("sync", env=fresh).code == 3
    assert shop.command("trust", "--yes", env=fresh).code == 0
    assert shop.command("sync", env=fresh).code == 5
    assert {who for who, _ in server.heard} == {"Bearer person-secret"}
    assert not [told for _, told in server.heard if "a change" in told]


def test_the_secrets_of_a_strangers_checkout(shop: Any) -> None:
    ran, file = shop.root / "ran", shop.root / "precious"
    file.write_text("value-of-a-file")
    shop.write(
        '[version]\nline = "1.0"\n[stages]\nbuild = { command = "true", secrets = ["A"] }\n[secrets]\n'
        f'A = {{ cmd = ["sh", "-c", "touch {ran}; echo value-of-a-command"] }}\n'
        f'B = {{ file = "{file}" }}\nC = {{ env = "HOME" }}\nD = {{ keyring = "shop/d" }}\n'
    )
    for words in (("doctor", "--json"), ("status",), ("sync",), ("run", "--dry-run")):
        shop.command(*words)
        assert not ran.exists(), words

    def secrets() -> dict[str, str]:
        rows = shop.command("doctor", "--json").json()
        return {row["name"]: row["state"] for row in rows if row["name"].startswith("secret ")}

    assert secrets() == dict.fromkeys(("secret A", "secret B", "secret C", "secret D"), "note")
    told = shop.command("trust")
    # All of what is agreed to is shown: what a command does, its arguments say.
    assert told.code == 2 and f"command sh -c 'touch {ran}; echo" in told.err
    assert "value-of-a-file" not in told.err
    assert shop.command("trust", "--yes").code == 0
    found = secrets()
    assert ran.exists() and found["secret A"] == found["secret C"] == "ok"
    # Another command is another question.
    ran.unlink()
    text = (shop.tree / "cx.toml").read_text()
    (shop.tree / "cx.toml").write_text(text.replace("echo value", "echo other-value"))
    assert secrets()["secret A"] == "note" and not ran.exists()


@pytest.mark.parametrize("words", [["./get.sh"], ["sh", "get.sh"], ["sh", "-e", "tools/get.sh"]])
def test_what_a_secret_command_runs_is_agreed_to_as_well(words: list[str], shop: Any) -> None:
    script = shop.tree / words[-1]
    script.parent.mkdir(exist_ok=True)
    script.write_text("#!/bin/sh\necho value-of-a-command\n")
    script.chmod(0o755)
    shop.write(
        '[version]\nline = "1.0"\n[stages]\nbuild = { command = "true" }\n'
        f"[secrets]\nA = {{ cmd = {json.dumps(words)} }}\n"
    )

    def state() -> str:
        rows = shop.command("doctor", "--json").json()
        return next(str(row["state"]) for row in rows if row["name"] == "secret A")

    asked = shop.command("trust", "--yes")
    assert asked.code == 0 and "      | echo value-of-a-command\n" in asked.err, asked.err
    assert state() == "ok"
    script.write_text(f"#!/bin/sh\ntouch {shop.root}/ran; echo value-of-a-command\n")
    assert state() == "note" and not (shop.root / "ran").exists()


def test_a_file_about_this_machine_that_came_with_the_checkout(shop: Any) -> None:
    shop.write(ONE)
    local = shop.tree / "cx.local.toml"
    text = 'home = "stolen"\n[store]\nurl = "http://127.0.0.1:9"\n[secrets]\nT = { cmd = ["x"] }\n'
    local.write_text(text)
    shop.git("add", "-f", "cx.local.toml")
    env = {"CXLOCAL_HOME": None, "HOME": str(shop.root)}
    done = shop.command("journal", "path", env=env)
    assert "stolen" not in done.out and "cx.local.toml is not used: git tracks it" in done.err
    assert shop.command("trust", "--yes", env=env).code == 2
    shop.git("rm", "-q", "--cached", "cx.local.toml")
    done = shop.command("journal", "path", env=env)
    assert "stolen" not in done.out and "cxlocal trust" in done.err
    asked = shop.command("trust", env=env)
    assert asked.code == 2 and 'home = "stolen"' in asked.err
    assert shop.command("trust", "--yes", env=env).code == 0
    done = shop.command("journal", "path", env=env)
    assert done.out.strip() == str(shop.tree / "stolen" / "journal.db")
    assert not (shop.tree / "stolen").exists()


def test_a_store_that_moved_is_bound_by_a_persons_word(shop: Any) -> None:
    old, new, other = (shop.root / name / "store.db" for name in ("old", "new", "other"))
    at = {path: {"CXLOCAL_STORE": f"sqlite://{path}"} for path in (old, new, other)}
    shop.write(ONE)
    stranger = {**at[other], "CXLOCAL_HOME": str(shop.root / "second")}
    for env in (at[old], stranger):
        assert shop.command("store", "create", env=env).code == 0
        assert shop.command("sync", env=env).code == 0
    assert shop.run(env=at[old]).code == 0
    old.parent.rename(new.parent)
    for words in (("run",), ("run", "--offline"), ("sync",)):
        done = shop.command(*words, env=at[new])
        assert done.code == 3 and str(old) in done.err, (words, done.err)
    wrong = shop.command("store", "moved", f"sqlite://{other}", env=at[new])
    assert wrong.code == 3 and "another store" in wrong.err, wrong.err
    gone = shop.command("store", "moved", f"sqlite://{shop.root}/none/store.db", env=at[new])
    assert gone.code in (3, 5), gone.err
    assert str(old) in shop.command("sync", env=at[new]).err, "it stays bound to the one before"
    moved = shop.command("store", "moved", f"sqlite://{new}")
    assert moved.code == 0, moved.err
    assert shop.run(env=at[new]).code == 0
    assert len(shop.query("SELECT DISTINCT number FROM version")) == 2
    # The command was a person's word for the address, too.
    shop.write(f'{ONE}[store]\nurl = "sqlite://{new}"\n')
    assert shop.command("sync").code == 0
    assert [row["what"] for row in shop.command("trust", "--list", "--json").json()] == ["store"]
    assert shop.command("trust", "--remove", f"sqlite://{Path(new).resolve()}").code == 0
    assert shop.command("sync").code == 3


@pytest.mark.parametrize("name", ["cx.local.toml", ".cx/run", "cx.toml"])
def test_a_pipe_in_a_checkout_holds_up_nothing(name: str, shop: Any) -> None:
    """An archive may hold pipes, for which a reader waits for ever."""
    shop.write(ONE)
    (shop.tree / name).parent.mkdir(exist_ok=True)
    (shop.tree / name).unlink(missing_ok=True)
    os.mkfifo(shop.tree / name)
    for words in (("status",), ("trust",), ("run", "finish"), ("stage", "x", "--", "true")):
        done = shop.command(*words)
        assert "bug" not in done.err, done.err
    if name == "cx.local.toml":
        assert "it is not a plain file" in shop.command("status").err


def test_what_a_store_calls_a_code_acts_on_no_terminal_and_in_no_shell(
    shop: Any, server: Recorder
) -> None:
    evil = "A\x1b]0;x\x07\x9b31m\u202e\rB; $(touch /tmp/x)\nC"
    server.says = {"name": "bob", "code": evil, "url": evil}
    env = {"CXLOCAL_STORE": server.url, "CXLOCAL_STORE_TOKEN": "t" * 40}
    done = shop.command("store", "invite", "bob", env=env)
    assert done.code == 0, done.err
    assert not {"\x1b", "\x07", "\x9b", "\u202e", "\r"} & set(done.out + done.err)
    assert done.out.count("\n") == 1
    command = next(line for line in done.err.splitlines() if "store join" in line)
    words = shlex.split(command)
    assert (len(words), words[4]) == (6, "--code"), "one word each, whatever it holds"
