"""The OpenAPI document describes everything, and every example is valid."""

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from jsonschema_rs import Draft202012Validator

from app.core.config import Settings
from app.core.errors import AppError
from app.main import create_app

PROJECT = Path(__file__).parents[2] / "pyproject.toml"
OPERATION_IDS = {
    "get_health",
    "get_liveness",
    "get_readiness",
    *("list_deals", "get_deal", "create_deal", "change_deal", "delete_deal"),
    *("upsert_deals", "export_deals", "city_statistics"),
    *("list_hotels", "get_hotel", "create_hotel", "change_hotel", "delete_hotel"),
    "list_categories",
    *("list_imports", "get_import", "create_import", "cancel_import"),
    *("get_import_rejects", "watch_import"),
}

Document = dict[str, Any]


@pytest.fixture(scope="module")
def document(settings: Settings) -> Document:
    return create_app(settings).openapi()


def operations(document: Document) -> Iterator[tuple[str, Document]]:
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            yield f"{method.upper()} {path}", operation


def nodes(value: Any, place: str = "#") -> Iterator[tuple[str, Any]]:
    """Yield every object of the document and its place. Examples are data and are skipped."""
    if isinstance(value, dict):
        yield place, value
        for name, each in value.items():
            if name not in {"example", "examples"}:
                yield from nodes(each, f"{place}/{name}")
    elif isinstance(value, list):
        for index, each in enumerate(value):
            yield from nodes(each, f"{place}/{index}")


def examples_of(node: Document) -> list[Any]:
    """Return the examples of a schema, which has a list, or of any object that may name them."""
    found = node.get("examples", [])
    if isinstance(found, dict):
        found = [each["value"] for each in found.values()]
    return [*found, *([node["example"]] if "example" in node else [])]


def invalid_examples(document: Document) -> Iterator[str]:
    for place, node in nodes(document):
        schema = node.get("schema", node)
        if place.endswith("/properties") or not examples_of(node):
            continue
        full_schema = {**schema, "components": document["components"]}
        validator = Draft202012Validator(full_schema, validate_formats=True)
        for example in examples_of(node):
            for error in validator.iter_errors(example):
                yield f"{place}: {error.message}"


def body_examples(document: Document, content: Document) -> list[Any]:
    """Return the examples of a body, of its schema, or of the schema that it refers to."""
    schema = content.get("schema", {})
    name = schema.get("$ref", "").rpartition("/")[2]
    referred = document["components"]["schemas"].get(name, {})
    return examples_of(content) or examples_of(schema) or examples_of(referred)


@pytest.mark.unit
def test_document_info_is_complete(document: Document) -> None:
    info = document["info"]

    assert info["license"] == {"name": "MIT", "identifier": "MIT"}
    assert info["contact"]["name"]
    assert info["version"] == tomllib.loads(PROJECT.read_text())["project"]["version"]
    for word in ("next_cursor", "Bearer", "Idempotency-Key", "ETag", "X-Request-ID"):
        assert word in info["description"]
    assert document["servers"] == [
        {"url": "/", "description": "The service that returned this document"}
    ]
    for scheme in document["components"]["securitySchemes"].values():
        assert scheme["description"]


@pytest.mark.unit
def test_document_tags_are_described_and_used(document: Document) -> None:
    described = [tag["name"] for tag in document["tags"]]
    used = {tag for _, operation in operations(document) for tag in operation["tags"]}

    assert described == ["deals", "hotels", "categories", "imports", "health"]
    assert used == set(described)
    assert all(tag["description"].endswith((".", "…")) for tag in document["tags"])


@pytest.mark.unit
def test_document_operation_ids_are_stable(document: Document) -> None:
    """Generated clients name their methods after operation ids."""
    assert {operation["operationId"] for _, operation in operations(document)} == OPERATION_IDS


