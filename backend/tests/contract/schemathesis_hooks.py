"""Hooks that keep Schemathesis' valid requests valid, so that any 422 is a failure.

OpenAPI cannot express relations between two values, and Schemathesis cannot invent values that only
the service makes. The hooks repair both. They leave deliberately invalid requests alone.
"""

import hashlib
import re
from datetime import date, timedelta
from typing import Any

import schemathesis
from schemathesis import Case, HookContext, Response
from schemathesis.core.failures import AcceptedNegativeData, Failure
from schemathesis.transport.serialization import Binary, serialize_binary

from app.http.openapi.responses import EXAMPLE_TAG

_TAG = re.compile(r'"\d+\.[0-9a-f]{16}"')

# Queries of pages that had a next page, with its cursor. A cursor needs the same filters again.
_pages: dict[str, list[dict[str, Any]]] = {}


@schemathesis.serializer("text/csv", "application/csv", "application/gzip", "application/x-gzip")
def serialize_unchanged(_context: object, value: Any) -> bytes:
    """Serialize a body unchanged. Schemathesis sends no body without a serializer."""
    return serialize_binary(value)


@schemathesis.hook
def before_load_schema(_context: HookContext, raw_schema: dict[str, Any]) -> None:
    """Describe event streams as text.

    In OpenAPI 3.1 a stream is one text, but Schemathesis expects the type of each event.
    """
    operation = raw_schema["paths"]["/imports/{import_id}/events"]["get"]
    operation["responses"]["200"]["content"]["text/event-stream"]["schema"] = {
        "type": "object",
        "required": ["data"],
        "properties": {
            "data": {
                "type": "string",
                "contentMediaType": "application/json",
                "contentSchema": {"$ref": "#/components/schemas/ImportResponse"},
            }
        },
    }
    # Let sequences create deals for existing hotels. In the document, the body of a link would
    # replace the whole body of the next request.
    links = raw_schema["paths"]["/hotels"]["post"]["responses"]["201"]["links"]
    links["deal"] = {
        "operationId": "create_deal",
        "requestBody": {"hotel_id": "$response.body#/id"},
    }


@schemathesis.hook
def before_call(_context: HookContext, case: Case[Any], _kwargs: dict[str, Any]) -> None:
    if not _is_valid(case):
        # A limit of length applies after trimming. A text that is too long only by its spaces is
        # valid.
        case.body, case.query = _trim(case.body), _trim(case.query)
    if not _is_valid(case):
        return
    _repair_query(case)
    if case.path == "/imports" and case.method == "POST":
        _repair_file(case)
    deals = case.body if isinstance(case.body, list) else [case.body]
    for deal in deals:
        if isinstance(deal, dict):
            _repair_dates(deal)
    _repair_headers(case)


@schemathesis.hook
def after_call(_context: HookContext, case: Case[Any], response: Response) -> None:
    is_json = response.headers.get("content-type") == ["application/json"]
    is_page = case.method == "GET" and response.status_code == 200 and is_json
    if is_page and "cursor" not in case.query:
        body = response.json()
        if isinstance(body, dict) and body.get("next_cursor"):
            query = {name: value for name, value in case.query.items() if name != "skip"}
            _pages.setdefault(case.path, []).append({**query, "cursor": body["next_cursor"]})


def _is_valid(case: Case[Any]) -> bool:
    return case.meta is not None and case.meta.generation.mode.is_positive


def _trim(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _trim(each) for name, each in value.items()}
    if isinstance(value, list):
        return [_trim(each) for each in value]
    return value.strip() if isinstance(value, str) else value


@schemathesis.hook
def filter_failure(
    _context: HookContext, failure: Failure, case: Case[Any], response: Response
) -> bool:
    """Count an item of `POST /deals/bulk` that is refused within a 200 as a refusal."""
    judged = case.path == "/deals/bulk" and response.status_code == 200
    return not (
        judged
        and isinstance(failure, AcceptedNegativeData)
        and any(result["status"] == "error" for result in response.json()["results"])
    )


def _repair_query(case: Case[Any]) -> None:
    """Order the ends of ranges, sort by each field once, and replace the cursor by a real one."""
    query = case.query
    # JSON Schema's white space lacks U+0085, which Python strips.
    if isinstance(query.get("category"), list):
        query["category"] = [each for each in query["category"] if str(each).strip()] or ["spa"]
    for low, high in (("price_min", "price_max"), ("checkin_from", "checkin_to")):
        if low in query and high in query and _comparable(query[low]) > _comparable(query[high]):
            query[low], query[high] = query[high], query[low]
    if "sort" in query:
        fields = {field.removeprefix("-"): field for field in query["sort"].split(",")}
        query["sort"] = ",".join(fields.values())
    if "cursor" in query:
        pages = _pages.get(case.path)
        if pages:
            case.query = dict(pages[-1])
        else:
            del query["cursor"]


def _comparable(value: Any) -> Any:
    """Convert a price, which may be a number or a text, or a date for comparison."""
    try:
        return float(value)
    except ValueError:
        return value


def _repair_dates(deal: dict[str, Any]) -> None:
    """Put checkout after checkin and send both. The service compares one with the stored other."""
    if "checkin_date" in deal or "checkout_date" in deal:
        checkin = date.fromisoformat(deal.get("checkin_date") or deal["checkout_date"])
        checkin = min(checkin, date.max - timedelta(1))
        checkout = date.fromisoformat(deal.get("checkout_date") or deal["checkin_date"])
        deal["checkin_date"] = str(checkin)
        deal["checkout_date"] = str(max(checkout, checkin + timedelta(1)))


def _repair_file(case: Case[Any]) -> None:
    """Send no empty file: Schemathesis ignores `minLength` of binary content."""
    body: Any = case.body
    form = isinstance(body, dict)
    file = body.get("file") if form else body
    if not getattr(file, "data", file):
        case.body = {**body, "file": Binary(b"x")} if form else Binary(b"x")


def _repair_headers(case: Case[Any]) -> None:
    """Send a version that the service has returned, and one Idempotency-Key for each body."""
    tag = case.headers.get("if-match")
    if tag is not None and (tag == EXAMPLE_TAG or not _TAG.fullmatch(tag)):
        case.headers["if-match"] = "*"
    if "idempotency-key" in case.headers:
        content = repr((case.path, case.query, case.body)).encode()
        case.headers["idempotency-key"] = hashlib.sha256(content).hexdigest()
