"""How long the command line takes to start, against a bare click group with one command.

``python tests/bench/startup.py [ROUNDS]`` with the Python that has cxlocal installed. Both start
the same way: a console script that imports a function and calls it.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from rounds import command, measure, report, rounds_wanted

ALLOWED = 1.25

BARE_MODULE = """\
import click


@click.group()
@click.version_option("1")
def main() -> None:
    "A group."


@main.command()
def hello() -> None:
    "Say hello."
"""
BARE_SCRIPT = """\
import re
import sys
sys.path.insert(0, {folder!r})
from bare import main
if __name__ == "__main__":
    sys.argv[0] = re.sub(r"(-script\\.pyw|\\.exe)?$", "", sys.argv[0])
    sys.exit(main())
"""


def main() -> int:
    """Measure and print."""
    python = sys.executable
    program = str(Path(python).with_name("cxlocal"))
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "bare.py").write_text(BARE_MODULE)
        script = Path(folder) / "bare-script"
        script.write_text(BARE_SCRIPT.format(folder=folder))
        bare = [python, str(script)]
        seconds = measure(
            {
                "python -c pass": command([python, "-c", "pass"]),
                "bare --version": command([*bare, "--version"]),
                "bare --help": command([*bare, "--help"]),
                "cxlocal --version": command([program, "--version"]),
                "cxlocal --help": command([program, "--help"]),
                "cxlocal completion --help": command([program, "completion", "--help"]),
            },
            rounds=rounds_wanted(),
            warm_up=2,
        )
    return report(
        "start of the command line",
        seconds,
        [
            ("cxlocal --version", "bare --version", ALLOWED),
            ("cxlocal --help", "bare --help", ALLOWED),
            ("cxlocal completion --help", "bare --help", ALLOWED),
            ("cxlocal --version", "python -c pass", 5.0),
        ],
    )


if __name__ == "__main__":
    sys.exit(main())
