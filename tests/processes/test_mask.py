"""Masking in pieces gives the same bytes as masking the whole; no form of a secret gets through."""

from __future__ import annotations

import base64
import io
import json
import subprocess
import urllib.parse
from xml.sax.saxutils import escape, quoteattr

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from cxlocal.processes.mask import MARK, Masker
from cxlocal.processes.views import View

SECRETS = st.lists(
    st.one_of(
        st.text("ab", min_size=4, max_size=9),
        st.text("ab+/ %\"'&é\n", min_size=4, max_size=14),
    ),
    min_size=1,
    max_size=3,
)


def percent_all(raw: bytes) -> bytes:
    return b"".join(b"%%%02x" % byte for byte in raw)


def every_other(raw: bytes) -> bytes:
    return b"".join(b"%%%02X" % byte if at % 2 else bytes([byte]) for at, byte in enumerate(raw))


def in_lines(raw: bytes, width: int = 3, end: bytes = b"\n  ") -> bytes:
    return end.join(raw[at : at + width] for at in range(0, len(raw), width))


def as_json(raw: bytes) -> bytes:
    return json.dumps(raw.decode("utf-8", "surrogateescape"))[1:-1].encode()


def in_bytes(raw: bytes) -> bytes:
    return b"".join(b"\\x%02x" % byte for byte in raw)


def in_octal(raw: bytes) -> bytes:
    return b"".join(b"\\%03o" % byte for byte in raw)


def in_entities(raw: bytes) -> bytes:
    text = raw.decode("utf-8", "surrogateescape")
    return "".join(
        f"&#{ord(char)};" if at % 2 else f"&#x{ord(char):X};" for at, char in enumerate(text)
    ).encode()


def dumped(raw: bytes, group: int = 2, little: bool = False, marks: bool = False) -> bytes:
    """As xxd and hexdump print it; each line of it begins one."""
    out = b"\n"
    for at in range(0, len(raw), 16):
        line = raw[at : at + 16]
        parts = [line[place : place + group] for place in range(0, len(line), group)]
        digits = b" ".join((part[::-1] if little else part).hex().encode() for part in parts)
        shown = bytes(byte if 32 <= byte < 127 else 46 for byte in line)
        out += b"%08x%s %s  %s\n" % (
            at, b"" if marks else b":", digits.ljust(47), b"|%s|" % shown if marks else shown,
        )  # fmt: skip
    return out


def painted(raw: bytes) -> bytes:
    """A colour before each letter, and nothing that is shown after it."""
    return b"".join(b"\x1b[38;5;%dm%c\0" % (letter % 9, letter) for letter in raw)


SPELLINGS = (
    bytes, percent_all, every_other, in_lines, as_json, in_bytes, in_octal, in_entities, dumped,
    painted,
)  # fmt: skip


def decoded(view: View, content: bytes) -> list[tuple[int, int, int]]:
    """Byte by byte: what is read, and where that stands (start, end)."""
    tokens = {found.start(): found for found in view.token.finditer(content)}
    units, at = [], 0
    while at < len(content):
        found = tokens.get(at)
        read = None if found is None else view.decode(found[0])
        end = at + 1 if found is None or read is None else found.end()
        units += [(byte, at, end) for byte in (content[at:end] if read is None else read)]
        at = end
    return units


def naive(masker: Masker, content: bytes) -> bytes:
    """Mark every byte that belongs to any occurrence; each run of overlapping ones is one mark."""
    found = [
        (at, at + len(form))
        for form in masker.forms.all
        for at in range(len(content))
        if content.startswith(form, at)
    ]
    for view in masker.views:
        units = decoded(view, content)
        read = bytes(byte for byte, _, _ in units)
        found += [
            (units[at][1], units[at + len(form) - 1][2])
            for form in view.forms.all
            for at in range(len(read))
            if read.startswith(form, at)
        ]
    out, at, reach = b"", 0, 0
    for start, end in sorted(found):
        if start >= reach:
            out += content[at:start] + MARK
        reach = max(reach, end)
        at = reach
    return out + content[at:]


