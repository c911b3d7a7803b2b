"""``cxlocal init``: look at the repository, write a first ``cx.toml``, say what comes next."""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterator
from pathlib import Path

import click

from cxlocal.commands.frame import command
from cxlocal.commands.output import put
from cxlocal.commands.terminal import say, warn
from cxlocal.config.load import parse
from cxlocal.config.locate import CONFIG_NAME
from cxlocal.config.propose import IGNORED, propose
from cxlocal.config.recipes import MODULES
from cxlocal.config.survey import LOOKED_AT, Survey
from cxlocal.errors import CxError, Refused, UsageError
from cxlocal.files import write_whole
from cxlocal.plan.resolve import resolve
from cxlocal.revision.remotes import remotes
from cxlocal.revision.repository import Repository, open_repository, version_tags

READ_MAX_BYTES = 1024 * 1024
"""Of one file; build files beyond this are generated ones."""

MODULES_MAX = 50
"""Python modules looked at for ``__version__``."""


@command(
    examples=[
        ("cxlocal init", "write cx.toml for this repository"),
        ("cxlocal init --print", "only show what would be written"),
        ("cxlocal init --force", "write it anew"),
    ]
)
@click.option("--print", "only_print", is_flag=True, help="Show the file, write nothing.")
@click.option("--force", is_flag=True, help="Replace a cx.toml that is there.")
def init(only_print: bool, force: bool) -> None:
    """Describe the release of this repository: write a first cx.toml.

    Reads pyproject.toml, package.json, Cargo.toml, go.mod, pom.xml, build.gradle, CMakeLists.txt,
    Makefile, Chart.yaml or Dockerfile, the remotes and the version tags. The file is yours from
    then on: at most 25 lines, with comments.
    """
    folder = Path.cwd()
    repository = _repository(folder)
    proposal = propose(_survey(folder, repository))
    # What we write must hold; if it does not, that is ours to notice, before anything is written.
    resolve(parse(proposal.text))
    if only_print:
        put(proposal.text, nl=False)
        return
    if _text(folder / CONFIG_NAME) == proposal.text:
        say(f"{CONFIG_NAME} is already there, as it would be written now.")
        return
    _write(folder / CONFIG_NAME, proposal.text, force=force)
    say(f"Wrote {CONFIG_NAME} for {proposal.title}.")
    if proposal.because:
        say(f"Versions go on where they are: {proposal.because}.")
    if repository is None:
        warn("This is not a git repository yet; cxlocal releases pushed commits only (git init).")
        return
    _ignore(folder)
    if not _survey_remotes(repository):
        warn("The repository has no remote yet; a release needs one (git remote add origin URL).")
    say("Read it, then try it on the files as they are:  cxlocal rehearse")
    say("When it is right, commit it, push, and release:  cxlocal run")


def _repository(folder: Path) -> Repository | None:
    try:
        return open_repository(folder)
    except UsageError as error:
        if error.name in ("not-a-repository", "no-git"):
            return None
        raise


def _survey_remotes(repository: Repository) -> tuple[str, ...]:
    return tuple(remotes(repository))


def _survey(folder: Path, repository: Repository | None) -> Survey:
    """What there is to know. Files that cannot be read count as absent."""
    names = frozenset(entry.name + ("/" if entry.is_dir() else "") for entry in os.scandir(folder))
    paths = [*LOOKED_AT, *_modules(folder)]
    found = {path: text for path in paths if (text := _text(folder / path)) is not None}
    tags: tuple[str, ...] = ()
    if repository is not None:
        tags = version_tags(repository)
    return Survey(
        folder=folder.name,
        names=names,
        texts=found,
        remotes=_survey_remotes(repository) if repository else (),
        tags=tags,
        prefix=repository.prefix.rstrip("/") if repository else "",
    )


def _modules(folder: Path) -> Iterator[str]:
    """Python modules that may hold the version."""
    count = 0
    for pattern in [f"{base}*{name}" for base in ("", "src/") for name in MODULES]:
        for path in sorted(folder.glob(pattern)):
            count += 1
            if count > MODULES_MAX:
                return
            yield path.relative_to(folder).as_posix()


def _text(path: Path) -> str | None:
    """The content of a regular file; None for anything else, and for what is not text."""
    try:
        if not path.is_file():
            return None
        with path.open("rb") as stream:
            return stream.read(READ_MAX_BYTES).decode("utf-8")
    except (OSError, UnicodeDecodeError):
        return None


def _write(path: Path, text: str, *, force: bool) -> None:
    """Write the file; refuse to replace another one unless told to."""
    present = os.path.lexists(path)
    if present and not force:
        _refuse(path, text)
    try:
        write_whole(path, text, mode=0o666)
    except OSError as error:
        raise CxError(
            f"{path.name} could not be written",
            why=error.strerror or str(error),
            hint="see who may write to the folder, or show it with: cxlocal init --print",
            name="not-written",
        ) from error


def _refuse(path: Path, text: str) -> None:
    lines = difflib.unified_diff(
        (_text(path) or "").splitlines(), text.splitlines(), path.name, "proposed", lineterm="", n=1
    )
    for line in lines:
        say(line)
    raise Refused(
        f"{path.name} is already there and differs from what would be written",
        why="what a person wrote is not replaced unasked",
        hint="change it by hand, or replace it with: cxlocal init --force",
        name="already-there",
    )


def _ignore(folder: Path) -> None:
    """Add our lines to .gitignore where they are missing."""
    path = folder / ".gitignore"
    if path.is_symlink():
        warn(".gitignore is a link; add these lines yourself: " + ", ".join(IGNORED))
        return
    old = (_text(path) or "") if path.exists() else ""
    missing = [
        line for line in IGNORED if line not in (one.strip("/ ") for one in old.splitlines())
    ]
    if not missing:
        return
    start = "" if not old or old.endswith("\n") else "\n"
    with path.open("a", encoding="utf-8") as stream:
        stream.write(start + "".join(f"{line}\n" for line in missing))
    say("Added to .gitignore: " + ", ".join(missing))
