"""``cxlocal browse``: the address, one page, faults, and the way out."""

from __future__ import annotations

import http.client
import os
import re
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cxlocal.commands.browse import has_display, metadata_file


@pytest.fixture
def browsing(cx: Any, full_copy: Path) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A running ``browse`` and its address."""
    process = subprocess.Popen(
        [cx.program, "browse", "--no-open", "--open-to-all"],
        env={**os.environ, "CXLOCAL_HOME": str(full_copy.parent)},
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdout is not None and process.stderr is not None
    address = process.stdout.readline().strip()
    yield process, address
    if process.poll() is None:
        process.kill()
    process.wait()
    process.stdout.close()
    process.stderr.close()


def fetch(address: str) -> str:
    with urllib.request.urlopen(address, timeout=20) as answer:
        assert answer.status == 200
        return str(answer.read().decode())


def test_serves_until_interrupted(browsing: tuple[subprocess.Popen[str], str]) -> None:
    process, address = browsing
    assert re.fullmatch(r"http://127\.0\.0\.1:\d+/", address)
    assert "<title>Release board" in fetch(address)
    assert "What is live where" in fetch(f"{address}journal")
    assert "1.0.101" in fetch(address + "journal/live-now")
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=15) == 0
    assert process.stderr is not None
    said = process.stderr.read()
    assert "Ended." in said and "Traceback" not in said


def test_only_names_of_this_machine_are_answered(
    browsing: tuple[subprocess.Popen[str], str],
) -> None:
    """DNS rebinding: a page elsewhere must not read the journal under a name of its own."""
    _, address = browsing
    port = address.rsplit(":", 1)[1].strip("/")
    for host, status in (
        (f"localhost:{port}", 200), ("127.0.0.1", 200), (f"[::1]:{port}", 200),
        ("evil.example", 421), (f"evil.example:{port}", 421), ("localhost.evil.example", 421),
        ("127.0.0.1.evil.example", 421), ("", 421),
    ):  # fmt: skip
        connection = http.client.HTTPConnection("127.0.0.1", int(port), timeout=20)
        connection.putrequest("GET", "/journal/live-now.json", skip_host=True)
        connection.putheader("Host", host)
        connection.endheaders()
        answer = connection.getresponse()
        assert (answer.status, b"1.0.101" in answer.read()) == (status, status == 200), host
        connection.close()


def leave_hot(path: Path) -> None:
    """A process killed in the middle of a commit: half of it is in the file already."""
    code = """
import os, signal, sqlite3, sys
c = sqlite3.connect(sys.argv[1], isolation_level=None)
c.execute("PRAGMA journal_mode=TRUNCATE").fetchall()
c.execute("PRAGMA cache_size=2")
c.execute("BEGIN IMMEDIATE")
c.execute("UPDATE run SET reason = hex(zeroblob(20000))")
c.execute("UPDATE stage_run SET reason = hex(zeroblob(20000))")
os.kill(os.getpid(), signal.SIGKILL)
"""
    done = subprocess.run([sys.executable, "-c", code, str(path)], check=False)
    assert done.returncode == -signal.SIGKILL
    assert path.with_name("journal.db-journal").stat().st_size > 0
    reader = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
    with pytest.raises(sqlite3.Error):
        reader.execute("SELECT count(*) FROM run").fetchone()
    reader.close()


def test_repairs_what_a_killed_process_left(cx: Any, full_copy: Path) -> None:
    leave_hot(full_copy)
    env = {"CXLOCAL_HOME": str(full_copy.parent)}
    rows = cx.ok("browse", "--get", "/journal/run.json?_shape=array", env=env).json()
    assert {row["reason"] for row in rows if row["version"] == "1.0.2"} == {"a fix"}


def test_repairs_it_while_serving(
    browsing: tuple[subprocess.Popen[str], str], full_copy: Path
) -> None:
    _, address = browsing
    fetch(address)
    leave_hot(full_copy)
    assert "1.0.101" in fetch(address + "journal/live-now.json")


def test_brings_forward_what_was_not_projected(cx: Any, full_copy: Path) -> None:
    connection = sqlite3.connect(full_copy)
    connection.execute("DELETE FROM run")
    connection.execute("UPDATE projection_state SET behind_from = 1")
    connection.commit()
    connection.close()
    env = {"CXLOCAL_HOME": str(full_copy.parent)}
    assert cx.ok("browse", "--get", "/journal/run.json?_shape=array", env=env).json()


def test_get_says_by_its_code_whether_the_page_exists(cx: Any, full_copy: Path) -> None:
    env = {"CXLOCAL_HOME": str(full_copy.parent)}
    assert "What is live where" in cx.ok("browse", "--get", "journal", env=env).out
    assert cx("browse", "--get", "/journal/nothing", env=env).code == 1
    wrong = cx("browse", "--get", "/journal/live-at.csv?at=30.11.2026", env=env)
    assert wrong.code == 1 and "is no time, write 2026-11-23" in wrong.out
    assert "Traceback" not in wrong.err


def test_without_a_journal(cx: Any, tmp_path: Path) -> None:
    result = cx("browse", env={"CXLOCAL_HOME": str(tmp_path / "none")})
    assert result.code == 9
    assert "there is no journal yet" in result.err and "cxlocal run" in result.err


def test_a_port_in_use(cx: Any, full_copy: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        env = {"CXLOCAL_HOME": str(full_copy.parent)}
        result = cx("browse", "--no-open", "--port", str(port), env=env)
    assert result.code == 9
    assert f"Port {port} cannot be used" in result.err and "--port" in result.err


def test_a_damaged_journal(cx: Any, full_copy: Path) -> None:
    full_copy.write_bytes(b"not a database at all " * 100)
    result = cx("browse", "--no-open", env={"CXLOCAL_HOME": str(full_copy.parent)})
    assert result.code == 7


def test_a_journal_that_cannot_be_written_is_shown_all_the_same(cx: Any, full_copy: Path) -> None:
    full_copy.chmod(0o444)
    env = {"CXLOCAL_HOME": str(full_copy.parent)}
    assert "1.0.101" in cx.ok("browse", "--get", "/journal/live-now.json", env=env).out


@pytest.mark.parametrize(
    ("environ", "platform", "shown"),
    [
        ({}, "linux", False),
        ({"DISPLAY": ":0"}, "linux", True),
        ({"WAYLAND_DISPLAY": "wayland-0"}, "linux", True),
        ({"DISPLAY": ":0", "CI": "true"}, "linux", False),
        ({"DISPLAY": ":10", "SSH_CONNECTION": "x"}, "linux", False),
        ({}, "darwin", True),
    ],
)
def test_display(environ: dict[str, str], platform: str, shown: bool) -> None:
    assert has_display(environ, platform) is shown


def test_the_metadata_is_found_without_the_repository(tmp_path: Path, full_copy: Path) -> None:
    """As in an installed wheel: the file lies beside the package."""
    root = metadata_file().parent
    for package, source in (("cxlocal", root), ("datasette_cxlocal", root / "plugins")):
        shutil.copytree(source / package, tmp_path / package)
    shutil.copy(root / "datasette-metadata.yml", tmp_path / "datasette_cxlocal")
    code = "from cxlocal.commands.browse import metadata_file; print(metadata_file())"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
    )  # fmt: skip
    assert done.stdout.strip() == str(tmp_path / "datasette_cxlocal" / "datasette-metadata.yml")
