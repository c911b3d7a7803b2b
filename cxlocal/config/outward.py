"""Commands that leave something outside: they push, upload or publish.

Such a command belongs into a stage of ``kind = "publish"``: a rehearsal leaves those out, and a
resumed run never repeats them. What stands in a script that a command calls cannot be seen from
here; what stands in ``cx.toml`` can. Pure.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Sequence
from itertools import groupby
from os.path import basename

from cxlocal.patterns import compile_late

_SENDING = """
git push | git send-pack | hub release | hub push
gh release create | gh release upload | gh release edit | gh release delete | gh pr create
gh pr merge | gh workflow run | glab release | tea release | glab mr create
twine upload | flit publish | poetry publish | hatch publish | uv publish | pdm publish
maturin publish | maturin upload | setup.py upload | setup.py register | conda upload
anaconda upload
npm publish | npm unpublish | npm deprecate | npm dist-tag | pnpm publish | bun publish
yarn publish | yarn npm publish | lerna publish | changeset publish | nx release | jsr publish
deno publish | vsce publish | ovsx publish | semantic-release | release-it | np
cargo publish | cargo release | cargo yank | cargo dist upload
mvn deploy | mvn deploy:* | mvn *:deploy | mvn *:deploy-file | mvn release:* | mvn *:perform
mvn jib:build | mvn *:jib-maven-plugin:*:build
gradle publish | gradle publish*Publication* | gradle publishTo* | gradle publishAll*
gradle uploadArchives | gradle bintrayUpload | gradle jib | gradle publishPlugins
gradle *:publish | gradle *:publish*Publication* | gradle closeAndRelease*
sbt publish | sbt publishSigned | sbt +publish | sbt +publishSigned | sbt release | lein deploy
docker push | docker image push | docker manifest push | docker compose push
docker buildx build --push | docker build --push | docker buildx bake --push
docker plugin push | docker-compose push
podman push | podman image push | podman manifest push | buildah push | nerdctl push
nerdctl image push | skopeo copy | skopeo sync | crane push | crane copy | crane append
oras push | oras copy | regctl image copy | ko build | ko publish | ko apply | cosign sign
helm push | helm cm-push | charts push
gem push | gem yank | rake release | rake release:* | mix hex.publish | pod trunk push
pod repo push | dotnet nuget push | nuget push | composer publish | luarocks upload
cabal upload | stack upload | opam publish | dub publish | pub publish | dart pub publish
flutter pub publish | cpan-upload | swift package-registry publish
goreleaser | goreleaser release | goreleaser publish | changelogithub
snapcraft upload | snapcraft push | snapcraft release | dput | dupload | debrelease
copr-cli build | copr build | osc commit | conan upload | jf rt upload | jfrog rt upload
aws s3 cp | aws s3 sync | aws s3 mv | aws s3 rm | gsutil cp | gsutil rsync | gsutil mv
gcloud storage cp | gcloud storage rsync | az storage blob upload | az storage blob upload-batch
mc cp | mc mirror | rclone copy | rclone copyto | rclone sync | rclone move | s3cmd put
s3cmd sync | scp | sftp | gh-pages | mike deploy | mkdocs gh-deploy | netlify deploy
vercel | vercel deploy | firebase deploy | wrangler deploy | wrangler publish | surge
semantic-release version | semantic-release publish | svn commit | hg push
"""
"""Program and the words that must follow it, in this order; `*` stands for any letters."""

_LOCAL = {
    "gradle": ("publishToMavenLocal", "*:publishToMavenLocal"),
    "ko": ("--local", "-L", "--push=false"),
    "goreleaser": ("--snapshot", "--skip=publish", "--skip-publish", "check", "init", "build"),
    "semantic-release": ("--noop", "--no-push", "--print"),
    "cosign": ("--upload=false",),
}
"""Words that keep a program from sending anything."""

_IMAGES = frozenset({"skopeo", "buildah", "podman"})
_FILES = ("dir:*", "oci:*", "oci-archive:*", "docker-archive:*", "docker-daemon:*",
    "containers-storage:*")  # fmt: skip
"""Where their last word leads if the image stays on this machine."""

_TRYING = (
    "--dry-run",
    "--dry_run",
    "--dry-run=*",
    "--dryrun",
    "--noop",
    "--help",
    "-h",
    "--version",
)

_ALIASES = {
    "mvnw": "mvn", "mvnd": "mvn", "gradlew": "gradle", "docker.io": "docker", "python-semantic-release":
    "semantic-release", "changesets": "changeset",
}  # fmt: skip

_BEFORE = (
    "sudo", "env", "exec", "command", "time", "nice", "nohup", "setsid", "then", "do", "else", "if",
    "while", "until", "!", "{", "xargs", "npx", "pnpx", "bunx", "corepack", "pipx", "uvx", "eval",
    "timeout", "stdbuf", "retry", "ssh-agent",
)  # fmt: skip
"""Words before the program that is meant."""

_RUNNERS = (
    "uv run", "uv tool run", "poetry run", "pdm run", "hatch run", "pipenv run", "bundle exec",
    "npm exec", "npm x", "pnpm exec", "pnpm dlx", "yarn dlx", "yarn exec", "pipx run", "rye run",
    "pixi run", "mise exec", "mise x", "nix run",
)  # fmt: skip
"""Programs that start another one, and the word that says so."""

_WITH_VALUE = frozenset(
    ["-u", "-g", "-n", "-I", "-P", "-L", "-k", "-s", "-C", "--user", "--group", "--with", "--from", "--python", "--extra", "--env", "-e", "--package"]
)  # fmt: skip
"""Options of those that a word follows."""

_GOALS = frozenset({"mvn", "gradle", "sbt", "rake", "lein", "setup.py"})
"""Programs that are told several things to do in one go, in any place."""

_SHELLS = frozenset({"sh", "bash", "dash", "zsh", "ksh"})
_PYTHON = compile_late(r"python(\d+(\.\d+)*)?|pypy3?")
_ENDS = compile_late(r"[;&|()\n]+")
_ASSIGNED = compile_late(r"[A-Za-z_]\w*\+?=.*", re.DOTALL)
_UPLOAD = compile_late(
    r"-T|--upload-file|--upload-file=.*|-F|--form|--form=.*|--data-binary.*|-X(PUT|POST|DELETE|PATCH)"
    r"|--request=(PUT|POST|DELETE|PATCH)"
)
_WRITING = ("PUT", "POST", "DELETE", "PATCH")


def _patterns() -> dict[str, list[list[str]]]:
    found: dict[str, list[list[str]]] = {}
    for one in re.split(r"[|\n]", _SENDING):
        if words := one.split():
            found.setdefault(words[0], []).append(words[1:])
    return found


_TABLE = _patterns()


def sends_outside(command: str | Sequence[str] | None) -> str:
    """The words by which a command pushes, uploads or publishes, such as ``git push``; empty where
    it is not seen to. A trial (``--dry-run``) sends nothing."""
    if not command:
        return ""
    simple = [list(command)] if not isinstance(command, str) else _split(command)
    return next((found for words in simple if (found := _judge(words))), "")


def _split(text: str) -> list[list[str]]:
    """The simple commands of a shell text."""
    text = re.sub(r"\\\n", " ", text).replace("`", ";")
    lexer = shlex.shlex(text, posix=True, punctuation_chars=";&|()\n")
    lexer.whitespace = " \t\r"
    lexer.whitespace_split = True
    lexer.commenters = ""
    try:
        words = list(lexer)
    except ValueError:  # a quote that does not end
        words = re.findall(r"[;&|()\n]+|[^\s;&|()]+", text)
    parts = groupby(words, key=lambda word: bool(_ENDS.fullmatch(word)))
    return [_without_comment(part) for end, part in parts if not end]


def _without_comment(words: Iterator[str]) -> list[str]:
    found = []
    for word in words:
        if word.startswith("#"):
            break
        found.append(word)
    return found


def _judge(words: Sequence[str]) -> str:
    """What one simple command sends by, with what starts it left aside."""
    for inner in words:
        # Another text for a shell: `sh -c "…"`, "$(…)", a command for ssh.
        if re.search(r"\s", inner) and (found := sends_outside(_inside(words, inner))):
            return found
    words = _from_program(words)
    if not words:
        return ""
    name, rest = _ALIASES.get(basename(words[0]), basename(words[0])), words[1:]
    if any(_fits(word, one) for word in rest for one in (*_TRYING, *_LOCAL.get(name, ()))):
        return ""
    if name in _IMAGES and rest and any(_fits(rest[-1], one) for one in _FILES):
        return ""
    if name in ("curl", "http", "https", "wget"):
        return _by_http(name, rest)
    if name == "rsync":
        to = rest[-1] if rest else ""
        return "rsync" if re.match(r"(rsync://|[\w.@-]+:)", to) else ""
    goals = name in _GOALS
    fitting = [one for one in _TABLE.get(name, ()) if _says(rest, one, goals=goals)]
    return " ".join([name, *max(fitting, key=len)]) if fitting else ""


def _inside(words: Sequence[str], inner: str) -> str:
    """What a word with spaces in it makes a shell do; nothing for a plain text such as a message."""
    if basename(words[0]) in _SHELLS or words[0] in ("eval", "ssh", "su") or "-c" in words[:3]:
        return inner
    return "\n".join(re.findall(r"\$\(([^()]*)\)", inner))


def _from_program(words: Sequence[str]) -> list[str]:
    """From the program that does the work: without variables, ``sudo``, ``npx``, ``uv run``,
    ``python -m`` and the like."""
    rest = list(words)
    while rest:
        first = basename(rest[0])
        if _ASSIGNED.fullmatch(rest[0]) or rest[0].startswith(("-", "$(", "<", ">")):
            rest = rest[2 if rest[0] in _WITH_VALUE else 1 :]
        elif started := next(
            (one for one in map(str.split, _RUNNERS) if [first, *rest[1 : len(one)]] == one), None
        ):
            rest = rest[len(started) :]
        elif first in _BEFORE:
            rest = rest[1:]
            if first == "timeout":
                rest = [one for index, one in enumerate(rest) if index or not one[:1].isdigit()]
        elif _PYTHON.fullmatch(first):
            rest = [one for one in rest[1:] if one != "-m"]
        else:
            return rest
    return []


def _says(words: Sequence[str], wanted: Sequence[str], *, goals: bool) -> bool:
    """Whether ``wanted`` come in this order among ``words``. The first must be what the program is
    told to do, unless it takes several ``goals``: a word behind another one is only its argument."""
    if not wanted:
        return True
    for index, word in enumerate(words):
        if word.startswith(("-", "+")) and not word.startswith("+publish"):
            continue
        if _fits(word, wanted[0]):
            at = iter(words[index + 1 :])
            return all(any(_fits(word, one) for word in at) for one in wanted[1:])
        # Behind an option it may be the value of that.
        if not goals and not words[max(0, index - 1)].startswith("-"):
            return False
    return False


def _fits(word: str, pattern: str) -> bool:
    if "*" not in pattern:
        return word == pattern
    return re.fullmatch(".*".join(map(re.escape, pattern.split("*"))), word) is not None


def _by_http(name: str, words: Sequence[str]) -> str:
    if name in ("http", "https"):
        return f"{name} {words[0]}" if words and words[0] in _WRITING else ""
    pairs = zip(words, [*words[1:], ""], strict=True)
    for word, following in pairs:
        if name == "curl" and _UPLOAD.fullmatch(word):
            return f"curl {word.partition('=')[0]}"
        if word in ("-X", "--request") and following in _WRITING:
            return f"curl {word} {following}"
        if name == "wget" and word.startswith(("--post-", "--method=P", "--body-")):
            return f"wget {word.partition('=')[0]}"
    return ""
