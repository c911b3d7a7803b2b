"""When a certificate ends, as those see it who connect: from a handshake in memory.

The standard library shows what a certificate says to whoever has checked it, and to nobody else.
"""

from __future__ import annotations

import ssl
from pathlib import Path

_WHATEVER_THE_TIME = ssl.VerifyFlags(0x200000)
"""X509_V_FLAG_NO_CHECK_TIME of OpenSSL: one that has ended is looked at, too."""
ROUNDS = 10
"""Of messages between both ends; a handshake has three."""


def end_of(certificate: Path, key: Path) -> int | None:
    """When the first certificate of a file ends, in milliseconds UTC; None where that cannot be told.

    Raises OSError (``ssl.SSLError`` is one) for files of TLS that cannot be used.
    """
    serving = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    serving.load_cert_chain(certificate, key)
    asking = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    asking.check_hostname = False
    asking.load_verify_locations(certificate)
    asking.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN | _WHATEVER_THE_TIME
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    ends = (
        serving.wrap_bio(to_server, to_client, server_side=True),
        asking.wrap_bio(to_client, to_server),
    )
    for _ in range(ROUNDS):
        for end in ends:
            try:
                end.do_handshake()
            except ssl.SSLWantReadError:
                continue
            except ssl.SSLError:
                return None
    found = ends[1].getpeercert()
    end_text = str(found.get("notAfter", "")) if found else ""
    return round(ssl.cert_time_to_seconds(end_text) * 1000) if end_text else None
