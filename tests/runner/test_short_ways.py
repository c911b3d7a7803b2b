"""What need not be typed: the newest run, the only environment, one's own product among others."""

from __future__ import annotations

import os
import pty
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from cxlocal.commands.deploy import one_environment
from cxlocal.errors import UsageError
from cxlocal.text import counted

LIVE = """
[stages]
build = {{ command = "echo $CXLOCAL_VERSION > out", produces = {{ out = "out" }} }}
unit = {{ kind = "test", command = "echo loud; test -e {flag}", needs = ["build"] }}
live = {{ kind = "deploy", command = "cp $CXLOCAL_ARTIFACT_OUT {place}", needs = ["unit"], environment = "production" }}
[environments.production]
"""


@pytest.mark.parametrize(
    ("count", "words", "said"),
    [
        (0, ("event",), "0 events"), (1, ("event",), "1 event"), (2, ("event",), "2 events"),
        (1, ("entry", "entries"), "1 entry"), (7, ("entry", "entries"), "7 entries"),
        (1, ("event waits", "events wait"), "1 event waits"),
    ],
)  # fmt: skip
def test_things_are_counted_as_people_do(count: int, words: tuple[str, ...], said: str) -> None:
    assert counted(count, *words) == said


@pytest.mark.parametrize(
    ("named", "known", "meant"),
    [
        (("production", ""), ("staging",), "production"),
        (("production", "production"), (), "production"),
        (("", ""), ("staging",), "staging"),
        (("", ""), ("production", "staging"), "name one: cx do --env production or cx do --env staging"),
        (("", ""), (), "name one: cx do --env NAME; 'cxlocal env list' shows them"),
        (("staging", "production"), ("production",), "name one: cx do --env production"),
    ],
)  # fmt: skip
def test_the_environment_that_is_meant(
    named: tuple[str, ...], known: tuple[str, ...], meant: str
) -> None:
    try:
        found = one_environment(*named, known=known, example="cx do")
    except UsageError as problem:
        found = f"name one: {problem.hint}"
    assert found == meant


def test_a_failed_run_goes_on_without_being_named(shop: Any, tmp_path: Path) -> None:
    flag, place = tmp_path / "flag", tmp_path / "live"
    shop.write(LIVE.format(flag=flag, place=place))
    failed = shop.run()
    short = shop.last()[:8]
    assert failed.code == 1
    assert f"\n    cxlocal run --resume {short}\n" in failed.err
    assert f"To do: cxlocal show {short} --log unit prints all that it said" in failed.err
    assert shop.command("show", short, "--log", "unit").out.splitlines()[0].endswith("loud")
    status = shop.command("status").out
    assert "Last release: 0.1.0 failed, " in status and f"cxlocal run --resume {short}" in status
    # Another product of this home has the same version; here it is this one's that is meant.
    flag.touch()
    (shop.tree / "cx.toml").write_text(
        (shop.tree / "cx.toml").read_text().replace('"shop"', '"other"')
    )
    shop.push("another product")
    assert shop.run("--to", "production").code == 0
    shop.git("reset", "-q", "--hard", "HEAD~1")
    assert shop.command("show", "0.1.0").out.startswith("shop 0.1.0: failure")
    done = shop.run("--resume", "--to", "production")
    assert done.code == 0 and "Going on with shop 0.1.0" in done.err, done.err
    # Where one environment lasts, neither deploying nor going back has to name it.
    assert shop.run("--to", "production").code == 0
    back = shop.command("rollback")
    assert (back.code, place.read_text()) == (0, "0.1.0\n"), back.err
    forth = shop.command("deploy", "0.1.1")
    assert (forth.code, place.read_text()) == (0, "0.1.1\n"), forth.err
    done = shop.command("rollback", "prodution")
    assert (done.code, "did you mean 'production'?" in done.err) == (2, True), done.err


def test_a_release_without_artifacts_says_why(shop: Any, tmp_path: Path) -> None:
    shop.write(f"""
[stages]
unit = {{ kind = "test", command = "test -e {tmp_path}/flag" }}
pack = {{ command = "echo > out", produces = {{ out = "out" }}, needs = ["unit"] }}
""")
    assert shop.run().code == 1
    done = shop.command("artifact", "get")
    assert (done.code, "0.1.0: unit failed" in done.err) == (2, True), done.err


def at_terminal(shop: Any, answer: str, *words: str) -> tuple[int, str]:
    """A command at a terminal where somebody answers its question: exit code, and what was shown."""
    pid, terminal = pty.fork()
    if not pid:
        os.chdir(shop.tree)
        os.execve(shop.cx.program, ["cxlocal", *words], {**os.environ, **shop.environ})
    shown = b""
    with suppress(OSError):  # Linux says so when the other side is closed.
        while part := os.read(terminal, 4096):
            shown += part
            if b"[y/N]" in part:
                os.write(terminal, f"{answer}\n".encode())
    _, status = os.waitpid(pid, 0)
    os.close(terminal)
    return os.waitstatus_to_exitcode(status), shown.decode(errors="replace")


def test_a_forgotten_push_is_made_up_for_at_a_terminal(shop: Any) -> None:
    shop.write('[stages]\nbuild = { command = "true" }\n')
    shop.git("commit", "-q", "--allow-empty", "-m", "more")
    branch = shop.git("branch", "--show-current")
    code, shown = at_terminal(shop, "n", "run")
    assert code == 3 and f"Push it now: git push origin {branch}? [y/N]" in shown, shown
    # Without a terminal nobody is asked.
    assert shop.run().err.count("has not been pushed") == 1
    code, shown = at_terminal(shop, "y", "run")
    assert code == 0 and "confirmed at origin" in shown, shown
    assert shop.query("SELECT version, outcome FROM run") == [("0.1.0", "success")]


@pytest.mark.parametrize("word", ["production", "HEAD", "1.0.0"])
def test_a_word_behind_run_is_told_what_it_may_be(cx: Any, word: str) -> None:
    done = cx("run", word)
    assert done.code == 2, done.err
    for way in ("--to", "--revision", "--resume"):
        assert f"{way} {word} for" in done.err