@pytest.mark.unit
def test_document_operations_are_described(document: Document) -> None:
    summaries = [operation["summary"] for _, operation in operations(document)]

    assert len(set(summaries)) == len(summaries)
    for where, operation in operations(document):
        made_up = operation["operationId"].replace("_", " ").title()
        assert operation["summary"] != made_up, where
        assert re.fullmatch(r"[A-Z][a-z]+( [a-z]+)+", operation["summary"]), where
        assert operation["description"].endswith("."), where


@pytest.mark.unit
def test_document_parameters_have_description_and_example(document: Document) -> None:
    for where, operation in operations(document):
        for parameter in operation.get("parameters", []):
            assert parameter["description"], (where, parameter["name"])
            assert examples_of(parameter["schema"]), (where, parameter["name"])


@pytest.mark.unit
def test_document_bodies_have_examples(document: Document) -> None:
    for where, operation in operations(document):
        responses = operation["responses"].items()
        bodies = [*((status, response.get("content", {})) for status, response in responses)]
        bodies += [("request", operation.get("requestBody", {}).get("content", {}))]
        for name, contents in bodies:
            for media_type, content in contents.items():
                is_file = media_type in {"multipart/form-data", "application/octet-stream"}
                assert is_file or body_examples(document, content), f"{where} {name} {media_type}"


@pytest.mark.unit
def test_document_examples_are_valid(document: Document) -> None:
    assert list(invalid_examples(document)) == []


@pytest.mark.unit
def test_document_invalid_example_is_found(settings: Settings) -> None:
    document = create_app(settings).openapi()
    deals = document["paths"]["/deals"]["get"]
    deals["parameters"][0]["schema"]["examples"] = [-1]
    deals["responses"]["422"]["content"]["application/json"]["examples"]["x"] = {"value": {}}
    document["components"]["schemas"]["DealResponse"]["examples"][0]["checkin_date"] = "tomorrow"

    found = " ".join(invalid_examples(document))

    assert "parameters/0" in found
    assert "422" in found
    assert "schemas/DealResponse: " in found


def error_codes() -> dict[int, set[str]]:
    """Return the error codes of each status."""
    found: dict[int, set[str]] = {}
    kinds = [AppError]
    while kinds:
        kind = kinds.pop()
        found.setdefault(kind.status, set()).add(kind.code)
        kinds += kind.__subclasses__()
    return found


@pytest.mark.unit
def test_document_errors_have_codes_of_their_status(document: Document) -> None:
    known = error_codes()
    for where, operation in operations(document):
        for status, response in operation["responses"].items():
            if int(status) < 400:
                continue
            (content,) = response["content"].values()
            assert set(response["content"]) == {"application/json"}, where
            assert content["schema"] == {"$ref": "#/components/schemas/ErrorEnvelope"}, where
            for example in content["examples"].values():
                assert example["value"]["error"]["code"] in known[int(status)], where
                assert example["summary"], where


@pytest.mark.unit
def test_document_errors_have_one_envelope(document: Document) -> None:
    schemas = document["components"]["schemas"]

    assert not {"HTTPValidationError", "ValidationError"} & set(schemas)


@pytest.mark.unit
def test_document_links_lead_to_operations(document: Document) -> None:
    targets = {operation["operationId"]: operation for _, operation in operations(document)}
    found = set()
    for _, operation in operations(document):
        for response in operation["responses"].values():
            for link in response.get("links", {}).values():
                found.add((operation["operationId"], link["operationId"]))
                names = {each["name"] for each in targets[link["operationId"]]["parameters"]}
                assert set(link["parameters"]) <= names

    for create, read in (("deal", "deal"), ("hotel", "hotel"), ("import", "import")):
        assert (f"create_{create}", f"get_{read}") in found
    assert {"watch_import", "get_import_rejects", "cancel_import"} <= {
        target for origin, target in found if origin == "create_import"
    }


@pytest.mark.unit
def test_document_is_built_once(settings: Settings) -> None:
    app = create_app(settings)

    assert app.openapi() is app.openapi()


