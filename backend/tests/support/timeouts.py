"""How long tests wait for what works, also on a machine that does much else.

What is wrong is to fail a test, and not who had to wait: these are far from what anything takes,
and who tests a limit sets it.
"""

from typing import Any

# Seconds.
TIMEOUT = 60.0
# And a limit that is not to end what a test waits for.
NO_LIMIT = 10 * TIMEOUT

# The service's limits of a connection and of a statement, as settings and as variables.
LONG_TIMEOUTS: dict[str, Any] = dict.fromkeys(
    (
        *("db_pool_timeout", "db_connect_timeout", "db_read_timeout"),
        *("db_statement_timeout", "db_lock_timeout", "db_health_timeout"),
    ),
    NO_LIMIT,
)
LONG_TIMEOUTS_ENV = {name.upper(): str(seconds) for name, seconds in LONG_TIMEOUTS.items()}
