"""Packages of the system that a project names: told to people, never installed."""

from __future__ import annotations

import re

from cxlocal.patterns import compile_late
from cxlocal.survey.tree import Survey, all_of

LISTS = ("apt.txt", "Aptfile", "packages.txt", "apt-packages.txt", "system-requirements.txt")
NAMES_MAX = 12
_NAME = compile_late(r"[a-z0-9][a-z0-9.+-]+(?::\w+)?")
_INSTALLS = compile_late(r"apt(?:-get)?\s+(?:-\S+\s+)*install\s+((?:[^\n&;|#]|\\\n)*)")
_TOOLS = frozenset(
    [
        "git",
        "curl",
        "wget",
        "ca-certificates",
        "gnupg",
        "sudo",
        "lsb-release",
        "apt-transport-https",
    ]
)


def system_packages(survey: Survey) -> tuple[list[str], str]:
    """The packages, at most ``NAMES_MAX``, and the file that names them."""
    for file in LISTS:
        found = _plain(re.sub(r"#[^\n]*", "", survey.text(file)).split())
        if found:
            return found, file
    workflows = survey.at("").below(".github/workflows/*.yml", ".github/workflows/*.yaml")
    # Those that test come before those that publish.
    for file in sorted(workflows, key=lambda one: not re.search(r"(^|\W)(ci|tests?|build)", one)):
        words = " ".join(_INSTALLS.findall(survey.at("").text(file))).replace("\\\n", " ").split()
        found = _plain(words)
        if found:
            return found, file
    return [], ""


def _plain(found: list[str]) -> list[str]:
    names = [one for one in found if _NAME.fullmatch(one) and one not in _TOOLS]
    return all_of(names)[:NAMES_MAX]
