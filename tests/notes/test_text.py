"""Notes as Markdown and as plain text: never empty, and what commits say is never markup."""

from __future__ import annotations

import re
import unicodedata
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from cxlocal.notes.commits import Written
from cxlocal.notes.text import CHARACTERS_MAX, Notes, Since, document, markdown, plain

LINKS = {"ticket": "https://t.example.org/{ticket}", "commit": "https://g.example.org/{commit}"}
BASE = Since("1.0.0", "r0", "a" * 40)
CONTROLS = re.compile(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\u2028\u2029]")


def made(*subjects: str, total: int | None = -1, **rest: Any) -> Notes:
    commits = [Written(f"{n:040x}", one, "Ann", "2026") for n, one in enumerate(subjects, 1)]
    given: dict[str, Any] = {
        "deliverable": "shop", "version": "1.0.1", "run": "r1", "commit": "b" * 40, "since": BASE,
        "commits": commits, "total": len(commits) if total == -1 else total,
    }  # fmt: skip
    return Notes(**(given | rest))


def test_commits_stand_under_their_headings_with_links() -> None:
    assert markdown(made("feat(api): a door SHOP-12", "fix: its lock (#7)", links=LINKS)) == (
        "### Features\n\n"
        "- **api**: a door [SHOP-12](https://t.example.org/SHOP-12)"
        f" ([0000000](https://g.example.org/{1:040x}))\n\n"
        "### Fixes\n\n"
        "- its lock ([#7](https://t.example.org/7))"
        f" ([0000000](https://g.example.org/{2:040x}))\n\n"
        "2 commits since 1.0.0 (`aaaaaaaaaaaa..bbbbbbbbbbbb`).\n"
    )


def test_the_same_for_plain_readers() -> None:
    assert plain(made("feat: a *door* SHOP-12", "fix: x", links=LINKS)) == (
        "Features:\n\n- a *door* SHOP-12 (000000000000)\n\nFixes:\n\n- x (000000000000)\n\n"
        "2 commits since 1.0.0 (aaaaaaaaaaaa..bbbbbbbbbbbb).\n"
    )


@pytest.mark.parametrize(
    ("notes", "sentence"),
    [
        (made(), "No commits since 1.0.0."),
        (made(note="the same commit as before"), "No commits since 1.0.0; the same commit as before."),
        (made(total=None, note="it is not in this clone"),
         "Commits since 1.0.0 (`aaaaaaaaaaaa..bbbbbbbbbbbb`); it is not in this clone."),
        (made(since=None, total=None), "The first release (`bbbbbbbbbbbb`)."),
        (made("a", since=None, total=201), "The first release, with 201 commits (`bbbbbbbbbbbb`)."),
        (made(since=BASE._replace(place="production")),
         "No commits since 1.0.0, which is live in production."),
        (made(since=BASE._replace(version="")), "No commits since r0."),
    ],
)  # fmt: skip
def test_one_sentence_where_there_is_no_list(notes: Notes, sentence: str) -> None:
    assert markdown(notes) == f"{sentence}\n"


def test_a_list_that_was_cut_says_how_many_more() -> None:
    found = markdown(made("one", "two", total=342))
    assert "\n\nand 340 more (`aaaaaaaaaaaa..bbbbbbbbbbbb`)\n\n342 commits since" in found
    # A merge is not shown, and not missing either.
    assert " more" not in markdown(made("one", "Merge branch 'x'"))
    assert "and 1 more" in markdown(made("one", "Merge branch 'x'", total=3))


def test_a_text_stays_below_what_targets_take() -> None:
    found = markdown(made(*["x" * 400] * 500))
    assert len(found) < CHARACTERS_MAX + 1000
    shown = found.count("\n- ") + found.startswith("- ")
    assert f"and {500 - shown} more" in found
    assert len(markdown(made(changelog="y" * 2 * CHARACTERS_MAX))) < CHARACTERS_MAX + 1000


def test_the_words_of_the_changelog_come_first() -> None:
    found = markdown(made("feat: a door", changelog="- The **door**"))
    assert found == "- The **door**\n\n1 commit since 1.0.0 (`aaaaaaaaaaaa..bbbbbbbbbbbb`).\n"


def test_what_breaks_is_said_below() -> None:
    commit = Written("1" * 40, "fix: x", "Ann", "2026", "BREAKING CHANGE: use *v2*")
    assert "- x (`1111111`)\n  use \\*v2\\*\n" in markdown(made(commits=[commit], total=1))


HOSTILE = (
    "<script>alert(1)</script>", "[x](javascript:alert(1))", "![x](https://example.org/p.png)",
    "# heading", "> quoted", "- item", "+ item", "1. item", "1) item", "---", "===", "```", "~~~",
    "**bold** __bold__ *a* _b_ ~~c~~", "`code`", "a | b", "&lt;b&gt; &#60;", "$x$", "[ref]", "[x]: y",
    "\\*", "<!-- hidden", "a\nb\n\n# c", "\x1b[2J", "\u202egnp.exe", "\u2028", "\udce4", "| a |\n|--|",
    "[ ] task", "<https://example.org>", "* * *", "    code", "\tcode", "a  ", "![", "](", ":::",
)  # fmt: skip


def _looks(text: str) -> list[str]:
    """What a reader of Markdown makes of it, by the kinds of its parts."""
    tokens = MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"]).parse(text)
    inline = [child for one in tokens for child in one.children or ()]
    return [one.type for one in (*tokens, *inline)]


def _said(text: str) -> str:
    tokens = MarkdownIt("commonmark").parse(text)
    return "".join(child.content for one in tokens for child in one.children or ())


@pytest.mark.parametrize("subject", HOSTILE)
def test_no_message_is_markup(subject: str) -> None:
    _is_text(subject)


@given(st.text(st.characters(codec=None), max_size=60))
@example("@team see owner/repo#1")
def test_no_text_is_markup(subject: str) -> None:
    _is_text(subject)


def _is_text(subject: str) -> None:
    found = markdown(made(subject, "second"))
    assert not CONTROLS.search(found)
    assert _looks(found) == _looks(markdown(made("harmless", "second"))), found
    wanted = " ".join(subject.split())
    if wanted.isprintable() and all(unicodedata.category(c) != "Cf" for c in wanted):
        assert wanted in _said(found).replace("\u200b", ""), "and nothing of it is lost"
    assert not CONTROLS.search(plain(made(subject)))


def test_nobody_is_called() -> None:
    assert not re.search(r"@[\w-]", markdown(made("thanks @team and @octo-cat")))


def test_the_document_has_everything() -> None:
    notes = made("feat(api)!: a door SHOP-12", total=3, links=LINKS)
    found = document(notes)
    assert (found["version"], found["total"], found["more"]) == ("1.0.1", 3, 2)
    assert found["since"]["version"] == "1.0.0" and found["text"] == markdown(notes)
    assert found["commits"][0] | {"commit": "", "address": ""} == {
        "commit": "", "subject": "feat(api)!: a door SHOP-12", "author": "Ann", "committed_at": "2026",
        "group": "Breaking changes", "scope": "api", "words": "a door SHOP-12",
        "breaks": "a door SHOP-12", "address": "",
        "tickets": [{"ticket": "SHOP-12", "address": "https://t.example.org/SHOP-12"}],
    }  # fmt: skip
