"""The tool ``forge-release``: the release page of a version at GitHub, GitLab, Gitea or Forgejo.

Whoever sees a release sees all of its files. Where a forge has drafts, the release is made as one, filled, compared and
only then published; where it has none, the files go to its package registry first and the release is made
last, in one call. The tag has to be there, at the commit of the version.
"""

from __future__ import annotations

from typing import Any

from cxlocal.hooks.specs import hookimpl
from cxlocal.hooks.tool import (
    ArtifactRef,
    Context,
    Held,
    Holdings,
    Published,
    Tool,
    ToolFailure,
    Withdrawn,
)
from cxlocal_plugins.targets.forges import Forge, Release, Unsaid, forge_of
from cxlocal_plugins.targets.web import Unreached, unknown


class ForgeRelease(Tool):
    """A release with the artifacts as its files."""

    name = "forge-release"
    api = 2
    title = "Release at a forge"
    place = 2

    class Options(Tool.Options, frozen=True):
        """``forge``: github, gitlab, gitea or forgejo. ``project``: ``owner/name``. ``url``: where its API is."""

        forge: str
        project: str
        url: str = ""
        tag: str = "v{version}"
        title: str = "{version}"
        notes: str = ""
        prerelease: bool = False
        token: str = ""

    def ask(self, ctx: Context) -> Holdings:
        """What the published release holds; a draft is none."""
        forge = forge_of(ctx)
        try:
            release = forge.published(forge.tag)
            files = {f"release {forge.tag}": _page(forge, release, ctx)}
            for name, one in ctx.artifacts.items():
                files[name] = _held(forge, release, one)
        except (Unreached, Unsaid) as problem:
            held = unknown(
                str(problem), problem.trouble if isinstance(problem, Unsaid) else "unreached"
            )
            files = dict.fromkeys((f"release {forge.tag}", *ctx.artifacts), held)
        return Holdings(files=files)

    def publish(self, ctx: Context) -> Published:
        """Bring the files, compare them, and only then let people see them."""
        forge = forge_of(ctx)
        try:
            _require_tag(forge, ctx.revision)
            forge.bring(list(ctx.artifacts.values()), ctx.put)
        except Unreached as problem:
            raise ToolFailure(str(problem), trouble="unreached") from problem
        except Unsaid as problem:
            raise ToolFailure(str(problem), trouble=problem.trouble) from problem
        return Published()

    def withdraw(self, ctx: Context) -> Withdrawn:
        """What people may have linked to is taken away by a person."""
        forge = forge_of(ctx)
        return Withdrawn(address=forge.page)


def _require_tag(forge: Forge, revision: str) -> None:
    there = forge.commit_of_tag()
    if not there:
        raise ToolFailure(f"the tag {forge.tag} is not at {forge.host} yet: publish it before")
    if there != revision:
        raise ToolFailure(
            f"the tag {forge.tag} leads to {there[:12]} at {forge.host}, not to {revision[:12]}"
        )


def _page(forge: Forge, release: Release | None, ctx: Context) -> Held:
    if release is None:
        return Held(state="absent", wanted=ctx.revision)
    there = forge.commit_of_tag()
    state: Any = "same" if there == ctx.revision else "other"
    return Held(state=state, wanted=ctx.revision, held=there, location=release.address)


def _held(forge: Forge, release: Release | None, one: ArtifactRef) -> Held:
    wanted = f"sha256:{one.sha256}"
    asset = None if release is None else release.assets.get(one.path.name)
    if asset is None or not asset.whole:
        return Held(state="absent", wanted=wanted)
    digest = asset.digest or forge.digest_of(asset)
    return Held(
        state="same" if digest == wanted else "other",
        wanted=wanted,
        held=digest,
        location=asset.address,
    )


@hookimpl
def cxlocal_register_tools() -> list[type[Tool]]:
    """The tool."""
    return [ForgeRelease]
