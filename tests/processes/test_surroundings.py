"""What a stage is given: a small environment and its secrets; and telling processes apart."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

import pytest

from cxlocal import secrets
from cxlocal.errors import ConfigError, CxError, Trouble
from cxlocal.processes import identity
from cxlocal.processes.environment import stage_environment


def test_a_stage_sees_little() -> None:
    base = {
        "PATH": "/bin", "HOME": "/h", "LC_ALL": "C", "LC_TIME": "de", "HTTPS_PROXY": "p",
        "AWS_SECRET_ACCESS_KEY": "x", "GITHUB_TOKEN": "y", "PYTHONPATH": "/evil",
        "LD_PRELOAD": "z", "BUILD_ID": "7", "BUILD_URL": "u", "BUILDER": "b",
        "CXLOCAL_HOME": "h", "CXLOCAL_STORE_TOKEN": "t", "CXLOCAL_TRUST": "d",
    }  # fmt: skip
    assert stage_environment(base) == {
        "PATH": "/bin", "HOME": "/h", "LC_ALL": "C", "LC_TIME": "de", "HTTPS_PROXY": "p",
        "CXLOCAL_HOME": "h",
    }  # fmt: skip
    passed = stage_environment(base, pass_env=["GITHUB_TOKEN", "BUILD_*"], extra={"PATH": "/x"})
    assert passed.keys() - stage_environment(base).keys() == {
        "GITHUB_TOKEN", "BUILD_ID", "BUILD_URL"
    }  # fmt: skip
    assert passed["PATH"] == "/x"
    assert "/bin" in stage_environment({})["PATH"]


class Source(NamedTuple):
    """As in the configuration."""

    env: str | None = None
    cmd: list[str] | None = None
    file: str | None = None
    keyring: str | None = None


@pytest.fixture
def keyring(tmp_path: Path) -> dict[str, str]:
    """A keyring program on PATH that knows one entry."""
    program = tmp_path / "bin" / ("security" if sys.platform == "darwin" else "secret-tool")
    program.parent.mkdir()
    program.write_text(
        '#!/bin/sh\ncase "$*" in *shop*deploy*) echo from-keyring;; *) exit 1;; esac\n'
    )
    program.chmod(0o755)
    return {"PATH": f"{program.parent}:{os.environ['PATH']}"}


def test_every_source(tmp_path: Path, keyring: dict[str, str]) -> None:
    (tmp_path / "token").write_text("from-file\r\n")
    (tmp_path / "key").write_text("-----BEGIN\nabc\n-----END\n")
    sources = {
        "A": Source(env="TOKEN"),
        "B": Source(cmd=["sh", "-c", "echo from-command"]),
        "C": Source(file="token"),
        "D": Source(file=str(tmp_path / "key")),
        "E": Source(keyring="shop/deploy"),
        "UNUSED": Source(cmd=["sh", "-c", "touch touched"]),
    }
    environ = {**keyring, "TOKEN": "from-variable"}
    values = secrets.resolve(sources, "ABCDE", environ=environ, folder=tmp_path)
    assert values == {
        "A": "from-variable",
        "B": "from-command",
        "C": "from-file",
        "D": "-----BEGIN\nabc\n-----END\n",
        "E": "from-keyring",
    }
    assert not (tmp_path / "touched").exists()


SCRIPT = "#!/bin/sh\ntouch %s; echo v4lue-of-a-script\n"


@pytest.mark.parametrize(
    ("words", "ok"),
    [
        (["./get.sh"], True),
        (["sh", "get.sh"], True),
        (["sh", "-e", "tools/get.sh"], True),
        (["sh", "{tree}/get.sh"], True),
        (["python3", "get.py"], True),
        (["make", "-s", "-f", "Makefile", "token"], True),
        (["sh", "-c", "echo v4lue-of-a-command"], True),
        # What they reach is named by no word.
        (["sh", "-c", ". ./get.sh"], False),
        (["sh", "tools/calls.sh"], False),
        (["sh", "-c", '. "$OLDPWD/get.sh"'], False),
        (["sh", "-c", '. "$PWD/get.sh"'], False),
        (["python3", "-m", "get"], False),
        (["python3", "-c", "import get"], False),
        (["make", "-s", "token"], False),
        (["env", "-C", "tools", "sh", "get.sh"], False),
        (["sh", "../tree/get.sh"], False),
        (["find", ".", "-name", "*.sh", "-exec", "sh", "{{}}", ";"], False),
    ],
)  # fmt: skip
def test_a_command_outside_of_a_run_finds_what_its_words_name_and_nothing_else(
    words: list[str], ok: bool, tmp_path: Path
) -> None:
    tree, ran = tmp_path / "tree", tmp_path / "ran"
    (tree / "tools").mkdir(parents=True)
    for name in ("get.sh", "tools/get.sh"):
        (tree / name).write_text(SCRIPT % ran)
        (tree / name).chmod(0o755)
    (tree / "tools" / "calls.sh").write_text(". ./get.sh\n")
    (tree / "get.py").write_text(f"open({str(ran)!r}, 'w'); print('v4lue-of-python')\n")
    (tree / "Makefile").write_text(f"token:\n\t@touch {ran}; echo v4lue-of-make\n")
    argv = [word.format(tree=tree) for word in words]
    environ = {**os.environ, "PWD": str(tree), "OLDPWD": str(tree)}
    sources = {"S": Source(cmd=argv)}
    (found,) = secrets.probe(sources, environ=environ, folder=tree)
    assert found.ok == ok, found
    assert ran.exists() == (ok and "v4lue" not in argv[-1])


WRONG = [
    (Source(env="NOT_SET"), "variable NOT_SET", "it is not set"),
    (Source(env="EMPTY"), "variable EMPTY", "it is empty"),
    (Source(cmd=["sh", "-c", "echo v4lue; exit 3", "v4lue"]), "command sh", "ended with 3"),
    (Source(cmd=["sh", "-c", "echo v4lue >&2"]), "command sh", "it is empty"),
    (Source(cmd=["sh", "-c", "printf 'v4lue\\000x'"]), "command sh", "zero byte"),
    (Source(cmd=["sh", "-c", "yes v4lue"]), "command sh", ""),
    (Source(cmd=["no-such-tool-anywhere", "v4lue"]), "command no-such-tool", "on PATH"),
    (Source(file="nowhere"), "file nowhere", "No such file"),
    (Source(file="."), "file .", "Is a directory"),
    (Source(keyring="shop/other"), "keyring shop/other", "ended with 1"),
]


@pytest.mark.parametrize(("source", "where", "why"), WRONG)
def test_what_cannot_be_had_is_said_without_telling(
    tmp_path: Path,
    keyring: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
    source: Source,
    where: str,
    why: str,
) -> None:
    monkeypatch.setattr(secrets, "ANSWER_SECONDS", 2.0)
    environ = {**keyring, "EMPTY": "\n"}
    with pytest.raises(Trouble) as caught:
        secrets.resolve({"S": source}, ["S"], environ=environ, folder=tmp_path)
    error = caught.value
    assert error.name == "no-secret" and where in error.what and why in error.why
    assert "secret S" in error.what and error.hint
    assert "v4lue" not in str(error.as_json())
    (probe,) = secrets.probe({"S": source}, environ=environ, folder=tmp_path)
    assert not probe.ok and probe.problem and "v4lue" not in str(probe)


def test_names_that_mean_nothing(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        secrets.resolve({"A": Source(env="A")}, ["B"], environ={}, folder=tmp_path)
    assert "the known ones are: A" in caught.value.why
    with pytest.raises(CxError, match="does not name an entry"):
        secrets.resolve({"A": Source(keyring="x")}, ["A"], environ={}, folder=tmp_path)


def test_probing_tells_no_value(tmp_path: Path) -> None:
    (tmp_path / "open").write_text("v4lue-v4lue")
    (tmp_path / "open").chmod(0o644)
    sources = {"OK": Source(env="T"), "SHORT": Source(env="U"), "OPEN": Source(file="open")}
    environ = {"T": "v4lue-v4lue", "U": "abc"}
    probes = secrets.probe(sources, environ=environ, folder=tmp_path)
    assert [(one.name, one.ok) for one in probes] == [("OK", True), ("SHORT", True), ("OPEN", True)]
    assert probes[0].problem == "" and "cannot be masked" in probes[1].problem
    assert "mode 0644" in probes[2].problem
    assert "v4lue" not in str(probes) and "abc" not in str(probes)


def test_the_keyring_commands_of_both_systems() -> None:
    assert secrets.keyring_command("shop", "me", "darwin")[0] == "security"
    assert secrets.keyring_command("shop", "me", "linux")[0] == "secret-tool"


def test_a_process_and_its_successor_are_told_apart() -> None:
    own = identity.own_identity()
    assert own.pid == os.getpid() and identity.alive(*own)
    assert not identity.alive(own.pid, own.start + "0")
    assert identity.boot() == identity.boot() != ""
    assert identity.identity(2**22 + 1) is None


def test_a_zombie_is_dead() -> None:
    child = subprocess.Popen(["sleep", "60"], start_new_session=True)
    found = identity.identity(child.pid)
    assert found is not None and identity.alive(*found)
    child.kill()
    until = time.monotonic() + 5
    while identity.alive(*found) and time.monotonic() < until:
        time.sleep(0.01)
    assert not identity.alive(*found)  # nobody has waited for it: it is a zombie now
    os.kill(child.pid, 0)
    assert child.wait() == -signal.SIGKILL


def test_names_that_look_like_the_end_of_a_field(tmp_path: Path) -> None:
    program = tmp_path / "a) R 1 (b"
    program.symlink_to("/bin/sleep")
    child = subprocess.Popen([str(program), "60"])
    try:
        time.sleep(0.05)
        found = identity.identity(child.pid)
        assert found is not None and found.start.isdigit() == (sys.platform == "linux")
    finally:
        child.kill()
        child.wait()


def test_what_ps_says_is_read_the_same_way() -> None:
    """The form for macOS, with the ps of this machine."""
    child = subprocess.Popen(["sleep", "60"])
    assert identity._ps_start(child.pid) == identity._ps_start(child.pid) != ""
    child.kill()
    time.sleep(0.1)
    assert identity._ps_start(child.pid) == ""  # a zombie
    child.wait()
    assert identity._ps_start(child.pid) == ""
