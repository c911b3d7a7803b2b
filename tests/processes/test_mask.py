"""Masking in pieces gives the same bytes as masking the whole; no form of a secret gets through."""

from __future__ import annotations

import base64
import io
import json
import urllib.parse
from xml.sax.saxutils import escape, quoteattr

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cxlocal.processes.mask import MARK, Masker

SECRETS = st.lists(
    st.one_of(
        st.text("ab", min_size=4, max_size=9),
        st.text("ab+/ %\"'&é\n", min_size=4, max_size=14),
    ),
    min_size=1,
    max_size=3,
)


def naive(forms: tuple[bytes, ...], content: bytes) -> bytes:
    """Mark every byte that belongs to any occurrence; each run of overlapping ones is one mark."""
    found = [
        (at, at + len(form))
        for form in forms
        for at in range(len(content))
        if content.startswith(form, at)
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
        parts.insert(at, data.draw(st.sampled_from(masker.forms)))
    content = b"".join(parts)
    expected = naive(masker.forms, content)
    assert masker.whole(content) == expected

    cuts = sorted(data.draw(st.lists(st.integers(0, len(content)), max_size=8)))
    stream = masker.stream()
    out = b""
    for start, end in zip([0, *cuts], [*cuts, len(content)], strict=True):
        out += stream.feed(content[start:end])
    assert out + stream.end() == expected


@settings(deadline=None, max_examples=50)
@given(st.text(min_size=8, max_size=40).filter(lambda text: text.strip() == text))
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
