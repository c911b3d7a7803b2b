"""Tools that publish to a target, and ask what it holds. Each is the example for its kind."""
