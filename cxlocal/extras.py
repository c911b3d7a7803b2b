"""How people get the libraries that only some of cxlocal's parts need."""

from __future__ import annotations

import json
import sys
from importlib import import_module
from typing import Any

from cxlocal.errors import ConfigError


def how_to_install(extra: str) -> str:
    """The command that brings the libraries of ``extra``, from where this cxlocal came: the index, or
    the folder or address that it was installed from."""
    import shlex
    from importlib.metadata import PackageNotFoundError, distribution

    try:
        source = json.loads(distribution("cxlocal").read_text("direct_url.json") or "{}")
    except (PackageNotFoundError, ValueError):
        source = {}
    wanted = f"cxlocal[{extra}]"
    if url := str(source.get("url", "")):
        vcs = source.get("vcs_info", {}).get("vcs", "")
        wanted += f" @ {f'{vcs}+' if vcs else ''}{url}"
    return f"pip install {shlex.quote(wanted)}"


def import_lean(library: str, beside: str) -> None:
    """Import ``library`` as if ``beside`` were not installed: it can do without, and loading both takes
    longer. Whoever wants that one later gets it."""
    if library in sys.modules or beside in sys.modules:
        return
    # What stands there for None counts as absent.
    sys.modules[beside] = None  # type: ignore[assignment]
    try:
        import_module(library)
    finally:
        del sys.modules[beside]


def module_of(extra: str, module: str, needed: str) -> Any:
    """A module of ours that needs the libraries of ``extra``. Raises ConfigError where they are not
    installed, for what ``needed`` says."""
    try:
        return import_module(module)
    except ImportError as error:
        raise ConfigError(
            f"{needed} needs a library that is not installed",
            why=str(error),
            hint=how_to_install(extra),
            name=f"no-{extra}-library",
        ) from error
