"""The tool ``oci``: builds a container image, and publishes it by its digest.

An image is known by the digest of its manifest: tags are overwritten in silence. The artifact is a file that
follows from the manifest (``oci_layout``), so its own digest names the image as well.
"""

from __future__ import annotations

import base64
import json
import re
import shutil
from pathlib import Path
from typing import Literal

import msgspec

from cxlocal.errors import Trouble
from cxlocal.hooks.specs import hookimpl
from cxlocal.hooks.tool import (
    Completed,
    Context,
    Done,
    Held,
    Holdings,
    Produced,
    Published,
    Tool,
    ToolFailure,
)
from cxlocal_plugins.oci_layout import identity_of, pack, unpack

BUILDERS = ("buildah", "podman", "docker")
_NO_RIGHT = re.compile(
    r": (?:unauthorized|denied)\b|\b40[13] \((?:Unauthorized|Forbidden)\)|\bStatusCode: 40[13]\b"
    r"|\binvalid username/password\b|\bauthentication required\b|\bgetting username and password\b"
)
"""Of what skopeo says where a registry does not let us in. No address or name is one of these."""
_ABSENT = re.compile(
    r"reading manifest [^ ]+ in [^ ]+: (?:manifest unknown|name unknown"
    r"|(?:unknown|not found): .*\bnot found$)"
)
"""Of what it says where a registry answered that it has no such image: a lack of anything else is none."""
MEDIA_TYPE = "application/vnd.oci.image.layout.v1+tar"


class Oci(Tool):
    """Container images, by buildah, podman or docker; to registries by skopeo."""

    name = "oci"
    api = 2
    title = "Container images"
    executables = ("skopeo",)

    class Options(Tool.Options, frozen=True):
        """``file`` and ``context`` as for ``buildah build``; ``args`` its build arguments. ``builder``:
        the first of buildah, podman and docker that is there. ``artifact``: the image's name. ``to``: where
        ``publish`` brings it, ``registry/name``. ``user``: who signs in there, with the secret that
        ``password`` names. ``tls``: the registry speaks HTTPS."""

        file: str = "Dockerfile"
        context: str = "."
        args: dict[str, str] = msgspec.field(default_factory=dict)
        builder: str = ""
        artifact: str = "image"
        to: str = ""
        user: str = ""
        password: str = "REGISTRY_PASSWORD"
        tls: bool = True

    def build(self, ctx: Context) -> Done:
        """Build the image; the same commit on the same base gives the same digest. Raises ToolFailure."""
        builder = _builder(ctx)
        layout, said = ctx.scratch / "layout", ctx.scratch / "id"
        ctx.exec(
            [*_build_command(builder, _commit_time(ctx)), "--iidfile", str(said),
             "--file", str(ctx.checkout / ctx.options.file),
             *(f"--build-arg={key}={value}" for key, value in ctx.options.args.items()),
             str(ctx.checkout / ctx.options.context)],
        )  # fmt: skip
        _lay_out(ctx, builder, said.read_text().strip(), layout)
        name = ctx.options.artifact
        file = ctx.scratch / f"{ctx.deliverable}-{ctx.version}.oci.tar"
        pack(layout, file)
        digest, image = identity_of(file)
        purl = f"pkg:oci/{ctx.deliverable.lower()}@{digest.replace(':', '%3A')}"
        made = Produced(name=name, path=file, purl=purl, media_type=MEDIA_TYPE)
        return Done(
            artifacts=(made,), details={"digest": digest, "id": image}, tool_version=builder
        )

    def ask(self, ctx: Context) -> Holdings:
        """Of a target: which image the version's tag is there."""
        name, to = ctx.options.artifact, ctx.options.to
        artifact = ctx.artifacts.get(name)
        if not to or artifact is None:
            raise ToolFailure(
                f"where the artifact {name!r} is to go, or that artifact, is not said"
            )
        if not artifact.path.is_file():
            return Holdings(files={name: Held(state="not known", why="its bytes are not here")})
        wanted, _ = identity_of(artifact.path)
        try:
            found = _digest_at(ctx, f"docker://{to}:{tag_of(ctx.version)}")
        except Trouble as problem:
            held = Held(
                state="not known", wanted=wanted, why=problem.why, trouble=_trouble(problem.why)
            )
            return Holdings(files={name: held})
        location = f"docker://{to}@{wanted}" if found else ""
        return Holdings(files={name: Held.compared(wanted, found, location=location)})

    def publish(self, ctx: Context) -> Published:
        """Bring the image to the registry unless it is there. Raises ToolFailure where another image has
        this version's tag, or where other bytes come back than were sent."""
        name, to = ctx.options.artifact, ctx.options.to
        if not to:
            raise ToolFailure("where the image is published is not said (to)")
        artifact = ctx.artifacts.get(name)
        if artifact is None:
            raise ToolFailure(f"there is no artifact {name!r} to publish")
        layout = ctx.scratch / "layout"
        digest = unpack(artifact.path, layout)
        tagged = f"docker://{to}:{tag_of(ctx.version)}"
        found = _digest_at(ctx, tagged)
        if found not in ("", digest):
            raise ToolFailure(f"{tagged} is another image: {found}, not {digest}")
        if not found:
            sent = ctx.exec(
                ["skopeo", "copy", "--quiet", "--preserve-digests", *_access(ctx, "dest-"),
                 f"oci:{layout}", tagged],
                check=False,
            )  # fmt: skip
            if sent.code:
                raise ToolFailure(f"skopeo copy: {_said(sent)}", trouble=_trouble(_said(sent)))
        location = f"docker://{to}@{digest}"
        if _digest_at(ctx, location) != digest:
            raise ToolFailure(f"the registry does not give back what it was given: {location}")
        return Published(
            locations={name: location}, details={"digest": digest, "already": bool(found)}
        )

    def fetch(self, ctx: Context) -> Done:
        """Bring the image back, by the digest of its manifest: packed anew its bytes are the same."""
        name, to = ctx.options.artifact, ctx.options.to
        digest = re.search(r"@sha256%3A([0-9a-f]{64})", ctx.artifacts[name].purl)
        if not to or digest is None:
            raise ToolFailure(f"where {name} is, or which image it is, is not said")
        layout, file = ctx.scratch / "layout", ctx.scratch / f"{name}.oci.tar"
        ctx.exec(
            ["skopeo", "copy", "--quiet", "--preserve-digests", *_access(ctx, "src-"),
             f"docker://{to}@sha256:{digest[1]}", f"oci:{layout}"],
        )  # fmt: skip
        pack(layout, file)
        return Done(artifacts=(Produced(name=name, path=file, media_type=MEDIA_TYPE),))


