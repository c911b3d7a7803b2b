"""What a wheel says about itself, and how it is unpacked.

A wheel comes from a build that nobody here wrote: what is read of it is bounded, and whatever is
wrong with it is a reason, not a crash.
"""

from __future__ import annotations

import platform
import zipfile
import zlib
from pathlib import Path
from urllib.parse import quote

from packaging.requirements import InvalidRequirement, Requirement
from packaging.specifiers import InvalidSpecifier, SpecifierSet
from packaging.tags import sys_tags
from packaging.utils import InvalidWheelFilename, canonicalize_name, parse_wheel_filename

from cxlocal.hooks.carried import wheel_headers
from cxlocal.hooks.tool import ToolFailure
from cxlocal.values import NamedTuple


class Metadata(NamedTuple):
    """The part of a wheel's METADATA that matters here."""

    name: str
    version: str
    requires: tuple[str, ...]
    """What it needs on this machine, extras aside."""
    python: str = ""
    """Which Python it is for, such as ``>=3.11``."""

    @property
    def purl(self) -> str:
        """The package URL (https://github.com/package-url/purl-spec, type ``pypi``)."""
        return f"pkg:pypi/{canonicalize_name(self.name)}@{quote(self.version, safe='')}"


def read_metadata(path: Path) -> Metadata:
    """Name, version and needs of a wheel. Raises ToolFailure when it has none."""
    headers = wheel_headers(path)
    name, said = headers.get("Name"), headers.get("Version")
    if not name or not said:
        raise ToolFailure(f"the metadata of {path.name} lacks a name or a version")
    try:
        wanted = [Requirement(str(text)) for text in headers.get_all("Requires-Dist") or []]
    except InvalidRequirement as problem:
        raise ToolFailure(f"{path.name} requires what is no requirement: {problem}") from problem
    requires = tuple(
        str(one) for one in wanted if one.marker is None or one.marker.evaluate({"extra": ""})
    )
    python = str(headers.get("Requires-Python") or "").strip()
    return Metadata(str(name).strip(), str(said).strip(), requires, python)


def check_fits(path: Path) -> None:
    """Raise ToolFailure when a wheel is for another Python or platform than the running one."""
    here = f"here is Python {platform.python_version()} on {platform.platform()}"
    wanted = read_metadata(path).python
    try:
        _, _, _, tags = parse_wheel_filename(path.name)
        fits = SpecifierSet(wanted).contains(platform.python_version(), prereleases=True)
    except (InvalidWheelFilename, InvalidSpecifier) as problem:
        raise ToolFailure(f"{path.name} does not say what it is for: {problem}") from problem
    if not fits:
        raise ToolFailure(f"{path.name} is for Python {wanted}; {here}")
    if tags.isdisjoint(sys_tags()):
        raise ToolFailure(f"{path.name} is for another Python or platform; {here}")


def unpack(path: Path, packages: Path, prefix: Path, python: Path | str) -> None:
    """Install a wheel's files: modules into ``packages``, scripts and data below ``prefix``.

    Needs no network and no pip. The digests in the wheel's RECORD are checked, no file can land
    outside of the two folders. Raises ToolFailure.
    """
    from installer import install
    from installer.destinations import SchemeDictionaryDestination
    from installer.exceptions import InstallerError
    from installer.sources import WheelFile

    scheme = {
        "purelib": str(packages),
        "platlib": str(packages),
        "headers": str(prefix / "include"),
        "scripts": str(prefix / "bin"),
        "data": str(prefix),
    }
    destination = SchemeDictionaryDestination(scheme, str(python), "posix")
    try:
        with WheelFile.open(path) as source:
            source.validate_record(validate_contents=True)
            install(source, destination, additional_metadata={"INSTALLER": b"cxlocal"})
    except (InstallerError, zipfile.BadZipFile, zlib.error, ValueError) as problem:
        raise ToolFailure(f"{path.name} cannot be unpacked: {problem}") from problem
