"""A virtual environment of its own for each version, made from the wheel.

A wheel without dependencies is unpacked by PyPA's ``installer``: that needs no network and takes a
fraction of a second. One with dependencies is installed by pip, which needs an index or a folder of
wheels; or, where the stage says ``shared = true``, its dependencies are those that are installed
beside cxlocal, so that it needs no network either.
"""

from __future__ import annotations

import os
import shutil
import sys
import venv
from pathlib import Path

from build import check_dependency

from cxlocal.errors import Trouble
from cxlocal.hooks.tool import Context, ToolFailure
from cxlocal_plugins.wheel import PIP
from cxlocal_plugins.wheel_file import check_fits, read_metadata, unpack

VENV = "venv"
SHARED = "cxlocal-shared.pth"


def install(ctx: Context, wheel: Path, folder: Path) -> None:
    """Make ``folder``, with the wheel in it, or leave none. Raises ToolFailure, Trouble."""
    check_fits(wheel)
    requires = read_metadata(wheel).requires
    lacking = _unmet(requires) if ctx.options.shared else []
    if lacking:
        raise ToolFailure(
            f"{wheel.name} needs {', '.join(lacking)}, which is not installed beside cxlocal"
            " (shared = true takes dependencies from there)"
        )
    try:
        _make(ctx, wheel, folder / VENV, requires)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise


def _make(ctx: Context, wheel: Path, own: Path, requires: tuple[str, ...]) -> None:
    venv.create(own, with_pip=False, symlinks=True)
    if requires and not ctx.options.shared:
        _install_with_pip(ctx, wheel, own, requires)
        return
    (packages,) = (own / "lib").glob("python*/site-packages")
    unpack(wheel, packages, own, own / "bin" / "python")
    if requires:
        (packages / SHARED).write_text(
            "".join(
                f"{place}\n"
                for place in sys.path
                if Path(place).name in ("site-packages", "dist-packages")
            )
        )


def _install_with_pip(ctx: Context, wheel: Path, own: Path, requires: tuple[str, ...]) -> None:
    ctx.progress(f"installing {wheel.name} with {', '.join(requires)}")
    python = str(own / "bin" / "python")
    installed = ctx.exec(
        [sys.executable, "-P", "-m", "pip", "--python", python, "install", "--quiet", str(wheel)],
        cwd=ctx.scratch,
        env={name: value for name, value in PIP.items() if name not in os.environ},
        check=False,
    )
    if installed.code:
        raise Trouble(
            f"what {wheel.name} needs could not be installed ({', '.join(requires)})",
            why="pip needs an index, or a folder of wheels (PIP_FIND_LINKS)",
            hint="give it one of them; shared = true takes what is installed beside cxlocal",
        )


def _unmet(requires: tuple[str, ...]) -> list[str]:
    return sorted({" needs ".join(chain) for one in requires for chain in check_dependency(one)})
