"""Where secrets come from, and who gets them.

``[secrets]`` names each secret and its one source: a variable of our environment, a command that
prints it, a file, or the keyring of this machine. A secret is read only when a stage that lists it
is about to start, kept in memory, and never shown: no message in here contains a value or what a
secret command printed.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import stat
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

from cxlocal.errors import ConfigError, CxError, Trouble
from cxlocal.files import fresh_folder, open_plain
from cxlocal.processes.family import traced
from cxlocal.processes.mask import LEAST_CHARACTERS
from cxlocal.processes.start import run_captured
from cxlocal.values import NamedTuple, Protocol

ANSWER_SECONDS = 60.0
"""Limit for a secret command or a keyring: long enough for a person to touch a hardware key."""

VALUE_BYTES = 64 * 1024
"""Largest secret: environment and pipes carry it, and private keys stay below 16 KiB."""


class SecretSource(Protocol):
    """Where one secret comes from; exactly one of the four is set (``cxlocal.config`` checks)."""

    @property
    def env(self) -> str | None: ...
    @property
    def cmd(self) -> Sequence[str] | None: ...
    @property
    def file(self) -> str | None: ...
    @property
    def keyring(self) -> str | None: ...


class Probe(NamedTuple):
    """Whether one secret could be had now, without telling it."""

    name: str
    source: str
    """``variable DEPLOY_TOKEN``, ``command pass``, ``file ~/token``, ``keyring shop/deploy``."""
    ok: bool
    problem: str
    """Why not, or what is unwise about it; empty when there is nothing to say."""


def resolve(
    sources: Mapping[str, SecretSource],
    wanted: Iterable[str],
    *,
    environ: Mapping[str, str],
    folder: Path,
    alone: bool = False,
) -> dict[str, str]:
    """The values of the ``wanted`` secrets.

    ``alone``: nobody asked for what is in ``folder`` to be run. A command then starts in a folder that
    holds the files its words name (``files_named``), to which somebody agreed, and nothing else.

    ``environ`` is the environment we were started with; relative files and commands start at
    ``folder``. Raises ConfigError for a name without a source and Trouble, name ``no-secret``, for
    a source that does not give a usable value.
    """
    values: dict[str, str] = {}
    for name in wanted:
        source = sources.get(name)
        if source is None:
            raise ConfigError(
                f"secret {name} has no source",
                why=f"the known ones are: {', '.join(sorted(sources)) or 'none'}",
                hint=f'add to [secrets]: {name} = {{ env = "{name}" }}',
                name="unknown-secret",
            )
        values[name] = _usable(name, source, _read(name, source, environ, folder, alone))
    return values


def probe(
    sources: Mapping[str, SecretSource], *, environ: Mapping[str, str], folder: Path
) -> list[Probe]:
    """For each secret whether it can be had here and now. Reads every source, its command alone with
    what it names; tells no value."""
    found: list[Probe] = []
    for name, source in sources.items():
        try:
            value = resolve(sources, [name], environ=environ, folder=folder, alone=True)[name]
        except CxError as error:
            found.append(Probe(name, describe(source), False, error.why or error.what))
        else:
            found.append(Probe(name, describe(source), True, _unwise(source, folder, value)))
    return found


def describe(source: SecretSource) -> str:
    """A source in words."""
    if source.env is not None:
        return f"variable {source.env}"
    if source.cmd is not None:
        # Only the program: arguments may themselves be a credential.
        return f"command {source.cmd[0] if source.cmd else '(empty)'}"
    return f"file {source.file}" if source.file is not None else f"keyring {source.keyring}"


def _unwise(source: SecretSource, folder: Path, value: str) -> str:
    if len(value) < LEAST_CHARACTERS:
        return f"it is shorter than {LEAST_CHARACTERS} characters and cannot be masked in logs"
    if source.file is not None:
        mode = _path(source.file, folder).stat().st_mode
        if mode & (stat.S_IRWXG | stat.S_IRWXO):
            return f"others on this machine may read the file (mode {stat.S_IMODE(mode):04o})"
    return ""


def files_named(words: Iterable[str], folder: Path) -> list[str]:
    """Those of ``words`` that name a plain file, from ``folder``."""
    found = []
    for word in sorted(set(words)):
        with contextlib.suppress(OSError, ValueError), open_plain(folder / word):
            found.append(word)
    return found


def _ask_alone(
    name: str, source: SecretSource, argv: list[str], environ: Mapping[str, str], folder: Path
) -> bytes:
    own = {key: value for key, value in environ.items() if key != "OLDPWD"}
    with fresh_folder() as bare:
        for word in files_named(argv, folder):
            place = Path(os.path.normpath(bare / word))
            if place.is_relative_to(bare):  # else it is named as a whole, or leads to nothing here
                place.parent.mkdir(parents=True, exist_ok=True)
                with open_plain(folder / word) as content, place.open("wb") as file:
                    shutil.copyfileobj(content, file)
                    place.chmod(stat.S_IMODE(os.fstat(content.fileno()).st_mode) | stat.S_IRUSR)
        try:
            return _ask(name, source, argv, {**own, "PWD": str(bare)}, bare)
        except Trouble as error:
            raise _no_secret(name, source, error.why, ALONE) from error


ALONE = (
    "outside of a run its command starts in a folder that holds no files but those its words name:"
    " name what it reads"
)


def _read(
    name: str, source: SecretSource, environ: Mapping[str, str], folder: Path, alone: bool
) -> bytes:
    if source.env is not None:
        value = environ.get(source.env)
        if value is None:
            raise _no_secret(
                name, source, "it is not set", f"export {source.env}, or name another source"
            )
        return os.fsencode(value)
    if source.cmd is not None:
        ask = _ask_alone if alone else _ask
        return ask(name, source, list(source.cmd), environ, folder)
    if source.file is not None:
        path = _path(source.file, folder)
        try:
            with path.open("rb") as file:
                return file.read(VALUE_BYTES + 1)
        except OSError as error:
            why = f"{path}: {error.strerror}"
            raise _no_secret(name, source, why, "put the secret there, readable by you") from error
    return _from_keyring(name, source, environ, folder)


def _path(text: str, folder: Path) -> Path:
    return folder / Path(text).expanduser()


def _ask(
    name: str, source: SecretSource, argv: list[str], environ: Mapping[str, str], folder: Path
) -> bytes:
    """What a command prints. It gets our whole environment: it is the person's own tool."""
    env, kill = traced(environ)
    try:
        answer = run_captured(
            argv,
            cwd=folder,
            env=env,
            kill=kill,
            timeout_seconds=ANSWER_SECONDS,
            output_limit=VALUE_BYTES + 1,
        )
    except Trouble as error:
        raise _no_secret(name, source, f"{error.what}: {error.why}", error.hint) from error
    if answer.timed_out:
        why = f"no answer within {ANSWER_SECONDS:.0f} s"
    elif answer.code:
        why = f"it ended with {answer.code}"
    else:
        return answer.stdout
    raise _no_secret(name, source, why, "run the command by hand and see what it says")


