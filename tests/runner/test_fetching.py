"""Bytes that are neither here nor at the store are brought back from where a stage published them."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

CONFIG = """
[stages]
build = { command = "cat /proc/sys/kernel/random/uuid > app.txt", produces = { app = "app.txt" } }
live = { kind = "deploy", DEPLOY, needs = ["build"], environment = "production", pass_env = ["SHELF"] }
[stages.push]
kind = "publish"
tool = "commands"
needs = ["build"]
pass_env = ["SHELF"]
SECRETS
[stages.push.with]
publish = 'cp "$CXLOCAL_ARTIFACT_APP" "$SHELF/app"'
fetch = '''test "$CXLOCAL_PUT" = app; cp "$SHELF/app" fetched
printf '{{"artifacts": [{{"name": "app", "path": "fetched"}}]}}' > "$CXLOCAL_RESULT"'''
[environments]
production = {}
"""
WAYS = {
    "a command": """command = 'cp "$CXLOCAL_ARTIFACT_APP" "$SHELF/live"'""",
    "what rotates by itself": """tool = "commands", with = { apply = 'cp "$CXLOCAL_ARTIFACT" "$SHELF/live"' }""",
    "instances": """tool = "commands", with = { create = 'cp "$CXLOCAL_ARTIFACT" "$SHELF/live"', remove = "true" }""",
}


@pytest.fixture
def shelf(tmp_path: Path) -> Path:
    folder = tmp_path / "shelf"
    folder.mkdir()
    return folder


def lose_the_bytes(shop: Any) -> None:
    """Wherever a file of the artifact lies."""
    (digest,) = shop.query("SELECT sha256 FROM artifact")
    shutil.rmtree(shop.home / "artifacts")
    lost = [path for path in shop.home.rglob(f"*{digest[4:]}*") if path.is_file()]
    assert lost
    for path in lost:
        path.unlink()


@pytest.mark.parametrize("way", WAYS)
def test_a_deployment_brings_them_back(shop: Any, shelf: Path, way: str) -> None:
    env = {"SHELF": str(shelf)}
    shop.write(CONFIG.replace("DEPLOY", WAYS[way]).replace("SECRETS", ""))
    done = shop.run(env=env)
    assert done.code == 0, done.err
    made = (shelf / "app").read_text()
    lose_the_bytes(shop)
    done = shop.command("deploy", "0.1.0", "--to", "production", env=env)
    assert done.code == 0, done.err
    assert (shelf / "live").read_text() == made
    assert shop.query("SELECT version FROM deployments_now") == ["0.1.0"]


WRONG = {"other bytes": "changed", "nothing": None}


@pytest.mark.parametrize("what", [*WRONG, "no secret"])
def test_what_is_not_those_bytes_is_not_taken(shop: Any, shelf: Path, what: str) -> None:
    env = {"SHELF": str(shelf), "KEY": "a-key-of-some-length"}
    secrets = 'secrets = ["KEY"]\n[secrets]\nKEY = { env = "KEY" }\n[stages.push.with]'
    config = CONFIG.replace("DEPLOY", WAYS["a command"])
    shop.write(config.replace("SECRETS\n[stages.push.with]", secrets))
    assert shop.run(env=env).code == 0
    lose_the_bytes(shop)
    if what == "no secret":
        del env["KEY"]
    elif WRONG[what] is None:
        (shelf / "app").unlink()
    else:
        (shelf / "app").write_text(str(WRONG[what]))
    done = shop.command("deploy", "0.1.0", "--to", "production", env=env)
    assert done.code == 9 and not (shelf / "live").exists(), done.err
    assert ("could not bring app" in done.err) == (what != "no secret"), done.err
