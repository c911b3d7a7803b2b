"""``[links]``: which addresses pages lead to. Whatever names one (a cx.toml, an event of another
machine) is a stranger's word."""

from __future__ import annotations

import json

import pytest

from cxlocal.address import template_problem, web_link
from cxlocal.config.load import parse
from cxlocal.errors import ConfigError

GIVEN = {"run": "0a-b", "stage": "unit & co", "version": "1.0/é", "commit": "abc", "to": None}


@pytest.mark.parametrize(
    ("template", "made"),
    [
        ("https://git.example.org/c/{commit}", "https://git.example.org/c/abc"),
        ("http://[::1]:8080/?q={run}+{stage}", "http://[::1]:8080/?q=0a-b+unit%20%26%20co"),
        ("https://logs.example.org/#{version}", "https://logs.example.org/#1.0%2F%C3%A9"),
        ("https://logs.example.org/plain", "https://logs.example.org/plain"),
        ("https://logs.example.org/?to={to}", ""),  # not known: no link that leads elsewhere
        ("https://logs.example.org/?to={ticket}", ""),
    ],
)
def test_what_is_known_is_filled_in(template: str, made: str) -> None:
    assert template_problem(template) == ""
    assert web_link(template, GIVEN) == made


@pytest.mark.parametrize(
    "template",
    [
        "javascript:alert(1)", "JavaScript:alert({run})", "data:text/html,x", "file:///etc/passwd",
        "//git.example.org/{commit}", "git.example.org/{commit}", "/c/{commit}", "", "https://",
        " https://git.example.org/", "https://git.example.org/a b", "https://git.example.org/\n",
        "https://git.example.org/\u202e", "https://user:pw@git.example.org/{commit}",
        "https://git.example.org@evil.example.org/", "https://{version}.example.org/",
        "https://git.example.org/{commit", "https://git.example.org/{}", "https://h/{commit!r}",
        "https://h/{run.__class__}", "https://h/{secret}", 'https://h/"onclick="x', "https://h/<b>",
        "https:\\\\h/{run}", "https://h/" + "x" * 500,
    ],
)  # fmt: skip
def test_anything_else_is_no_link_and_refused(template: str) -> None:
    assert web_link(template, GIVEN) == ""
    if template:  # an empty one is as good as none
        content = f"cx = 1\n[deliverable]\nname = 'shop'\n[links]\nlog = {json.dumps(template)}\n"
        with pytest.raises(ConfigError):
            parse(content)


def test_what_is_no_text_is_no_link() -> None:
    assert [web_link(odd, GIVEN) for odd in (None, 1, ["https://h/"], {"a": 1})] == [""] * 4
