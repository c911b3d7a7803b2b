"""What the messages of commits say, and the groups they are shown in."""

from __future__ import annotations

import pytest

from cxlocal.notes.commits import BREAKING, OTHER, Written, grouped, tell


def written(subject: str, body: str = "") -> Written:
    return Written("c" * 40, subject, "Ann <ann@example.org>", "2026-11-30T10:00:00.000Z", body)


@pytest.mark.parametrize(
    ("subject", "group", "scope", "words"),
    [
        ("feat: a door", "Features", "", "a door"),
        ("FEAT: a door", "Features", "", "a door"),
        ("feature(shop): a door", "Features", "shop", "a door"),
        ("fix(api/v2): its lock", "Fixes", "api/v2", "its lock"),
        ("bugfix: its lock", "Fixes", "", "its lock"),
        ("perf: faster", "Performance", "", "faster"),
        ("docs: say so", "Documentation", "", "say so"),
        ("chore(deps): bump x from 1 to 2", "Maintenance", "deps", "bump x from 1 to 2"),
        ("refactor: less", "Maintenance", "", "less"),
        ("ci:  two spaces", "Maintenance", "", "two spaces"),
        ("revert: feat: a door", "Reverted", "", "feat: a door"),
        ('Revert "feat: a door"', "Reverted", "", 'Revert "feat: a door"'),
        ("feat!: no v1", BREAKING, "", "no v1"),
        ("refactor(api)!: no v1", BREAKING, "api", "no v1"),
        ("anything!: no v1", BREAKING, "", "no v1"),
        ("mm: handle a null page", OTHER, "", "mm: handle a null page"),
        ("Add a door", OTHER, "", "Add a door"),
        ("fix:no space is no such message", OTHER, "", "fix:no space is no such message"),
        ("https://example.org: gone", OTHER, "", "https://example.org: gone"),
        ("feat:", OTHER, "", "feat:"),
        ("", OTHER, "", ""),
        ("Merge branch 'x' into y", "", "", "Merge branch 'x' into y"),
        ("Merge pull request #3 from a/b", "", "", "Merge pull request #3 from a/b"),
        ("Merge the two lists of names", OTHER, "", "Merge the two lists of names"),
    ],
)
def test_a_message_says_what_it_is(subject: str, group: str, scope: str, words: str) -> None:
    told = tell(written(subject))
    assert (told.group, told.scope, told.words) == (group, scope, words)


@pytest.mark.parametrize(
    ("body", "breaks"),
    [
        ("BREAKING CHANGE: use v2", "use v2"),
        ("Why.\n\nBREAKING-CHANGE: use v2\n  or stay", "use v2 or stay"),
        ("BREAKING CHANGE: use v2\n\nMore words.", "use v2"),
        ("BREAKING CHANGE: use v2\nSigned-off-by: Ann <a@example.org>", "use v2"),
        ("BREAKING CHANGE: use v2\nCloses #12", "use v2"),
        ("This is no BREAKING CHANGE: at all", ""),
        ("breaking change: small letters are no such footer", ""),
    ],
)
def test_a_footer_says_what_breaks(body: str, breaks: str) -> None:
    told = tell(written("fix: a lock", body))
    assert (told.group, told.breaks) == (BREAKING if breaks else "Fixes", breaks)


def test_groups_stand_in_one_order_and_commits_in_theirs() -> None:
    subjects = [
        "chore: d",
        "fix: b",
        "Plain c",
        "feat: a",
        "fix: b2",
        "Merge branch 'x'",
        "feat!: z",
    ]
    found = grouped([written(one) for one in subjects])
    assert [(name, [told.words for told in ones]) for name, ones in found] == [
        (BREAKING, ["z"]), ("Features", ["a"]), ("Fixes", ["b", "b2"]), (OTHER, ["Plain c"]),
        ("Maintenance", ["d"]),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("subjects", "names"),
    [
        (["Add a", "Change b"], [""]),
        (["Add a", "Change b", "fix: c"], [""]),  # one of three
        (["Add a", "fix: c"], ["Fixes", OTHER]),  # half of them
        (["mm: a", "net: b", "fs: c"], [""]),  # names of parts are no kinds
        (["Merge branch 'x'"], [""]),  # better than nothing
        ([], []),
    ],
)
def test_groups_only_where_such_messages_are_written(subjects: list[str], names: list[str]) -> None:
    found = grouped([written(one) for one in subjects])
    assert [name for name, _ in found] == names
    if names == [""]:
        shown = [told.words for _, ones in found for told in ones]
        assert shown == subjects, "as they were written"
