"""Node packages: npm, pnpm, yarn and bun, alone or as members of a workspace."""

from __future__ import annotations

import re
from collections.abc import Iterator

from cxlocal.config.outward import sends_outside
from cxlocal.survey.recipe import Inline, Recipe, archive, by_key, needs
from cxlocal.survey.tree import Survey, part, slug, table, words
from cxlocal.values import NamedTuple

REGISTRY = ["NPM_CONFIG_*", "npm_config_*"]
"""Variables that say where packages come from."""

TESTS = ("test", "test:unit", "unit", "test:ci", "tests")
"""Scripts that test, the usual one first."""


class Manager(NamedTuple):
    """A package manager and its words."""

    name: str
    install: str
    run: str
    pack: str


NPM = Manager("npm", "npm install --no-package-lock --no-audit --no-fund", "npm run", "npm pack")
LOCKS = {
    "pnpm-lock.yaml": Manager(
        "pnpm", "pnpm install --frozen-lockfile --prefer-offline", "pnpm run", "pnpm pack"
    ),
    "yarn.lock": Manager("yarn", "yarn install --frozen-lockfile", "yarn run", "npm pack"),
    "bun.lock": Manager("bun", "bun install --frozen-lockfile", "bun run", "npm pack"),
    "bun.lockb": Manager("bun", "bun install --frozen-lockfile", "bun run", "npm pack"),
    # npm ci empties node_modules first; what it fetched before is in npm's own cache.
    "package-lock.json": NPM._replace(install="npm ci --prefer-offline --no-audit --no-fund"),
    "npm-shrinkwrap.json": NPM._replace(install="npm ci --prefer-offline --no-audit --no-fund"),
}
"""The lock that is there tells who installs."""


def node(survey: Survey) -> Recipe | None:
    """A Node package: dependencies by the lock, build, tests, and the archive of ``npm pack``."""
    if not survey.has("package.json"):
        return None
    package = survey.json("package.json")
    if package.get("private") is True and survey.has("Cargo.toml", "go.mod"):
        return None  # It holds the tools of a program in another language.
    name, version = words(package.get("name")), words(package.get("version"))
    manager, where = package_manager(survey)
    stages, tested = _stages(survey, manager, where)
    last = list(stages)[-1:]
    private = package.get("private") is True
    makes = bool({"main", "bin", "exports", "files", "module"} & set(package))
    if private and not makes:
        # It is not for a registry: its files, without what was installed.
        files = archive(slug(name.rpartition("/")[2] or survey.name), without=["node_modules"])
        stages["pack"] = {**files, **needs(*last)}
    else:
        # npm names the archive of @scope/name scope-name-1.2.3.tgz.
        file = slug(name.lstrip("@").replace("/", "-")) if name else "*"
        stages["pack"] = {
            "kind": "build", "command": manager.pack, **needs(*last), "pass_env": REGISTRY,
            "produces": {"package": f"{file}-[0-9]*.tgz"},
        }  # fmt: skip
    return Recipe(
        "a private Node package" if private else "a Node package",
        stages,
        name=name.rpartition("/")[2],
        notes=tuple(_sending(package, manager, stages)),
        strict=True,
        place=by_key("package.json", "version", version),
        tests=("unit",) if tested else (),
        needs=(manager.name,),
        # A registry takes a name and a version; what lacks both a version and an entry is a helper.
        released=not private and bool(name and (version or makes)) and not _served(survey, package),
    )


def package_manager(survey: Survey) -> tuple[Manager, str]:
    """Who installs, and the folder of the lock (``..`` for a member of a workspace)."""
    for where in filter(None, (".", survey.up(*LOCKS))):
        for lock, manager in LOCKS.items():
            if survey.has(f"{where}/{lock}"):
                # Yarn from 2 on marks its lock, and calls frozen immutable.
                if manager.name == "yarn" and "__metadata:" in survey.text(f"{where}/{lock}"):
                    manager = manager._replace(install="yarn install --immutable")
                return manager, where
    wanted = words(survey.json("package.json").get("packageManager")).partition("@")[0]
    by_name = {one.name: one for one in LOCKS.values()}
    if wanted in by_name and wanted != "npm":
        install = re.sub(r" --(frozen-lockfile|immutable)\b", "", by_name[wanted].install)
        return by_name[wanted]._replace(install=install), "."
    return NPM, "."


def _stages(survey: Survey, manager: Manager, where: str) -> tuple[dict[str, Inline], bool]:
    package = survey.json("package.json")
    stages: dict[str, Inline] = {}
    above = where not in ("", ".")
    if package.get("dependencies") or package.get("devDependencies") or above:
        command = f"cd {where} && {manager.install}" if above else manager.install
        stages["install"] = {"command": command, "pass_env": REGISTRY}
    if words(part(package, "scripts", "build")):
        stages["build"] = {
            "kind": "build", "command": f"{manager.run} build", **needs(*stages),
            "pass_env": REGISTRY,
        }  # fmt: skip
    for script in TESTS:
        test = words(part(package, "scripts", script))
        if test and "no test specified" not in test:
            # CI=true: some runners otherwise wait for changes of files.
            command = f"CI=true {manager.run} {script}"
            # Each command of a manager reads its settings, not only the one that installs.
            stages["unit"] = {
                "kind": "test", "command": command, **needs(*list(stages)[-1:]), "pass_env": REGISTRY,
            }  # fmt: skip
            return stages, True
    return stages, False


def _served(survey: Survey, package: dict[str, object]) -> bool:
    """Whether it is there to run in an image: a Dockerfile, and nothing said for those who import."""
    for_users = {"bin", "exports", "files", "types", "module", "publishConfig", "browser"}
    return survey.has("Dockerfile", "Containerfile") and not for_users & set(package)


def _sending(
    package: dict[str, object], manager: Manager, stages: dict[str, Inline]
) -> Iterator[str]:
    """Scripts of these stages that publish or push: a rehearsal cannot leave that out."""
    for script, text in table(package, "scripts").items():
        sent = sends_outside(words(text))
        used = any(f"{manager.run} {script}" in str(one.get("command")) for one in stages.values())
        if sent and used:
            yield (
                f"The script {script} runs '{sent}', in a rehearsal too: give it a stage of its own"
                ' (kind = "publish").'
            )
