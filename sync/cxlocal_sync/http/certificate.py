"""When a certificate ends and whom it is for, as those see it who connect: from a handshake in memory.

The standard library shows what a certificate says to whoever has checked it, and to nobody else.
"""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import Any

_WHATEVER_THE_TIME = ssl.VerifyFlags(0x200000)
"""X509_V_FLAG_NO_CHECK_TIME of OpenSSL: one that has ended is looked at, too."""
ROUNDS = 10
"""Of messages between both ends; a handshake has three."""


def end_of(certificate: Path, key: Path) -> int | None:
    """When the first certificate of a file ends, in milliseconds UTC; None where that cannot be told.

    Raises OSError (``ssl.SSLError`` is one) for files of TLS that cannot be used.
    """
    asking = _asking(certificate)
    asking.check_hostname = False
    try:
        found = _seen(certificate, key, asking)
    except ssl.SSLCertVerificationError:
        return None
    end_text = str(found.get("notAfter", ""))
    return round(ssl.cert_time_to_seconds(end_text) * 1000) if end_text else None


def why_refused(certificate: Path, key: Path, host: str, authority: Path | None) -> str:
    """Why machines that reach a server by the name or address ``host``, and trust ``authority`` alone where
    it is given, would refuse its certificate, whatever the time; empty where nothing speaks against it.

    Raises OSError as ``end_of``.
    """
    try:
        _seen(certificate, key, _asking(certificate), host)
        if authority is not None:
            asking = _asking(authority, whole=True)
            asking.check_hostname = False
            _seen(certificate, key, asking)
    except ssl.SSLCertVerificationError as error:
        if error.verify_code not in _OTHER_NAME:
            return f"{authority or certificate} did not sign it: {error.verify_message}"
        return f"it is not for {host}: {error.verify_message}"
    except ValueError:
        return f"{host!r} is no name that a certificate could have"
    return ""


_OTHER_NAME = (62, 64)
"""X509_V_ERR_HOSTNAME_MISMATCH and X509_V_ERR_IP_ADDRESS_MISMATCH of OpenSSL."""


def _asking(trusted: Path, *, whole: bool = False) -> ssl.SSLContext:
    """Somebody who trusts the certificates of a file; where the chain is not to be ``whole``, whoever they
    are signed by."""
    asking = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    asking.load_verify_locations(trusted)
    asking.verify_flags |= _WHATEVER_THE_TIME
    if not whole:
        asking.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    return asking


def _seen(
    certificate: Path, key: Path, asking: ssl.SSLContext, host: str | None = None
) -> dict[str, Any]:
    """What the certificate says to ``asking``; nothing where the two cannot talk. Raises OSError for files that
    cannot be used, of it ``ssl.SSLCertVerificationError`` where it is refused."""
    serving = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    serving.load_cert_chain(certificate, key)
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    ends = (
        serving.wrap_bio(to_server, to_client, server_side=True),
        asking.wrap_bio(to_client, to_server, server_hostname=host),
    )
    for _ in range(ROUNDS):
        for end in ends:
            try:
                end.do_handshake()
            except ssl.SSLWantReadError:
                continue
            except ssl.SSLCertVerificationError:
                raise
            except ssl.SSLError:
                return {}
    return ends[1].getpeercert() or {}
