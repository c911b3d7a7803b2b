"""The environment a stage is given: small, the same everywhere, and written down here.

A stage that works because of a variable in one person's shell fails on every other machine, and a
token in that shell is nobody's business in a build. So a stage sees ``KEPT`` variables, those its
``pass_env`` names, what cxlocal adds (``CXLOCAL_*``), and the secrets it lists. Nothing else.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

WITHIN = "CXLOCAL_WITHIN"
"""Tells a cxlocal that a stage calls of the runs it is part of (``cxlocal.runner.nesting``)."""

KEPT = (
    # where programs and the person's files are
    "PATH", "HOME", "USER", "LOGNAME", "SHELL", "TMPDIR",
    "XDG_CACHE_HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_STATE_HOME",
    # language and time zone
    "LANG", "LANGUAGE", "LC_*", "TZ",
    # which machine this is to cxlocal itself, and which run it stands in
    "CXLOCAL_HOME", "CXLOCAL_STORE", "CXLOCAL_NODE", WITHIN, "CXLOCAL_MARK",
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
    everything. Pure.
    """
    names = {*KEPT, *pass_env}
    begins = tuple(one[:-1] for one in names if one.endswith("*"))
    kept = {name: value for name, value in base.items() if name in names or name.startswith(begins)}
    kept.setdefault("PATH", _PATH)
    kept.update(extra or {})
    return kept
