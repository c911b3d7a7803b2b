"""The section of a version, in the forms that projects keep their changelogs in."""

from __future__ import annotations

import pytest

from cxlocal.notes.changelog import FILE, open_section, section, without

KEEP = """\
# Changelog

All notable changes. See [Keep a Changelog](https://keepachangelog.com).

## [Unreleased]

<!-- write here -->
### Added

- A door. See [#12].

### Removed

## [1.2.3] - 2026-11-30

### Fixed

- Its lock,
  on two lines.

## [1.2.2] - 2026-11-01 [YANKED]

- Old.

[#12]: https://example.org/12
[Unreleased]: https://example.org/compare/v1.2.3...HEAD
[1.2.3]: https://example.org/compare/v1.2.2...v1.2.3
"""
STANDARD_VERSION = """\
# Changelog

### [1.2.3](https://example.org/compare/v1.2.2...v1.2.3) (2026-11-30)


### Bug Fixes

* **api:** its lock ([abc1234](https://example.org/commit/abc1234))

### [1.2.2](https://example.org/compare/v1.2.1...v1.2.2) (2026-11-01)

* old
"""
UNDERLINED = """\
Changelog
=========

1.2.3 (2026-11-30)
------------------

New
~~~
- A door.

1.2.2 (2026-11-01)
------------------
- Old.
"""
OVERLINED = """\
****************
Release History
****************

======
v1.2.3
======

- A door.

======
v1.2.2
======

- Old.
"""
NODE = """\
1.2.3 / 2026-11-30
==================

  * A door

1.2.2 / 2026-11-01
==================

  * Old
"""
GNU = """\
GNU shop NEWS

* Noteworthy changes in release 1.2.3 (2026-11-30) [stable]

** Bug fixes

  A door.

* Noteworthy changes in release 1.2.2 (2026-11-01) [stable]

  Old.
"""
ALONE = """\
Version 1.2.3 - November 30, 2026
 - A door

Version 1.2.2 - November 1, 2026
 - Old
"""
FENCED = """\
## v1.2.3

- A door:

```sh
## 1.2.2
echo this is no heading
```

## v1.2.2

- Old
"""
MONOREPO = """\
# @acme/shop

## 1.2.3

### Patch Changes

- A door

## 1.2.2

- Old
"""


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (KEEP, "### Fixed\n\n- Its lock,\n  on two lines."),
        (
            STANDARD_VERSION,
            "### Bug Fixes\n\n* **api:** its lock ([abc1234](https://example.org/commit/abc1234))",
        ),
        (UNDERLINED, "New\n~~~\n- A door."),
        (OVERLINED, "- A door."),
        (NODE, "* A door"),
        (GNU, "** Bug fixes\n\n  A door."),
        (ALONE, "- A door"),
        (FENCED, "- A door:\n\n```sh\n## 1.2.2\necho this is no heading\n```"),
        (MONOREPO, "### Patch Changes\n\n- A door"),
        ("## shop 1.2.3\n\n- A door\n\n## shop 1.2.2\n", "- A door"),
        ("## shop-1.2.3\n\n- A door\n\n## shop-1.2.2\n", "- A door"),
        ("## Release v1.2.3, 2026-11-30\n\n- A door\n## Release v1.2.2\n- Old\n", "- A door"),
        ("# 1.2.3\r\n\r\n- A door\r\n\r\n# 1.2.2\r\n", "- A door"),
        ("**1.2.3**\n\n- A door\n\n**1.2.2**\n\n- Old\n", "- A door"),
        ("## 1.2.3-rc.1\n\n- Early\n\n## 1.2.3\n\n- A door\n", "- A door"),
        ("## 11.2.3\n\n- Other\n\n## 1.2.30\n\n- Other\n", ""),
        ("## 2026-11-30\n\n- 1.2.3 is a number\n", ""),
        ("## 1.2.3\n\n### Added\n\n### Fixed\n\n## 1.2.2\n\n- Old\n", ""),
        ("nothing of 1.2.3 here\n", ""),
        ("", ""),
    ],
)
def test_a_section_is_found_and_ends_where_the_next_begins(text: str, says: str) -> None:
    found = section(text, "1.2.3")
    assert found == says
    assert "Old" not in found


def test_definitions_of_links_come_along_and_empty_headings_do_not() -> None:
    assert open_section(KEEP) == (
        "### Added\n\n- A door. See [#12].\n\n[#12]: https://example.org/12"
    )


@pytest.mark.parametrize(
    "heading",
    ["## [Unreleased]", "## Unreleased", "## UNRELEASED - 2026", "## Next", "## HEAD", "# master",
     "## 1.2.4 (unreleased)", "## [Upcoming]", "Unreleased\n----------"],
)  # fmt: skip
def test_what_is_open_goes_by_many_names(heading: str) -> None:
    assert open_section(f"{heading}\n\n- A door\n\n## 1.2.3\n\n- Old\n") == "- A door"


def test_a_version_is_no_open_section() -> None:
    assert open_section("## 1.2.3\n\n- A door\n## Next steps for users\n- Read\n") == ""


@pytest.mark.parametrize(
    ("now", "former", "new"),
    [
        ("- a\n- b", "- a", "- b"),
        ("- a", "- a", ""),
        ("### Added\n\n- a\n\n### Fixed\n\n- b", "### Added\n\n- a", "### Fixed\n\n- b"),
        ("- a\n  more\n- b", "- a\n  more", "- b"),
        ("- a\n  more", "- a", "- a\n  more"),
        ("- a", "", "- a"),
        ("A paragraph.\n\nAnother.", "A paragraph.", "Another."),
    ],
)
def test_what_stood_there_before_is_not_new(now: str, former: str, new: str) -> None:
    assert without(now, former) == new


def test_nothing_in_it_acts_on_a_terminal() -> None:
    assert section("## 1.2.3\n\n- a \x1b[2J\u202e door\n", "1.2.3") == "- a \\x1b[2J\\u202e door"


@pytest.mark.parametrize(
    ("name", "is_one"),
    [("CHANGELOG.md", True), ("changelog", True), ("CHANGES.rst", True), ("HISTORY.txt", True),
     ("NEWS", True), ("RELEASES.md", True), ("release-notes.md", True), ("Change-Log.MD", True),
     ("newsletter.md", False), ("CHANGELOG.md.orig", False), ("historyofus.md", False)],
)  # fmt: skip
def test_files_that_may_be_one(name: str, is_one: bool) -> None:
    assert (FILE.fullmatch(name) is not None) == is_one
