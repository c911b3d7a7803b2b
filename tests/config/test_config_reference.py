"""The pages and the schema made from the types agree with what the loader accepts."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any, get_args

import jsonschema
import pytest

from cxlocal.config import component_types, types
from cxlocal.config.load import CHOICES, LATER, NAMED, SINGLE, parse
from cxlocal.config.reference import BEGIN, END, insert, key_list
from cxlocal.config.schema import schema
from cxlocal.config.settings import VARIABLES
from cxlocal.errors import ConfigError
from cxlocal.plan.resolve import resolve

PAGE = Path(__file__).resolve().parents[2] / "docs" / "configuration.md"
HEAD = 'cx = 1\n[deliverable]\nname = "shop"\n'


def test_the_key_list_is_up_to_date() -> None:
    page = PAGE.read_text(encoding="utf-8")
    hint = "python -m cxlocal.config.reference docs/configuration.md"
    assert insert(page) == page, f"write it again with: {hint}"


def test_a_page_without_marks_is_refused() -> None:
    with pytest.raises(ValueError, match="no marks"):
        insert("no marks here")
    assert insert(f"a{BEGIN}old{END}b").startswith(f"a{BEGIN}\n\n## Every key")


def test_the_toml_in_the_page_is_accepted() -> None:
    blocks = re.findall(r"```toml\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    assert blocks
    for block in blocks:
        resolve(parse(block))


def test_every_variable_that_sets_something_is_in_the_page() -> None:
    page = PAGE.read_text(encoding="utf-8")
    assert [name for name in VARIABLES if f"`{name}`" not in page] == []


def tables() -> list[type[types.Table]]:
    named = {**vars(types), **vars(component_types)}
    found = [one for one in named.values() if isinstance(one, type)]
    return [one for one in found if issubclass(one, types.Table) and one is not types.Table]


@pytest.mark.parametrize("table", tables(), ids=lambda table: table.__name__)
def test_every_key_has_a_sentence(table: type[types.Table]) -> None:
    definition = schema(types.LocalConfig if table.__name__.startswith("Local") else types.Config)[
        "$defs"
    ][table.__name__]
    assert definition["additionalProperties"] is False
    assert definition["description"].endswith(".")
    for key, one in definition["properties"].items():
        inner = one.get("additionalProperties") or one
        if "$ref" in inner and "description" not in one:
            continue  # a table of its own
        assert one["description"].rstrip("`)").endswith((".", "nothing")), key
        assert f"`{key}`" in key_list()


def test_suggestions_know_every_choice_of_the_types() -> None:
    aliases = {"kind": types.Kind, "when_empty": types.WhenEmpty, "workspace": types.Workspace,
               "lifetime": types.Lifetime}  # fmt: skip
    for key, alias in aliases.items():
        assert list(get_args(alias)) == CHOICES[key]
    inner: dict[str, type[types.Table]] = {
        "stamp": types.Stamp, "token": types.SecretSource, "caches": types.Cache
    }  # fmt: skip
    for key, table in inner.items():
        assert list(table.__struct_fields__) == CHOICES[key]


def test_the_loader_knows_every_table_of_the_file() -> None:
    assert ["cx", *SINGLE, *NAMED] == list(types.Config.__struct_fields__) or (
        {"cx", *SINGLE, *NAMED} == set(types.Config.__struct_fields__)
    )


def test_no_key_of_a_later_version_is_accepted_now() -> None:
    kinds: dict[str, type[types.Table]] = {
        "": types.Config, **SINGLE, **{word: kind for word, kind in NAMED.values()}
    }  # fmt: skip
    for kind, keys in LATER.items():
        assert not set(keys) & set(kinds[kind].__struct_fields__)


def valid(text: str) -> bool:
    return not list(jsonschema.Draft202012Validator(schema()).iter_errors(tomllib.loads(text)))


def test_the_schema_is_a_schema() -> None:
    jsonschema.Draft202012Validator.check_schema(schema())
    jsonschema.Draft202012Validator.check_schema(schema(types.LocalConfig))


@pytest.mark.parametrize(
    "text",
    [
        HEAD,
        HEAD + "[stages]\na = { command = 'x', timeout = '1h 30m', requires = ['P'] }",
        HEAD + "[stages]\na = { tool = 'x', with = { b = [1, { c = 2 }] }, produces = ['p'] }",
        HEAD + "[version]\nfrom = 3\nstamp = [{ file = 'a', key = 'b' }]",
        HEAD + "[stages]\na = { command = 'x', retries = '3' }",
        HEAD + "[stages]\na = { command = 'x', retries = 11 }",
        HEAD + "[stages]\na = { command = 'x', timeout = 'soon' }",
        HEAD + "[stages]\na = { command = 'x', kind = 'bild' }",
        HEAD + "[stages]\na = { command = 3 }",
        HEAD + "[sinks]",
        HEAD
        + "[sinks]\nlogs = { to = 'file:/x' }\nevents = [{ to = 'file:/x' }, { to = 'file:/y' }]",
        HEAD + "[sinks]\nhold = '3d'\nlogs = { to = 'file:/x', of = 'all', token = { env = 'T' } }",
        HEAD + "[sinks]\nlogs = { to = 'file:/x', of = 'some' }",
        HEAD + "[sinks]\nlogs = 'file:/x'",
        HEAD + "[sinks]\nlog = { to = 'file:/x' }",
        HEAD + "[sinks]\nlogs = { }",
        "cx = 2\n[deliverable]\nname = 'x'",
        "cx = 1\n[deliverable]",
    ],
)
def test_schema_and_loader_agree(text: str) -> None:
    try:
        parse(text)
        accepted = True
    except ConfigError:
        accepted = False
    assert valid(text) == accepted


def test_there_is_no_null_in_the_schema() -> None:
    def walk(value: Any) -> None:
        assert value is not None
        assert value != {"type": "null"}
        for one in (
            value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
        ):
            walk(one)

    walk(schema())
    walk(schema(types.LocalConfig))
