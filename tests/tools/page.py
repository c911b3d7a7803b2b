"""What docs/tools.md shows, for tests that carry it out."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

PAGE = Path(__file__).resolve().parents[2] / "docs" / "tools.md"


def blocks(tool: str, kind: str = "toml") -> list[str]:
    """The blocks of one kind in the section of a tool."""
    section = PAGE.read_text("utf-8").split(f"\n## {tool}\n")[1].split("\n## ")[0]
    return re.findall(rf"```{kind}\n(.*?)```", section, re.DOTALL)


def options(tool: str) -> dict[str, Any]:
    """The options of the one component that is shown for a tool."""
    [component] = tomllib.loads(blocks(tool)[0])["components"].values()
    return dict(component["with"])
