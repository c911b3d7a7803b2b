"""Workspaces and monorepos: the folders that are released each by itself."""

from __future__ import annotations

import re

from cxlocal.survey import rust_and_go
from cxlocal.survey.recipe import Recipe
from cxlocal.survey.recognise import recognise
from cxlocal.survey.tree import Survey, part, table, texts, words
from cxlocal.values import NamedTuple

MANIFESTS = ("package.json", "pyproject.toml", "setup.py", "Cargo.toml", "go.mod", "pom.xml",
    "build.gradle", "build.gradle.kts", "CMakeLists.txt", "Chart.yaml", "Dockerfile")  # fmt: skip
NATIVE = ("Makefile", "GNUmakefile", "meson.build", "configure.ac")
"""They describe something to release where a version stands; else they only call other tools."""
LOOSE_DEPTH_MAX = 2
"""How deep folders of a monorepo without a workspace are looked for: ``services/cart``."""
MEMBERS_MAX = 500


class Member(NamedTuple):
    """A folder of the repository that is released under its own numbers."""

    folder: str
    """From the top of the repository; empty for the top itself."""
    recipe: Recipe


def members(top: Survey) -> list[Member]:
    """What the repository releases, the top first; the top alone where it is all one.

    A private root that only holds the workspace together is none of them.
    """
    folders = _named(top)
    workspace = bool(folders)
    if not workspace:
        if (top.has(*MANIFESTS) and not _only_tools(top)) or _is_native(top):
            return [Member("", recognise(top))]
        folders = _loose(top)
        if len(folders) < 2:
            return [Member("", recognise(top))]
    found = [Member(folder, recognise(top.at(folder))) for folder in folders[:MEMBERS_MAX]]
    found = [one for one in found if one.recipe.released]
    root = recognise(top)
    if not found or (workspace and _is_released(top, root)):
        found.insert(0, Member("", root))
    return found


def neighbours(survey: Survey) -> bool:
    """Whether the repository has other things whose tags may be there, too."""
    top = survey.at("")
    return bool(survey.prefix) or len(members(top)) > 1


def _named(top: Survey) -> list[str]:
    """The folders that a workspace names, whoever's it is."""
    npm = part(top.json("package.json"), "workspaces")
    wanted = (
        texts(npm) or texts(part(npm, "packages")) or texts(top.json("lerna.json").get("packages"))
    )
    wanted += _list_of_yaml(top.text("pnpm-workspace.yaml"))
    found = _folders(top, wanted, "package.json")
    uv = table(top.toml("pyproject.toml"), "tool", "uv", "workspace")
    excluded = _folders(top, texts(uv.get("exclude")), "pyproject.toml")
    found += [one for one in _folders(top, texts(uv.get("members")), "pyproject.toml") if one not in excluded]  # fmt: skip
    if "workspace" in top.toml("Cargo.toml"):
        shared = words(part(top.toml("Cargo.toml"), "workspace", "package", "version"))
        crates = rust_and_go.members(top)
        # Crates that take the version of the workspace are released with it, as one.
        found += [
            one
            for one in crates
            if not shared or words(part(top.at(one).toml("Cargo.toml"), "package", "version"))
        ]
    used = re.findall(
        r"^(?:use)?\s+\(?\s*\.?/?([\w./-]+)\s*\)?\s*$", top.text("go.work"), re.MULTILINE
    )
    found += _folders(top, used, "go.mod")
    return list(dict.fromkeys(found))


def _list_of_yaml(text: str) -> list[str]:
    """The items of ``packages:`` in pnpm-workspace.yaml."""
    block = re.search(r"^packages:[ \t]*\n((?:[ \t]*(?:-[^\n]*|#[^\n]*)?\n?)*)", text, re.MULTILINE)
    if block is None:
        return []
    items = re.findall(
        r"^[ \t]*-[ \t]*[\"']?([^\"'\n#]+?)[\"']?[ \t]*(?:#[^\n]*)?$", block[1], re.MULTILINE
    )
    return [one.strip() for one in items]


def _folders(top: Survey, wanted: list[str], manifest: str) -> list[str]:
    """The folders below ``wanted`` (``packages/*``; ``!`` takes out again) that have the manifest."""

    def clean(one: str) -> str:
        return one.strip("!").removeprefix("./").rstrip("/")

    found: list[str] = []
    for one in [clean(one) for one in wanted if not one.startswith("!")]:
        deep = "**" in one
        files = top.below(f"{one.replace('**', '*')}/{manifest}")
        folders = [name.rpartition("/")[0] for name in files]
        found += [name for name in folders if name and (deep or name.count("/") == one.count("/"))]
    out = {name.rpartition("/")[0] for one in wanted if one.startswith("!")
        for name in top.below(f"{clean(one).replace('**', '*')}/{manifest}")}  # fmt: skip
    return [one for one in dict.fromkeys(found) if one not in out]


def _loose(top: Survey) -> list[str]:
    """Folders with a manifest of their own, in a repository whose top has none."""
    files = top.below(*(f"*/{one}" for one in (*MANIFESTS, *NATIVE)))
    found: list[str] = []
    for file in files:
        folder = file.rpartition("/")[0]
        beside = re.search(
            r"(?i)(^|/)(tests?|examples?|docs?|fixtures?|samples?|templates?|\..*)(/|$)", folder
        )
        inside = any(folder == one or folder.startswith(f"{one}/") for one in found)
        if beside or inside or folder.count("/") >= LOOSE_DEPTH_MAX:
            continue
        own = top.at(folder)
        if own.has(*MANIFESTS) or _is_native(own):
            found.append(folder)
    return sorted(found)


def _is_native(survey: Survey) -> bool:
    """Whether it is a project of make, Meson or configure that says its version."""
    return survey.has(*NATIVE) and bool(recognise(survey).place.said)


def _only_tools(top: Survey) -> bool:
    """Whether the top's only manifest configures tools: a pyproject.toml without a project."""
    own = [one for one in MANIFESTS if top.has(one)]
    project = top.toml("pyproject.toml")
    described = part(project, "project") or part(project, "tool", "poetry")
    return own == ["pyproject.toml"] and not described and len(_loose(top)) > 1


def _is_released(top: Survey, root: Recipe) -> bool:
    """Whether the root of a workspace is itself something to release."""
    project = top.toml("pyproject.toml")
    if "workspace" in table(project, "tool", "uv"):
        return bool(part(project, "project")) and "build-system" in project
    if "workspace" in top.toml("Cargo.toml"):
        shared = words(part(top.toml("Cargo.toml"), "workspace", "package", "version"))
        return bool(top.toml("Cargo.toml").get("package")) or bool(shared)
    if top.has("go.work"):
        return top.has("go.mod")
    package = top.json("package.json")
    return root.released and bool({"main", "bin", "exports", "module"} & set(package))
