class BenchmarkError(Exception):
    """What keeps a benchmark from meaning anything; one line or a few for a person."""
