"""Errors become words and exit codes in one place, and nothing else reaches the person."""

from __future__ import annotations

import errno
import json
import os
import pickle
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from cxlocal import errors
from cxlocal.commands.main import Bug, as_known, refuse_windows
from cxlocal.errors import CxError, ExitCode

# Runs main() with one extra command that ends as the test says.
ENDING = """
import os, sys
sys.argv = ["cxlocal", *sys.argv[2:]]
import click
from cxlocal import errors
from cxlocal.commands.frame import command, group
from cxlocal.commands.root import cli
code = os.environ["ENDING"]

@command("end", examples=[("cxlocal end", "it")])
@click.option("--json", is_flag=True, help="As JSON.")
@click.argument("rest", nargs=-1)
def end(json, rest):
    "End."
    exec(code)
    return 0

@command("give", examples=[("cxlocal give", "it")])
def give():
    "Give a code."
    return 7

@command("leave", examples=[("cxlocal leave", "it")])
def leave():
    "Leave something behind."
    exec(code)
    return 7

@group("many", examples=[("cxlocal many one", "it")])
def many():
    "Many things."

@many.command(examples=[("cxlocal many one", "it")])
def one():
    "One thing."

cli.add_command(many)
cli.add_command(end)
cli.add_command(give)
cli.add_command(leave)
from cxlocal.commands.main import main
sys.exit(main())
"""


def _end(code: str, *arguments: str, **rest: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", ENDING, "-", *arguments],
        env={**os.environ, "ENDING": code},
        capture_output=True,
        text=True,
        check=False,
        **rest,
    )


def test_error_in_three_parts() -> None:
    done = _end(
        "raise errors.Refused('It is not pushed', why='no remote holds it', hint='git push')", "end"
    )
    assert done.returncode == 3
    assert done.stdout == ""
    assert done.stderr == "Error: It is not pushed\nno remote holds it\nTo do: git push\n"


def test_error_as_json() -> None:
    done = _end(
        "raise errors.Conflict('Two hold it', hint='name one', name='held', number=7)",
        "end",
        "--json",
    )
    assert done.returncode == 10
    assert done.stdout == ""
    assert json.loads(done.stderr) == {
        "error": "held",
        "what": "Two hold it",
        "why": "",
        "hint": "name one",
        "exit_code": 10,
        "data": {"number": 7},
    }


def test_json_after_two_dashes_belongs_to_the_called_program() -> None:
    done = _end("raise errors.Trouble('no')", "end", "--", "--json", "--debug")
    assert done.stderr == "Error: no\n"


@pytest.mark.parametrize(
    ("kind", "code"),
    [
        ("OutcomeFailure", 1),
        ("UsageError", 2),
        ("ConfigError", 2),
        ("Refused", 3),
        ("NotSignedIn", 4),
        ("StoreNeeded", 5),
        ("NotSynced", 6),
        ("JournalDamaged", 7),
        ("Undecided", 8),
        ("Trouble", 9),
        ("Conflict", 10),
    ],
)
def test_exit_codes_are_fixed(kind: str, code: int) -> None:
    error = getattr(errors, kind)("it")
    assert int(error.exit_code) == code
    assert as_known(error) is error
    assert code in list(ExitCode)


def test_interrupted_by_the_keyboard() -> None:
    done = _end("raise KeyboardInterrupt", "end")
    assert (done.returncode, done.stderr) == (130, "Error: Interrupted\n")


def test_interrupted_by_a_signal() -> None:
    known = as_known(errors.Interrupted("stopped", signal_number=signal.SIGTERM))
    assert known.exit_code == 143


def test_a_question_nobody_answers() -> None:
    done = _end("click.confirm('Go on?', abort=True)", "end", stdin=subprocess.DEVNULL)
    assert done.returncode == 130
    assert "nothing was done" in done.stderr


def test_unforeseen_exceptions_are_our_fault() -> None:
    done = _end("{}['x']", "end")
    assert done.returncode == 9
    first, _, last = done.stderr.splitlines()
    assert first == "Error: This is a bug in cxlocal: KeyError: 'x'"
    assert "--debug" in last
    assert "Traceback" not in done.stderr


def test_debug_shows_the_trace() -> None:
    done = _end("{}['x']", "--debug", "end")
    assert done.returncode == 9
    assert done.stderr.startswith("Traceback")
    assert "bug in cxlocal" in done.stderr.splitlines()[-3]


def test_the_system_says_no() -> None:
    done = _end("open('/nope/there')", "end")
    assert done.returncode == 9
    assert done.stderr.startswith("Error: No such file or directory: /nope/there\n")
    assert "bug in" not in done.stderr


def test_a_command_may_return_its_exit_code() -> None:
    assert _end("", "give").returncode == 7
    assert _end("", "end").returncode == 0


def test_leaving_loses_no_word_and_forgets_no_plugin() -> None:
    code = "import atexit; atexit.register(print, 'the last word', flush=True); print('first')"
    done = _end(code, "leave")
    assert (done.returncode, done.stdout, done.stderr) == (7, "first\nthe last word\n", "")


def test_leaving_waits_for_threads_that_are_about_to_end() -> None:
    code = "import threading; threading.Timer(0.2, print, ['late']).start(); print('first')"
    done = _end(code, "leave")
    assert (done.returncode, done.stdout, done.stderr) == (7, "first\nlate\n", "")


@pytest.mark.parametrize(
    ("after", "ending"),
    [("", 7), ("raise errors.Refused('no')", 3), ("raise KeyboardInterrupt", 130)],
)
def test_a_thread_that_goes_on_does_not_keep_a_command_from_ending(after: str, ending: int) -> None:
    code = f"import threading; threading.Thread(target=threading.Event().wait).start(); {after}"
    done = _end(code, "leave", timeout=20)
    assert (done.returncode, done.stdout) == (ending, "")
    pool = "from concurrent.futures import ThreadPoolExecutor as P; P(2).submit(print, 'done')"
    assert _end(f"{pool}; {after}", "leave", timeout=20).returncode == ending


