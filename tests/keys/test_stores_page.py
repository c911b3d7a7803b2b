"""The commands of docs/stores.md, as somebody who reads it gives them."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "stores.md").read_text()


def test_the_page(tmp_path: Path) -> None:
    program = Path(sys.executable).with_name("cxlocal")
    share, user = tmp_path / "share", tmp_path / "user"
    project = tmp_path / "project"
    project.mkdir()
    user.mkdir()
    blocks = re.findall(r"```(sh|toml|text)\n(.*?)```", PAGE, re.DOTALL)
    given = 0
    for kind, text in blocks:
        if "s3://" in text or "pip install" in text or "--again" in text:
            continue
        text = text.replace("/mnt/team/releases", str(share))
        if kind == "toml":
            (project / "cx.toml").write_text(f'cx = 1\n\n[deliverable]\nname = "shop"\n\n{text}')
        if kind != "sh":
            continue
        for line in text.splitlines():
            given += 1
            env = {
                **os.environ, "HOME": str(user), "CXLOCAL_HOME": str(tmp_path / "home"),
                "PATH": f"{program.parent}:{os.environ['PATH']}",
            }  # fmt: skip
            done = subprocess.run(
                ["sh", "-c", line],
                check=False,
                cwd=project,
                env=env,
                capture_output=True,
                text=True,
            )
            assert done.returncode == 0, (line, done.stdout, done.stderr)
            if "store create folder:///" in line:
                assert f"There is a store at folder://{share} now." in done.stderr
    assert given == 6
