"""What the commands about served stores share."""

from __future__ import annotations

import importlib
import shlex
import ssl
from pathlib import Path
from typing import Any

from cxlocal.commands.terminal import harmless
from cxlocal.errors import ConfigError, UsageError
from cxlocal.extras import how_to_install


def server_part(name: str) -> Any:
    """A module of the server. Raises ConfigError where its libraries are missing."""
    try:
        return importlib.import_module(f"cxlocal_sync.http.{name}")
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("cxlocal"):
            raise
        raise ConfigError(
            "serving a store needs libraries that are not installed",
            why=str(error),
            hint=how_to_install("server"),
            name="no-server-library",
        ) from error


def how_to_join(address: str, code: str, authority_file: str) -> str:
    """The whole command for the machine that shall be enrolled."""
    words = ["cxlocal", "store", "join", address, "--code", code]
    if authority_file:
        words += ["--ca", authority_file]
    return shlex.join(harmless(word) for word in words)


def read_authority(file: str) -> tuple[str, str]:
    """PEM text of an authority and where it lies. Raises UsageError, which names the file."""
    path = Path(file).absolute()
    try:
        text = path.read_text(encoding="ascii", errors="replace")
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cadata=text)
    except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
        cause = str(error) if isinstance(error, ValueError) else error.strerror or str(error)
        raise UsageError(
            f"{file} is no file of an authority",
            why="it holds no certificate" if path.is_file() else f"it cannot be read: {cause}",
            hint="--ca wants the certificate of the authority, PEM: text that begins with"
            " -----BEGIN CERTIFICATE-----",
            name="bad-authority",
        ) from error
    return text, str(path)
