"""Spans of SQL statements, inside the span of their request.

FastAPI creates a span of each request if OTEL_EXPORTER_OTLP_ENDPOINT is set. Without a span of the
request, this module creates none. OpenTelemetry's own instrumentations do not fit: the one for
SQLAlchemy (0.66b1) refuses version 2.1, and the one for asyncpg copies the server's message, which
quotes values, into the span of a failed statement.
"""

from opentelemetry import trace
from opentelemetry.trace import Span, SpanKind, StatusCode

_tracer = trace.get_tracer("hotel-deals")


def begin_statement(sql: str) -> Span | None:
    """Start a span for a statement if the request has a span. `end_statement` ends it.

    The SQL text holds no values, because values are bound. The attributes follow OpenTelemetry's
    semantic conventions for databases.
    """
    if not trace.get_current_span().is_recording():
        return None
    operation = sql.lstrip().partition(" ")[0].upper()
    attributes = {
        "db.system.name": "postgresql",
        "db.operation.name": operation,
        "db.query.text": sql,
    }
    return _tracer.start_span(operation, kind=SpanKind.CLIENT, attributes=attributes)


def end_statement(span: Span | None, error: BaseException | None = None) -> None:
    """End the span of a statement, and mark it as failed if there was an error."""
    if span is None:
        return
    if error is not None:
        span.set_status(StatusCode.ERROR, type(error).__name__)
    span.end()
