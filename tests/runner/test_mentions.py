"""Whether bytes hold the version of a pre-release, plain and packed."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import tarfile
import zipfile
from pathlib import Path

import pytest

from cxlocal.runner.mentions import CHUNK_BYTES, mentions

PLAIN = b"a program that knows nothing of versions, or of 3.2.0 alone, or of 3.2.0rc1"


def zipped(name: str, content: bytes) -> bytes:
    found = io.BytesIO()
    with zipfile.ZipFile(found, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(name, content)
    return found.getvalue()


def tarred(name: str, content: bytes) -> bytes:
    found = io.BytesIO()
    with tarfile.open(fileobj=found, mode="w") as archive:
        entry = tarfile.TarInfo(name)
        entry.size = len(content)
        archive.addfile(entry, io.BytesIO(content))
    return found.getvalue()


WAYS = {
    "plain": lambda content: content,
    "gz": gzip.compress,
    "bz2": bz2.compress,
    "xz": lzma.compress,
    "zip": lambda content: zipped("a", content),
    "tar": lambda content: tarred("a", content),
    "tar.gz": lambda content: gzip.compress(tarred("a", content)),
    "jar in tar.gz": lambda content: gzip.compress(tarred("a.jar", zipped("b", content))),
    "zip behind a program": lambda content: b"#!/usr/bin/python3\n" + zipped("a", content),
    "across pieces": lambda content: b"\0" * (CHUNK_BYTES - 4) + content,
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(
    "spelling",
    [b"3.2.0rc2", b"3.2.0-rc.2", b"3.2.0~RC2", b"3.2.0.rc2", "3.2.0rc2".encode("utf-16-le"), b"3.2.0c2"],
)  # fmt: skip
def test_a_version_is_found(way: str, spelling: bytes, tmp_path: Path) -> None:
    file = tmp_path / "app"
    file.write_bytes(WAYS[way](b"x" + spelling + b"x"))
    assert mentions(file, "3.2.0rc2", "app")


@pytest.mark.parametrize("way", WAYS)
def test_what_holds_none_is_taken_over(way: str, tmp_path: Path) -> None:
    file = tmp_path / "app"
    file.write_bytes(WAYS[way](PLAIN))
    for version in ("3.2.0rc2", "3.2.0-rc.2", "3.2.0-next.2", "3.2.0.dev2"):
        assert not mentions(file, version, "app"), version


def test_names_count_as_well(tmp_path: Path) -> None:
    for name in ("app-3.2.0rc2.bin", "app_3.2.0-rc.2"):
        (tmp_path / name).write_bytes(PLAIN)
        assert mentions(tmp_path / name, "3.2.0rc2", name)
    for way in (zipped, tarred):
        (tmp_path / "app").write_bytes(way("app-3.2.0rc2/README", PLAIN))
        assert mentions(tmp_path / "app", "3.2.0-rc.2", "app")
    assert mentions(tmp_path / "app", "3.2.0-next.2", "app") is False


@pytest.mark.parametrize(
    "content",
    [
        b"!<arch>\ndebian-binary", b"\x28\xb5\x2f\xfd packed", gzip.compress(PLAIN)[:-9],
        zipped("a", PLAIN)[:-30],
        gzip.compress(tarred("a.deb", b"!<arch>\ndebian-binary")),
    ],
    ids=["deb", "zstd", "cut gz", "broken zip", "deb in tar.gz"],
)  # fmt: skip
def test_what_cannot_be_told_counts_as_holding_it(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "app").write_bytes(content)
    assert mentions(tmp_path / "app", "3.2.0rc2", "app")


def test_a_bomb_is_not_looked_through(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cxlocal.runner.mentions.UNPACKED_BYTES_MAX", 4 * CHUNK_BYTES)
    (tmp_path / "app").write_bytes(gzip.compress(bytes(8 * CHUNK_BYTES)))
    assert mentions(tmp_path / "app", "3.2.0rc2", "app")
    nested = PLAIN
    for _ in range(9):
        nested = gzip.compress(nested)
    (tmp_path / "app").write_bytes(nested)
    assert mentions(tmp_path / "app", "3.2.0rc2", "app")
