"""Trace spans of SQL statements, inside the request's span.

FastAPI creates a span for each request if OTEL_EXPORTER_OTLP_ENDPOINT is set. Outside a request's
span, this module creates no spans.

OpenTelemetry's own instrumentations are unsuitable. The one for SQLAlchemy (0.66b1) refuses
SQLAlchemy 2.1. The one for asyncpg copies the server's error messages, which quote values, into the
spans of failed statements.
"""

from opentelemetry import trace
from opentelemetry.trace import Span, SpanKind, StatusCode

_tracer = trace.get_tracer("hotel-deals")


def begin_statement(sql: str) -> Span | None:
    """Start a span for a statement, or return None if the request has no span.

    The span's SQL text contains no values, because values are bound parameters. The attributes
    follow OpenTelemetry's semantic conventions for databases.
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
    """End a statement's span, if any. If the statement failed, mark the span as failed."""
    if span is None:
        return
    if error is not None:
        span.set_status(StatusCode.ERROR, type(error).__name__)
    span.end()
