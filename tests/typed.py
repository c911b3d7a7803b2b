"""Pages whose examples are executed: what a fence says is typed, written or compared.

``console`` is typed and its lines compared (``…`` for what differs each time); of the others the word
after the language is a file, written (``> FILE``), added to (``>> FILE``), or compared (``FILE``).
"""

from __future__ import annotations

import re
import subprocess
import tomllib
from pathlib import Path
from typing import Any

FENCE = re.compile(r"^```(\S+) ?([^\n]*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
COMMAND_SECONDS = 150


def type_in(folder: Path, console: str) -> None:
    """Call each command and find its lines in what it said, in their order."""
    for call in re.split(r"^\$ ", console, flags=re.MULTILINE)[1:]:
        command, *lines = call.rstrip("\n").split("\n")
        done = subprocess.run(
            ["bash", "-ec", command], cwd=folder, capture_output=True, text=True,
            timeout=COMMAND_SECONDS, check=False, stdin=subprocess.DEVNULL,
        )  # fmt: skip
        said = done.stdout + done.stderr
        assert done.returncode == 0, f"{command} ended in {done.returncode}:\n{said}"
        at = 0
        for line in lines:
            wanted = ".*".join(map(re.escape, line.strip().split("…")))
            found = re.compile(wanted).search(said, at)
            assert found, f"{command} does not say {line!r} there:\n{said}"
            at = found.end()


def place(folder: Path, file: str, text: str) -> None:
    """Write, add to, or compare a file, as its sign says."""
    sign, _, name = file.rpartition(" ")
    path = folder / name
    if sign == ">":
        path.write_text(text)
    elif sign == ">>":
        with path.open("a") as opened:
            opened.write(text)
    else:
        written = tomllib.loads(path.read_text())
        assert holds(written, tomllib.loads(text)), (
            f"{name} does not hold that:\n{path.read_text()}"
        )


def holds(written: Any, shown: Any) -> bool:
    """Whether everything that is shown stands in what was written."""
    if isinstance(shown, dict):
        return isinstance(written, dict) and all(
            key in written and holds(written[key], value) for key, value in shown.items()
        )
    return bool(written == shown)
