"""Signals and grace period that stop a worker, shared by the worker and its parent server."""

import signal

SIGNALS = (signal.SIGINT, signal.SIGTERM)
# Seconds after the signal in which a running job may finish. Then it is requeued.
GRACE_SECONDS = 5.0
