"""Names and contents of keys (pure)."""

from __future__ import annotations

import zlib
from hashlib import sha256

import pytest
from cxlocal_sync.keys import form, names
from hypothesis import given
from hypothesis import strategies as st

NODE = "a" * 32


def test_contents_round_trip() -> None:
    small, large = {"kind": "x", "a": 1}, {"kind": "x", "text": "ä" * 5000}
    assert form.unseal(form.seal(small), "x") == small
    assert form.unseal(form.seal(large), "x") == large
    assert len(form.seal(large)) < 1000


@given(st.binary(max_size=400))
def test_arbitrary_bytes_are_damage(content: bytes) -> None:
    with pytest.raises(form.Damaged):
        form.unseal(content, "x")


def test_every_cut_and_every_flipped_byte_is_noticed() -> None:
    content = form.marker_out("l" * 32, "")
    for at in range(len(content)):
        with pytest.raises(form.Damaged):
            form.unseal(content[:at], "store")
        flipped = bytearray(content)
        flipped[at] ^= 1
        with pytest.raises(form.Damaged):
            form.unseal(bytes(flipped), "store")


def test_a_bomb_and_nested_brackets_are_damage() -> None:
    for body in (b"Z" + zlib.compress(b"0" * (form.UNPACKED_BYTES_MAX + 1)), b"J" + b"[" * 10**6):
        content = b"cxk1 " + sha256(body).hexdigest().encode() + b"\n" + body
        with pytest.raises(form.Damaged):
            form.unseal(content, "x")


def test_another_format_and_another_kind_are_refused() -> None:
    later = form.seal({"kind": "store", "format": 2, "lineage": "l", "granter": ""})
    with pytest.raises(form.Damaged, match="format 2"):
        form.marker_in(later)
    with pytest.raises(form.Damaged):
        form.entry_in(form.marker_out("l", ""))


def test_names_sort_and_strangers_are_passed_over() -> None:
    assert names.log_key(1, 12) == "log/000000000001/000000000000/000000000012"
    assert names.counts(["000000000012", "000000000002", "12", "000000000003 (conflict)"]) == [
        2,
        12,
    ]
    digest = "f" * 64
    name = names.batch_key(NODE, 1, 9, digest).rpartition("/")[2]
    assert names.spans([name, name + ".part", f"{name} (Ada's conflicted copy)"]) == [(1, 9, name)]
    assert names.nodes([NODE, ".DS_Store", NODE + "~"]) == [NODE]


@pytest.mark.parametrize("odd", ["../../escaped", "", "A" * 32, "a" * 31 + "/", "a" * 33])
def test_what_a_message_says_names_no_file(odd: str) -> None:
    for make in (
        lambda: names.batch_key(odd, 1, 2, "b" * 64),
        lambda: names.contact_key(1, odd, 1),
        lambda: names.wish_key(odd, "a" * 32),
        lambda: names.wish_key("a" * 32, odd),
    ):
        with pytest.raises(ValueError, match="not 32 hexadecimal digits"):
            make()
