"""A small but real deliverable, and the story ``cxlocal demo`` tells with it."""
