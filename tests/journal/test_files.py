"""A file is the old one or the new one, and nothing is left beside it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from cxlocal.files import fresh_file, rename, take_name, write_whole


@pytest.mark.parametrize("durable", [True, False])
@pytest.mark.parametrize("content", ["text with ä\n", b"\0bytes", ""])
def test_what_is_written_is_there_with_its_mode(
    tmp_path: Path, content: str | bytes, durable: bool
) -> None:
    path = tmp_path / "file"
    write_whole(path, b"what was there before")
    write_whole(path, content, durable=durable)
    assert path.read_bytes() == (content.encode() if isinstance(content, str) else content)
    assert path.stat().st_mode & 0o777 == 0o600
    assert os.listdir(tmp_path) == ["file"]


def test_the_umask_holds_for_a_file_of_a_person(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        write_whole(tmp_path / "file", "x", mode=0o666)
    finally:
        os.umask(before)
    assert (tmp_path / "file").stat().st_mode & 0o777 == 0o640


def test_a_link_is_replaced_and_not_followed(tmp_path: Path) -> None:
    victim, link = tmp_path / "victim", tmp_path / "link"
    victim.write_text("precious")
    link.symlink_to(victim)
    write_whole(link, "new")
    assert victim.read_text() == "precious" and link.read_text() == "new"


def test_what_fails_half_way_changes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "file"
    write_whole(path, "old")
    with pytest.raises(RuntimeError), fresh_file(tmp_path) as file:
        file.write(b"half of the n")
        raise RuntimeError
    with fresh_file(tmp_path) as file:
        file.write(b"nobody wants it")
    assert path.read_text() == "old" and os.listdir(tmp_path) == ["file"]


def test_a_folder_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        write_whole(tmp_path / "away" / "file", "x")


def test_names_can_begin_at_an_open_folder(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "old").write_text("x")
    handle = os.open(tmp_path, os.O_RDONLY)
    try:
        rename("in/old", "in/new", folder=handle)
    finally:
        os.close(handle)
    assert os.listdir(tmp_path / "in") == ["new"]


def test_the_name_can_be_chosen_when_the_content_is_known(tmp_path: Path) -> None:
    (tmp_path / "ab").mkdir()
    with fresh_file(tmp_path) as file:
        file.write(b"abc")
        take_name(file, tmp_path / "ab" / "abc")
    assert (tmp_path / "ab" / "abc").read_bytes() == b"abc" and os.listdir(tmp_path) == ["ab"]
