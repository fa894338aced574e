"""The stop signals and the grace period, shared by the worker and its parent server."""

import signal

SIGNALS = (signal.SIGINT, signal.SIGTERM)
# Seconds that a running job may take to finish after the signal, before it is requeued.
GRACE_SECONDS = 5.0
