"""The count and total duration of the current request's SQL statements."""

import time
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Engine, ExceptionContext, event

from app.observability.tracing import begin_statement, end_statement


@dataclass(slots=True)
class StatementStatistics:
    """The count of a request's SQL statements, and the total time until their results arrived."""

    statements: int = 0
    seconds: float = 0.0
    _started: float = 0.0

    @property
    def milliseconds(self) -> float:
        """Return the total duration in milliseconds, for logs and headers."""
        return round(self.seconds * 1000, 2)


statement_statistics: ContextVar[StatementStatistics | None] = ContextVar(
    "statement_statistics", default=None
)


def count_statements(engine: Engine) -> None:
    """Record each statement of `engine` in the request's statistics and as a trace span."""

    @event.listens_for(engine, "before_cursor_execute")
    def _before(_connection: Any, _cursor: Any, sql: str, *rest: Any) -> None:
        # `rest` holds the parameters, the execution context, and the executemany flag.
        context = rest[1]
        context.span = begin_statement(sql)
        statistics = statement_statistics.get()
        if statistics is not None:
            statistics.statements += 1
            statistics._started = time.perf_counter()  # noqa: SLF001 - same module

    @event.listens_for(engine, "after_cursor_execute")
    def _after(_connection: Any, _cursor: Any, _sql: str, *rest: Any) -> None:
        end_statement(rest[1].span)
        statistics = statement_statistics.get()
        if statistics is not None:
            statistics.seconds += time.perf_counter() - statistics._started  # noqa: SLF001

    @event.listens_for(engine, "handle_error")
    def _failed(failure: ExceptionContext) -> None:
        span = getattr(failure.execution_context, "span", None)
        end_statement(span, failure.original_exception)
