"""Services of several processes: nothing of an ended version goes on serving."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from cxlocal_plugins.local_service import process, web
from cxlocal_plugins.local_service import process as group
from cxlocal_plugins.local_service.launch import ENDED
from cxlocal_plugins.wheel_file import check_fits

from cxlocal.hooks.running import Identity, alive, boot, identity
from cxlocal.hooks.tool import ToolFailure

WORKER = """
import os, signal, sys, time
LAST = "import os, signal, time; signal.signal(15, signal.SIG_IGN); time.sleep(60)"
if os.fork() == 0:
    if sys.argv[1] == "deaf":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if sys.argv[1] == "draining":
        def drain(*_):
            time.sleep(0.5)
            open("drained", "w").close()
            os._exit(0)
        signal.signal(signal.SIGTERM, drain)
    if sys.argv[1] == "nameless":
        def forget(*_):
            os.execve(sys.executable, [sys.executable, "-c", LAST], {})
        signal.signal(signal.SIGTERM, forget)
    open("ready", "w").write(str(os.getpid()))
    time.sleep(60)
if sys.argv[1] in ("orphan", "nameless"):
    while not os.path.exists("ready"):
        time.sleep(0.01)
    os._exit(1)
time.sleep(60)
"""


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """A release's folder; what was started in it is ended."""
    yield tmp_path
    for name in ("first", "ready"):
        if (tmp_path / name).exists():
            subprocess.run(["kill", "-9", (tmp_path / name).read_text()], check=False,
                           stderr=subprocess.DEVNULL)  # fmt: skip


def until(condition: Callable[[], bool]) -> bool:
    end = time.monotonic() + 10
    while not condition() and time.monotonic() < end:
        time.sleep(0.02)
    return condition()


def begin(folder: Path, kind: str) -> Identity:
    """Start a service of two processes as the tool does; the second one."""
    launch = [sys.executable, str(Path(process.__file__).with_name("launch.py")), str(folder)]
    env = {**os.environ, "VIRTUAL_ENV": str(folder / "venv")}
    first = subprocess.Popen(
        [*launch, sys.executable, "-c", WORKER, kind], cwd=folder, env=env, start_new_session=True
    )
    (folder / "first").write_text(str(first.pid))
    assert until(lambda: bool((folder / "ready").exists() and (folder / "ready").read_text()))
    second = identity(int((folder / "ready").read_text()))
    if kind in ("orphan", "nameless"):
        first.wait()
    first.returncode = 0
    assert second is not None
    return second


@pytest.mark.parametrize("kind", ["plain", "deaf", "draining"])
def test_all_of_it_ends(folder: Path, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    monkeypatch.setattr(process, "END_SECONDS", 1.0)
    second = begin(folder, kind)
    assert process.end(folder) is True
    assert not alive(second.pid, second.start)
    assert (folder / "drained").exists() is (kind == "draining"), "it has its time to end well"
    assert (folder / ENDED).exists() and process.end(folder) is False


def test_what_a_dead_first_process_left_behind_ends(folder: Path) -> None:
    """Where the system tells whose it is, which only Linux does."""
    second = begin(folder, "orphan")
    assert not process.is_running(folder)
    assert process.end(folder) is group.LINUX
    assert alive(second.pid, second.start) is not group.LINUX


def test_one_that_was_seen_and_has_no_environment_any_more_is_waited_for(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every process that ends is like that for a moment; this one stays so."""
    monkeypatch.setattr(process, "END_SECONDS", 1.0)
    second = begin(folder, "nameless")
    assert process.end(folder) is group.LINUX
    assert alive(second.pid, second.start) is not group.LINUX


def test_a_group_of_somebody_else_is_left_alone(tmp_path: Path) -> None:
    """The number of the first process went to another one that leads a group of its own."""
    other = subprocess.Popen(["sleep", "60"], start_new_session=True)
    try:
        said = f'{{"pid": {other.pid}, "start": "1", "boot": "{boot()}"}}'
        (tmp_path / "process.json").write_text(said)
        assert process.end(tmp_path) is False
        assert other.poll() is None
    finally:
        other.kill()
        other.wait()


@pytest.mark.parametrize(
    ("body", "version", "said"),
    [('"1.0.1"', "1.0.1", True), ("webshop-1.0.1.", "1.0.1", True), ("v1.0.1\n", "1.0.1", True),
     ("shop/1.0.1 (x)", "1.0.1", True), ("7", "7", True), ("1.0.0rc1", "1.0.0-rc.1", True),
     ("0.0.0-rehearsal.ab", "0.0.0-rehearsal.ab", True), ("\xff", "1.0.1", False),
     ("1.0.10", "1.0.1", False), ("21.0.1", "1.0.1", False), ("1.0.1.1", "1.0.1", False),
     ("1.0.1-rc.1", "1.0.1", False), ("1.0.1+fix", "1.0.1", False), ("", "1.0.1", False),
     ("9" * 60_000, "1.0.1", False), ("1" + "." * 60_000, "1.0.1", False)],
)  # fmt: skip
def test_a_version_is_said_as_a_whole_word(body: str, version: str, said: bool) -> None:
    assert web.says(body.encode("latin-1"), version) is said


@pytest.mark.parametrize(
    ("tags", "python", "words"),
    [("py3-none-any", ">=3.11", ""), ("py3-none-any", "", ""), ("py2-none-any", "", "for another"),
     ("cp311-cp311-os_9", "", "for another Python or platform"), ("py3-none-any", ">=4", ">=4"),
     ("py3-none-any", "new", "does not say what it is for")],
)  # fmt: skip
def test_a_wheel_for_another_machine_is_named(
    tmp_path: Path, tags: str, python: str, words: str
) -> None:
    import zipfile

    path = tmp_path / f"shop-1-{tags}.whl"
    line = f"Requires-Python: {python}\n" if python else ""
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("shop-1.dist-info/METADATA", f"Name: shop\nVersion: 1\n{line}")
    if not words:
        return check_fits(path)
    with pytest.raises(ToolFailure, match=words):
        check_fits(path)
