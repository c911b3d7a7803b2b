"""What is said beside the data of a command that reports a stage."""

from __future__ import annotations

import sys
from contextlib import suppress
from io import BytesIO
from typing import TYPE_CHECKING

from cxlocal.processes.echo import Echo

if TYPE_CHECKING:
    from cxlocal.processes.mask import Masker


class Aside(Echo):
    """What readers of reports print, on standard error: for people, so in whole lines, without secrets and without
    what moves a cursor."""

    def __init__(self, masker: Masker) -> None:
        super().__init__(BytesIO())
        self._mask = masker.stream()
        self._left = sys.maxsize  # no log has the rest

    def write(self, chunk: bytes) -> None:
        """Show these bytes, as far as they make whole lines."""
        super().write(self._mask.feed(chunk))

    def end(self) -> None:
        """Show what was held back: nothing follows."""
        super().write(self._mask.end())
        super().end()

    def _give(self, content: bytes) -> None:
        # As text: what stands for standard error in a notebook takes no bytes.
        if sys.stderr is not None:
            with suppress(OSError, ValueError):
                sys.stderr.write(content.decode())
