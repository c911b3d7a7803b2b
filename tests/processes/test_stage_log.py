"""Logs: complete, digested, capped, masked; and what people see of them."""

from __future__ import annotations

import hashlib
import io
import os
import subprocess
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from cxlocal.errors import Trouble
from cxlocal.processes.echo import ECHO_BYTES, LINE_BYTES, Echo, plain
from cxlocal.processes.log import StageLog, tail
from cxlocal.processes.log_times import read_times, times_path
from cxlocal.processes.mask import Masker


def test_the_entry_describes_the_file(tmp_path: Path) -> None:
    log = StageLog.create(tmp_path / "logs" / "run", "unit/Tests")
    for chunk in (b"one\n", b"\xff\x00", b"", b"two"):
        log.write(chunk)
    log.note("time limit reached")
    entry = log.close()
    content = entry.path.read_bytes()
    assert content == b"one\n\xff\x00two\n[cxlocal] time limit reached\n"
    assert entry.sha256 == hashlib.sha256(content).hexdigest() and entry.size == len(content)
    assert not entry.capped and not entry.problem
    assert entry.path.parent == tmp_path / "logs" / "run" and "/" not in entry.path.name
    assert entry.path.stat().st_mode & 0o077 == 0


def test_a_retry_never_touches_the_first_log(tmp_path: Path) -> None:
    names = []
    for number in range(3):
        log = StageLog.create(tmp_path, "unit")
        log.write(b"%d" % number)
        names.append(log.close().path)
    assert [path.name for path in names] == ["unit.log", "unit.2.log", "unit.3.log"]
    assert [path.read_bytes() for path in names] == [b"0", b"1", b"2"]


def test_the_cap(tmp_path: Path) -> None:
    shown = io.BytesIO()
    log = StageLog.create(tmp_path, "loud", cap_bytes=10, echo=Echo(shown))
    for _ in range(5):
        log.write(b"1234567\n")
    entry = log.close()
    content = entry.path.read_bytes()
    assert content.startswith(b"1234567\n12\n[cxlocal] the log ends here")
    assert content.count(b"ends here") == 1
    assert entry.capped and entry.sha256 == hashlib.sha256(content).hexdigest()
    assert shown.getvalue().count(b"1234567\n") == 5  # the terminal has its own limit


def test_masking_across_chunks_notes_and_the_cap(tmp_path: Path) -> None:
    for cap in (5, 12, 500):
        shown = io.BytesIO()
        log = StageLog.create(
            tmp_path, "masked", masker=Masker(["s3cret-value"]), echo=Echo(shown), cap_bytes=cap
        )
        log.write(b"token s3cr")
        log.note_amid("a note with s3cret-value")
        log.write(b"et-value and s3cret-")
        entry = log.close()
        for seen in (entry.path.read_bytes(), shown.getvalue()):
            assert b"s3cret-value" not in seen.replace(b"\n", b"")
            assert b"s3cret-value" not in seen and b"a note with ***" in seen
        if cap == 500:
            assert b"*** and s3cret-" in entry.path.read_bytes()


LAST_LINES = (b"Unavailable", b"valid", b"0xdead", b"a9f3", b"token s3c", b"half\\", b"%6", b"YWJj")
SECRETS = ("s3cret-value", "deadbeef-4711", "e1d2c3b4a5", "valid-but\nfor-its-end")


@pytest.mark.parametrize("secret", SECRETS)
@pytest.mark.parametrize("end", [b"", b"\n"], ids=["open", "ended"])
def test_the_last_line_comes_out_whole_before_what_is_noted(
    tmp_path: Path, secret: str, end: bytes
) -> None:
    for line in LAST_LINES:
        shown = io.BytesIO()
        log = StageLog.create(tmp_path, "l", masker=Masker([secret]), echo=Echo(shown, prefix="l"))
        for byte in b"first\n" + line + end:
            log.write(bytes([byte]))
        log.note("it ended")
        log.write(b"next\n")
        expected = [b"first", line, b"[cxlocal] it ended", b"next"]
        assert log.close().path.read_bytes().splitlines() == expected
        assert shown.getvalue().splitlines() == [b"l | " + one for one in expected]


@pytest.mark.parametrize(
    ("secret", "before", "after"),
    [
        ("d0ne-4711", b"valid", b"\n"),
        ("Unavailable-4711", b"is Unavail", b"able\n"),
        ("s3cret-value", b"a s3c", b"tor\n"),
        ("s3cret-value", b"100 % s", b"\rdone\n"),
    ],
)
def test_a_note_amid_a_line_leaves_it_whole(
    tmp_path: Path, secret: str, before: bytes, after: bytes
) -> None:
    log = StageLog.create(tmp_path, "l", masker=Masker([secret]))
    log.write(b"first\n" + before)
    log.note_amid("meanwhile")
    log.write(after)
    assert log.close().path.read_bytes() == b"first\n[cxlocal] meanwhile\n" + before + after


