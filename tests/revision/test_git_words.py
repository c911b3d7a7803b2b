"""Why git failed, in one line of what it said."""

from __future__ import annotations

import pytest

from cxlocal.text import git_reason

VAGUE = "fatal: Could not read from remote repository.\n\nPlease make sure you have the rights.\n"


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        ("", ""),
        ("something\nelse\n", "something"),
        ("warning: old\nfatal: not a git repository\n", "fatal: not a git repository"),
        (f"git@host: Permission denied (publickey).\r\n{VAGUE}", "git@host: Permission denied (publickey)."),
        (f"ssh: connect to host h port 22: Connection refused\n{VAGUE}", "ssh: connect to host h port 22: Connection refused"),
        (f"@@@@\n@ CHANGED! @\n\nHost key verification failed.\n{VAGUE}", "Host key verification failed."),
        (VAGUE, "fatal: Could not read from remote repository."),
    ],
)  # fmt: skip
def test_the_line_that_tells_why(said: str, reason: str) -> None:
    assert git_reason(said) == reason


def test_words_of_the_other_side_count_where_they_are_asked_for() -> None:
    said = "remote: not from you\nTo host\n ! [remote rejected] v1 -> v1\nerror: failed to push\n"
    assert git_reason(said, remote=True) == "remote: not from you"
    assert git_reason(said) == "error: failed to push"