@pytest.mark.parametrize("closed", [">&-", "2>&-", "<&-", ">&- 2>&-", ">&- 2>&- <&-"])
def test_started_without_standard_streams(tmp_path: Path, closed: str) -> None:
    """The first file that is opened must not become standard output or error."""
    file = tmp_path / "file"
    code = f"f = open({str(file)!r}, 'w'); print('data'); click.echo('words', err=True); f.close()"
    done = subprocess.run(
        ["sh", "-c", f'exec "$0" -c "$CODE" - leave {closed}', sys.executable],
        env={**os.environ, "CODE": ENDING, "ENDING": code}, capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    assert done.returncode == 7
    assert file.read_text() == ""
    assert done.stdout == ("" if " >&-" in f" {closed}" else "data\n")
    assert done.stderr == ("" if "2>&-" in closed else "words\n")


def test_a_group_without_a_command_shows_its_help_as_words() -> None:
    done = _end("", "many")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("Usage: cxlocal many")


def test_foreign_bytes_in_errors_are_written_out() -> None:
    done = _end(r"raise errors.Trouble('a\x1b[31mred\udcff', why='b\u202ec')", "end")
    assert done.stderr == "Error: a\\x1b[31mred\\xff\nb\\u202ec\n"


def test_a_reader_that_leaves_early_is_no_error() -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", ENDING, "-", "end"],
        env={**os.environ, "ENDING": "for _ in range(100000): print('a line of some length')"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.readline()
    process.stdout.close()
    with process.stderr:
        said = process.stderr.read()
    assert process.wait() == 141
    assert said == b""


def test_output_that_cannot_be_written_is_trouble() -> None:
    # A descriptor that cannot be written, on every system: one opened for reading.
    with open(os.devnull) as full:
        done = subprocess.run(
            [sys.executable, "-c", ENDING, "-", "end"],
            env={**os.environ, "ENDING": "print('number 7')"},
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert done.returncode == 9
    assert done.stderr.startswith("Error: Bad file descriptor")


def test_words_survive_a_terminal_that_is_not_utf8() -> None:
    done = subprocess.run(
        [sys.executable, "-c", ENDING, "-", "end"],
        env={
            **os.environ,
            "ENDING": "print('a…'); raise errors.Trouble('b…')",
            "PYTHONIOENCODING": "ascii",
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (9, "a\\u2026\n")
    assert done.stderr == "Error: b\\u2026\n"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("completoin",), "Did you mean 'completion'?"),
        (("--debgu",), "Did you mean '--debug'?"),
        (("completion",), "Missing argument"),
        (("-p", "hello"), "-p no:NAME"),
        (("-C", "/nope"), "-C /nope"),
    ],
)
def test_usage_errors_say_what_to_do(cx: Any, arguments: tuple[str, ...], said: str) -> None:
    result = cx(*arguments)
    assert result.code == 2
    assert result.out == ""
    assert said in result.err
    assert result.err.startswith("Error: ")
    assert "Traceback" not in result.err


@pytest.mark.parametrize(
    ("arguments", "command"),
    [
        (("completion", "cmd.exe"), "completion"),
        (("run", "--revision"), "run"),
        (("run", "start", "--reason"), "run start"),
        (("status", "--json=yes"), "status"),
        (("store", "create", "--nope"), "store create"),
    ],
)
def test_usage_errors_name_the_help_of_the_command(
    cx: Any, arguments: tuple[str, ...], command: str
) -> None:
    assert f"To do: cxlocal {command} --help\n" in cx(*arguments).err


@pytest.mark.parametrize("platform", ["win32", "cygwin"])
def test_windows_is_refused(platform: str) -> None:
    with pytest.raises(errors.UsageError, match="Windows") as caught:
        refuse_windows(platform)
    assert "WSL" in caught.value.hint


@pytest.mark.parametrize("platform", ["linux", "darwin"])
def test_linux_and_macos_are_not(platform: str) -> None:
    refuse_windows(platform)


def test_without_a_project_bare_cxlocal_shows_the_help(cx: Any, tmp_path: Path) -> None:
    result = cx.ok(cwd=tmp_path)
    assert result.out.startswith("Usage: cxlocal ")
    assert result.err == ""


def test_in_a_project_bare_cxlocal_shows_the_status(cx: Any, tmp_path: Path) -> None:
    (tmp_path / "cx.toml").write_text('[deliverable]\nname = "webshop"\n')
    (tmp_path / "below").mkdir()
    bare = cx(cwd=tmp_path / "below")
    assert not bare.out.startswith("Usage:")
    assert bare == cx("status", cwd=tmp_path / "below")
    assert bare == cx("-C", tmp_path)


def test_version_with_other_options(cx: Any) -> None:
    assert cx.ok("-v", "--version").out == cx.ok("--version").out


def test_directory_option_goes_there(cx: Any, tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    assert cx("-C", tmp_path / "deep", "completion", "fish").code == 0


def test_errors_survive_a_process_boundary() -> None:
    error = errors.Refused("w", why="y", hint="h", name="n", number=1)
    copy = pickle.loads(pickle.dumps(error))
    assert copy.as_json() == error.as_json()
    assert type(copy) is errors.Refused


def test_system_errors_without_a_number_are_bugs() -> None:
    assert isinstance(as_known(OSError("odd")), Bug)
    known = as_known(OSError(errno.ENOSPC, "No space left on device"))
    assert isinstance(known, CxError)
    assert known.data == {"errno": errno.ENOSPC}