@settings(deadline=None, max_examples=150)
@given(
    SECRETS,
    st.lists(st.one_of(st.binary(max_size=5), st.text("ab", max_size=6)), max_size=20),
    st.data(),
)
def test_pieces_equal_the_whole(
    secrets: list[str], pieces: list[bytes | str], data: st.DataObject
) -> None:
    masker = Masker(secrets)
    parts = [piece.encode() if isinstance(piece, str) else piece for piece in pieces]
    for at in range(0, len(parts), 3):
        form = data.draw(st.sampled_from(masker.forms.all))
        parts.insert(at, data.draw(st.sampled_from(SPELLINGS))(form))
    content = b"".join(parts)
    expected = naive(masker, content)
    assert masker.whole(content) == expected

    cuts = sorted(data.draw(st.lists(st.integers(0, len(content)), max_size=8)))
    stream = masker.stream()
    out = b""
    for start, end in zip([0, *cuts], [*cuts, len(content)], strict=True):
        out += stream.feed(content[start:end])
    assert out + stream.end() == expected


@settings(deadline=None, max_examples=50)
@given(st.text(min_size=8, max_size=40).filter(lambda text: text.strip() == text))
@example("a phrase of some words")
def test_printed_forms_are_masked(secret: str) -> None:
    raw = secret.encode("utf-8")
    masker = Masker([secret])
    inner = base64.b64encode(b"user:" + raw + b"\n").decode()
    for form in (
        raw,
        base64.b64encode(raw),
        base64.urlsafe_b64encode(raw),
        urllib.parse.quote(secret, safe="").encode(),
        urllib.parse.quote_plus(secret).encode(),
        json.dumps(secret)[1:-1].encode(),
        json.dumps(secret, ensure_ascii=False)[1:-1].encode(),
        escape(secret).encode(),
    ):
        assert masker.whole(b"<<" + form + b">>") == b"<<" + MARK + b">>"
    if "'" not in secret and '"' not in secret and not set(secret) & set("\n\r\t"):
        assert secret not in masker.whole(quoteattr(secret).encode()).decode()
    assert MARK.decode() in masker.text(inner)


SECRET = "not-a-real/secret+only?for=this&test 0123456789~abcdefghij'klmnop!qrstuvw/xyz\\+é"
RAW = SECRET.encode()
URI = "!#$&'()*+,/:;=?@-_.~"
"""What encodeURI of JavaScript leaves as it is."""

HTML_SAFE = json.dumps(SECRET)[1:-1].replace("&", "\\u0026").replace("'", "\\u0027").encode()
"""As encoders write JSON that may stand in a page."""

PRINTED: dict[str, bytes] = {
    "a colour for each letter": painted(RAW),
    "bold in the middle": RAW[:30] + b"\x1b[1m" + RAW[30:50] + b"\x1b[0m" + RAW[50:],
    "UTF-16 of ASCII": b"\0".join(bytes([each]) for each in RAW) + b"\0",
    "quote": urllib.parse.quote(SECRET).encode(),
    "quote all": urllib.parse.quote(SECRET, safe="").encode(),
    "quote_plus": urllib.parse.quote_plus(SECRET).encode(),
    "encodeURI": urllib.parse.quote(SECRET, safe=URI).encode(),
    "encodeURIComponent": urllib.parse.quote(SECRET, safe="!'()*-_.~").encode(),
    "mixed": every_other(RAW),
    "every byte": percent_all(RAW),
    "hex": RAW.hex().encode(),
    "HEX": RAW.hex().upper().encode(),
    "hex in lines": in_lines(RAW.hex().encode(), 60, b"\n"),
    "json": json.dumps(SECRET)[1:-1].encode(),
    "json as it is": json.dumps(SECRET, ensure_ascii=False)[1:-1].encode(),
    "json in pages": HTML_SAFE,
    "json with slashes": json.dumps(SECRET)[1:-1].replace("/", "\\/").encode(),
    "percent lower": urllib.parse.quote(SECRET, safe="").lower().encode(),
    "base64 in an address": urllib.parse.quote(base64.b64encode(RAW).decode(), safe="").encode(),
    "base64 in json": base64.b64encode(RAW).replace(b"/", b"\\/"),
    "base64 in a page": base64.b64encode(RAW).replace(b"/", b"&#x2F;").replace(b"+", b"&#43;"),
    "base64url": base64.urlsafe_b64encode(RAW).rstrip(b"="),
    "\\x": in_bytes(RAW),
    "\\x of bytes": repr(RAW)[2:-1].encode(),
    "\\x of ascii()": ascii(SECRET)[1:-1].encode(),
    "\\x{…}": "".join(f"\\x{{{ord(char):x}}}" for char in SECRET).encode(),
    "\\u{…}": "".join(f"\\u{{{ord(char):X}}}" for char in SECRET).encode(),
    "\\U": "".join(f"\\U{ord(char):08x}" for char in SECRET).encode(),
    "octal": in_octal(RAW),
    "octal of some": b"".join(bytes([b]) if chr(b).isalnum() else b"\\%o" % b for b in RAW),
    "shell": b"".join(bytes([b]) if chr(b).isalnum() else b"\\%c" % b for b in RAW),
    "decimal entities": "".join(f"&#{ord(char)};" for char in SECRET).encode(),
    "hexadecimal entities": "".join(f"&#x{ord(char):x};" for char in SECRET).encode(),
    "entities mixed": in_entities(RAW),
    "named entities": b"".join(
        {47: b"&sol;", 43: b"&plus;", 38: b"&amp;", 39: b"&apos;"}.get(b, bytes([b])) for b in RAW
    ),
    "hex by colons": RAW.hex(":").encode(),
    "HEX by hyphens": RAW.hex("-").upper().encode(),
    "hex by spaces": RAW.hex(" ").encode(),
    "hex in groups": RAW.hex(" ", 4).encode(),
    "hex of C": b", ".join(b"0x%02x" % byte for byte in RAW),
    "hex of C in lines": in_lines(b", ".join(b"0x%02X" % byte for byte in RAW), 72, b"\n  "),
    "hex in lines and groups": in_lines(RAW.hex(" ").encode(), 48, b"\n"),
}  # fmt: skip
for _inner in (RAW, b"x" + RAW, b"user:" + RAW + b"y"):
    for _outer in (b"", b"x", b"xy"):
        _twice = base64.b64encode(_outer + base64.b64encode(_inner) + _outer)
        PRINTED[f"base64 twice {_inner[:2]!r} {_outer!r}"] = _twice
        PRINTED[f"base64 twice, in lines {_inner[:2]!r} {_outer!r}"] = in_lines(_twice, 60, b"\n")
