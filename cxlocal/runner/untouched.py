"""Artifacts that stages are shown: all may read them, and none may change them."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from cxlocal.errors import Conflict
from cxlocal.journal.blobs import digest_of

if TYPE_CHECKING:
    from cxlocal.hooks.tool import ArtifactRef


class Untouched:
    """Remembers how files stood when their bytes were read: what was not touched since is not read again."""

    def __init__(self) -> None:
        self._stood: dict[Path, tuple[int, ...]] = {}

    def believe(self, made: Iterable[ArtifactRef]) -> None:
        """The bytes of these were read a moment ago."""
        self._stood |= {one.path: _stands(one.path) for one in made}

    def changed(self, seen: Iterable[ArtifactRef]) -> list[str]:
        """The names of those that have other bytes than their digest says. One that is not here is none of them."""
        found = []
        for one in seen:
            stands = _stands(one.path)
            if not stands or stands == self._stood.get(one.path):
                continue
            if digest_of(one.path)[0] == one.sha256:
                self._stood[one.path] = stands
            else:
                found.append(one.name)
        return found


def refuse_changed(names: list[str]) -> None:
    """Raise Conflict where artifacts have other bytes."""
    if names:
        raise Conflict(
            f"{', '.join(names)} has other bytes than when it was made",
            why="a stage, or somebody else on this machine, wrote into the file that all stages are shown",
            hint="let no stage write into $CXLOCAL_ARTIFACT_…; then release again",
            name="artifact-changed",
        )


def _stands(path: Path) -> tuple[int, ...]:
    """What changes with every write, also where its time is set back; empty where there is no file."""
    try:
        found = path.stat()
    except OSError:
        return ()
    return found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns
