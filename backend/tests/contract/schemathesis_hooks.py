"""What OpenAPI cannot say of a valid request, said to Schemathesis, so that any 422 is a failure.

Relations between two values, and values that only the service can make. Requests that are meant to
be invalid stay so.
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

# Queries whose page had a next one, with its cursor; the filters must be the same for that.
_pages: dict[str, list[dict[str, Any]]] = {}


@schemathesis.serializer("text/csv", "application/csv", "application/gzip", "application/x-gzip")
def serialize_unchanged(_context: object, value: Any) -> bytes:
    """Serialize a body as it is. Schemathesis sends no body without a serializer."""
    return serialize_binary(value)


@schemathesis.hook
def before_load_schema(_context: HookContext, raw_schema: dict[str, Any]) -> None:
    """In OpenAPI 3.1 a stream is one text; Schemathesis wants to know what each event is."""
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
    # So that sequences make deals of hotels that are there. In the document a link's body would be
    # all of the next request's.
    links = raw_schema["paths"]["/hotels"]["post"]["responses"]["201"]["links"]
    links["deal"] = {
        "operationId": "create_deal",
        "requestBody": {"hotel_id": "$response.body#/id"},
    }


@schemathesis.hook
def before_call(_context: HookContext, case: Case[Any], _kwargs: dict[str, Any]) -> None:
    if not _is_valid(case):
        # Lengths are those of trimmed texts: what is too long only by its spaces becomes valid.
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
    """Items of `POST /deals/bulk` are judged one by one: a 200 that calls one of them an error."""
    judged = case.path == "/deals/bulk" and response.status_code == 200
    return not (
        judged
        and isinstance(failure, AcceptedNegativeData)
        and any(result["status"] == "error" for result in response.json()["results"])
    )


def _repair_query(case: Case[Any]) -> None:
    """Ranges the right way round, a sort by each field once, a cursor that the service made."""
    query = case.query
    # JSON Schema's white space lacks a character that Python's has, U+0085.
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
    """A price, which may come as a number or as its text; or a date."""
    try:
        return float(value)
    except ValueError:
        return value


def _repair_dates(deal: dict[str, Any]) -> None:
    """Checkout after checkin; one of the two alone would be judged with the stored other one."""
    if "checkin_date" in deal or "checkout_date" in deal:
        checkin = date.fromisoformat(deal.get("checkin_date") or deal["checkout_date"])
        checkin = min(checkin, date.max - timedelta(1))
        checkout = date.fromisoformat(deal.get("checkout_date") or deal["checkin_date"])
        deal["checkin_date"] = str(checkin)
        deal["checkout_date"] = str(max(checkout, checkin + timedelta(1)))


def _repair_file(case: Case[Any]) -> None:
    """Not empty; a `minLength` of something binary is not heeded."""
    body: Any = case.body
    form = isinstance(body, dict)
    file = body.get("file") if form else body
    if not getattr(file, "data", file):
        case.body = {**body, "file": Binary(b"x")} if form else Binary(b"x")


def _repair_headers(case: Case[Any]) -> None:
    """A version that the service has given out; a key for each body, and for it again."""
    tag = case.headers.get("if-match")
    if tag is not None and (tag == EXAMPLE_TAG or not _TAG.fullmatch(tag)):
        case.headers["if-match"] = "*"
    if "idempotency-key" in case.headers:
        content = repr((case.path, case.query, case.body)).encode()
        case.headers["idempotency-key"] = hashlib.sha256(content).hexdigest()
