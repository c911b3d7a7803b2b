"""How people get the libraries that only some of cxlocal's parts need."""

from __future__ import annotations

import json


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
