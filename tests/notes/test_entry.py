"""A section of a version, written into changelogs of many forms."""

from __future__ import annotations

import pytest

from cxlocal.notes.changelog import section
from cxlocal.notes.entry import with_entry

WORDS = "- A door\n"


@pytest.mark.parametrize(
    ("text", "becomes"),
    [
        ("", "# Changelog\n\n## 1.2.3 - 2026-11-30\n\n- A door\n"),
        ("# Changes\n", "# Changes\n\n## 1.2.3 - 2026-11-30\n\n- A door\n"),
        (
            "# Changes\n\n## [Unreleased]\n\n- Mine\n\n## [1.2.2] - 2026-11-01\n\n- Old\n",
            ("# Changes\n\n## [Unreleased]\n\n## [1.2.3] - 2026-11-30\n\n- Mine\n\n"
             "## [1.2.2] - 2026-11-01\n\n- Old\n"),
        ),
        (
            "# Changes\n\n## Unreleased\n\n### Added\n\n## v1.2.2 (2026-11-01)\n\n- Old\n",
            ("# Changes\n\n## Unreleased\n\n### Added\n\n## v1.2.3 (2026-11-30)\n\n- A door\n\n"
             "## v1.2.2 (2026-11-01)\n\n- Old\n"),
        ),
        (
            "Changes\n=======\n\n1.2.2 (2026-11-01)\n------------------\n\n- Old\n",
            ("Changes\n=======\n\n1.2.3 (2026-11-30)\n------------------\n\n- A door\n\n"
             "1.2.2 (2026-11-01)\n------------------\n\n- Old\n"),
        ),
        (
            "1.2.2 / 2026-11-01\n==================\n\n  * Old\n",
            ("1.2.3 / 2026-11-30\n==================\n\n- A door\n\n"
             "1.2.2 / 2026-11-01\n==================\n\n  * Old\n"),
        ),
        ("## 1.2.3\n\n- Mine\n", "## 1.2.3\n\n- Mine\n"),
        (
            "# Changes\r\n\r\n## Unreleased\r\n\r\n- Mine\r\n",
            "# Changes\r\n\r\n## Unreleased\r\n\r\n## 1.2.3 - 2026-11-30\r\n\r\n- Mine\r\n",
        ),
    ],
)  # fmt: skip
def test_a_section_in_the_form_that_the_file_has(text: str, becomes: str) -> None:
    found = with_entry(text, "1.2.3", "2026-11-30", WORDS)
    assert found.strip("\r\n") == becomes.strip("\r\n")
    assert section(found, "1.2.3"), "and the reader of sections finds it"
    assert with_entry(found, "1.2.3", "2026-12-01", "- Twice\n") == found
