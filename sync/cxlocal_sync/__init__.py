"""The stores' back ends. sync/README.md describes what they speak."""
