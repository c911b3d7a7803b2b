"""``python -m cxlocal``: the same as the command ``cxlocal``."""

from cxlocal.commands.main import main

raise SystemExit(main())
