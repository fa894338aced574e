"""scripts/lint_api.py: the lint, and the detection of breaking changes."""

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from scripts import lint_api
from tests.support import node

Document = dict[str, Any]
Change = Callable[[Document], object]

pytestmark = pytest.mark.integration


def operation(document: Document, name: str) -> Document:
    found: Document = next(
        each
        for path in document["paths"].values()
        for each in path.values()
        if each["operationId"] == name
    )
    return found


def schema(document: Document, name: str) -> Document:
    found: Document = document["components"]["schemas"][name]
    return found


def field(document: Document, name: str) -> Document:
    type_name, _, property_name = name.partition(".")
    found: Document = schema(document, type_name)["properties"][property_name]
    return found


def parameter(document: Document, operation_id: str, name: str) -> Document:
    parameters = operation(document, operation_id)["parameters"]
    found: Document = next(each for each in parameters if each["name"] == name)
    return found


def ok_response(document: Document, operation_id: str) -> Document:
    found: Document = operation(document, operation_id)["responses"]["200"]
    return found


NEW_PARAMETER: Document = {"name": "x", "in": "query", "schema": {"type": "string"}}
STRING_OR_NULL = ["string", "null"]

# Each change touches another part of the document, so one comparison finds all of them.
BREAKING_CHANGES: dict[str, Change] = {
    "/categories: Path `/categories` was removed.": lambda d: d["paths"].pop("/categories"),
    "Operation `DELETE /deals/{deal_id}` was removed.": lambda d: d["paths"][
        "/deals/{deal_id}"
    ].pop("delete"),
    "Response `200` was removed.": lambda d: operation(d, "create_import")["responses"].pop("200"),
    "Property `phone` of `hotel` was removed.": lambda d: schema(d, "HotelSummaryResponse")[
        "properties"
    ].pop("phone"),
    "Properties of `DealResponse` are no longer required: `version`.": lambda d: schema(
        d, "DealResponse"
    )["required"].remove("version"),
    "Type of `deal_count` widened from 'integer' to 'string'.": lambda d: field(
        d, "HotelResponse.deal_count"
    ).update(type="string"),
    "Type of `name` widened from 'string' to 'string | null'.": lambda d: field(
        d, "HotelResponse.name"
    ).update(type=STRING_OR_NULL),
    "Enum of `status` gained values: 'x'.": lambda d: field(d, "BulkResult.status")["enum"].append(
        "x"
    ),
    "Upper bound of `star_rating` changed from '<= 5' to '<= 6'.": lambda d: field(
        d, "DealResponse.star_rating"
    ).update(maximum=6),
    "Response header `ETag` was removed.": lambda d: ok_response(d, "get_hotel")["headers"].pop(
        "ETag"
    ),
    "Media type `text/csv` was removed.": lambda d: ok_response(d, "export_deals")["content"].pop(
        "text/csv"
    ),
    "Required `x` query parameter was added.": lambda d: operation(d, "list_imports")[
        "parameters"
    ].append({**NEW_PARAMETER, "required": True}),
    "`city` query parameter became required.": lambda d: parameter(
        d, "export_deals", "city"
    ).update(required=True),
    "`q` query parameter was removed.": lambda d: operation(d, "list_deals")["parameters"].remove(
        parameter(d, "list_deals", "q")
    ),
    "`city` query parameter was renamed to `town`.": lambda d: parameter(
        d, "list_hotels", "city"
    ).update(name="town"),
    "Upper bound changed from '<= 100' to '<= 50'.": lambda d: parameter(d, "list_deals", "limit")[
        "schema"
    ].update(maximum=50),
    "`pattern` was set to '^x$'.": lambda d: parameter(d, "list_deals", "cursor")["schema"].update(
        pattern="^x$"
    ),
    "Enum lost values: 'none'.": lambda d: parameter(d, "list_deals", "count")["schema"][
        "enum"
    ].remove("none"),
    "Type narrowed from 'integer' to 'string'.": lambda d: parameter(d, "list_deals", "hotel_id")[
        "schema"
    ].update(type="string"),
    "Properties of `DealCreate` became required: `categories`.": lambda d: schema(d, "DealCreate")[
        "required"
    ].append("categories"),
    "Property `categories` of `DealPatch` was removed.": lambda d: schema(d, "DealPatch")[
        "properties"
    ].pop("categories"),
    "`maxLength` of `name` changed from '200' to '20'.": lambda d: field(
        d, "HotelCreate.name"
    ).update(maxLength=20),
    "`anyOf` subschema of `price_per_night` was removed.": lambda d: field(
        d, "DealCreate.price_per_night"
    )["anyOf"].pop(),
    "Media type `multipart/form-data` was removed.": lambda d: operation(d, "create_import")[
        "requestBody"
    ]["content"].pop("multipart/form-data"),
    "changed from 'get_deal' to 'read'.": lambda d: operation(d, "get_deal").update(
        operationId="read"
    ),
    "Authentication became required.": lambda d: operation(d, "city_statistics").update(
        security=[{"HTTPBearer": []}]
    ),
    "Security requirement `APIKeyHeader` is no longer accepted.": lambda d: operation(
        d, "get_import"
    ).update(security=[{"HTTPBearer": []}]),
}

