"""Patterns that are compiled late are patterns like others."""

from __future__ import annotations

import re

import pytest

from cxlocal.patterns import compile_late


def test_it_answers_as_the_compiled_one() -> None:
    late = compile_late(r"(?P<word>[a-z]+)\d", re.IGNORECASE)
    plain = re.compile(r"(?P<word>[a-z]+)\d", re.IGNORECASE)
    for _ in range(2):
        assert late.sub(r"<\g<word>>", "aB1 c2") == plain.sub(r"<\g<word>>", "aB1 c2")
        assert [one["word"] for one in late.finditer("aB1 c2")] == ["aB", "c"]
        assert late.fullmatch("a") is None
    assert (late.pattern, late.flags, late.groups) == (plain.pattern, plain.flags, plain.groups)


def test_bytes_and_what_is_no_pattern() -> None:
    assert compile_late(rb"\xff+").findall(b"\xff\xff.\xff") == [b"\xff\xff", b"\xff"]
    wrong = compile_late("(")
    with pytest.raises(re.error):
        wrong.match("")
    with pytest.raises(AttributeError):
        compile_late("a").no_such_thing  # noqa: B018  (asking is what fails)