def tag_of(version: str) -> str:
    """A version as a tag: ``+`` is not allowed there. Pure."""
    return re.sub(r"[^\w.-]", "_", version, flags=re.ASCII)[:128]


def _builder(ctx: Context) -> str:
    wanted = ctx.options.builder
    found = next((one for one in ([wanted] if wanted else BUILDERS) if shutil.which(one)), "")
    if not found:
        raise Trouble(
            f"there is no {wanted or ', '.join(BUILDERS)} on PATH",
            why="one of them builds the image",
            hint="install buildah, or name another builder",
        )
    return found


def _build_command(builder: str, seconds: str) -> list[str]:
    """What gives the same manifest for the same input, as far as the builder can."""
    if builder == "docker":
        return ["docker", "build", "--quiet"]
    return [builder, "build", "--quiet", "--format=oci", "--timestamp", seconds]


def _commit_time(ctx: Context) -> str:
    """Seconds since the epoch; 0 where the checkout is no repository."""
    answer = ctx.exec(["git", "log", "-1", "--format=%ct"], check=False)
    said = answer.output.strip()
    return said if answer.code == 0 and said.isdigit() else "0"


def _lay_out(ctx: Context, builder: str, image: str, layout: Path) -> None:
    """Write an image out of the builder's storage."""
    if builder != "docker":
        ctx.exec([builder, "push", "--quiet", image.removeprefix("sha256:"), f"oci:{layout}"])
        return
    saved = ctx.scratch / "saved.tar"
    ctx.exec(["docker", "save", "--output", str(saved), image])
    ctx.exec(["skopeo", "copy", "--quiet", f"docker-archive:{saved}", f"oci:{layout}"])
    saved.unlink()


def _digest_at(ctx: Context, name: str) -> str:
    """The digest of an image at its registry; empty where there is none. Raises Trouble."""
    answer = ctx.exec(
        ["skopeo", "inspect", "--no-tags", "--format", "{{.Digest}}", *_access(ctx, ""), name],
        check=False,
    )
    found = re.search(r"^sha256:[0-9a-f]{64}$", answer.output, re.MULTILINE)
    if answer.code == 0 and found:
        return found[0]
    if _ABSENT.search(_said(answer)):
        return ""
    raise Trouble(
        f"the registry does not say whether it has {name}",
        why=_said(answer),
        hint="look at its address, at user and password, and whether it speaks HTTPS (tls)",
    )


def _said(answer: Completed) -> str:
    """Why skopeo did not do it: its last line, without the time and the address that everybody knows."""
    lines = answer.output.strip().splitlines() or ["no answer"]
    found = re.search(r' msg="((?:[^"\\]|\\.)*)"', lines[-1])
    words = re.sub(r"\\(.)", r"\1", found[1]) if found else lines[-1]
    return re.sub(r'^Error parsing image name "[^"]*": ', "", words)[:500]


def _trouble(words: str) -> Literal["credential", "unreached"]:
    return "credential" if _NO_RIGHT.search(words) else "unreached"


def _access(ctx: Context, prefix: str) -> list[str]:
    """Options of skopeo that sign in by a file: an argument could be read by everybody."""
    options = [] if ctx.options.tls else [f"--{prefix}tls-verify=false"]
    if not ctx.options.user:
        return options
    file = ctx.scratch / "auth.json"
    if not file.exists():
        pair = f"{ctx.options.user}:{ctx.secrets.get(ctx.options.password, '')}"
        auth = base64.b64encode(pair.encode()).decode()
        file.touch(mode=0o600)
        host = ctx.options.to.partition("/")[0]
        file.write_text(json.dumps({"auths": {host: {"auth": auth}}}))
    return [*options, "--authfile", str(file)]


@hookimpl
def cxlocal_register_tools() -> list[type[Tool]]:
    """The tool."""
    return [Oci]
