"""The commit after a release, as the plan has it."""

from __future__ import annotations

from cxlocal.config import types as config
from cxlocal.config.names import check_path
from cxlocal.config.problems import Where, problem, suggestion
from cxlocal.patterns import compile_late
from cxlocal.plan import types as plan
from cxlocal.text import clean_text

_BRANCH = compile_late(
    r"(?![-./]|refs/)(?:(?!\.\.|//|/\.|@\{|\.lock(?:/|$))[^\x00-\x20\x7f~^:?*\[\\]){1,200}(?<![./])"
)


def resolve_bump(source: config.Config, bump: config.Bump, file: str) -> plan.Bump:
    """``[bump]``, checked. Raises ConfigError for a commit that would hold nothing or say no version, and
    for names of branches and stages that cannot be."""
    where = Where(file, "bump")
    if bump.changelog:
        check_path(bump.changelog, where, "changelog")
    elif not source.version.stamp:
        raise problem(
            where, "the commit after a release would hold nothing",
            why="no file is stamped with the version, and no changelog is named",
            hint='write [version] stamp, or changelog = "CHANGELOG.md"', key="changelog",
        )  # fmt: skip
    if bump.branch and not _BRANCH.fullmatch(bump.branch):
        raise problem(
            where, f"bump: {clean_text(bump.branch)[:80]!r} names no branch", key="branch",
            hint='write the name alone: branch = "main"',
        )  # fmt: skip
    if "{version}" not in bump.message or not bump.message.isprintable():
        raise problem(
            where, "bump: the message does not say which version it is of", key="message",
            hint='one line with the version in it: message = "Release {version}"',
        )  # fmt: skip
    for name in bump.needs:
        if name not in source.stages:
            raise problem(
                where, f"bump: there is no stage {name!r}", key="needs",
                hint=suggestion(name, list(source.stages), what="stage"),
            )  # fmt: skip
    return plan.Bump(
        changelog=bump.changelog, branch=bump.branch, message=bump.message,
        needs=tuple(bump.needs),
    )  # fmt: skip
