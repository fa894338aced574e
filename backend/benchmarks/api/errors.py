class BenchmarkError(Exception):
    """A problem that makes a benchmark meaningless. The message has one or a few lines."""
