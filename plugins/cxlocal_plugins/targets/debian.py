"""The tool ``debian-repository``: packages in a repository that reprepro keeps.

What is there is read where apt reads it: the SHA-256 in ``Packages`` of the repository itself, as far as each of these
lists is the one that ``InRelease`` or ``Release`` names. reprepro refuses a file of the same name and other bytes, and
works under a lock of its own.
"""

from __future__ import annotations

import gzip
import hashlib
import lzma
from collections.abc import Iterator, Mapping
from contextlib import nullcontext
from fnmatch import fnmatchcase
from io import BytesIO
from itertools import takewhile
from pathlib import Path
from typing import Any

from cxlocal.hooks.specs import hookimpl
from cxlocal.hooks.tool import (
    ArtifactRef,
    Context,
    Held,
    Holdings,
    Published,
    Tool,
    ToolFailure,
    Withdrawn,
)
from cxlocal_plugins.targets.web import unknown

INDEX_BYTES = 256 * 1024 * 1024
"""Of one Packages file, unpacked."""


class DebianRepository(Tool):
    """A folder with ``conf/distributions``, as reprepro has it."""

    name = "debian-repository"
    api = 2
    title = "Debian repository"
    executables = ("reprepro", "dpkg-deb")

    class Options(Tool.Options, frozen=True):
        """``folder`` is reprepro's base folder. ``codename`` stands in its ``conf/distributions``."""

        folder: str
        codename: str
        component: str = ""

    def ask(self, ctx: Context) -> Holdings:
        """What ``Packages`` lists of each package."""
        base = _base(ctx)
        try:
            if not (base / "conf" / "distributions").is_file():
                raise FileNotFoundError(2, f"{base}/conf/distributions is not there")
            listed = _listed(base / "dists" / ctx.options.codename)
        except PermissionError as problem:
            return _unknown(ctx, str(problem.strerror), "credential")
        except (OSError, ValueError, EOFError, lzma.LZMAError) as problem:
            return _unknown(ctx, str(getattr(problem, "strerror", "") or problem), "unreached")
        return Holdings(
            files={name: _held(ctx, one, listed) for name, one in ctx.artifacts.items()}
        )

    def publish(self, ctx: Context) -> Published:
        """Include what is missing."""
        options = ["-C", ctx.options.component] if ctx.options.component else []
        for name in ctx.put:
            done = ctx.exec(
                ["reprepro", "-b", str(_base(ctx)), *options, "--ignore=extension", "includedeb",
                 ctx.options.codename, str(ctx.artifacts[name].path)],
                check=False,
            )  # fmt: skip
            if done.code:
                lines = [line for line in done.output.splitlines() if line.strip()]
                trouble = "credential" if "Permission denied" in done.output else ""
                raise ToolFailure(f"reprepro: {' '.join(lines[:2])[:300]}", trouble=trouble)
        return Published()

    def withdraw(self, ctx: Context) -> Withdrawn:
        """Who installed it keeps it; taking it out of the index is a person's decision."""
        names = " ".join(_about(ctx, one)["Package"] for one in ctx.artifacts.values())
        return Withdrawn(address=f"reprepro -b {_base(ctx)} remove {ctx.options.codename} {names}")


def _unknown(ctx: Context, why: str, trouble: Any) -> Holdings:
    return Holdings(files=dict.fromkeys(ctx.artifacts, unknown(why, trouble)))


def _base(ctx: Context) -> Path:
    base = Path(ctx.options.folder).expanduser()
    if not base.is_absolute():
        raise ToolFailure(f"folder {ctx.options.folder!r} has to begin with / or ~")
    return base


Key = tuple[str, str, str]
"""Package, version and architecture."""


def _listed(folder: Path) -> dict[Key, tuple[str, str]]:
    """The digest and the file of each package in a distribution. Raises ValueError where its lists are not those
    that it names itself: apt refuses them, and nobody knows what it would have."""
    found: dict[Key, tuple[str, str]] = {}
    if not any(folder.glob("*elease")) and not any(folder.glob("*/binary-*/Packages*")):
        return found  # nothing was ever included
    for text in _lists(
        folder, read_release(*map(_text, (folder / "InRelease", folder / "Release")))
    ):
        for paragraph in text.split("\n\n"):
            fields = _fields(paragraph)
            if "Package" in fields:
                found[_key(fields)] = (fields.get("SHA256", ""), fields.get("Filename", ""))
    return found


