"""The stop signals and the grace period, shared by the worker and its parent server."""

import signal

SIGNALS = (signal.SIGINT, signal.SIGTERM)
# Seconds that a running job has to finish after a stop signal. Then the job is requeued.
GRACE_SECONDS = 5.0
