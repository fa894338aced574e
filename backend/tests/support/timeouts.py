"""Time limits of tests for operations that succeed, long enough for a busy machine.

A test must fail by a wrong result and not by a slow machine. A test of a limit sets a limit of its
own.
"""

from typing import Any

# Seconds.
TIMEOUT = 60.0
# A service limit that must not end the operation under test.
NO_LIMIT = 10 * TIMEOUT

# The service's limits on connections and statements, as settings and as variables.
LONG_TIMEOUTS: dict[str, Any] = dict.fromkeys(
    (
        *("db_pool_timeout", "db_connect_timeout", "db_read_timeout"),
        *("db_statement_timeout", "db_lock_timeout", "db_health_timeout"),
    ),
    NO_LIMIT,
)
LONG_TIMEOUTS_ENV = {name.upper(): str(seconds) for name, seconds in LONG_TIMEOUTS.items()}
