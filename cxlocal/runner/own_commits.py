"""Which commits are the ones that cxlocal makes after a release: those that hold what it would have written
onto their parent, byte for byte, and nothing else."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cxlocal.errors import ConfigError
from cxlocal.files import fresh_folder
from cxlocal.notes.changelog import headings_of, version_at
from cxlocal.notes.entry import with_entry
from cxlocal.numbers.stamp import Stamp, apply_stamps, check_stamps
from cxlocal.patterns import compile_late
from cxlocal.values import NamedTuple

if TYPE_CHECKING:
    from cxlocal.journal.file import Journal

    Written = Mapping[str, tuple[bytes | None, bytes]]
    """What files hold before and after, by name from the top; None before: there was none."""

NAMED = "SELECT deliverable, version, kind FROM run WHERE id = ?"
RELEASED = "SELECT id FROM run WHERE deliverable = ? AND version = ? AND kind = 'release'"
_VERSION = compile_late(r"v?\d[0-9A-Za-z.+!_~-]{0,99}", re.ASCII)
"""What a commit may write as a version that no run here tells of: no quote, no blank, no path."""
_DAY = compile_late(r"\d{4}-\d\d-\d\d")
_WORDS, _SAME = "cxlocal-words-of-the-section", "0.0.0"


class OwnCommits(NamedTuple):
    """The rule of one deliverable."""

    deliverable: str
    prefix: str
    """The folder of its cx.toml, from the top of the repository."""
    stamps: tuple[Stamp, ...]
    changelog: str
    journal: Journal | None
    """What it knows of runs has to agree; a machine that has never heard of a run looks at bytes alone."""

    def files(self) -> frozenset[str]:
        """What such a commit may touch."""
        names = [one.file for one in self.stamps] + [self.changelog]
        return frozenset(map(self._full, filter(None, names)))

    def wrote(self, run: str, written: Written) -> bool:
        """Whether a commit that names ``run`` holds what would be written after it."""
        version = self._version(run, written)
        if not version:
            return False
        return all(
            self._expects_section(before, after, version)
            if self._is_changelog(name)
            else before is not None and self._stamped(name, before, version) == after
            for name, (before, after) in written.items()
        )

    def wrote_all(self, written: Written) -> bool:
        """Whether what several of them brought together is the version and more lines of a changelog."""
        for name, (before, after) in written.items():
            if self._is_changelog(name):
                if not _grew(before or b"", after):
                    return False
                continue
            bare = None if before is None else self._stamped(name, before, _SAME)
            if bare is None or bare != self._stamped(name, after, _SAME):
                return False
        return True

    def _full(self, name: str) -> str:
        return os.path.normpath(os.path.join(self.prefix, name))

    def _is_changelog(self, name: str) -> bool:
        return bool(self.changelog) and name == self._full(self.changelog)

    def _of(self, name: str) -> list[Stamp]:
        return [one for one in self.stamps if self._full(one.file) == name]

    def _stamped(self, name: str, content: bytes, version: str) -> bytes | None:
        """None where the stamp finds no place."""
        try:
            return stamp_contents(self._of(name), {self._of(name)[0].file: content}, version).popitem()[1]  # fmt: skip
        except ConfigError:
            return None

    def _version(self, run: str, written: Written) -> str:
        """The version that ``run`` released, as it is known here, or else as the files say; empty where
        these do not agree, or another run that is known released it."""
        named = self._known(NAMED, run)
        if named is not None:
            is_release = (named["deliverable"], named["kind"]) == (self.deliverable, "release")
            return named["version"] or "" if is_release else ""
        found: set[str] = set()
        for name, (before, after) in written.items():
            if self._is_changelog(name):
                found.update(_titles(after) - _titles(before or b""))
            else:
                found.update(self._read(name, after))
        version = found.pop() if len(found) == 1 else ""
        if not _VERSION.fullmatch(version) or self._known(RELEASED, self.deliverable, version):
            return ""
        return version

    def _known(self, question: str, *given: str) -> dict[str, Any] | None:
        return None if self.journal is None else self.journal.one(question, given)

    def _read(self, name: str, content: bytes) -> Iterable[str]:
        stamps = self._of(name)
        try:
            with fresh_folder() as folder:
                _lay(folder, {stamps[0].file: content})
                return [one.old for one in check_stamps(folder, stamps)]
        except ConfigError:
            return [""]

    def _expects_section(self, before: bytes | None, after: bytes, version: str) -> bool:
        """Whether ``after`` is ``before`` with a section of ``version``, of any day and words."""
        former, text, mark = _text(before or b""), _text(after), _WORDS
        while mark in former:
            mark += "-"
        days = {found for one in headings_of(text.split("\n")) for found in _DAY.findall(one.title)}
        for day in days:
            head, words, tail = with_entry(former, version, day, mark).partition(mark)
            fits = text.startswith(head) and text.endswith(tail) and len(text) >= len(head + tail)
            if former != head and (fits if words else text == head):
                return True
        return False


def stamp_contents(
    stamps: Iterable[Stamp], contents: Mapping[str, bytes], version: str
) -> dict[str, bytes]:
    """``contents`` by the names that the stamps have, with the version in them. Raises ConfigError."""
    with fresh_folder() as folder:
        _lay(folder, contents)
        apply_stamps(folder, list(stamps), version)
        return {name: (folder / name).read_bytes() for name in contents}


def _lay(folder: Path, contents: Mapping[str, bytes]) -> None:
    for name, content in contents.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)


def _titles(content: bytes) -> set[str]:
    found = {version_at(one.title) for one in headings_of(_text(content).split("\n"))}
    return found - {""}


def _grew(before: bytes, after: bytes) -> bool:
    """Whether every line that holds something is still there, in its order."""
    left = iter([line.strip() for line in after.splitlines()])
    return all(line.strip() in left for line in before.splitlines() if line.strip())


def _text(content: bytes) -> str:
    return content.decode("utf-8", "surrogateescape")
