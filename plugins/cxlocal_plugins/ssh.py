"""The tool ``ssh``: a folder for each release on hosts, and a link that says which one is current.

The component rotates itself: ``apply`` brings the artifact to every host first, and then switches the link on each.
A way back finds the folder still there and only switches. What is done on a host is one program for ``sh``, sent
along: nothing is installed there but ``sh`` and ``rsync``.
"""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Mapping, Sequence
from typing import ClassVar

from cxlocal.errors import Trouble
from cxlocal.hooks.specs import hookimpl
from cxlocal.hooks.tool import Applied, Context, Done, Observed, Previewed, Tool, ToolFailure
from cxlocal_plugins.labels import labels_of

UNREACHED = 255
"""What ssh ends with when it does not come to the command."""
MARK = "cxlocal:"
BEGIN = """\
set -eu
umask 022
mkdir -p "$ROOT/releases"
exec 9> "$ROOT/.cxlocal-lock"
flock -w 10 9 || { echo "cxlocal:somebody else is at work in $ROOT"; exit 3; }
turn=$(cat "$ROOT/.cxlocal-turn" 2>/dev/null || echo 0)
test "$turn" -le "$TURN" || { echo "cxlocal:turn $turn was here, this is turn $TURN"; exit 3; }
if test -s "$ROOT/.cxlocal" && test "$(cat "$ROOT/.cxlocal")" != "$OWNER"; then
  echo "cxlocal:$ROOT is not ours: $(cat "$ROOT/.cxlocal")"; exit 3
fi
"""
"""Refuses whoever has an older turn, and roots of somebody else."""
PREPARE = (
    BEGIN
    + """\
printf %s "$OWNER" > "$ROOT/.cxlocal"
echo "$TURN" > "$ROOT/.cxlocal-turn"
rm -rf "$ROOT/releases/$RELEASE.part"
# Two releases of one name have the same bytes.
link=$(readlink "$ROOT/current" 2>/dev/null || true)
if test -d "$ROOT/releases/$RELEASE"; then echo "cxlocal:there ${link##*/}"
else mkdir "$ROOT/releases/$RELEASE.part"; echo "cxlocal:lacks ${link##*/}"; fi
"""
)
SWITCH = (
    BEGIN
    + """\
echo "$TURN" > "$ROOT/.cxlocal-turn"
ln -sfn "releases/$RELEASE" "$ROOT/.current.new"
mv -fT "$ROOT/.current.new" "$ROOT/current"
cd "$ROOT/current"
sh -eu -c "$AFTER"
cd "$ROOT/releases"
ls -1t | grep -vx "$RELEASE" | tail -n "+$KEEP" | while read -r old; do rm -rf "./$old"; done
"""
)
UNPACK = """\
set -eu
cd "$ROOT/releases/$RELEASE.part"
echo "$SHA256  $FILE" | sha256sum --check --status || { echo "cxlocal:$FILE has other bytes here"; exit 3; }
case "$FILE" in *.tar|*.tar.*|*.tgz) tar --no-same-owner -xf "$FILE" && rm "$FILE";; esac
printf %s "$LABELS" > .cxlocal.json
mv -T "$ROOT/releases/$RELEASE.part" "$ROOT/releases/$RELEASE"
"""
UNLINK = BEGIN + 'rm -f "$ROOT/current"\n'
LOOK = """\
set -eu
link=$(readlink "$ROOT/current" 2>/dev/null || true)
echo "cxlocal:${link##*/}"
"""
REMOVE = """\
set -eu
test -e "$ROOT/.cxlocal" || exit 0
test "$(cat "$ROOT/.cxlocal")" = "$OWNER" || { echo "cxlocal:$ROOT is not ours"; exit 3; }
rm -rf "$ROOT/releases" "$ROOT/current" "$ROOT/.current.new" "$ROOT/.cxlocal-turn" "$ROOT/.cxlocal-lock"
rm -f "$ROOT/.cxlocal"
rmdir "$ROOT" 2>/dev/null || true
"""