COMPATIBLE_CHANGES: list[Change] = [
    lambda d: operation(d, "list_deals")["parameters"].insert(0, NEW_PARAMETER),
    lambda d: operation(d, "list_hotels")["parameters"].reverse(),
    lambda d: d["paths"].update({"/new": {"get": {**d["paths"]["/health"]["get"]}}}),
    lambda d: schema(d, "DealResponse")["properties"].update(new={"type": "string"}),
    lambda d: schema(d, "DealCreate")["properties"].update(new={"type": "string"}),
    lambda d: field(d, "HotelCreate.name").update(maxLength=500),
    lambda d: parameter(d, "list_deals", "limit")["schema"].update(maximum=500),
    lambda d: operation(d, "list_deals")["responses"].update({"429": {"description": "Later"}}),
    lambda d: operation(d, "list_deals").update(summary="Other", description="Other."),
    lambda d: parameter(d, "list_deals", "city").update(description="Where the room is"),
    lambda d: field(d, "DealResponse.room_type").update(
        description="What it is", examples=["double"]
    ),
]


@pytest.fixture(scope="module")
def document() -> Document:
    node.require("redocly")
    loaded: Document = json.loads(lint_api.DOCUMENT.read_text())
    return loaded


@pytest.fixture(scope="module")
def reported_changes(document: Document) -> list[str]:
    """Return the report of all `BREAKING_CHANGES` made at once."""
    changed = copy.deepcopy(document)
    for change in BREAKING_CHANGES.values():
        change(changed)
    return lint_api.breaking_changes(document, changed)


class TestBreakingChanges:
    @pytest.mark.parametrize("message", BREAKING_CHANGES)
    def test_breaking_change_is_reported(self, reported_changes: list[str], message: str) -> None:
        assert any(message in each for each in reported_changes), reported_changes

    def test_report_names_operation_and_place(self, reported_changes: list[str]) -> None:
        assert "POST /imports: Response `200` was removed. (responses/200)" in reported_changes
        assert (
            "GET /deals: Upper bound changed from '<= 100' to '<= 50'. (parameters/schema)"
            in reported_changes
        )

    def test_compatible_changes_are_not_reported(self, document: Document) -> None:
        changed = copy.deepcopy(document)
        for change in COMPATIBLE_CHANGES:
            change(changed)

        assert lint_api.breaking_changes(document, changed) == []


class TestUnstated:
    @pytest.mark.parametrize(
        ("accepted", "versions", "complaint"),
        [
            ({}, ("0.1.0", "0.2.0"), "does not say why: a"),
            ({"a": " "}, ("0.1.0", "0.2.0"), "has no reason for: a"),
            ({"a": "why", "b": "why"}, ("0.1.0", "0.2.0"), "is no breaking change: b"),
            ({"a": "why"}, ("0.1.0", "0.1.9"), "version 0.1.9 after 0.1.0"),
            ({"a": "why"}, ("1.1.0", "1.2.0"), "version 1.2.0 after 1.1.0"),
            ({"a": "why"}, ("0.1.0", "0.2.0"), None),
            ({"a": "why"}, ("0.9.0", "1.0.0"), None),
            ({"a": "why"}, ("1.9.0", "2.0.0"), None),
        ],
    )
    @pytest.mark.unit
    def test_breaking_change_needs_reason_and_version(
        self, accepted: dict[str, str], versions: tuple[str, str], complaint: str | None
    ) -> None:
        problems = lint_api.unstated(["a"], accepted, versions)

        if complaint is None:
            assert problems == []
        else:
            assert len(problems) == 1
            assert complaint in problems[0]

    @pytest.mark.unit
    def test_no_breaking_change_needs_no_reason(self) -> None:
        assert lint_api.unstated([], {}, ("0.1.0", "0.1.0")) == []
        assert lint_api.unstated([], {"a": "why"}, ("0.1.0", "0.1.0"))


class TestLint:
    @pytest.mark.slow
    def test_committed_document_passes(
        self, document: Document, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert lint_api.main() == 0, capsys.readouterr().out

    def test_missing_description_is_reported(self, document: Document, tmp_path: Path) -> None:
        changed = copy.deepcopy(document)
        del operation(changed, "list_deals")["summary"]
        del parameter(changed, "list_hotels", "city")["description"]
        del ok_response(changed, "get_deal")["headers"]["X-Request-ID"]
        field(changed, "DealResponse.room_type")["examples"] = [1]
        file = tmp_path / "openapi.json"
        file.write_text(json.dumps(changed))

        found = " ".join(lint_api.lint(file))

        for rule in (
            "operation-summary",
            "parameter-description",
            "response-contains-header",
            "no-invalid-schema-examples",
        ):
            assert f"({rule})" in found

    def test_missing_document_raises_error(self, tmp_path: Path) -> None:
        node.require("redocly")
        with pytest.raises(RuntimeError, match="redocly lint"):
            list(lint_api.lint(tmp_path / "nothing.json"))
