"""Benchmarks that compare the service over HTTP with hand-written servers."""
