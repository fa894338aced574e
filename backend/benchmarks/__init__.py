"""Benchmarks of the service, run by hand."""