class Ssh(Tool):
    """Releases on hosts by rsync, and a link."""

    name = "ssh"
    api = 2
    title = "Hosts (ssh)"
    outputs: ClassVar[tuple[str, ...]] = ("url",)
    executables = ("ssh", "rsync")

    class Options(Tool.Options, frozen=True):
        """``hosts``: names, as for ``ssh``. ``root``: the folder there, with ``current`` and ``releases`` in it.
        ``artifact``: what is brought; an archive is unpacked. ``after``: a command of each host, in the new
        release, after the switch. ``keep``: releases that stay. ``ssh``: options for it. ``uri``: where
        people find it."""

        hosts: tuple[str, ...]
        root: str
        artifact: str
        after: str = ""
        keep: int = 3
        ssh: tuple[str, ...] = ()
        uri: str = ""

        def __post_init__(self) -> None:
            """Raises ValueError for what could be no folder of ours, or no host."""
            if not re.fullmatch(r"(/[\w.-]+){2,}", self.root) or ".." in self.root.split("/"):
                raise ValueError(
                    f"root must be a folder of its own, such as /srv/shop, not {self.root!r}"
                )
            if not self.hosts or any(not one or one.startswith("-") for one in self.hosts):
                raise ValueError("hosts must name at least one host")
            if self.keep < 1:
                raise ValueError("keep must be 1 or more: the current one stays")

    def provision(self, ctx: Context) -> Done:
        """Announce the folders that ``apply`` makes."""
        ctx.intend({"hosts": list(ctx.options.hosts), "root": ctx.options.root})
        return Done()

    def preview(self, ctx: Context) -> Previewed:
        """Which hosts have another release. Raises Trouble for a host that is away."""
        release = _release(ctx)
        seen = [(host, old) for host, old in self._look(ctx).items() if old != release]
        return Previewed(
            changes=tuple(f"{host}: {old or 'nothing'} becomes {release}" for host, old in seen)
        )

    def apply(self, ctx: Context) -> Applied:
        """Bring the release to every host, then switch each; where one does not come up all go back. Raises
        ToolFailure, Trouble."""
        release, options = _release(ctx), ctx.options
        outputs = {"url": options.uri} if options.uri else {}
        before = {}
        for host in options.hosts:
            has, _, before[host] = self._on(ctx, host, PREPARE, RELEASE=release).partition(" ")
            if has != "there":
                self._bring(ctx, host, release)
        if set(before.values()) == {release}:
            return Applied(changed=False, reversible=True, outputs=outputs)
        for number, host in enumerate(options.hosts, 1):
            try:
                self._on(ctx, host, SWITCH, RELEASE=release)
            except (ToolFailure, Trouble) as error:
                said = self._go_back(ctx, before, options.hosts[:number])
                left = Applied(changed=bool(said), open=host if said else "")
                raise ToolFailure(
                    f"{host}: {error}; {said or 'all are as before'}", left
                ) from error
        return Applied(reversible=True, outputs=outputs)

    def _go_back(self, ctx: Context, before: Mapping[str, str], hosts: Sequence[str]) -> str:
        """Switch hosts to what they had; which of them do not."""
        problems = []
        for host in hosts:
            try:
                version, old = before[host].rpartition("-")[0], before[host]
                program = SWITCH if old else UNLINK
                self._on(ctx, host, program, RELEASE=old, CXLOCAL_VERSION=version)
            except (ToolFailure, Trouble) as error:
                problems.append(f"{host} did not go back: {error}")
        return "; ".join(problems)

    def observe(self, ctx: Context) -> Observed:
        """What the link of every host leads to; no version where they differ."""
        seen = set(self._look(ctx).values())
        release = seen.pop() if len(seen) == 1 else ""
        version, _, digest = release.rpartition("-")
        return Observed(
            version=version, uri=ctx.options.uri, details={"digest": digest} if digest else {}
        )

    def destroy(self, ctx: Context) -> Done:
        """Take link and releases away where they are ours. Raises ToolFailure, Trouble."""
        handle = ctx.handle if isinstance(ctx.handle, dict) else {}
        for host in handle.get("hosts", ctx.options.hosts):
            self._on(ctx, str(host), REMOVE)
        return Done()

    def _look(self, ctx: Context) -> Mapping[str, str]:
        return {host: self._on(ctx, host, LOOK) for host in ctx.options.hosts}

    def _bring(self, ctx: Context, host: str, release: str) -> None:
        """Copy the artifact beside the other releases, and give it its name when it is whole."""
        artifact, root = ctx.artifacts[ctx.options.artifact], ctx.options.root
        answer = ctx.exec(
            ["rsync", "--no-owner", "--no-group", "--chmod=F644", "--rsh", shlex.join(_ssh(ctx)),
             str(artifact.path), f"{host}:{root}/releases/{release}.part/"],
            check=False,
        )  # fmt: skip
        if answer.code:
            raise Trouble(
                f"{artifact.path.name} could not be brought to {host}",
                why=answer.output.strip().rpartition("\n")[2][:500],
                hint="nothing was switched; look at the host and deploy again",
            )
        labels = json.dumps(labels_of(ctx, artifact.sha256))
        self._on(
            ctx, host, UNPACK, RELEASE=release, FILE=artifact.path.name, SHA256=artifact.sha256,
            LABELS=labels,
        )  # fmt: skip

    def _on(self, ctx: Context, host: str, program: str, **more: str) -> str:
        """Run a program for sh on a host; what it answers. Raises Trouble when the host is away, ToolFailure
        when it says no."""
        options, place = ctx.options, ctx.environment
        told = {
            "ROOT": options.root, "TURN": str(ctx.turn), "AFTER": options.after,
            "KEEP": str(options.keep), "CXLOCAL_VERSION": ctx.version,
            "OWNER": f"{ctx.deliverable} in {place.instance if place else ''}", **more,
        }  # fmt: skip
        text = "".join(f"{name}={shlex.quote(value)}\n" for name, value in told.items())
        text += f"export CXLOCAL_VERSION\n{program}"
        answer = ctx.exec([*_ssh(ctx), host, f"sh -c {shlex.quote(text)}"], check=False)
        said = [
            one.removeprefix(MARK) for one in answer.output.splitlines() if one.startswith(MARK)
        ]
        if answer.code == UNREACHED:
            raise Trouble(
                f"{host} cannot be reached",
                why=answer.output.strip().rpartition("\n")[2][:500],
                hint=f"ssh {shlex.quote(host)} true   must work without a password",
            )
        if answer.code:
            words = said[-1] if said else answer.output.strip()[-500:]
            raise ToolFailure(words or f"it ended with exit code {answer.code}")
        return said[-1] if said else ""


def _ssh(ctx: Context) -> list[str]:
    return ["ssh", "-o", "BatchMode=yes", "-o", "ConnectTimeout=10", *ctx.options.ssh]


def _release(ctx: Context) -> str:
    """The folder of a release: its version, and which bytes. Raises ToolFailure without the artifact."""
    artifact = ctx.artifacts.get(ctx.options.artifact)
    if artifact is None:
        raise ToolFailure(f"there is no artifact {ctx.options.artifact!r} to bring")
    return f"{re.sub(r'[^0-9A-Za-z.+-]', '_', ctx.version)}-{artifact.sha256[:12]}"


@hookimpl
def cxlocal_register_tools() -> list[type[Tool]]:
    """The tool."""
    return [Ssh]
