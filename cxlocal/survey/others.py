"""Images, charts, pods, and what is none of the known kinds."""

from __future__ import annotations

import re

from cxlocal.survey.recipe import Inline, Place, Recipe, archive, by_pattern, needs, version_file
from cxlocal.survey.tree import Survey, first_match, slug

BUILD_FILES = ("Dockerfile", "Containerfile", "docker/Dockerfile", "build/Dockerfile")

ENGINES = ("docker", "podman", "buildah")
"""What builds images; the usual one of the file's name is taken where it is on this machine."""


def image(survey: Survey, inner: Recipe | None) -> Recipe | None:
    """An image as a file, by the Dockerfile. ``inner``: what its files are, for name and tests."""
    file = survey.first(*BUILD_FILES)
    if not file or (inner is not None and inner.released):
        return None
    name = slug((inner.name if inner else "") or survey.name).lower()
    usual = "podman" if file == "Containerfile" else "docker"
    program = next((one for one in (usual, *ENGINES) if one in survey.tools), usual)
    told = re.search(
        r"^ARG\s+((?:\w+_)?VERSION)\b", survey.text(file), re.MULTILINE | re.IGNORECASE
    )
    # A base image has an argument for its version, too: then the first FROM reads it.
    if told and re.search(rf"^FROM\s.*\$\{{?{told[1]}\b", survey.text(file), re.MULTILINE):
        told = None
    argument = f' --build-arg "{told[1]}=$CXLOCAL_VERSION"' if told else ""
    where = "" if file in ("Dockerfile", "Containerfile") else f" -f {file}"
    tag = f"{name}:$CXLOCAL_VERSION"
    keep = f'save -o image.tar "{tag}"'
    if program == "buildah":
        keep = f'push "{tag}" "docker-archive:image.tar:{tag}"'
    stages: dict[str, Inline] = {}
    if inner is not None and inner.tests:
        stages = {key: one for key, one in inner.stages.items() if key != "pack"}
    stages["image"] = {
        "kind": "build",
        "command": f'{program} build{where}{argument} -t "{tag}" . && {program} {keep}',
        **needs(*list(stages)[-1:]),
        "pass_env": ["DOCKER_*", "CONTAINER_*", "BUILDAH_*", "STORAGE_*"],
        "produces": {"image": "image.tar"},
    }
    title = f"an image by {file}" + (f", of {inner.title}" if inner else "")
    base = inner or Recipe("", {})
    return base._replace(
        title=title,
        stages=stages,
        scheme="semver",
        strict=False,
        needs=(*base.needs, program),
        released=True,
    )


def helm(survey: Survey) -> Recipe | None:
    """A Helm chart: ``helm lint``, ``helm package``."""
    text = survey.text("Chart.yaml")
    name = first_match(r"^name:\s*[\"']?([A-Za-z0-9_.-]+)", text)
    if not name:
        return None
    version = r"^version:\s*[\"']?v?(\d[^\s\"']*)"
    stages: dict[str, Inline] = {
        "lint": {"kind": "test", "command": "helm lint ."},
        "pack": {
            "kind": "build",
            "command": 'helm package . --version "$CXLOCAL_VERSION" --destination dist',
            "needs": ["lint"],
            "produces": {"chart": f"dist/{name}-[0-9]*.tgz"},
        },
    }
    return Recipe(
        "a Helm chart", stages, name=name,
        place=Place((by_pattern(survey, "Chart.yaml", version) or Place()).said), tests=("lint",), needs=("helm",), strict=True,
    )  # fmt: skip


def pod(survey: Survey) -> Recipe | None:
    """A CocoaPods library: its files, the version in the podspec."""
    specs = survey.below("*.podspec")
    if not specs or "/" in specs[0]:
        return None
    file, pattern = specs[0], r"^\s*\w+\.version\s*=\s*[\"'](\d[^\"']*)[\"']"
    name = file.removesuffix(".podspec")
    return Recipe(
        "a CocoaPods library", {"pack": archive(slug(name))}, name=name,
        place=by_pattern(survey, file, pattern) or Place(),
    )  # fmt: skip


def anything(survey: Survey) -> Recipe:
    """Nothing we know: the files themselves, as an archive; the version of a file ``VERSION``."""
    return Recipe(
        "a folder of files",
        {"pack": archive(slug(survey.name))},
        place=version_file(survey) or Place(),
        released=False,
    )
