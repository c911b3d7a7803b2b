"""A commit after the release: pushed where it may go, never the outcome, and never released itself."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

BUMP = """
[version]
line = "1.0"
stamp = [{ file = "package.json", key = "version" }]
[bump]
changelog = "CHANGELOG.md"
[stages]
build = { command = "true" }
"""
FILES = {
    "package.json": '{"version": "0.0.0"}\n',
    "CHANGELOG.md": "# Changelog\n\n## [Unreleased]\n\n- Apples.\n",
}
HOOK = """\
#!/bin/sh
rm -rf "{root}/ci" && env -u GIT_DIR -u GIT_QUARANTINE_PATH git clone -q "{remote}" "{root}/ci" || exit 1
cd "{root}/ci" && echo called >> "{root}/calls"
CXLOCAL_HOME="{home}" CI= "{cxlocal}" run >> "{root}/said" 2>&1
echo "ended $?" >> "{root}/said"
"""


def hook(shop: Any, name: str, text: str) -> None:
    path = shop.remote / "hooks" / name
    path.write_text(text)
    path.chmod(0o755)


def test_where_each_push_releases_there_is_one_release_for_each(shop: Any) -> None:
    """A hook of the remote calls cxlocal, also for what that pushes."""
    shop.git("--git-dir", str(shop.remote), "symbolic-ref", "HEAD", "refs/heads/main")
    hook(shop, "post-receive", HOOK.format(
        root=shop.root, remote=shop.remote, home=shop.home, cxlocal=Path(shop.cx.program)))  # fmt: skip
    shop.write(BUMP, FILES)
    said = (shop.root / "said").read_text()
    assert said.count("ended 0") == 2 and "Nothing to release" in said, said
    assert (shop.root / "calls").read_text().count("called") == 2
    assert shop.query("SELECT version, outcome FROM run") == [("1.0.0", "success")]
    shop.git("pull", "-q", "origin", "main")
    assert json.loads((shop.tree / "package.json").read_text()) == {"version": "1.0.0"}
    assert "## [1.0.0] - " in (shop.tree / "CHANGELOG.md").read_text()
    shop.push("feat: pears")
    assert shop.query("SELECT version FROM run ORDER BY queued_at") == ["1.0.0", "1.0.1"]
    # The commit after the first is no change of the second.
    assert shop.query("SELECT subject FROM run_change") == ["feat: pears"]
    os.unlink(shop.remote / "hooks" / "post-receive")
    shop.git("pull", "-q", "origin", "main")
    nothing = shop.run("--json")
    assert nothing.code == 0 and json.loads(nothing.out)["released"] == "1.0.1"
    assert shop.run("--anyway").code == 0
    assert shop.query("SELECT count(*) FROM run") == [3]


SINGLE = """\
#!/bin/sh
rm -rf "{root}/ci" && env -u GIT_DIR -u GIT_QUARANTINE_PATH git clone -q "{remote}" "{root}/ci" || exit 1
cd "{root}/ci" && echo called >> "{root}/calls"
export CXLOCAL_HOME="{home}" CI=
eval "$("{cxlocal}" run start 2>>"{root}/said")"
"{cxlocal}" stage build -- true 2>>"{root}/said"
"{cxlocal}" run finish 2>>"{root}/said"
echo "went to its end" >> "{root}/said"
"""


def test_a_run_of_single_commands_is_followed_once_as_well(shop: Any) -> None:
    """A script that each push calls, also the push of the commit after: there it ends at once."""
    shop.git("--git-dir", str(shop.remote), "symbolic-ref", "HEAD", "refs/heads/main")
    hook(shop, "post-receive", SINGLE.format(
        root=shop.root, remote=shop.remote, home=shop.home, cxlocal=Path(shop.cx.program)))  # fmt: skip
    shop.write(BUMP, FILES)
    said = (shop.root / "said").read_text()
    assert said.count("went to its end") == 1 and "Nothing to release" in said, said
    assert (shop.root / "calls").read_text().count("called") == 2
    assert shop.query("SELECT version, outcome FROM run") == [("1.0.0", "success")]
    os.unlink(shop.remote / "hooks" / "post-receive")
    shop.git("pull", "-q", "origin", "main")
    assert json.loads((shop.tree / "package.json").read_text()) == {"version": "1.0.0"}
    shell = ["bash", "-c", f'eval "$({shop.cx.program} run start)"; echo stays']
    for words, stays in ((shell, False), ([shell[0], "-i", *shell[1:]], True)):
        done = subprocess.run(
            words, cwd=shop.tree, env={**os.environ, **shop.environ}, capture_output=True,
            text=True, check=False, stdin=subprocess.DEVNULL, start_new_session=True,
        )  # fmt: skip
        assert ("stays" in done.stdout, done.returncode) == (stays, 0), done
    assert shop.command("run", "start", "--json").json()["released"] == "1.0.0"
    assert shop.command("run", "start", "--anyway", "--json").json()["version"] == "1.0.1"


def test_what_keeps_a_run_of_single_commands_from_being_followed_is_a_flag(shop: Any) -> None:
    shop.write(BUMP, FILES)
    told = {"CXLOCAL_RUN": shop.command("run", "start", "--json").json()["run"]}
    assert shop.command("stage", "build", "--", "true", env=told).code == 0
    hook(shop, "pre-receive", "#!/bin/sh\necho 'not from you' >&2\nexit 1\n")
    done = shop.command("run", "finish", env=told)
    assert done.code == 0 and "was not pushed" in done.err, done.err
    assert shop.query("SELECT kind FROM open_flags") == ["bump-not-pushed"]


def test_a_branch_that_went_on_gets_a_branch_beside_it(shop: Any) -> None:
    shop.write(BUMP, FILES)
    first = shop.git("rev-parse", "HEAD")
    shop.push("work goes on")
    done = shop.run("--revision", first)
    assert done.code == 0 and "on cxlocal/shop-1.0.0, not on main" in done.err, done.err
    tip = shop.git("ls-remote", "origin", "refs/heads/main").split()[0]
    assert tip == shop.git("rev-parse", "HEAD"), "what is there stays"
    aside = shop.git("ls-remote", "origin", "refs/heads/cxlocal/shop-1.0.0").split()[0]
    shop.git("fetch", "-q", "origin")
    assert shop.git("log", "-1", "--format=%P", aside) == first
    assert f"then committed as {aside[:12]}, on cxlocal/shop-1.0.0" in shop.command("show").out
    assert shop.query("SELECT kind FROM flag") == []


def test_its_failure_is_a_flag_and_the_release_went_well(shop: Any) -> None:
    shop.write(BUMP, FILES)
    hook(shop, "pre-receive", "#!/bin/sh\necho 'not from you' >&2\nexit 1\n")
    done = shop.run()
    assert done.code == 0 and "was not pushed" in done.err, done.err
    assert shop.query("SELECT outcome FROM run") == ["success"]
    assert shop.query("SELECT kind FROM open_flags") == ["bump-not-pushed"]
    assert "next release" in shop.command("status").out
    os.unlink(shop.remote / "hooks" / "pre-receive")
    shop.push("feat: pears")
    assert shop.run().code == 0
    assert shop.query("SELECT kind FROM open_flags") == []


def test_it_waits_for_the_end_and_is_made_once(shop: Any) -> None:
    live = 'live = { kind = "deploy", environment = "production", needs = ["build"], command = "true" }\n'
    shop.write(BUMP + live + "[environments.production]\n", FILES)
    before = shop.git("ls-remote", "origin")
    assert shop.run().code == 0  # stops before production
    assert shop.command("rehearse").code == 0
    assert shop.git("ls-remote", "origin") == before
    for _ in range(2):
        assert shop.run("--resume", "1.0.0", "--to", "production").code == 0
    shop.git("fetch", "-q", "origin")
    assert shop.git("rev-list", "--count", f"{before.split()[0]}..origin/main") == "1"
