"""The tool ``debian-repository``: packages in a repository that reprepro keeps.

What is there is read where apt reads it: the SHA-256 in ``Packages`` of the repository itself. reprepro refuses a
file of the same name and other bytes, and works under a lock of its own.
"""

from __future__ import annotations

import gzip
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
        except (OSError, ValueError) as problem:
            return _unknown(ctx, str(getattr(problem, "strerror", problem)), "unreached")
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
    """The digest and the file of each package in a distribution."""
    found: dict[Key, tuple[str, str]] = {}
    for index in sorted(folder.glob("*/binary-*/Packages*")):
        if index.name == "Packages":
            text = index.read_text("utf-8", "replace")
        elif index.name == "Packages.gz":
            with gzip.open(index) as packed:
                text = packed.read(INDEX_BYTES).decode("utf-8", "replace")
        else:
            continue
        for paragraph in text.split("\n\n"):
            fields = _fields(paragraph)
            if "Package" in fields:
                found[_key(fields)] = (fields.get("SHA256", ""), fields.get("Filename", ""))
    return found


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
    return Held(
        state="same" if digest == wanted else "other", wanted=wanted, held=digest,
        location=(_base(ctx) / file).as_uri(),
    )  # fmt: skip


@hookimpl
def cxlocal_register_tools() -> list[type[Tool]]:
    """The tool."""
    return [DebianRepository]
