"""The version of cxlocal: the one place it is written.

The build reads this file as text, so that no command has to import ``importlib.metadata`` (which
costs as much as the whole command line) to know its own version.
"""

import json

VERSION = "0.1.0"


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
