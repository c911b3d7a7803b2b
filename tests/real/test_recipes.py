"""The recipes of docs/recipes.md, typed from the page in sources of real projects."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from typed import FENCE, place, type_in

PAGE = Path(__file__).resolve().parents[2] / "docs" / "recipes.md"
HEAVY = {"cargo"}
"""Programs that are large to install; recipes that need them are tried with ``--all``."""

SOURCE = re.compile(r"`(pypi|npm|debian) ([^`]+)`(?:\s+in\s+`([^`]+)`)?")


class Recipe(NamedTuple):
    """One section of the page."""

    title: str
    sources: list[tuple[str, str, str]]
    """Registry, what of it, and the folder it goes to."""
    needs: list[str]
    fences: list[tuple[str, str, str]]
    """Language, file with its sign, text."""


def recipes() -> Iterator[Recipe]:
    """The sections of the page."""
    for section in PAGE.read_text(encoding="utf-8").split("\n## ")[1:]:
        prose = FENCE.sub("", section)
        needed = re.search(r"Needs ((?:`[^`]+`(?:, )?)+)", prose)
        yield Recipe(
            section.partition("\n")[0], SOURCE.findall(prose),
            re.findall(r"`([^`]+)`", needed[1]) if needed else [], FENCE.findall(section),
        )  # fmt: skip


def marked(recipe: Recipe) -> Any:
    """A parameter of the test, with what the recipe needs."""
    marks = [pytest.mark.needs(*recipe.needs)] if recipe.needs else []
    marks += [pytest.mark.heavy] if HEAVY & set(recipe.needs) else []
    return pytest.param(recipe, marks=marks, id=recipe.title.replace(" ", "-"))


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("recipe", [marked(one) for one in recipes()])
def test_a_recipe_does_what_the_page_says(
    recipe: Recipe, repository: Callable[..., Path], cx: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = repository(recipe.sources)
    monkeypatch.setenv("PATH", f"{Path(cx.program).parent}{os.pathsep}{os.environ['PATH']}")
    # What a container tool keeps goes with the test, and it needs neither kernel modules nor a daemon.
    monkeypatch.setenv("STORAGE_DRIVER", "vfs")
    monkeypatch.setenv("BUILDAH_ISOLATION", "chroot")
    try:
        for language, file, text in recipe.fences:
            if language == "console":
                type_in(folder, text)
            else:
                place(folder, file, text)
    finally:
        cx("env", "destroy", "production", "--yes", cwd=folder)


def test_every_kind_has_its_recipe() -> None:
    kinds = ("Python library", "Python service", "Node package", "workspace", "C library",
        "Rust crate", "container service", "monorepo")  # fmt: skip
    found = list(recipes())
    assert len(found) == len(kinds)
    for kind, recipe in zip(kinds, found, strict=True):
        assert kind in recipe.title
        assert recipe.sources, f"{recipe.title} names no project"
        typed = "\n".join(text for _, _, text in recipe.fences)
        for ends in (
            r"^\$ cxlocal.* run\b",
            r" is at 2 of 2 targets$",
            r"^\$ cxlocal.* notes \d",
            "git-tag",
        ):
            assert re.search(ends, typed, re.MULTILINE), f"{recipe.title}: {ends}"
