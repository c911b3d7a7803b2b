"""The tool ``forge-release``: the release of a version at GitHub, GitLab, Gitea or Forgejo.

Nobody sees it before it is whole. Where the forge has drafts, one is made, marked with the run, filled, compared
and then published; GitLab has none, so the files go to its package registry first and the release is made last,
in one call. The tag has to be there before, and is never made or moved by this tool.
"""

from __future__ import annotations

import re
from urllib.parse import urlsplit

from cxlocal.hooks.specs import hookimpl
from cxlocal.hooks.tool import (
    Context,
    Holdings,
    Published,
    Tool,
    ToolFailure,
    Withdrawn,
)
from cxlocal_plugins.targets.forge_api import Forge, Releases
from cxlocal_plugins.targets.forge_drafts import Gitea, GitHub
from cxlocal_plugins.targets.forge_gitlab import GitLab
from cxlocal_plugins.targets.web import Unreached, secret_of, unknown

FORGES: dict[str, type[Releases]] = {
    "github": GitHub, "gitea": Gitea, "forgejo": Gitea, "gitlab": GitLab,
}  # fmt: skip
API = {"github": "https://api.github.com", "gitlab": "https://gitlab.com/api/v4"}
_EARLY = re.compile(r"\d(?:-[0-9A-Za-z]|(?:a|b|rc)\d|\.dev\d)")
"""What says that a version is a pre-release, by the rules of SemVer and PEP 440."""


class ForgeRelease(Tool):
    """The release of a tag, with the artifacts as its files and the notes as its text."""

    name = "forge-release"
    api = 2
    title = "Release at a forge"
    place = 2

    class Options(Tool.Options, frozen=True):
        """``forge``: github, gitlab, gitea or forgejo. ``project``: ``owner/name``. ``url``: where its API is.
        ``token`` names a secret. ``tag``, ``title`` and ``notes`` may hold ``{version}``."""

        forge: str
        project: str
        url: str = ""
        tag: str = "v{version}"
        title: str = "{version}"
        notes: str = ""
        prerelease: bool = False
        token: str = ""

    def ask(self, ctx: Context) -> Holdings:
        """What is published: a draft is nothing that anybody has."""
        releases = _releases(ctx)
        try:
            return Holdings(files=releases.held())
        except (Unreached, ToolFailure) as problem:
            done = problem.done if isinstance(problem, ToolFailure) else None
            refused = done is not None and done.details.get("trouble") == "credential"
            lost = unknown(str(problem), "credential" if refused else "unreached")
            return Holdings(files=dict.fromkeys((*ctx.artifacts, releases.name), lost))

    def publish(self, ctx: Context) -> Published:
        """Bring what is missing there; only what is whole is shown to anybody."""
        try:
            return Published(locations=_releases(ctx).publish())
        except Unreached as problem:
            raise ToolFailure(str(problem), trouble="unreached") from problem

    def withdraw(self, ctx: Context) -> Withdrawn:
        """A published release becomes a draft again, where that is possible."""
        try:
            return _releases(ctx).withdraw()
        except Unreached as problem:
            raise ToolFailure(str(problem), trouble="unreached") from problem


def _releases(ctx: Context) -> Releases:
    options = ctx.options
    kind = FORGES.get(options.forge)
    if kind is None:
        raise ToolFailure(f"forge {options.forge!r} is none of {', '.join(FORGES)}")
    url = (options.url or API.get(options.forge, "")).rstrip("/")
    if not url:
        raise ToolFailure(f"url is not set: where the API of this {options.forge} is")
    if urlsplit(url).scheme not in ("http", "https") or not urlsplit(url).netloc:
        raise ToolFailure(f"url = {options.url!r} is no address of a forge's API")
    if not re.fullmatch(r"[^\s/?#%]+(?:/[^\s/?#%]+)+", options.project):
        raise ToolFailure(f"project = {options.project!r} is not of the form owner/name")
    tag, title, notes = (
        text.replace("{version}", ctx.version)
        for text in (options.tag, options.title, options.notes)
    )
    if not re.fullmatch(r"(?!-)[^\s~^:?*\[\\\x00-\x20]+", tag) or ".." in tag:
        raise ToolFailure(f"{tag!r} cannot be the name of a tag")
    words = notes or ctx.notes.get("markdown", "") or f"{ctx.deliverable} {ctx.version}"
    forge = Forge(
        url=url, project=options.project, tag=tag, title=title, notes=words.rstrip(),
        token=secret_of(ctx, options.token),
        early=options.prerelease or _EARLY.search(ctx.version) is not None,
    )  # fmt: skip
    return kind(forge, ctx)


@hookimpl
def cxlocal_register_tools() -> list[type[Tool]]:
    """The tool."""
    return [ForgeRelease]
