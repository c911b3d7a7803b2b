"""Which kind a repository is: the first recipe that fits, from the definite to the general."""

from __future__ import annotations

from collections.abc import Callable

from cxlocal.survey.jvm import gradle, maven
from cxlocal.survey.native import autotools, cmake, make, meson
from cxlocal.survey.node import node
from cxlocal.survey.others import anything, helm, image, pod
from cxlocal.survey.python import python
from cxlocal.survey.recipe import Recipe
from cxlocal.survey.rust_and_go import cargo, go
from cxlocal.survey.tree import Survey

RECIPES: tuple[Callable[[Survey], Recipe | None], ...] = (
    python, node, cargo, go, maven, gradle, helm, pod, cmake, meson, autotools, make,
)  # fmt: skip


def recognise(survey: Survey) -> Recipe:
    """The recipe that fits; ``anything`` fits everything."""
    found = next((found for one in RECIPES if (found := one(survey)) is not None), None)
    return image(survey, found) or found or anything(survey)
