"""A recipe: what is proposed for a repository of one kind, and the pieces all kinds share."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Mapping

from cxlocal.survey.counting import Said
from cxlocal.survey.tree import Survey, first_match, readable_pattern
from cxlocal.values import NamedTuple

Inline = Mapping[str, object]
"""A table on one line: texts, lists of texts, or such tables again."""


class Place(NamedTuple):
    """Versions that files name, and how the first of them is stamped."""

    said: tuple[Said, ...] = ()
    stamp: tuple[Inline, ...] = ()
    note: str = ""
    """What a person must know, where no stamp can write it."""


class Recipe(NamedTuple):
    """What is proposed for a repository."""

    title: str
    """What it was taken for, in words."""
    stages: Mapping[str, Inline]
    name: str = ""
    place: Place = Place()
    """Where its version stands."""
    scheme: str = "semver"
    strict: bool = False
    """Its tools take versions of three numbers and no others (npm, Cargo, Helm)."""
    tests: tuple[str, ...] = ()
    """The stages that earn PASSED_TEST."""
    needs: tuple[str, ...] = ()
    """Programs its commands start, beside those every system has."""
    notes: tuple[str, ...] = ()
    """Further things a person must know; comments of the file."""
    released: bool = True
    """Whether it is made to be released; not so for a private package, or a folder of files."""


def by_pattern(survey: Survey, file: str, *patterns: str) -> Place | None:
    """The version in ``file`` that the first fitting pattern finds, once; None where none does."""
    text = survey.text(file)
    for pattern in patterns:
        try:
            found = first_match(pattern, text)
        except re.error:
            continue  # It came from a file of the project.
        if re.match(r"\d", found):
            stamp = {"file": file, "pattern": readable_pattern(pattern, text)}
            return Place((Said(found, file),), (stamp,))
    return None


def by_key(file: str, key: str, version: str) -> Place:
    """The version at a key of a JSON or TOML file; nothing where it is empty."""
    return Place((Said(version, file),), ({"file": file, "key": key},)) if version else Place()


PLAIN = r"\A\s*v?(\d\S*)\s*\Z"
"""A file that holds the version and nothing else."""


def version_file(survey: Survey) -> Place | None:
    """A file called ``VERSION``."""
    found = (by_pattern(survey, one, PLAIN) for one in ("VERSION", "VERSION.txt", "version.txt"))
    return next(filter(None, found), None)


def needs(*names: str) -> dict[str, object]:
    """The key ``needs`` with the stages that exist; nothing without any."""
    found = [name for name in names if name]
    return {"needs": found} if found else {}


def archive(
    name: str, *, folder: str = "", before: str = "", without: Iterable[str] = ()
) -> dict[str, object]:
    """The keys of a stage that packs files, the version in the file name.

    ``folder``: where the files are, the checkout if empty; ``before``: a command that puts them
    there; ``without``: further folders that stay out.
    """
    file = f"dist/{name}-$CXLOCAL_VERSION.tar.gz"
    # `./dist` itself is left out: tar would read the file it is writing.
    out = "".join(f" --exclude=./{one}" for one in ("dist", ".git", *without))
    way = f" -C {shlex.quote(folder)}" if folder else out
    command = f'mkdir -p dist && tar{way} -czf "{file}" .'
    return {
        "kind": "build",
        "command": f"{before} && {command}" if before else command,
        "produces": {"package": f"dist/{name}-[0-9]*.tar.gz"},
    }
