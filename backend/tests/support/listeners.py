"""Statements that find the service's LISTEN connections, for `wait_for_rows`."""

LISTENERS = (
    "SELECT pid FROM pg_stat_activity WHERE datname = current_database() "
    "AND application_name = 'hotel-deals listener'"
)
# LISTEN is the last statement that a new connection sends.
LISTENING = f"{LISTENERS} AND query LIKE 'LISTEN%'"
NO_LISTENERS = f"SELECT 1 WHERE NOT EXISTS ({LISTENERS})"
