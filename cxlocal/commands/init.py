"""``cxlocal init``: look at the repository, write a first ``cx.toml``, say what comes next."""

from __future__ import annotations

import difflib
import os
import shlex
import shutil
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import click

from cxlocal.commands.frame import command
from cxlocal.commands.output import put
from cxlocal.commands.terminal import say, warn
from cxlocal.config.load import parse
from cxlocal.config.locate import CONFIG_NAME
from cxlocal.errors import CxError, Refused, UsageError
from cxlocal.files import write_whole
from cxlocal.plan.resolve import resolve
from cxlocal.revision.proof import remote_tags
from cxlocal.revision.remotes import remotes
from cxlocal.revision.repository import Repository, dated_tags, known_files, open_repository
from cxlocal.survey.members import Member, members, neighbours
from cxlocal.survey.others import ENGINES
from cxlocal.survey.propose import IGNORED, Proposal, propose
from cxlocal.survey.recognise import recognise
from cxlocal.survey.tree import Survey, Tag

READ_MAX_BYTES = 1024 * 1024
"""Of one file; build files beyond this are generated ones."""

FILES_MAX = 50_000
"""Files looked at by name where there is no git to list them."""

REMOTE_SECONDS = 3.0
"""How long the remote's tags are waited for: without them those of this clone count."""


@command(
    examples=[
        ("cxlocal init", "write cx.toml for this repository"),
        ("cxlocal init --print", "only show what would be written"),
        ("cxlocal init --all", "in a workspace: one for each thing that is released"),
        ("cxlocal init --force", "write it anew"),
    ]
)
@click.option("--print", "only_print", is_flag=True, help="Show the file, write nothing.")
@click.option("--force", is_flag=True, help="Replace a cx.toml that is there.")
@click.option("--all", "everything", is_flag=True, help="One for each deliverable of a workspace.")
@click.option("--offline", is_flag=True, help="Do not ask the remote for its tags.")
def init(only_print: bool, force: bool, everything: bool, offline: bool) -> None:
    """Describe the release of this repository: write a first cx.toml.

    Looks at build files, locks, tests and versions, at the remotes and their tags. Counting starts
    above the highest version that a tag or a file names. The file is yours from then on: at most 30
    lines, with comments. docs/init.md says what it knows.
    """
    folder = Path.cwd()
    repository = _repository(folder)
    survey = _survey(folder, repository, offline=offline)
    asks = not only_print and sys.stdin.isatty() and sys.stderr.isatty()
    chosen = _chosen(survey, everything=everything, asks=asks)
    top = repository.root if repository else folder
    for one in chosen:
        _init_one(survey.at(one.folder), one, top, only_print=only_print, force=force, asks=asks,
            many=len(chosen) > 1)  # fmt: skip
    if only_print:
        return
    if repository is None:
        warn("This is not a git repository yet; cxlocal releases pushed commits only (git init).")
        return
    _ignore(folder)
    if not survey.remotes:
        warn("The repository has no remote yet; a release needs one (git remote add origin URL).")
    where = "" if chosen[0].folder == survey.prefix else f" -C {shlex.quote(chosen[0].folder)}"
    say(f"Read it, then try it on the files as they are:  cxlocal{where} rehearse")
    say(f"When it is right, commit it, push, and release:  cxlocal{where} run")


def _chosen(survey: Survey, *, everything: bool, asks: bool) -> list[Member]:
    """For which folders a file is written: the one we stand in, or those of a workspace."""
    if survey.prefix:
        return [Member(survey.prefix, recognise(survey))]
    found = members(survey)
    if everything or (len(found) == 1 and not found[0].folder):
        return found
    say(f"This repository releases {len(found)} things, each under its own numbers:")
    for one in found:
        say(f"  {one.folder or '.'}  {one.recipe.title}")
    if asks:
        wanted = [one for one in found if _confirm(f"Write {_file(one)}?")]
        if wanted:
            return wanted
    elif not found[0].folder:
        say("Written is the one of the top; the others: cxlocal init --all")
        return found[:1]
    raise UsageError(
        "there is not one deliverable here but several",
        why="each is counted and released by itself, by a cx.toml in its own folder",
        hint=f"cxlocal init --all, or one of them: cxlocal -C {shlex.quote(found[-1].folder)} init",
        name="several-deliverables",
    )


def _file(one: Member) -> str:
    return f"{one.folder}/{CONFIG_NAME}".lstrip("/")


def _confirm(question: str) -> bool:
    try:
        return click.confirm(question, default=True, err=True)
    except (click.Abort, OSError):
        raise KeyboardInterrupt from None


