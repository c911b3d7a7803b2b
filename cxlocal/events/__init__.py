"""Events: CDEvents 0.5.1 documents, their types, their builders and their hash chain. Pure."""
