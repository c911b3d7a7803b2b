"""The tool ``wheel``: builds a Python wheel from the checkout (PEP 517) and checks its version.

It works without a network where everything the build needs is installed beside cxlocal: the build
then runs in this environment. Otherwise the build makes an environment of its own, for which pip
needs an index or a folder of wheels (``PIP_FIND_LINKS``).
"""

from __future__ import annotations

import sys
import tomllib
import zipfile
from email.parser import Parser
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from packaging.requirements import InvalidRequirement, Requirement
from packaging.version import InvalidVersion, Version

from cxlocal.hooks.specs import hookimpl
from cxlocal.hooks.tool import Context, Done, Produced, Tool, ToolFailure

LEGACY_REQUIRES = ("setuptools>=70.1",)
"""What a project without a ``[build-system]`` table needs (PEP 517); from this version on
setuptools makes wheels without a further package."""
METADATA_BYTES_MAX = 4 * 1024 * 1024
"""Of a wheel's METADATA; long descriptions of real packages stay below 1 MiB."""


class Wheel(Tool):
    """Builds one wheel. An artifact that says another version than the run's is refused."""

    name = "wheel"
    api = 1
    title = "Python wheel"

    class Options(Tool.Options, frozen=True):
        """``folder``: where pyproject.toml is. ``artifact``: the name in ``produces``."""

        folder: str = "."
        artifact: str = "wheel"

    def build(self, ctx: Context) -> Done:
        """Build, then read name and version from the wheel itself."""
        source = (ctx.checkout / ctx.options.folder).resolve()
        if not source.is_relative_to(ctx.checkout.resolve()):
            raise ToolFailure(f"folder {ctx.options.folder!r} lies outside of the checkout")
        if not (source / "pyproject.toml").is_file() and not (source / "setup.py").is_file():
            raise ToolFailure(f"there is no pyproject.toml in {ctx.options.folder}")
        target = ctx.scratch / "dist"
        here = missing_requirements(source)
        command = [sys.executable, "-P", "-m", "build", "--wheel", "--outdir", str(target)]
        if not here:
            command += ["--no-isolation"]
        else:
            ctx.progress(f"not installed beside cxlocal: {', '.join(here)}; building isolated")
        ctx.exec([*command, str(source)], env=_environment(ctx))
        path = _only_wheel(target)
        name, said = read_metadata(path)
        if not same_version(said, ctx.version):
            raise ToolFailure(
                f"the wheel says version {said}, the run has {ctx.version}: add the place where"
                " the version is written to [version] stamp in cx.toml"
            )
        made = Produced(
            name=ctx.options.artifact,
            path=path,
            purl=f"pkg:pypi/{name}@{said}",
            # In the run's own spelling: the metadata may hold it in the normal form of PEP 440.
            version=ctx.version,
            media_type="application/zip",
        )
        details = {"isolated": bool(here), "file": path.name}
        return Done(artifacts=(made,), details=details, tool_version=version("build"))


def missing_requirements(source: Path) -> list[str]:
    """What the build needs and this environment lacks; empty when all is here."""
    try:
        table: dict[str, Any] = tomllib.loads((source / "pyproject.toml").read_text("utf-8"))
    except FileNotFoundError:
        table = {}
    requires = table.get("build-system", {}).get("requires", list(LEGACY_REQUIRES))
    return [text for text in requires if not _is_here(text)]


def _is_here(text: str) -> bool:
    try:
        requirement = Requirement(text)
    except InvalidRequirement:
        return False
    if requirement.marker is not None and not requirement.marker.evaluate():
        return True
    try:
        found = version(requirement.name)
    except PackageNotFoundError:
        return False
    return requirement.specifier.contains(found, prereleases=True)


def _environment(ctx: Context) -> dict[str, str]:
    """The commit's time as the time of all files, so that the same commit gives the same bytes
    (https://reproducible-builds.org/specs/source-date-epoch/)."""
    answer = ctx.exec(["git", "log", "-1", "--format=SOURCE_DATE_EPOCH=%ct"], check=False)
    stamp = answer.output.strip().removeprefix("SOURCE_DATE_EPOCH=")
    return {"SOURCE_DATE_EPOCH": stamp} if answer.code == 0 and stamp.isdigit() else {}


def _only_wheel(folder: Path) -> Path:
    wheels = sorted(folder.glob("*.whl"))
    if len(wheels) != 1:
        raise ToolFailure(f"the build made {len(wheels)} wheels, one was expected")
    return wheels[0]


def read_metadata(path: Path) -> tuple[str, str]:
    """Name and version from a wheel's METADATA. Raises ToolFailure when it has none."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = [
                name
                for name in archive.namelist()
                if name.endswith(".dist-info/METADATA") and name.count("/") == 1
            ]
            with archive.open(names[0]) as file:
                text = file.read(METADATA_BYTES_MAX).decode("utf-8", "replace")
    except (zipfile.BadZipFile, IndexError, KeyError, OSError) as problem:
        raise ToolFailure(f"{path.name} is not a wheel: {problem!r}") from problem
    headers = Parser().parsestr(text, headersonly=True)
    name, said = headers.get("Name"), headers.get("Version")
    if not name or not said:
        raise ToolFailure(f"the metadata of {path.name} lacks a name or a version")
    return str(name), str(said)


def same_version(one: str, other: str) -> bool:
    """Equal as PEP 440 sees it (1.0 is 1.0.0), or letter by letter where one is no such version."""
    try:
        return Version(one) == Version(other)
    except InvalidVersion:
        return one == other


@hookimpl
def cxlocal_register_tools() -> list[type[Tool]]:
    """The tool ``wheel``."""
    return [Wheel]
