"""The tool ``wheel``: builds a Python wheel from the checkout (PEP 517) and checks its version.

It works without a network where everything the build needs is installed beside cxlocal: the build
then runs in this environment. Otherwise the build makes an environment of its own, for which pip
needs an index or a folder of wheels.
"""

from __future__ import annotations

import json
import os
import sys
from importlib.metadata import version
from pathlib import Path

from packaging.utils import InvalidWheelFilename, parse_wheel_filename

from cxlocal.errors import Trouble
from cxlocal.hooks.carried import same_version
from cxlocal.hooks.specs import hookimpl
from cxlocal.hooks.tool import Completed, Context, Done, Produced, Tool, ToolFailure
from cxlocal_plugins.build_wheel import MISSING, NOT_INSTALLED
from cxlocal_plugins.wheel_file import Metadata, read_metadata

PIP = {"PIP_RETRIES": "2", "PIP_DISABLE_PIP_VERSION_CHECK": "1", "PIP_NO_INPUT": "1"}
"""An index that is away must be noticed within seconds."""

TOLD = (
    "SETUPTOOLS_SCM_PRETEND_VERSION",  # setuptools-scm, hatch-vcs
    "PBR_VERSION",
    "PDM_BUILD_SCM_VERSION",
    "POETRY_DYNAMIC_VERSIONING_BYPASS",
)
"""By these, backends that would read the version from tags of git are told the version of the run."""


class Wheel(Tool):
    """Builds one wheel. An artifact that says another version than the run's is refused."""

    name = "wheel"
    api = 2
    title = "Python wheel"

    class Options(Tool.Options, frozen=True):
        """``folder``: where pyproject.toml is. ``artifact``: the name in ``produces``."""

        folder: str = "."
        artifact: str = "wheel"

    def build(self, ctx: Context) -> Done:
        """Build, then read name and version from the wheel itself."""
        source = _source(ctx)
        target = ctx.scratch / "dist"
        target.mkdir()
        command = [sys.executable, "-P", "-m", "cxlocal_plugins.build_wheel"]
        built = ctx.exec(
            [*command, str(source), str(target)],
            # Not in the checkout: pip must not find modules there.
            cwd=ctx.scratch,
            env=_environment(ctx),
            check=False,
        )
        missing = _missing(target)
        if built.code:
            raise _problem(built, missing)
        path = _only_wheel(target)
        metadata = _checked(path, ctx.version)
        made = Produced(
            name=ctx.options.artifact,
            path=path,
            purl=metadata.purl,
            # In the run's own spelling: the metadata may hold it in the normal form of PEP 440.
            version=ctx.version,
            media_type="application/zip",
        )
        details = {"isolated": bool(missing), "file": path.name}
        return Done(artifacts=(made,), details=details, tool_version=version("build"))


def _source(ctx: Context) -> Path:
    source: Path = (ctx.checkout / ctx.options.folder).resolve()
    if not source.is_relative_to(ctx.checkout.resolve()):
        raise ToolFailure(f"folder {ctx.options.folder!r} lies outside of the checkout")
    if not (source / "pyproject.toml").is_file() and not (source / "setup.py").is_file():
        raise ToolFailure(f"there is no pyproject.toml in {ctx.options.folder}")
    return source


def _missing(target: Path) -> list[str]:
    """What the build needed and this environment lacks; empty when all was here."""
    try:
        return [str(one) for one in json.loads((target / MISSING).read_text("utf-8"))]
    except FileNotFoundError:
        return []


def _problem(built: Completed, missing: list[str]) -> Exception:
    if built.code == NOT_INSTALLED:
        return Trouble(
            f"the build needs {', '.join(missing)}, which is not installed beside cxlocal",
            why=f"it could not be fetched ({_last_line(built.output)})",
            hint="install it there while there is a network, or keep its wheels in a folder and set"
            " PIP_FIND_LINKS",
        )
    return ToolFailure(
        f"the build ended with exit code {built.code}: {_last_line(built.output) or 'no output'}"
    )


def _last_line(output: str) -> str:
    return next((line.strip()[:300] for line in reversed(output.splitlines()) if line.strip()), "")


def _environment(ctx: Context) -> dict[str, str]:
    """The version, and the commit's time as the time of all files, so that the same commit gives the same bytes
    (https://reproducible-builds.org/specs/source-date-epoch/)."""
    found = {name: value for name, value in PIP.items() if name not in os.environ}
    found.update(dict.fromkeys(TOLD, ctx.version))
    answer = ctx.exec(["git", "log", "-1", "--format=SOURCE_DATE_EPOCH=%ct"], check=False)
    stamp = answer.output.strip().removeprefix("SOURCE_DATE_EPOCH=")
    if answer.code == 0 and stamp.isdigit():
        found["SOURCE_DATE_EPOCH"] = stamp
    return found


def _only_wheel(folder: Path) -> Path:
    wheels = sorted(folder.glob("*.whl"))
    if len(wheels) != 1:
        raise ToolFailure(f"the build made {len(wheels)} wheels, one was expected")
    return wheels[0]


def _checked(path: Path, expected: str) -> Metadata:
    """What the wheel says of itself, once within and in its name. Raises ToolFailure."""
    metadata = read_metadata(path)
    if not same_version(metadata.version, expected):
        raise ToolFailure(
            f"the wheel says version {metadata.version}, the run has {expected}: add the place"
            " where the version is written to [version] stamp in cx.toml"
        )
    try:
        _, named, _, _ = parse_wheel_filename(path.name)
    except InvalidWheelFilename as problem:
        raise ToolFailure(f"{path.name} is no name of a wheel: {problem}") from problem
    if not same_version(str(named), metadata.version):
        raise ToolFailure(f"{path.name} says version {metadata.version} within")
    return metadata


@hookimpl
def cxlocal_register_tools() -> list[type[Tool]]:
    """The tool ``wheel``."""
    return [Wheel]
