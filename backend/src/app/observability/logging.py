"""Logging, either as one JSON object per line or as text for a terminal."""

import logging
import sys
from datetime import UTC, datetime
from typing import Any, BinaryIO

import structlog
from opentelemetry import trace
from pydantic_core import to_json

from app.core.config import Settings, is_traced


def _add_trace(_logger: Any, _method: str, event: Any) -> Any:
    """Add the ids of the current trace and span, to link the log line to the trace."""
    context = trace.get_current_span().get_span_context()
    if context.is_valid:
        event["trace_id"] = trace.format_trace_id(context.trace_id)
        event["span_id"] = trace.format_span_id(context.span_id)
    return event


_SHARED: tuple[Any, ...] = (
    structlog.contextvars.merge_contextvars,
    _add_trace,
    structlog.processors.add_log_level,
    structlog.processors.TimeStamper(fmt="iso", utc=True),
)


class _JsonLines:
    """A fast writer of the access log.

    This class writes the same lines as structlog's processors, which took 3 % of the time of a
    short request.
    """

    def __init__(self, stream: BinaryIO, processors: list[Any], *, traced: bool) -> None:
        self._write = stream.write
        self._flush = stream.flush
        self._processors = processors
        self._traced = traced

    def are_structlogs(self) -> bool:
        """Return whether structlog's processors are unchanged. Test helpers can replace them."""
        return self._processors[-1] is _as_json

    def write(self, fields: dict[str, Any]) -> None:
        event = {**fields, "event": "request"}
        if self._traced:
            _add_trace(None, "info", event)
        event["level"] = "info"
        event["timestamp"] = datetime.now(UTC)
        try:
            self._write(to_json(event) + b"\n")
            self._flush()
        except OSError:
            # The failure cannot be logged, because the log itself cannot be written.
            pass


_requests: structlog.typing.FilteringBoundLogger = structlog.get_logger("app.access")
_request_lines: _JsonLines | None = None


def log_request(**fields: Any) -> None:
    """Write the access log line of a request."""
    if _request_lines is not None and _request_lines.are_structlogs():
        _request_lines.write(fields)
    else:
        _requests.info("request", **fields)


def configure_logging(settings: Settings) -> None:
    """Send structlog's and the standard library's log records to stderr, in one format.

    The format "auto" is readable text when stderr is a terminal, and JSON otherwise.
    """
    as_json = settings.log_format == "json" or (
        settings.log_format == "auto" and not sys.stderr.isatty()
    )
    level = logging.getLevelNamesMapping()[settings.log_level]
    renderer = (
        _json_lines()
        if as_json
        else [
            # Use plain tracebacks, because rich ones print local variables, which may hold secrets.
            structlog.dev.ConsoleRenderer(
                colors=_colors(), exception_formatter=structlog.dev.plain_traceback
            )
        ]
    )
    processors = [*_SHARED, *renderer]
    global _request_lines  # noqa: PLW0603 - global, like structlog's setup
    _request_lines = None
    if as_json and level <= logging.INFO:
        _request_lines = _JsonLines(sys.stderr.buffer, processors, traced=is_traced())
    structlog.configure(
        processors=processors,
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=_SHARED,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *renderer],
        )
    )
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(level)
    # Disable uvicorn's access log, because the middleware writes one that includes the route.
    logging.getLogger("uvicorn.access").disabled = True


def _json_lines() -> list[Any]:
    return [structlog.processors.format_exc_info, _as_json]


def _as_json(_logger: Any, _method: str, event: Any) -> str:
    """Serialize an event with pydantic-core, which is several times as fast as `json`."""
    return to_json(event, fallback=str).decode()


def _colors() -> bool:
    return sys.stderr.isatty()
