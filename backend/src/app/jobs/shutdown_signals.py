"""How a worker is stopped; what the server beside it knows of it, too."""

import signal

SIGNALS = (signal.SIGINT, signal.SIGTERM)
# How long a job under way may take after the signal to stop; then it is given back.
GRACE_SECONDS = 5.0
