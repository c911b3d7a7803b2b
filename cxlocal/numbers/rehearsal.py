"""What a rehearsal carries in place of a version (decision 0047).

``0.0.0+rehearsal.<run>`` is a semantic version, valid by PEP 440, for npm, Cargo, Maven, RPM and
Debian, and no text that a release can have. Some places take numbers only, or no ``+``: there it is
as many zeros as a release would have numbers, and the run stands beside them in ``CXLOCAL_RUN``.
One text holds for all of a rehearsal, so that what was built says what its stages are told.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from fnmatch import fnmatchcase
from os.path import basename

from cxlocal.patterns import compile_late

PLAIN_FILES = (
    "CMakeLists.txt", "*.cmake", "*.cmake.in", "*.cabal", "*.gemspec", "version.rb", "VERSION.rb",
    "*.podspec", "DESCRIPTION", "Info.plist", "*.rc", "*.rc.in", "AssemblyInfo.*", "manifest.json",
    "AndroidManifest.xml", "*.wxs", "*.iss", "*.nsi", "conanfile.*", "*.rockspec", "*.asd",
    "*.xcconfig", "project.pbxproj", "Kconfig*", "*.tf",
)  # fmt: skip
"""Files whose versions are numbers, or take no ``+``."""

PLAIN_PROGRAMS = (
    "docker", "docker-compose", "podman", "buildah", "nerdctl", "kaniko", "img", "ko", "crane",
    "skopeo", "cmake", "ctest", "cpack", "gem", "cabal", "xcodebuild", "agvtool", "pkgbuild",
    "productbuild", "wix", "candle", "makensis", "iscc", "makepkg", "snapcraft", "R",
)  # fmt: skip
"""Programs that are handed tags of images or numbers."""

_NAMES = "|".join(map(re.escape, PLAIN_PROGRAMS))
_PROGRAM = rf"(?<![\w./-])(?:[\w./-]*/)?(?:{_NAMES})(?![\w-])"
_TOLD = compile_late(r"CXLOCAL_VERSION\b")


def marked_text(run: str) -> str:
    """The text that names its run."""
    return f"0.0.0+rehearsal.{run.replace('-', '')[:12]}"


def plain_text(rendered: str) -> str:
    """As many zeros as there are numbers at the start of what a release is called (``rendered``):
    ``0.0.0``, ``0`` for a counter."""
    numbers = re.match(r"\d+(\.\d+)*", rendered)
    return re.sub(r"\d+", "0", numbers[0]) if numbers else "0"


def wants_plain(rendered: str, files: Iterable[str], commands: Iterable[str]) -> bool:
    """Whether one of the stamped ``files`` or of the ``commands`` takes no more than numbers; where
    releases are bare ones (``rendered``), whatever reads them may count on that."""
    if rendered.isdigit():
        return True
    if any(fnmatchcase(basename(one), pattern) for one in files for pattern in PLAIN_FILES):
        return True
    return any(_TOLD.search(one) and re.search(_PROGRAM, one) for one in commands)
