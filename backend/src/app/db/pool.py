from sqlalchemy.pool import AsyncAdaptedQueuePool, ConnectionPoolEntry
from sqlalchemy.util.queue import Empty

# Seconds: longer than a busy process keeps a connection for a quick statement, and hardly noticed
# when all connections are kept by slow ones.
PATIENCE = 0.05


class PatientPool(AsyncAdaptedQueuePool):
    """A pool that opens a connection beyond its size only when none has come back for a moment.

    SQLAlchemy's opens one at once, and closes it when it comes back to a pool that has enough. With
    more clients than connections nearly every request then pays for a new connection, which is a
    process of PostgreSQL: with 16 clients `POST /deals` was half as fast (benchmarks/post.py).
    """

    def _do_get(self) -> ConnectionPoolEntry:
        if self.overflow() >= 0:
            try:
                return self._pool.get(block=True, timeout=PATIENCE)
            except Empty:
                pass
        return super()._do_get()
