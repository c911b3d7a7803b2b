"""What the recoveries of a store counted above, kept where putting the store back does not put it back as well.

A store that is restored from the same backup twice has forgotten its first recovery, and whoever recovers it then may
know nothing of that either: both would count on from the same number. Beside a store's file, or in the home of who
answers for a database, it stands how far each line was raised; a further recovery counts above that, too.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from cxlocal.files import fresh_file, rename, sync
from cxlocal.private import make_folder
from cxlocal_sync.stores.feed import StoreRow

ENDING = ".recovered"
Line = tuple[str, str]
"""Deliverable and line."""


class Recoveries:
    """Those of one store, remembered in ``path``."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def note(self, store: StoreRow, raised: Mapping[Line, int]) -> None:
        """Remember how far a recovery raised lines; durable, and before the recovery is: what is remembered of one that
        came to nothing leaves a larger gap, no more."""
        _, lines = self.known(store.lineage)
        for line, high in raised.items():
            lines[line] = max(high, lines.get(line, high))
        content = {
            "lineage": store.lineage, "generation": store.generation,
            "lines": [[*line, high] for line, high in sorted(lines.items())],
        }  # fmt: skip
        try:
            make_folder(self._path.parent)
            with fresh_file(self._path.parent) as file:
                file.write(json.dumps(content).encode())
                file.flush()
                sync(file.fileno())
                rename(file.name, self._path)
        except OSError:
            return  # a recovery does not wait for that: nothing is lost but this memory

    def known(self, lineage: str) -> tuple[int, dict[Line, int]]:
        """The generation that the last one began and, by line, how far any raised it; nothing where that is of another store, or damaged."""
        try:
            content = json.loads(self._path.read_bytes())
            lines = {(str(d), str(line)): int(high) for d, line, high in content["lines"]}
            generation = int(content["generation"])
            same = content["lineage"] == lineage
        except (OSError, ValueError, KeyError, TypeError):
            return 0, {}
        return (generation, lines) if same else (0, {})
