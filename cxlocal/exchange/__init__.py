"""The exchange with a store: one message form, the contact token, pushing, pulling, reserves.

``messages`` encodes and decodes, ``token`` and ``decide`` hold the decisions (pure), ``contact``
carries out one round trip, ``sync`` repeats it within a budget. sync/README.md is the protocol.
"""
