"""One store, several engines: the rules stand in ``answer`` and its parts, the file handling of
the embedded store in ``sqlite``."""
