"""The exchange with a store: messages, contact token, pushing, pulling, what is remembered.

Not here: how numbers are chosen (numbers, allocation), what stores do inside (cxlocal_sync).

``messages`` encodes and decodes, ``token`` and ``answers`` are pure, ``contact``
carries out one round trip, ``sync`` repeats it within a budget. sync/README.md is the protocol.
"""