HOTEL = {"name": "Inn", "city": "Berlin", "country": "Germany", "phone": "1"}
DEAL: dict[str, Any] = {
    "external_id": 1,
    "hotel_id": 1,
    "room_type": "suite",
    "star_rating": 4,
    "price_per_night": "90",
    "original_price": "100",
    "discount_percent": 10,
    "checkin_date": "2026-12-01",
    "checkout_date": "2026-12-06",
}
IDEMPOTENCY_KEY = {"Idempotency-Key": "1"}
STALE_VERSION = {"If-Match": '"9.0000000000000000"'}


@pytest.mark.api
@pytest.mark.parametrize(
    ("method", "path", "route", "status", "options"),
    [
        ("GET", "/health?verbose=1", "/health", 422, {}),
        ("GET", "/deals?limit=101", "/deals", 422, {}),
        ("GET", "/deals?cursor=x", "/deals", 422, {}),
        ("GET", "/deals/stats?available_only=perhaps", "/deals/stats", 422, {}),
        ("GET", "/deals/export", "/deals/export", 406, {"headers": {"Accept": "text/html"}}),
        ("GET", "/deals/4711", "/deals/{deal_id}", 404, {}),
        ("GET", "/deals/x", "/deals/{deal_id}", 422, {}),
        ("POST", "/deals", "/deals", 404, {"json": {**DEAL, "hotel_id": 4711}}),
        ("POST", "/deals", "/deals", 409, {"json": DEAL}),
        ("POST", "/deals", "/deals", 415, {"content": "x", "headers": {"Content-Type": "a/b"}}),
        ("POST", "/deals", "/deals", 413, {"content": b"x" * 2**21}),
        ("POST", "/deals", "/deals", 422, {"json": {**DEAL, "price_per_night": 0}}),
        ("POST", "/hotels", "/hotels", 422, {"json": HOTEL, "headers": IDEMPOTENCY_KEY}),
        ("POST", "/hotels", "/hotels", 409, {"json": {**HOTEL, "name": "Other"}}),
        ("POST", "/hotels", "/hotels", 409, {"json": {**HOTEL, "phone": "2"}}),
        ("POST", "/hotels", "/hotels", 422, {"json": {**HOTEL, "phone": ""}}),
        (
            "POST",
            "/deals/bulk?atomic=true",
            "/deals/bulk",
            422,
            {"json": [{**DEAL, "external_id": 2}, {**DEAL, "price_per_night": 0}]},
        ),
        ("POST", "/deals/bulk", "/deals/bulk", 422, {"json": [DEAL] * 1001}),
        ("PATCH", "/hotels/1", "/hotels/{hotel_id}", 412, {"json": {}, "headers": STALE_VERSION}),
        ("DELETE", "/hotels/1", "/hotels/{hotel_id}", 409, {}),
        ("GET", "/imports/4711", "/imports/{import_id}", 404, {}),
        ("POST", "/imports", "/imports", 422, {"files": {"x": b"x"}}),
        (
            "POST",
            "/imports",
            "/imports",
            422,
            {"content": b"", "headers": {"Content-Type": "text/csv"}},
        ),
    ],
)
async def test_error_response_is_a_documented_example(
    api: httpx.AsyncClient,
    document: Document,
    method: str,
    path: str,
    route: str,
    status: int,
    options: dict[str, Any],
) -> None:
    await api.post("/hotels", json={**HOTEL, "phone": "1"}, headers=IDEMPOTENCY_KEY)
    await api.post("/deals", json=DEAL)
    if options.get("headers") is IDEMPOTENCY_KEY:
        options = {**options, "json": {**HOTEL, "name": "Another body"}}

    response = await api.request(method, path, **options)

    assert response.status_code == status, response.text
    error = response.json()["error"]
    declared = document["paths"][route][method.lower()]["responses"][str(status)]
    examples = [each["error"] for each in examples_of(declared["content"]["application/json"])]
    del error["request_id"]
    assert error in [
        {name: value for name, value in example.items() if name != "request_id"}
        for example in examples
    ]
