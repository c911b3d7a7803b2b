"""The version of cxlocal: the one place it is written.

The build reads this file as text, so that no command has to import ``importlib.metadata`` (which
costs as much as the whole command line) to know its own version.
"""

VERSION = "0.1.0"
