"""Events: CDEvents 0.5.1 documents, their types, their builders and their hash chain.

Not here: reading, writing or asking the time: all of it is pure.
"""
