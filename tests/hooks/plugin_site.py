"""Plugins installed into a folder of their own, and a manager that finds them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from cxlocal.hooks import manager

HEAD = """
from cxlocal.hooks.specs import hookimpl
from cxlocal.hooks.tool import Done, Tool

"""
TOOL = (
    HEAD
    + """
class {kind}(Tool):
    name = "{name}"
    def build(self, ctx):
        return Done()

@hookimpl
def cxlocal_register_tools():
    return [{kind}]
"""
)


def install(site: Path, name: str, code: str, *, target: str = "") -> None:
    """A distribution ``cxlocal-NAME`` with one module of a name of its own."""
    module = f"plugin_{site.parent.name}_{name}".replace("-", "_")
    metadata = site / f"cxlocal_{name.replace('-', '_')}-1.2.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: cxlocal-{name}\nVersion: 1.2")
    (metadata / "entry_points.txt").write_text(
        f"[console_scripts]\nx = y\n\n[cxlocal]\n{name} = {target or module}\n"
    )
    (site / f"{module}.py").write_text(code)


class Seen:
    """A manager with what it warned of."""

    def __init__(self, environ: dict[str, str] | None = None, **options: Any) -> None:
        self.warnings: list[str] = []
        self.manager = manager.load(environ or {}, warn=self.warnings.append, **options)

    def row(self, name: str) -> manager.PluginRow:
        return {row.name: row for row in self.manager.rows}[name]
