"""The service over HTTP, measured beside hand-written twins of it."""
