"""Starts a service so that it can always be found again: ``launch.py FOLDER COMMAND…``.

The process writes its identity into FOLDER and then becomes the command. Whoever destroys the
environment first leaves a mark in FOLDER and then reads the identity; this process writes its
identity first and then looks for the mark. Whatever the order, one of the two notices the other,
even if the deploying process was killed in between.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

from cxlocal.files import write_whole
from cxlocal.hooks.running import boot, own_identity

IDENTITY, ENDED = "process.json", "ended"


def main(folder: Path, command: list[str]) -> None:
    """Write who we are, then become ``command`` unless the service was ended meanwhile."""
    own = own_identity()
    said = json.dumps({"pid": own.pid, "start": own.start, "boot": boot()})
    write_whole(folder / IDENTITY, said, durable=False)
    if not (folder / ENDED).exists():
        os.execv(command[0], command)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
