"""Commands that push, upload or publish, told from those that do not."""

from __future__ import annotations

import pytest

from cxlocal.config.outward import sends_outside

SENDING = [
    # what was met in projects
    ('git tag "v$CXLOCAL_VERSION" && git push -q origin "v$CXLOCAL_VERSION"', "git push"),
    ("git -C x -c a=b push", "git push"),
    ("GIT_SSH_COMMAND='ssh -i k' git push", "git push"),
    ("sudo -u release git push", "git push"),
    ("timeout 30 git push", "git push"),
    ("make\ngit push # the tag, too", "git push"),
    ("git \\\n  push", "git push"),
    ("x=$(git push)", "git push"),
    ('echo "$(git push)"', "git push"),
    ("`git push`", "git push"),
    ("sh -c 'git push'", "git push"),
    ('bash -ec "cd x; twine upload dist/*"', "twine upload"),
    ("if true; then twine upload x; fi", "twine upload"),
    ("python3 -m twine upload dist/*", "twine upload"),
    ("python setup.py sdist upload", "setup.py upload"),
    ("uv run --with twine twine upload x", "twine upload"),
    ("uv publish", "uv publish"),
    ("poetry publish --build", "poetry publish"),
    ("flit publish", "flit publish"),
    ("npm publish", "npm publish"),
    ("npm --workspace a publish", "npm publish"),
    ("(cd dist && npm publish)", "npm publish"),
    ("env A=b npm publish", "npm publish"),
    ("yarn npm publish", "yarn npm publish"),
    ("pnpm -r publish", "pnpm publish"),
    ("npx semantic-release", "semantic-release"),
    ("cargo publish --token x", "cargo publish"),
    ("cargo +nightly publish", "cargo publish"),
    ("mvn deploy", "mvn deploy"),
    ("./mvnw -B -pl a clean deploy", "mvn deploy"),
    ("mvn org.apache.maven.plugins:maven-deploy-plugin:3.1.1:deploy", "mvn *:deploy"),
    ("./gradlew :lib:publish", "gradle *:publish"),
    ("docker push x", "docker push"),
    ("for one in a b; do docker push $one; done", "docker push"),
    ("docker buildx build -t x --push .", "docker buildx build --push"),
    ("podman push x", "podman push"),
    ("skopeo copy docker-daemon:x docker://y", "skopeo copy"),
    ("skopeo copy oci:x docker://y", "skopeo copy"),
    ("buildah push x docker://y", "buildah push"),
    ("buildah push x", "buildah push"),
    ("helm push a.tgz oci://x", "helm push"),
    ("gem push a.gem", "gem push"),
    ("bundle exec rake release", "rake release"),
    ("dotnet nuget push a.nupkg", "dotnet nuget push"),
    ("gh release create v1 --notes x", "gh release create"),
    ("gh -R a/b release upload v1 x", "gh release upload"),
    ("goreleaser release --clean", "goreleaser release"),
    ("aws s3 cp a s3://b", "aws s3 cp"),
    ("scp a b:c", "scp"),
    ("rsync -a a/ host:b", "rsync"),
    ("curl -fsS -T a https://x", "curl -T"),
    ("curl -X POST https://x", "curl -X POST"),
    (["git", "push"], "git push"),
    (["sh", "-c", "git push"], "git push"),
]

HARMLESS = [
    "", None, "make publish", "git tag v1", "git stash && git pull", "git log --grep push",
    "git commit -m 'git push'", "echo git push", 'echo "git push"', "# git push",
    "true # git push", "grep 'twine upload' README", "git push --dry-run", "npm publish --dry-run",
    "cargo publish --dry-run", "twine check dist/*", "npm pack", "npm ci", "uv build",
    "python -m build", "pytest -k push", "docker build -t x .", "docker run x push",
    "mvn -B verify", "./gradlew publishToMavenLocal", "goreleaser release --snapshot",
    "rsync -a a b", "curl -fsSL https://x", "ko build --local", "skopeo copy docker://x oci:y",
    'buildah push "x:1" "docker-archive:image.tar:x:1"', "podman push x oci-archive:y.tar",
    "skopeo copy docker://x docker-daemon:y", "skopeo copy docker://x containers-storage:y",
    "echo 'an open quote", ["echo", "git", "push"], ["printf", "git push"],
]  # fmt: skip


@pytest.mark.parametrize(("command", "found"), SENDING)
def test_what_leaves_something_outside_is_named(command: str | list[str], found: str) -> None:
    assert sends_outside(command) == found


@pytest.mark.parametrize("command", HARMLESS)
def test_what_leaves_nothing_outside_is_not(command: str | list[str] | None) -> None:
    assert sends_outside(command) == ""