def test_a_long_line_is_not_held_back(tmp_path: Path) -> None:
    log = StageLog.create(tmp_path, "l", masker=Masker(["deadbeef"]))
    log.write(b"x" * 5000 + b"d")
    assert log.path.read_bytes() == b"x" * 5000
    assert log.close().size == 5001


def test_a_full_disk_ends_the_log_not_the_stage(tmp_path: Path) -> None:
    if os.path.exists("/dev/full"):
        log = StageLog(Path("/dev/full"), os.open("/dev/full", os.O_WRONLY), None, None, 100)
        log.write(b"some")
        log.write(b"more")
        entry = log.close()
        assert "No space left" in entry.problem and entry.size == 0
    # The same without that device: a file system that takes no more than 4 KiB of this process.
    program = (
        "import resource, signal, sys; from pathlib import Path;"
        "from cxlocal.processes.log import StageLog;"
        "log = StageLog.create(Path(sys.argv[1]), 'full');"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN);"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096));"
        "log.write(b'x' * 5000); log.write(b'y'); e = log.close(); print(e.size, e.sha256, e.problem)"
    )
    import sys

    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path)], capture_output=True, text=True, check=True
    )
    digest = hashlib.sha256(b"x" * 4096).hexdigest()
    assert done.stdout.startswith(f"4096 {digest} the log is incomplete: ")


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(Trouble) as caught:
        StageLog.create(tmp_path / "file", "unit")
    assert caught.value.name == "log-not-writable"


