"""Maven and Gradle projects."""

from __future__ import annotations

import re

from cxlocal.survey.counting import Said
from cxlocal.survey.recipe import Inline, Place, Recipe, by_pattern, needs
from cxlocal.survey.tree import Survey, first_match, slug

JAVA = ["JAVA_HOME", "MAVEN_*", "GRADLE_*"]


def maven(survey: Survey) -> Recipe | None:
    """A Maven project: ``mvn package`` without tests, then its tests."""
    pom = survey.text("pom.xml")
    if not pom:
        return None
    inside = r"(?s)<(parent|dependencies|build|dependencyManagement|profiles|reporting)>.*?</\1>|<!--.*?-->"
    own = re.sub(inside, "", pom)
    match = re.search(r"<artifactId>\s*([A-Za-z0-9_.-]+)\s*</artifactId>", own)
    name = match[1] if match else ""
    found = re.search(r"<version>\s*([^\s<]+)\s*</version>", own)
    said = found[1] if found else ""
    program = "./mvnw" if survey.has("mvnw") else "mvn"
    modules = re.findall(r"<module>\s*([\w./-]+)\s*</module>", own)
    place, options = _maven_version(survey, name, said, modules)
    before = "" if place.stamp or options else (
        f"{program} -B -q versions:set -DgenerateBackupPoms=false"
        ' "-DnewVersion=$CXLOCAL_VERSION" && '
    )  # fmt: skip
    build: dict[str, object] = {
        "kind": "build",
        "command": f"{before}{program} -B -DskipTests{options} package",
        "pass_env": JAVA,
    }
    if "<packaging>pom" not in own.replace(" ", ""):
        form = "war" if "<packaging>war" in own.replace(" ", "") else "jar"
        # The last two signs keep -sources, -javadoc and -tests out.
        build["produces"] = {form: f"target/{name or '*'}-[0-9]*[!ot][!s].{form}"}
    stages: dict[str, Inline] = {"build": build}
    tested = bool(survey.below("src/test/*", "*/src/test/*"))
    if tested:
        stages["unit"] = {
            "kind": "test", "command": f"{program} -B{options} test", "needs": ["build"],
            "pass_env": JAVA, "reports": {"junit": "**/target/surefire-reports/*.xml"},
        }  # fmt: skip
    return Recipe(
        "a Maven project of several modules" if modules else "a Maven project",
        stages,
        name=name,
        place=place,
        tests=("unit",) if tested else (),
        needs=() if survey.has("mvnw") else ("mvn",),
    )


STAMPS_MAX = 4
"""Modules whose pom names the version of their parent; more are left to a goal of Maven."""


def _maven_version(survey: Survey, name: str, said: str, modules: list[str]) -> tuple[Place, str]:
    """Where the version goes: stamps, or options of each call (``${revision}``).

    Neither where the pom cannot be written in one place: then a goal of Maven does it.
    """
    variable = re.fullmatch(r"\$\{(revision|version)\}", said)
    if variable:
        pattern = rf"<{variable[1]}>\s*(\d[^\s<]*)\s*</{variable[1]}>"
        found = by_pattern(survey, "pom.xml", pattern) or Place()
        return Place(found.said), f' "-D{variable[1]}=$CXLOCAL_VERSION"'
    if not re.match(r"\d", said):
        return Place(), ""
    shown = name.replace(".", r"\.")
    pattern = rf"<artifactId>{shown}</artifactId>\s*<version>([^<]+)</version>"
    files = ["pom.xml", *(f"{one}/pom.xml" for one in modules)]
    here = all(first_match(pattern, survey.text(one)) == said for one in files)
    stamps = tuple({"file": one, "pattern": pattern} for one in files)
    return Place((Said(said, "pom.xml"),), stamps if here and len(files) <= STAMPS_MAX else ()), ""


def gradle(survey: Survey) -> Recipe | None:
    """A Gradle project: ``assemble``, then ``check``."""
    script = survey.first("build.gradle", "build.gradle.kts")
    if not script:
        return None
    settings = survey.text("settings.gradle") + survey.text("settings.gradle.kts")
    match = re.search(r"rootProject\.name\s*=\s*[\"']([^\"']+)[\"']", settings)
    program = "./gradlew" if survey.has("gradlew") else "gradle"
    place = _gradle_version(survey, script)
    option = "" if place.stamp else ' "-Pversion=$CXLOCAL_VERSION"'
    modules = bool(re.search(r"^\s*include\b", settings, re.MULTILINE))
    build: dict[str, object] = {
        "kind": "build", "command": f"{program} --no-daemon{option} assemble", "pass_env": JAVA,
    }  # fmt: skip
    if not modules:
        build["produces"] = {"jar": "build/libs/*[!ot][!s].jar"}
    stages: dict[str, Inline] = {"build": build}
    tested = bool(survey.below("src/test/*", "*/src/test/*"))
    if tested:
        stages["unit"] = {
            "kind": "test", "command": f"{program} --no-daemon{option} check",
            **needs("build"), "pass_env": JAVA,
            "reports": {"junit": "**/build/test-results/test/*.xml"},
        }  # fmt: skip
    return Recipe(
        "a Gradle project of several modules" if modules else "a Gradle project",
        stages,
        name=slug(match[1]) if match else "",
        place=place,
        tests=("unit",) if tested else (),
        needs=() if survey.has("gradlew") else ("gradle",),
    )


def _gradle_version(survey: Survey, script: str) -> Place:
    """``gradle.properties`` or the build script; -Pversion would not win over the latter."""
    properties = r"^(?:version|VERSION_NAME)\s*=\s*(\d\S*)"
    written = r"^\s*version\s*=?\s*[\"'](\d[^\"']*)[\"']"
    found = by_pattern(survey, "gradle.properties", properties)
    return found or by_pattern(survey, script, written) or Place()