def _text(file: Path) -> str:
    """Empty where there is none."""
    try:
        return file.read_text("utf-8", "replace")
    except FileNotFoundError:
        return ""


def read_release(signed: str, plain: str) -> dict[str, str]:
    """The digest of each list, by its path, from ``InRelease`` and ``Release``, of which one may be empty. Raises
    ValueError where they say nothing, or two things. Pure."""
    within = "\n".join(_signed_lines(signed))
    if within and plain and within.split() != plain.split():
        raise ValueError("InRelease and Release are not the same")
    lines = (within or plain).splitlines()
    start = next((at for at, line in enumerate(lines) if line.strip() == "SHA256:"), len(lines))
    rows = (line.split() for line in takewhile(lambda line: line[:1] == " ", lines[start + 1 :]))
    found = {row[2]: row[0] for row in rows if len(row) == 3}
    if not found:
        raise ValueError("neither InRelease nor Release names its lists with their SHA256")
    return found


def _signed_lines(text: str) -> Iterator[str]:
    """What is signed in a text signed in the clear (RFC 9580, 7)."""
    _, _, rest = text.partition("\n\n")
    for line in rest.splitlines() if text.startswith("-----BEGIN PGP SIGNED MESSAGE-----") else ():
        if line.startswith("-----BEGIN PGP SIGNATURE-----"):
            return
        yield line.removeprefix("- ")


def _lists(folder: Path, named: Mapping[str, str]) -> Iterator[str]:
    """The text of each list of packages, in the first of its forms that is there. Raises ValueError."""
    for path in sorted(
        {path.rpartition(".")[0] if path.endswith(FORMS) else path for path in named}
    ):
        if not fnmatchcase(path, "*/binary-*/Packages"):
            continue
        for form in ("", *FORMS):
            file = folder / f"{path}{form}"
            if f"{path}{form}" not in named or not file.is_file():
                continue
            raw = file.read_bytes()
            if hashlib.sha256(raw).hexdigest() != named[f"{path}{form}"]:
                raise ValueError(f"{path}{form} is not the list that Release names")
            with OPENERS[form](BytesIO(raw)) as unpacked:
                yield unpacked.read(INDEX_BYTES).decode("utf-8", "replace")
            break
        else:
            raise ValueError(f"{path} is named by Release, and not there")


FORMS = (".gz", ".xz")
OPENERS: dict[str, Any] = {"": nullcontext, ".gz": gzip.open, ".xz": lzma.open}


def _fields(paragraph: str) -> dict[str, str]:
    lines = (
        line.partition(": ") for line in paragraph.splitlines() if line[:1] not in ("", " ", "\t")
    )
    return {name: value.strip() for name, _, value in lines}


def _key(fields: dict[str, str]) -> Key:
    return fields.get("Package", ""), fields.get("Version", ""), fields.get("Architecture", "")


def _about(ctx: Context, one: ArtifactRef) -> dict[str, str]:
    """What the package says of itself. Raises ToolFailure."""
    command = ["dpkg-deb", "-f", str(one.path), "Package", "Version", "Architecture"]
    done = ctx.exec(command, check=False)
    if done.code:
        raise ToolFailure(f"{one.path.name} is no Debian package: name the artifacts of the target")
    return _fields(done.output)


def _held(ctx: Context, one: ArtifactRef, listed: dict[Key, tuple[str, str]]) -> Held:
    wanted = f"sha256:{one.sha256}"
    if not one.path.is_file():
        return unknown("its bytes are not here to be compared", "")
    package, version, architecture = _key(_about(ctx, one))
    found = listed.get((package, version, architecture))
    if found is None:
        there = sorted({key[1] for key in listed if key[0] == package})
        return Held(
            state="absent", wanted=wanted, why=f"it has {', '.join(there)}" if there else ""
        )
    digest, file = f"sha256:{found[0]}", found[1]
    return Held.compared(wanted, digest, location=(_base(ctx) / file).as_uri())


@hookimpl
def cxlocal_register_tools() -> list[type[Tool]]:
    """The tool."""
    return [DebianRepository]