def _init_one(
    survey: Survey, one: Member, top: Path, *, only_print: bool, force: bool, asks: bool, many: bool
) -> None:
    """Propose, ask where sources disagree, write, and say what was found."""
    alone = not neighbours(survey)
    proposal = propose(survey, one.recipe, alone=alone)
    known = proposal.standing
    if asks and known.other is not None:
        say("; ".join(proposal.because) + ".")
        if not _confirm(f"Count on with {known.start.example} (no: {known.other.example})?"):
            proposal = propose(survey, one.recipe, alone=alone, start=known.other)
    # What we write must hold; if it does not, that is ours to notice, before anything is written.
    resolve(parse(proposal.text))
    if only_print:
        put(f"# {_file(one)}\n{proposal.text}" if many else proposal.text, nl=False)
        return
    path = top / one.folder / CONFIG_NAME
    shown = _file(one) if many else CONFIG_NAME
    if _text(path) == proposal.text:
        say(f"{shown} is already there, as it would be written now.")
        return
    _write(path, proposal.text, force=force)
    say(f"Wrote {shown} for {proposal.title}.")
    _say_found(proposal)


def _say_found(proposal: Proposal) -> None:
    """Where the version comes from, and what a person must still see to."""
    if proposal.because:
        said = ", ".join(proposal.because)
        say(f"Versions go on where they are: {said}. Next is {proposal.standing.start.example}.")
    if not proposal.recipe.tests:
        warn("No tests were found: nothing is tested until cx.toml has a stage of kind test.")
    if proposal.system:
        say(f"{proposal.system_by} names packages of the system; they are yours to install:")
        say("  " + " ".join(proposal.system))
    missing = [one for one in dict.fromkeys(proposal.recipe.needs) if shutil.which(one) is None]
    if missing:
        warn(f"Not on this machine, and its stages need it: {', '.join(missing)}")


# what there is to know


def _repository(folder: Path) -> Repository | None:
    try:
        return open_repository(folder)
    except UsageError as error:
        if error.name in ("not-a-repository", "no-git"):
            return None
        raise


def _survey(folder: Path, repository: Repository | None, *, offline: bool) -> Survey:
    if repository is None or repository.bare:
        files = frozenset(_walk(folder))
        return Survey(folder.name, files, _Texts(folder, files))
    files = frozenset(known_files(repository))
    return Survey(
        folder=folder.name,
        files=files,
        texts=_Texts(repository.root, files),
        remotes=tuple(remotes(repository)),
        tags=_tags(repository, offline=offline),
        prefix=repository.prefix.rstrip("/"),
        tools=frozenset(one for one in ENGINES if shutil.which(one)),
    )


def _tags(repository: Repository, *, offline: bool) -> tuple[Tag, ...]:
    """The tags of this clone with their days, and those that only the remote has."""
    here = [
        Tag(name, *(int(part) for part in day.split("-"))) if day else Tag(name)
        for name, day in dated_tags(repository)
    ]
    if offline or not remotes(repository):
        return tuple(here)
    told = remote_tags(repository, budget_seconds=REMOTE_SECONDS)
    if told is None:
        warn("The remote did not tell its tags; those of this clone count.")
    known = {one.name for one in here}
    return (*here, *(Tag(name) for name in told or () if name not in known))


def _walk(folder: Path) -> Iterator[str]:
    """The files below a folder that git does not know."""
    count = 0
    for base, folders, names in os.walk(folder):
        folders[:] = [
            one for one in sorted(folders) if one not in (".git", "node_modules", ".venv")
        ]
        for name in names:
            count += 1
            if count > FILES_MAX:
                return
            yield (Path(base) / name).relative_to(folder).as_posix()


class _Texts(Mapping[str, str]):
    """The content of files, read when asked for. What cannot be read, or is no text, is absent."""

    def __init__(self, root: Path, files: frozenset[str]) -> None:
        self._root, self._files = root, files
        self._read: dict[str, str | None] = {}

    def __getitem__(self, name: str) -> str:
        if name not in self._files:
            raise KeyError(name)
        if name not in self._read:
            self._read[name] = _text(self._root / name)
        text = self._read[name]
        if text is None:
            raise KeyError(name)
        return text

    def __iter__(self) -> Iterator[str]:
        return iter(self._files)

    def __len__(self) -> int:
        return len(self._files)


def _text(path: Path) -> str | None:
    """The content of a regular file; None for anything else, and for what is not text."""
    try:
        if not path.is_file():
            return None
        with path.open("rb") as stream:
            return stream.read(READ_MAX_BYTES).decode("utf-8")
    except (OSError, UnicodeDecodeError):
        return None


# what is written


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