def _from_keyring(
    name: str, source: SecretSource, environ: Mapping[str, str], folder: Path
) -> bytes:
    """Ask the system's own program: ``security`` on macOS, ``secret-tool`` (libsecret) on Linux."""
    service, _, user = (source.keyring or "").rpartition("/")
    if not service or not user:
        raise ConfigError(
            f"secret {name}: {source.keyring!r} does not name an entry of the keyring",
            why="an entry of the keyring has a service and a user",
            hint="write it as service/user",
            name="bad-keyring-entry",
        )
    return _ask(name, source, keyring_command(service, user, sys.platform), environ, folder)


def keyring_command(service: str, user: str, platform: str) -> list[str]:
    """The command that prints an entry of the keyring on this kind of machine. Pure."""
    if platform == "darwin":
        return ["security", "find-generic-password", "-w", "-s", service, "-a", user]
    return ["secret-tool", "lookup", "service", service, "username", user]


def _usable(name: str, source: SecretSource, raw: bytes) -> str:
    """The value without the line end that editors and ``echo`` add."""
    checks: tuple[tuple[Callable[[], bool], str], ...] = (
        (lambda: len(raw) > VALUE_BYTES, f"it is longer than {VALUE_BYTES} bytes"),
        (lambda: not raw.rstrip(b"\r\n"), "it is empty"),
        (lambda: b"\0" in raw, "it holds a zero byte, which no environment can carry"),
    )
    for wrong, why in checks:
        if wrong():
            raise _no_secret(name, source, why, "correct the value at its source")
    # A key of several lines keeps its last line end: some programs insist on it.
    value = raw.rstrip(b"\r\n") if raw.rstrip(b"\r\n").count(b"\n") == 0 else raw
    return os.fsdecode(value)


def _no_secret(name: str, source: SecretSource, why: str, hint: str) -> Trouble:
    where = describe(source)
    return Trouble(
        f"secret {name} cannot be had from {where}",
        why=why,
        hint=hint,
        name="no-secret",
        secret=name,
        source=where,
    )
