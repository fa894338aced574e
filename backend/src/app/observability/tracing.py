"""SQL statements as spans of the request that they are for.

FastAPI makes a span of each request when OTEL_EXPORTER_OTLP_ENDPOINT is set; without one nothing
is made here either. OpenTelemetry's own instrumentations do not fit: that of SQLAlchemy (0.66b1)
refuses version 2.1, and that of asyncpg writes the server's message, which quotes values, into
the span of a statement that fails.
"""

from opentelemetry import trace
from opentelemetry.trace import Span, SpanKind, StatusCode

_tracer = trace.get_tracer("hotel-deals")


def begin_statement(sql: str) -> Span | None:
    """A span for a statement, if the request has one; `end_statement` ends it.

    Values are bound, so none is in it. Attributes are named as OpenTelemetry's semantic
    conventions for databases name them.
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
    """The statement has ended, well or not."""
    if span is None:
        return
    if error is not None:
        span.set_status(StatusCode.ERROR, type(error).__name__)
    span.end()