def test_the_tail_is_readable(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_bytes(b"".join(b"line %d\n" % n for n in range(100_000)) + b"\x1b[31mred\xff\n")
    assert tail(path, 2) == "line 99999\nred\\xff"
    assert "No such file" in tail(tmp_path / "none")


def echo(*chunks: bytes, prefix: str = "", raw: bool = False) -> bytes:
    """What a terminal gets."""
    stream = io.BytesIO()
    shown = Echo(stream, prefix=prefix, raw=raw)
    for chunk in chunks:
        shown.write(chunk)
    shown.end()
    return stream.getvalue()


def test_whole_lines_with_the_name_of_the_stage() -> None:
    assert echo(b"on", b"e\ntw", b"o\nthree", prefix="unit") == (
        b"unit | one\nunit | two\nunit | three\n"
    )
    assert echo(b"a\n\nb\n", prefix="unit") == b"unit | a\nunit | \nunit | b\n"
    assert echo(b"", prefix="unit") == b""


def test_two_stages_do_not_mix_within_a_line() -> None:
    stream = io.BytesIO()
    one, two = Echo(stream, prefix="a"), Echo(stream, prefix="b")
    one.write(b"first ")
    two.write(b"second\n")
    one.write(b"half\n")
    assert stream.getvalue() == b"b | second\na | first half\n"


@pytest.mark.parametrize(
    ("printed", "seen"),
    [
        (b"\x1b[1;31mred\x1b[0m", "red"),
        (b"\x1b]0;title\x07text", "text"),
        (b"\x1b]8;;http://x\x1b\\link\x1b]8;;\x1b\\", "link"),
        (b"\x1b]52;c;never ended\nnext", "\nnext"),
        (b"up\x1b[2Aand\x1b[K", "upand"),
        (b"\x1bcreset\x1b", "reset"),
        (b"bell\x07 back\x08 null\x00 del\x7f", "bell back null del"),
        ("\x9b31mc1 \u202eevil".encode(), "31mc1 evil"),
        (b"\xff\xfe binary", "\\xff\\xfe binary"),
        (b" 10%\r 20%\r 30%\r\nnext\r\n", " 30%\nnext\n"),
        (b"tab\tstays", "tab\tstays"),
    ],
)
def test_nothing_moves_the_cursor(printed: bytes, seen: str) -> None:
    assert plain(printed).decode() == seen


def test_alone_on_a_terminal_everything_passes() -> None:
    assert echo(b"\x1b[1mbo", b"ld\r", raw=True) == b"\x1b[1mbold\r"


def test_output_without_line_ends_is_shown_in_pieces() -> None:
    shown = echo(*[b"x" * 1000] * 20)
    assert shown.count(b"x") == 20_000 and shown.count(b"\n") == 20_000 // LINE_BYTES + 1


def test_the_terminal_is_not_flooded() -> None:
    shown = echo(*[b"y\n" * 32768] * (ECHO_BYTES // 65536 + 10), prefix="loud")
    assert len(shown) < ECHO_BYTES + 200 and shown.endswith(b"... the rest is in the log file\n")


def test_hostile_lines_take_linear_time() -> None:
    import time

    began = time.process_time()
    for hostile in (
        b"x" * 65536,
        b"\x1b]" * 32768,
        b"\x1b[" * 32768,
        b"\r" * 65536,
        b"\xff" * 65536,
    ):
        plain(hostile)
    assert time.process_time() - began < 2


def test_a_closed_terminal_does_not_stop_the_stage(tmp_path: Path) -> None:
    reads, writes = os.pipe()
    os.close(reads)
    with open(writes, "wb", buffering=0) as stream:
        log = StageLog.create(tmp_path, "unit", echo=Echo(stream))
        log.write(b"one\n")
        log.write(b"two\n")
        assert log.close().path.read_bytes() == b"one\ntwo\n"


@pytest.mark.parametrize(
    ("printed", "lines", "kept"),
    [
        (b"one\ntwo\n", 40, b"one\ntwo"),
        (b"one\ntwo\nthree\n", 2, b"two\nthree"),
        (b"one\n", 0, b""),
        (b"", 40, b""),
        (b"\x1b[31mred\xff\n", 40, b"red\\xff"),
        (b"token s3cret-value\n", 40, b"token ***"),
        (b"x" * 9000 + b"\nend\n", 40, b"x" * 4092 + b"\nend"),
        # The cut falls into a letter of two bytes: what is left of it goes, too.
        (b"\xc3\xa4" * 3000 + b"end\n", 40, b"\xc3\xa4" * 2046 + b"end"),
    ],
)
def test_the_last_lines_are_few_plain_and_masked(
    tmp_path: Path, printed: bytes, lines: int, kept: bytes
) -> None:
    log = StageLog.create(tmp_path, "unit", masker=Masker(["s3cret-value"]))
    log.write(printed)
    entry = log.close()
    assert entry.last_lines(lines) == kept
    entry.path.unlink()
    assert entry.last_lines(lines) == b""


def _ticking(log: Any, *chunks: bytes) -> tuple[bytes, Any]:
    for chunk in chunks:
        log.write(chunk)
    entry = log.close()
    return entry.path.read_bytes(), entry


@pytest.mark.parametrize(
    ("chunks", "began"),
    [
        ([b"one\n", b"two\n"], [1, 2]),
        ([b"on", b"e\ntwo\nthree\n"], [1, 2, 2]),
        ([b"a", b"b", b"c", b"\n", b"d\n"], [1, 2]),
        ([b"\n", b"\n"], [1, 2]),
        ([b"no end"], [1]),
        ([], []),
    ],
)
def test_each_line_has_the_time_of_the_chunk_it_began_in(
    tmp_path: Path, chunks: list[bytes], began: list[int]
) -> None:
    ticks = iter(range(1, 100))
    log = StageLog.create(tmp_path, "unit", now_ms=lambda: next(ticks))
    content, entry = _ticking(log, *chunks)
    times = read_times(times_path(entry.path), len(content))
    starts = [0, *(at + 1 for at, byte in enumerate(content[:-1]) if byte == 10)] if content else []
    assert [times.at(start) for start in starts] == began
    assert entry.lines == len(starts)
    index = times_path(entry.path)
    assert index.exists() == bool(began), "a silent stage makes no file"
    assert entry.times_sha256 == (sha256(index.read_bytes()).hexdigest() if began else "")


def test_the_index_of_a_log_is_bounded_by_its_lines_and_by_milliseconds(tmp_path: Path) -> None:
    log = StageLog.create(tmp_path, "unit", now_ms=lambda: 7)
    _, entry = _ticking(log, *[b"x\n"] * 1000, b"y" * 100_000, *[b"y"] * 1000)
    assert len(times_path(entry.path).read_bytes().splitlines()) == 1


def test_a_note_of_ours_is_told_apart(tmp_path: Path) -> None:
    log = StageLog.create(tmp_path, "unit", now_ms=lambda: 7)
    log.write(b"half a line")
    log.note("what we say")
    log.write(b"more\n")
    rows = times_path(log.close().path).read_bytes().splitlines()
    assert [row[-1:] for row in rows] == [b"o", b"n", b"o"]


@pytest.mark.parametrize(
    "index", [b"", b"0 5", b"x y z\n", b"5 1 o\n3 2 o\n", b"\xff\n", b"-1 5 o\n"]
)
def test_an_index_that_is_none_says_nothing_false(tmp_path: Path, index: bytes) -> None:
    (tmp_path / "log.times").write_bytes(index)
    times = read_times(tmp_path / "log.times", 100)
    assert times.at(0) is None
    assert times.offsets == sorted(set(times.offsets))
