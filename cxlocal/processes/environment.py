"""The environment a stage is given: small, the same everywhere, and written down here.

A stage that works because of a variable in one person's shell fails on every other machine, and a
token in that shell is nobody's business in a build. So a stage sees ``KEPT`` variables, those its
``pass_env`` names, what cxlocal adds (``CXLOCAL_*``), and the secrets it lists. Nothing else.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from cxlocal.address import handed_address
from cxlocal.text import names_one

WITHIN = "CXLOCAL_WITHIN"
"""Tells a cxlocal that a stage calls of the runs it is part of (``cxlocal.runner.nesting``)."""
NO_PUSHES = "CXLOCAL_NO_PUSHES"
"""Set for the programs of a rehearsal: their git pushes to no host, and to none of the remotes named
here, an address a line."""
NOWHERE = "/dev/null/a-rehearsal-pushes-nowhere"
"""Where a git that must not push pushes to: below a file no path is; read in git's complaint."""
ANY_ADDRESS = (f"url.{NOWHERE}/.pushInsteadOf", "")
"""Configuration of git that sends pushes nowhere: every address begins with nothing. A longer beginning
that somebody configured wins over it."""
OF_THIS_MACHINE = ("/", "./", "../", "file://", "http://localhost:", "http://127.0.0.1:")
"""Beginnings of addresses between which the tests of other programs push."""

STORE = "CXLOCAL_STORE"
"""Holds the address of a store, sometimes with a password."""
STORE_CUT = "CXLOCAL_STORE_CUT"
"""Holds the address that stands in ``STORE`` where a password was cut out of that."""

KEPT = (
    # where programs and the person's files are
    "PATH", "HOME", "USER", "LOGNAME", "SHELL", "TMPDIR",
    "XDG_CACHE_HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_STATE_HOME",
    # language and time zone
    "LANG", "LANGUAGE", "LC_*", "TZ",
    # which machine this is to cxlocal itself, and which run it stands in
    "CXLOCAL_HOME", STORE, STORE_CUT, "CXLOCAL_NODE", WITHIN, "CXLOCAL_MARK", NO_PUSHES,
    # how output may look
    "TERM", "NO_COLOR",
    # which certificates are trusted, and the way out to the network
    "SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "NODE_EXTRA_CA_CERTS",
    "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY",
    "http_proxy", "https_proxy", "all_proxy", "no_proxy",
    # needed by programs on macOS to find the system's compilers and text encoding
    "DEVELOPER_DIR", "SDKROOT", "__CF_USER_TEXT_ENCODING",
)  # fmt: skip
"""Variables every stage sees when they are set. ``*`` at the end stands for any ending."""

_PATH = "/usr/local/bin:/usr/bin:/bin"
"""For a process that was started without PATH (cron, some init systems)."""


def stage_environment(
    base: Mapping[str, str],
    *,
    pass_env: Iterable[str] = (),
    extra: Mapping[str, str] | None = None,
) -> dict[str, str]:
    """The environment of a stage, out of the environment ``base`` we were started with.

    ``pass_env`` names further variables; ``NAME_*`` passes all that begin so. ``extra`` wins over
    everything. The address of the store is without its password unless ``pass_env`` names it. Where ``base`` says that nothing is pushed, git is told so for every
    repository. Pure.
    """
    passed = tuple(pass_env)
    names = {*KEPT, *passed}
    begins = tuple(one[:-1] for one in names if one.endswith("*"))
    kept = {name: value for name, value in base.items() if name in names or name.startswith(begins)}
    if STORE in kept and not names_one(passed, STORE):
        kept |= _without_password(kept[STORE])
    kept.setdefault("PATH", _PATH)
    kept.update(extra or {})
    return _without_pushes(kept, base[NO_PUSHES]) if NO_PUSHES in base else kept


def _without_password(store: str) -> dict[str, str]:
    cut = handed_address(store)
    return {STORE: cut, STORE_CUT: cut} if cut != store else {}


def _without_pushes(told: Mapping[str, str], remotes: str) -> dict[str, str]:
    """The environment with configuration of ours after that which it has."""
    pairs = [ANY_ADDRESS, *((f"url.{one}.pushInsteadOf", one) for one in OF_THIS_MACHINE)]
    for one in filter(None, remotes.split("\n")):
        spelled = (one, f"file://{one}") if one.startswith("/") else (one,)
        pairs += [(f"url.{NOWHERE}.pushInsteadOf", address) for address in spelled]
    count = told.get("GIT_CONFIG_COUNT", "")
    first = int(count) if count.isdecimal() else 0
    ours = {NO_PUSHES: remotes, "GIT_CONFIG_COUNT": str(first + len(pairs))}
    for index, (key, value) in enumerate(pairs, first):
        ours |= {f"GIT_CONFIG_KEY_{index}": key, f"GIT_CONFIG_VALUE_{index}": value}
    return {**told, **ours}
