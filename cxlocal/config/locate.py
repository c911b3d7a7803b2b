"""Where configuration files are, and the folder of the journal. Cheap: imported by every command.

Nothing is parsed unless a file is there that could name the folder of the journal.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping

from cxlocal.errors import ConfigError

CONFIG_NAME = "cx.toml"
LOCAL_NAME = "cx.local.toml"


def find_config(start: str) -> str | None:
    """The nearest ``cx.toml`` at or above the folder ``start``, or None."""
    folder = os.path.abspath(start)
    while True:
        path = os.path.join(folder, CONFIG_NAME)
        if os.path.isfile(path):
            return path
        above = os.path.dirname(folder)
        if above == folder:
            return None
        folder = above


def user_file(environ: Mapping[str, str]) -> str | None:
    """Where the file of the user would be; None for a user without a home folder.

    ``$XDG_CONFIG_HOME/cxlocal/config.toml``, else ``~/.config/cxlocal/config.toml``, on macOS too:
    people keep it together with the settings of their other command line tools.
    """
    base = environ.get("XDG_CONFIG_HOME", "")
    if not os.path.isabs(base):
        home = environ.get("HOME", "")
        if not os.path.isabs(home):
            return None
        base = os.path.join(home, ".config")
    return os.path.join(base, "cxlocal", "config.toml")


def expand(path: str, folder: str, environ: Mapping[str, str]) -> str:
    """A path from a file in ``folder``: ``~`` is the home folder, relative ones begin there."""
    if path == "~" or path.startswith("~/"):
        path = environ.get("HOME", "~") + path[1:]
    return os.path.normpath(os.path.join(folder, path))


def home_setting(environ: Mapping[str, str], local: str | None) -> str | None:
    """The folder of the journal where someone has set it: absolute path, or None.

    ``CXLOCAL_HOME``, then ``home`` in ``local`` (a ``cx.local.toml`` that counts), then in the file
    of the user. Raises ConfigError for a file that cannot be read, and for a setting that can
    be no folder: it is a file, or lies below one.
    """
    found = environ.get("CXLOCAL_HOME", "")
    if found:
        return _folder(expand(found, os.getcwd(), environ), "CXLOCAL_HOME")
    candidates = [local] if local else []
    personal = user_file(environ)
    if personal:
        candidates.append(personal)
    for path in candidates:
        if os.path.isfile(path):
            from cxlocal.config.load import read_local

            home = read_local(path).home
            if home is not None:
                return _folder(expand(home, os.path.dirname(path), environ), f"'home' in {path}")
    return None


def _folder(path: str, setting: str) -> str:
    """``path``, unless it can be no folder. Whether it can be made is seen when it is made."""
    try:
        in_the_way = not stat.S_ISDIR(os.stat(path).st_mode)
    except NotADirectoryError:
        in_the_way = True
    except OSError:
        in_the_way = False
    if in_the_way:
        while not os.path.lexists(path):
            path = os.path.dirname(path)
        raise ConfigError(
            "the journal has no folder",
            why=f"{setting} is or lies below {path}, which is not a folder",
            hint=f"set {setting} to a folder on a local disk, or leave it out",
            name="home-not-a-folder",
        )
    return path
