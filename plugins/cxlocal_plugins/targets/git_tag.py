"""The tool ``git-tag``: the annotated tag of a version, pushed to a remote.

A push that makes a tag is refused where the tag is, so nothing is ever moved. What the remote holds is
compared by the commit that the tag leads to: two machines that tag at once make the same tag.
"""

from __future__ import annotations

import re
from typing import Any

from cxlocal.hooks.specs import hookimpl
from cxlocal.hooks.tool import (
    Completed,
    Context,
    Held,
    Holdings,
    Published,
    Tool,
    ToolFailure,
    Withdrawn,
)
from cxlocal.text import git_reason

QUIET = {"GIT_TERMINAL_PROMPT": "0", "LC_ALL": "C"}
"""A remote that asks for a password is an error, and its words are those that are known here."""
SECONDS = 60.0
"""For one question to the remote."""
_NO_RIGHT = re.compile(
    r"authentication failed|could not read (?:username|password)|permission denied|access denied"
    r"|host key verification failed|not authorized|returned error: 40[13]\b",
    re.IGNORECASE,
)
"""Of what git says where the other side does not let us in; a number alone may be of a port or a version."""


class GitTag(Tool):
    """An annotated tag; signed where ``sign`` says so."""

    name = "git-tag"
    api = 2
    title = "Git tag"
    executables = ("git",)
    place = 1

    class Options(Tool.Options, frozen=True):
        """``remote``: the name of a remote, or an address. ``tag`` may hold ``{version}``."""

        remote: str = "origin"
        tag: str = "v{version}"
        message: str = ""
        sign: bool = False

    def ask(self, ctx: Context) -> Holdings:
        """Which commit the tag leads to there."""
        name = _name(ctx)
        found = _git(
            ctx,
            "ls-remote",
            "--",
            ctx.options.remote,
            f"refs/tags/{name}",
            f"refs/tags/{name}^{{}}",
        )
        if found.code:
            return Holdings(files={f"tag {name}": _unknown(found)}, refuses=True)
        lines = (line.partition("\t") for line in found.output.splitlines())
        commits = {ref: commit for commit, tab, ref in lines if tab}
        there = commits.get(f"refs/tags/{name}^{{}}") or commits.get(f"refs/tags/{name}", "")
        held = Held.compared(ctx.revision, there, location=f"refs/tags/{name}")
        return Holdings(files={f"tag {name}": held}, refuses=True)

    def publish(self, ctx: Context) -> Published:
        """Make the tag and push it. A tag of that name that is here and not there is not touched."""
        name, options = _name(ctx), ctx.options
        here = _git(ctx, "rev-parse", "--verify", "--quiet", f"refs/tags/{name}^{{commit}}")
        if here.code:
            title = f"{ctx.deliverable} {ctx.version}"
            message = options.message or f"{title}\n\n{ctx.notes.get('plain', '')}".rstrip()
            kind = "-s" if options.sign else "-a"
            written = ctx.scratch / "message"
            written.write_text(message + "\n", encoding="utf-8")
            # What begins with # is a heading of the notes, and no comment.
            words = ("-F", str(written), "--cleanup=whitespace")
            made = _git(ctx, "tag", kind, *words, "--", name, ctx.revision, env=_identity(ctx))
            if made.code:
                raise ToolFailure(
                    f"git tag: {_last(made)}", trouble="credential" if options.sign else ""
                )
        elif here.output.strip() != ctx.revision:
            raise ToolFailure(
                f"a tag {name} is in this repository, at {here.output.strip()[:12]}, and not at"
                f" {options.remote}: delete it (git tag -d {name}), if it is none of yours"
            )
        pushed = _git(ctx, "push", "--", options.remote, f"refs/tags/{name}:refs/tags/{name}")
        if pushed.code:
            raise ToolFailure(f"git push: {_last(pushed)}", trouble=_trouble(pushed))
        return Published()

    def withdraw(self, ctx: Context) -> Withdrawn:
        """A tag that others fetched stays with them: taking it away is a person's decision."""
        return Withdrawn(address=f"git push --delete {ctx.options.remote} {_name(ctx)}")


def _name(ctx: Context) -> str:
    name: str = ctx.options.tag.replace("{version}", ctx.version)
    if _git(ctx, "check-ref-format", f"refs/tags/{name}").code or name.startswith("-"):
        raise ToolFailure(f"{name!r} cannot be the name of a tag")
    return name


def _git(ctx: Context, *words: str, env: dict[str, str] | None = None) -> Completed:
    limit = min(SECONDS, ctx.timeout)
    return ctx.exec(["git", *words], env={**QUIET, **(env or {})}, check=False, timeout=limit)


def _identity(ctx: Context) -> dict[str, str]:
    """Who tags, where git does not know: a CI job has no name."""
    if _git(ctx, "var", "GIT_COMMITTER_IDENT").code == 0:
        return {}
    return {"GIT_COMMITTER_NAME": "cxlocal", "GIT_COMMITTER_EMAIL": "cxlocal@localhost"}


def _last(done: Completed) -> str:
    return (git_reason(done.output, remote=True) or f"exit code {done.code}")[:300]


def _trouble(done: Completed) -> str:
    text = done.output
    if _NO_RIGHT.search(text):
        return "credential"
    # What a remote refuses it was reached for.
    return "" if "[rejected]" in text or "[remote rejected]" in text else "unreached"


def _unknown(done: Completed) -> Held:
    trouble: Any = _trouble(done)
    return Held(state="not known", why=_last(done), trouble=trouble)


@hookimpl
def cxlocal_register_tools() -> list[type[Tool]]:
    """The tool."""
    return [GitTag]