for _width in (19, 60, 64, 72, 76):
    for _name, _end in (("unix", b"\n"), ("dos", b"\r\n"), ("yaml", b"\n    "), ("json", b"\\n")):
        for _before in (b"", b"x", b"x-", b"x-access-token:"):
            _text = base64.b64encode(_before + RAW + _before)
            PRINTED[f"base64 {_width} {_name} {_before!r}"] = in_lines(_text, _width, _end)


@pytest.mark.parametrize("name", PRINTED)
def test_no_spelling_of_a_secret_gets_through(name: str) -> None:
    """Whole, in pieces of every small size, and cut at every place: nothing is left from which the
    secret, or the half of it, can be read."""
    printed = PRINTED[name]
    masker = Masker([SECRET])
    content = b"> " + printed + b" <\n"
    masked = masker.whole(content)
    assert masked.startswith(b"> ") and MARK in masked
    left = masked.replace(MARK, b"")
    # What stands around it in longer base64 depends on its neighbours and stays.
    assert len(left) <= len(content) - len(printed) + 70, left
    for size in (1, 2, 3, 7, 64):
        stream = masker.stream()
        pieces = [stream.feed(content[at : at + size]) for at in range(0, len(content), size)]
        assert b"".join(pieces) + stream.end() == masked
    for cut in range(0, len(content), 1 + len(content) // 150):
        stream = masker.stream()
        assert stream.feed(content[:cut]) + stream.feed(content[cut:]) + stream.end() == masked


DUMPS = {
    "xxd": ["xxd"], "xxd -u": ["xxd", "-u"], "xxd -g1": ["xxd", "-g1"], "xxd -g4": ["xxd", "-g4"],
    "xxd -e": ["xxd", "-e"], "xxd -c8": ["xxd", "-c8"], "xxd -c32": ["xxd", "-c32"],
    "xxd -p": ["xxd", "-p"], "xxd -i": ["xxd", "-i"], "hexdump -C": ["hexdump", "-C"], "hexdump": ["hexdump"],
    "od -x": ["od", "-x"], "od -tx1": ["od", "-A", "x", "-t", "x1z", "-v"], "od -An": ["od", "-An", "-tx1"],
}  # fmt: skip


@pytest.mark.needs("xxd", "hexdump")
@pytest.mark.parametrize("before", [b"", b"a", b"Authorization: Bearer ", b"x" * 31])
@pytest.mark.parametrize("name", DUMPS)
def test_a_dump_shows_no_part_of_a_secret(name: str, before: bytes) -> None:
    """Neither in its digits nor in the column beside them, as real programs print it."""
    program = subprocess.run(
        DUMPS[name], input=before + RAW + b"\n", capture_output=True, check=True
    )
    content = b"$ " + name.encode() + b"\n" + program.stdout + b"done\n"
    masker = Masker([SECRET])
    masked = masker.whole(content)
    assert masked.startswith(b"$ ") and masked.endswith(b"done\n") and MARK in masked
    for size in (4, 8):
        for at in range(len(RAW) - size):
            part = RAW[at : at + size]
            assert part.isdigit() or part not in masked  # digits may be a place
            assert part.hex().encode() not in masked.lower().replace(b" ", b"")
    for size in (1, 3, 7, 64, 100):
        stream = masker.stream()
        pieces = [stream.feed(content[at : at + size]) for at in range(0, len(content), size)]
        assert b"".join(pieces) + stream.end() == masked


def test_a_line_that_only_begins_like_a_dump_is_left() -> None:
    masker = Masker(["s3cret-value"])
    for line in (b"00:12:33 elapsed\n", b"0001 done\n", b"00ff 61 62\n", b"00000000: 6e6f  no\n"):
        assert masker.whole(line * 3) == line * 3
        stream = masker.stream()
        given = b"".join(stream.feed(line[at : at + 1]) for at in range(len(line)))
        assert given + stream.end() == line


def test_what_is_held_back_is_bounded() -> None:
    """The beginning of a secret, and then something that could go on for ever."""
    begun = base64.b64encode(RAW)[:20]
    for endless in (
        b"\n",
        b"\n ",
        b"\r\n",
        b"\\",
        b"\\n",
        b"%",
        b"%4",
        b"\\u00",
        b" ",
        b"&#",
        b"\\x",
        b"0",
        b"00 ",
        b"\n00000000: 6e",
    ):
        stream = Masker([SECRET]).stream()
        given = sum(len(stream.feed(each)) for each in [begun, *[endless * 100] * 50])
        assert given > len(endless) * 5000 - 4 * len(RAW), endless


def test_lines_of_a_long_value() -> None:
    key = "-----BEGIN KEY-----\nMIIEowIBAAKCAQEA\nab\n-----END KEY-----"
    masked = Masker([key]).whole(b"> MIIEowIBAAKCAQEA <\r\nab\n" + key.encode())
    assert masked == b"> *** <\r\nab\n***"


def test_single_quotes_as_sh_x_shows_them() -> None:
    assert Masker(["it's me"]).whole(b"+ echo 'it'\\''s me'") == b"+ echo '***'"


def test_overlapping_secrets_leave_no_tail() -> None:
    assert Masker(["abcdef", "defghi"]).whole(b"-abcdefghi-") == b"-***-"


def test_ordinary_output_is_not_delayed() -> None:
    stream = Masker(["s3cret-value"]).stream()
    assert stream.feed(b"Password: ") == b"Password: "
    assert stream.feed(b"is s3c") == b"is "
    assert stream.feed(b"ond") == b"s3cond"


def test_short_values_are_left_alone() -> None:
    masker = Masker(["abc", ""])
    assert not masker and masker.whole(b"abc") == b"abc"


def test_values_and_files() -> None:
    masker = Masker(["s3cret"])
    assert masker.value({"s3cret": ["a s3cret", 1, None, ("s3cret",)]}) == {
        "***": ["a ***", 1, None, ["***"]]
    }
    target = io.BytesIO()
    masker.copy(io.BytesIO(b"x" * (1 << 20) + b"s3cret" * 3), target)
    assert target.getvalue() == b"x" * (1 << 20) + b"***" * 3


@pytest.mark.parametrize("text", ["\udc80\udcff s3cret", "\ud800 s3cret"])
def test_text_that_is_not_unicode(text: str) -> None:
    assert "s3cret" not in Masker(["s3cret"]).text(text)


def test_speed_is_bounded() -> None:
    import time

    masker = Masker(["a-long-token-with-many-characters", "x" * 300, "-----BEGIN\n" + "k" * 3000])
    stream = masker.stream()
    chunk = b"y\n" * 32768
    began = time.process_time()
    for _ in range(160):  # 10 MiB
        stream.feed(chunk)
    assert time.process_time() - began < 5
