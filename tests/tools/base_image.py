"""The image that the example begins with, made of this machine's own Python: nothing is fetched."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

from engine_kit import Engine

NAME = "docker.io/library/python:3.11-slim"
LEFT_OUT = ("test", "idlelib", "tkinter", "lib2to3", "ensurepip", "__pycache__", "dist-packages")


def make(engine: Engine, folder: Path) -> None:
    """Put it into the engine's storage."""
    python = Path("/usr/bin/python3").resolve()
    library = Path("/usr/lib") / python.name
    root = folder / "root"
    shutil.copytree(library, root / str(library)[1:], ignore=shutil.ignore_patterns(*LEFT_OUT))
    programs = [python, *library.glob("lib-dynload/*.so")]
    for path in [python, *libraries(programs)]:
        place = root / str(path)[1:]
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, place)
    os.symlink(python, root / "usr/bin/python3")
    (folder / "Dockerfile").write_text("FROM scratch\nCOPY root /\n")
    environ = {**os.environ, **engine.env}
    command = ["buildah", "build", "--quiet", "--tag", NAME, str(folder)]
    subprocess.run(command, env=environ, check=True, capture_output=True)


def libraries(programs: list[Path]) -> set[Path]:
    """The libraries that programs load, and what loads them."""
    said = subprocess.run(["ldd", *programs], capture_output=True, text=True, check=True).stdout
    return {Path(one) for one in re.findall(r"(/\S+) \(0x", said)}
