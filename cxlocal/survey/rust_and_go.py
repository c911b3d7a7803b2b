"""Rust crates and Go modules."""

from __future__ import annotations

import re
import shlex

from cxlocal.survey.recipe import (
    Inline,
    Place,
    Recipe,
    archive,
    by_key,
    by_pattern,
    needs,
    version_file,
)
from cxlocal.survey.tree import Survey, part, slug, table, texts, words

SOURCES_MAX = 200
"""Files that are looked into for a test."""

CARGO = ["CARGO_*", "RUSTUP_*", "RUSTFLAGS"]


def cargo(survey: Survey) -> Recipe | None:
    """A Rust crate, or a workspace whose crates share one version."""
    manifest = survey.toml("Cargo.toml")
    package, shared = table(manifest, "package"), table(manifest, "workspace", "package")
    if not package and not words(shared.get("version")):
        return None
    own = words(package.get("version"))
    key = "package.version" if own else "workspace.package.version"
    version = own or words(shared.get("version"))
    # Crates that take the version of the workspace are released with it; others by themselves.
    # A member's programs are put beside it, where the workspace would put them at its top.
    flags = "" if own else " --workspace"
    flags += " --target-dir target" if survey.up("Cargo.toml") else ""
    makes, packs = _makes([survey] if own else _crates(survey))
    command = f"cargo package --allow-dirty --no-verify{flags}" if packs else (
        f"cargo build --release{flags}"
    )  # fmt: skip
    stages: dict[str, Inline] = {
        "build": {"kind": "build", "command": command, "pass_env": CARGO, "produces": makes}
    }
    tested = _tested(survey)
    if tested:
        stages["unit"] = {
            "kind": "test", "command": f"cargo test{flags}", "needs": ["build"], "pass_env": CARGO,
        }  # fmt: skip
    note = ""
    if not version and survey.up("Cargo.toml"):
        note = "Its version is that of the workspace: release the workspace as one, from its top."
    return Recipe(
        "a Rust workspace with one version" if not package else "a Rust crate",
        stages,
        name=words(package.get("name")),
        strict=True,
        place=by_key("Cargo.toml", key, version),
        tests=("unit",) if tested else (),
        needs=("cargo",),
        notes=(note,) if note else (),
        released=package.get("publish") is not False or not packs,
    )


def _makes(crates: list[Survey]) -> tuple[dict[str, str], bool]:
    """The artifacts of crates: their programs, or else the crates as archives (and that it is so)."""
    makes = {slug(name): f"target/release/{name}" for one in crates for name in _programs(one)}
    packs = not makes
    if packs:
        names = [words(part(one.toml("Cargo.toml"), "package", "name")) for one in crates]
        makes = {slug(one): f"target/package/{one}-[0-9]*.crate" for one in names if one}
    if len(makes) == 1:
        makes = {"crate" if packs else "program": next(iter(makes.values()))}
    return makes, packs


def members(survey: Survey) -> list[str]:
    """The folders of a workspace's crates, from its top."""
    manifest = survey.toml("Cargo.toml")
    wanted = [f"{one}/Cargo.toml" for one in texts(part(manifest, "workspace", "members"))]
    left_out = [f"{one}/Cargo.toml" for one in texts(part(manifest, "workspace", "exclude"))]
    found = survey.below(*wanted) if wanted else []
    return [one.rpartition("/")[0] for one in found if one not in survey.below(*left_out)]


def _crates(survey: Survey) -> list[Survey]:
    found = [survey.at(survey.path(folder)) for folder in members(survey)]
    if survey.toml("Cargo.toml").get("package"):
        found.insert(0, survey)
    return [one for one in found if part(one.toml("Cargo.toml"), "package", "publish") is not False]


def _programs(survey: Survey) -> list[str]:
    """The binaries of a crate: ``src/main.rs``, ``src/bin``, ``[[bin]]``."""
    manifest = survey.toml("Cargo.toml")
    name = words(part(manifest, "package", "name"))
    said = manifest.get("bin")
    tables = [one for one in said if isinstance(one, dict)] if isinstance(said, list) else []
    named = [words(one.get("name")) for one in tables if not one.get("required-features")]
    if named:
        return [one for one in named if one]
    found = [name] if survey.has("src/main.rs") else []
    for file in survey.below("src/bin/*.rs"):
        inside = file.removeprefix("src/bin/").removesuffix(".rs").removesuffix("/main")
        found += [inside] if "/" not in inside else []
    return found


