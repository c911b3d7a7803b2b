"""Writes docs/hooks.md from cxlocal/hooks/specs.py and the shipped plugins (``--write``)."""

from __future__ import annotations

import ast
import inspect
import re
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
import types_page

from cxlocal.hooks import specs
from cxlocal.hooks.calls import CALL_SECONDS
from cxlocal.hooks.found import SHIPPED
from cxlocal.hooks.implementations import first_result, hook_names
from cxlocal.hooks.reading import READ_SECONDS

PAGE = Path(__file__).resolve().parents[2] / "docs" / "hooks.md"

HEAD = f"""\
# Hooks

This page is made from `cxlocal/hooks/specs.py`; a test compares them
(`tests/run --write-docs` writes it). How to build a tool, from nothing:
[own-tool.md](own-tool.md); a report format: [own-reader.md](own-reader.md); a gate:
[own-gate.md](own-gate.md). Every field of what hooks take and give: [types.md](types.md). The verbs of a
tool, and what each is given: [life.md](life.md). How to work on a plugin, and what of all this holds over
releases: [developing.md](developing.md).

A plugin is a Python module (or an object in one) with functions that are named after hooks and
marked with `@hookimpl`:

```python
from cxlocal.hooks.specs import hookimpl
```

An installed plugin is announced by its distribution under the entry point group `cxlocal`. A
project can keep plugins in `.cx/plugins/*.py`; they run only after `cxlocal trust`.

## Rules

- Arguments are given by name, and a function takes only those it wants. No default values.
- Plain functions only. An unknown name, a forgotten `@hookimpl`, an `async def`, an unknown
  argument or an answer of the wrong type is an error that names plugin, hook and file.
- Plugins are loaded one by one. One that fails is warned of once and left out; nothing else stops.
  `CXLOCAL_STRICT_PLUGINS=1` makes it an error. A broken plugin of the project itself always is one.
- A call in cxlocal's own process may take {CALL_SECONDS:.0f} seconds. The verbs of tools run in worker processes under the
  time limit of their stage, and so do readers of reports: {READ_SECONDS:.0f} seconds for each report.
- Standard output belongs to the data of the command: what a plugin prints, at import, in a hook, in a
  thread or by a child process, goes to standard error. In its own commands it writes where it likes.
- It does not end the command: `os._exit` and `os.exec…` raise, wherever they are called. Processes that it divides off
  end as they like.
- A thread it leaves at work is waited for one second when the command ends. What it registered with
  `atexit` is called, unless such a thread goes on.
- Leave a plugin out: `-p no:NAME`, or for good `[plugins] block = ["NAME"]`. Load only some:
  `CXLOCAL_LOAD_PLUGINS=a,b` (empty: none but the shipped ones). See them: `cxlocal plugins`.
- `doctor`, `plugins`, `config`, `journal` and `help` load shipped plugins only.
- A gate that fails is *undecided*, which never means allow. So is an installed plugin that could not
  be loaded and may be a gate: of which it is not known what it implements, or that it implements
  `cxlocal_gate`. `[plugins] require = ["NAME"]` refuses to run without a plugin.
- What was left out of a command is recorded with its run: table `left_out`, `cxlocal show`.
- What a reader of reports answers is checked: a `Report` of `Case`s, each with one of the known outcomes,
  seconds as a number or None, texts as texts. Anything else makes the report an unreadable one.

"""


def render() -> str:
    """The page."""
    functions = {
        node.name: node
        for node in ast.parse(inspect.getsource(specs)).body
        if isinstance(node, ast.FunctionDef)
    }
    parts = [HEAD, "## The hooks, in the order of a release's life\n"]
    for name in hook_names():
        parts.append(_hook(name, functions[name]))
    return "\n".join(parts)


def _hook(name: str, node: ast.FunctionDef) -> str:
    returns = ast.unparse(node.returns) if node.returns else "None"
    text = " ".join(inspect.cleandoc(ast.get_docstring(node) or "").split())
    users = [f"`{one.name}`" for one in SHIPPED if name in one.hooks]
    lines = [
        f"### {name}\n",
        f"```python\ndef {name}({ast.unparse(node.args)}) -> {returns}\n```\n",
    ]
    lines.append(text + "\n")
    if links := _linked(node):
        lines.append(links)
    if first_result(name):
        lines.append("Plugins are asked until one answers.\n")
    if users:
        lines.append(f"Used by the shipped {', '.join(users)}.\n")
    return "\n".join(lines)


def _linked(node: ast.FunctionDef) -> str:
    """The classes of the signature that the page of types describes."""
    known = [name for _, names in types_page.CLASSES for name in names]
    named = [
        one.id
        for part in ast.walk(node)
        for one in ast.walk(part)
        if isinstance(one, ast.Name) and one.id in known
    ]
    named += re.findall(r"``(\w+)``", ast.get_docstring(node) or "")
    links = [f"[{name}](types.md#{name.lower()})" for name in dict.fromkeys(named) if name in known]
    return f"Types: {', '.join(links)}.\n" if links else ""


if __name__ == "__main__":
    if "--write" in sys.argv:
        PAGE.write_text(render(), encoding="utf-8")
    else:
        print(render())
