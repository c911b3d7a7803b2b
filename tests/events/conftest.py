"""The official CDEvents 0.5.1 schemas as one check.

They are not part of this project. They are looked for in ``CXLOCAL_CDEVENTS`` (a checkout of
cdevents/spec at tag v0.5.1) and beside the repository.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator, FormatChecker
from referencing import Registry, Resource

from cxlocal.events import types

ROOT = Path(__file__).parents[2]
SPEC = Path(os.environ.get("CXLOCAL_CDEVENTS") or ROOT.parent / "shared" / "cdevents-0.5.1")


def validators(spec: Path) -> dict[str, Draft202012Validator]:
    """A validator per event type, and one for all custom types under ``custom``."""
    assert spec.is_dir(), (
        f"the official CDEvents 0.5.1 schemas are not at {spec}; set CXLOCAL_CDEVENTS to a"
        " checkout of cdevents/spec at tag v0.5.1"
    )
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
def problems() -> Callable[[dict[str, Any]], list[str]]:
    """What the official schemas have to say against a document; empty when it is valid."""
    by_type = validators(SPEC)

    def check(document: dict[str, Any]) -> list[str]:
        kind = document["context"]["type"]
        chosen = by_type["custom" if types.is_custom(kind) else kind]
        return [error.message for error in chosen.iter_errors(document)]

    return check