def _tested(survey: Survey) -> bool:
    """Whether there is a test: a file of them, or the attribute in a source."""
    return bool(survey.below("tests/*.rs", "*/tests/*.rs")) or any(
        "#[test]" in survey.text(name)
        or "#[cfg(test)]" in survey.text(name)
        or "```" in survey.text(name)
        for name in survey.below("*.rs")[:SOURCES_MAX]
    )


GO = ["GO*", "CGO_*"]
GO_MAX = 60
"""Files that are looked into for a version."""


def go(survey: Survey) -> Recipe | None:
    """A Go module: its programs, or its sources where it is a library; ``go test``."""
    match = re.search(r"^module\s+\"?([^\s\"]+)", survey.text("go.mod"), re.MULTILINE)
    if not match:
        return None
    parts = [one for one in match[1].split("/") if not re.fullmatch(r"v\d+", one)]
    name = slug(re.sub(r"\.v\d+$", "", parts[-1]))
    mains = _mains(survey, name)
    place = _go_version(survey)
    stages: dict[str, Inline] = {}
    if mains:
        commands = []
        for program, folder in mains.items():
            variable = "" if place.stamp else _variable(survey, folder)
            flags = f' -ldflags "-X main.{variable}=$CXLOCAL_VERSION"' if variable else ""
            package = shlex.quote(f"./{folder}".rstrip("/"))
            commands.append(f"go build -trimpath{flags} -o dist/{program} {package}")
        makes = {one: f"dist/{one}" for one in mains}
        if len(makes) == 1:
            makes = {"program": next(iter(makes.values()))}
        stages["build"] = {
            "kind": "build", "command": " && ".join(commands), "pass_env": GO, "produces": makes,
        }  # fmt: skip
    tested = bool(survey.below("*_test.go"))
    if tested:
        stages["unit"] = {
            "kind": "test", "command": "go test ./...", **needs(*stages), "pass_env": GO,
        }  # fmt: skip
    if not mains:
        stages["pack"] = {**archive(name), **needs(*stages)}
    return Recipe(
        "a Go module" if mains else "a Go library",
        stages,
        name=name,
        place=place,
        tests=("unit",) if tested else (),
        needs=("go",),
    )


def _mains(survey: Survey, name: str) -> dict[str, str]:
    """Program to folder: the top, and those below ``cmd``."""
    found = {}
    files = [one for one in survey.below("*.go") if not one.endswith("_test.go")]
    for file in files:
        folder = file.rpartition("/")[0]
        if folder and not re.fullmatch(r"cmd/[^/]+", folder):
            continue
        if re.search(r"^package main\b", survey.text(file), re.MULTILINE):
            found[slug(folder.rpartition("/")[2] or name)] = folder
    return found


def _variable(survey: Survey, folder: str) -> str:
    """The variable of package main that holds the version, for the linker."""
    for file in survey.below(f"{folder}/*.go" if folder else "*.go"):
        if file.rpartition("/")[0] == folder:
            found = re.search(
                r"^(?:var)?\s+([vV]ersion|VERSION)\s*(?:string\b|=\s*\")",
                survey.text(file), re.MULTILINE,
            )  # fmt: skip
            if found:
                return found[1]
    return ""


def _go_version(survey: Survey) -> Place:
    """A version that stands in a constant, or in a file of its own."""
    pattern = r"^(?:const)?\s*(?:Version|VERSION|version)\s*(?:string\s*)?=\s*\"v?(\d+\.\d[^\"]*)\""
    names = survey.below("version.go", "*/version.go", "*.go")
    near = [one for one in names if one.count("/") <= 2 and not one.endswith("_test.go")]
    found = (by_pattern(survey, one, pattern) for one in near[:GO_MAX])
    return next(filter(None, found), None) or version_file(survey) or Place()
