"""The official CDEvents 0.5.1 schemas as one check.

They are not part of this project, and no package registry has them. They are looked for in
``CXLOCAL_CDEVENTS`` (a checkout of cdevents/spec at tag v0.5.1) and beside the repository. Where they
are, every document is validated by them, and its shape must be in ``accepted_shapes.jsonl``;
``CXLOCAL_ACCEPT_SHAPES=1`` adds the shapes they accept. Where they are not, the recorded shapes
decide: a document whose shape no schema ever accepted is a problem.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator, FormatChecker
from referencing import Registry, Resource

ROOT = Path(__file__).parents[2]
SPEC = Path(os.environ.get("CXLOCAL_CDEVENTS") or ROOT.parent / "shared" / "cdevents-0.5.1")
# Read now: no test sees variables of this kind.
ACCEPT = "CXLOCAL_ACCEPT_SHAPES" in os.environ
ACCEPTED = Path(__file__).with_name("accepted_shapes.jsonl")
# Fields of which the schemas constrain the value and not only the form.
ENUMERATED = {"specversion", "type", "outcome", "linkType", "linkKind", "severity",
              "customDataContentType", "schemaUri", "trigger"}  # fmt: skip
FORMS = (
    ("empty", re.compile(r"")),
    ("time", re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)")),
    ("purl", re.compile(r"pkg:[a-z]+/\S+")),
    ("uri", re.compile(r"[a-z]+:\S+")),
    ("path", re.compile(r"/\S*")),
)


def shape(value: object, field: str = "") -> object:
    """What of a document the schemas look at: its fields, forms, and values of enumerated fields.

    ``customData`` is free by the standard and left out.
    """
    if isinstance(value, dict):
        return {name: shape(value[name], name) for name in sorted(value) if name != "customData"}
    if isinstance(value, list):
        items = {json.dumps(shape(item, field), sort_keys=True) for item in value}
        return [json.loads(item) for item in sorted(items)]
    if not isinstance(value, str):
        return type(value).__name__
    if field in ENUMERATED:
        return f"={value}"
    return next((name for name, form in FORMS if form.fullmatch(value)), "text")


class Shapes:
    """The recorded shapes of documents that the schemas accepted."""

    def __init__(self, path: Path, *, add: bool) -> None:
        self.path, self.add = path, add
        self.lines = set(path.read_text().splitlines()) if path.exists() else set()

    def problems(self, document: dict[str, Any]) -> list[str]:
        """Empty when the shape is recorded, or was recorded now."""
        line = json.dumps(shape(document), sort_keys=True)
        if line in self.lines:
            return []
        if not self.add:
            hint = "run again with CXLOCAL_ACCEPT_SHAPES=1 where the schemas are"
            return [f"no document of this shape was ever validated ({hint}): {line}"]
        self.lines.add(line)
        self.path.write_text("".join(f"{known}\n" for known in sorted(self.lines)))
        return []


def validators(spec: Path) -> dict[str, Draft202012Validator]:
    """A validator per event type, and one for all custom types under ``custom``."""
    documents = [json.loads(path.read_text()) for path in spec.glob("schemas/**/*.json")]
    custom = json.loads((spec / "custom" / "schema.json").read_text())
    base = "https://cdevents.dev/0.5.1/schema/"
    registry: Registry[Any] = Registry().with_resources(
        (document["$id"], Resource.from_contents(document)) for document in documents
    )
    # References to links are relative to each schema's own id.
    assert all(document["$id"].startswith(base) for document in documents)

    def validator(schema: dict[str, Any]) -> Draft202012Validator:
        return Draft202012Validator(schema, registry=registry, format_checker=FormatChecker())

    found = {
        kind: validator(document)
        for document in documents
        if "context" in document.get("properties", {})
        for kind in document["properties"]["context"]["properties"]["type"]["enum"]
    }
    return {**found, "custom": validator(custom)}


@pytest.fixture(scope="session")
def shapes() -> Shapes:
    """The recorded shapes, read only."""
    return Shapes(ACCEPTED, add=False)


@pytest.fixture(scope="session")
def problems() -> Callable[[dict[str, Any]], list[str]]:
    """What the official schemas have to say against a document; empty when it is valid."""
    shapes = Shapes(ACCEPTED, add=ACCEPT and SPEC.is_dir())
    by_type = validators(SPEC) if SPEC.is_dir() else {}

    def check(document: dict[str, Any]) -> list[str]:
        if by_type:
            kind = document["context"]["type"]
            chosen = by_type["custom" if kind.startswith("dev.cdeventsx.") else kind]
            if refused := [error.message for error in chosen.iter_errors(document)]:
                return refused
        return shapes.problems(document)

    return check
