import json
from typing import Any

import pytest
from benchmarks.api.comparison import differences
from benchmarks.api.http import Answer

pytestmark = pytest.mark.unit

PAGE: dict[str, Any] = {
    "items": [
        {"id": 1, "stars": 4.0, "hotel": {"city": "Rome"}, "categories": ["beach", "luxury"]},
        {"id": 2, "stars": None, "hotel": {"city": "Paris"}, "categories": []},
    ],
    "total": 2,
}


def make_answer(content: Any, *, status: int = 200, **headers: str) -> Answer:
    return Answer(status, headers, json.dumps(content).encode())


def change_page(path: list[str | int], value: Any) -> Any:
    """Return a copy of the page with another value at `path`. `...` removes the value."""
    copy = json.loads(json.dumps(PAGE))
    place = copy
    for step in path[:-1]:
        place = place[step]
    if value is ...:
        del place[path[-1]]
    else:
        place[path[-1]] = value
    return copy


def test_differences_equal_answers_are_none() -> None:
    assert differences(make_answer(PAGE), make_answer(PAGE)) == []
    assert differences(Answer(304, {}, b""), Answer(304, {}, b"")) == []


@pytest.mark.parametrize(
    ("path", "value", "expected"),
    [
        (["total"], 3, "total: 2 is not 3"),
        (["total"], True, "total: 2 is not True"),
        (["total"], "2", "total: 2 is not '2'"),
        (["items", 0, "stars"], 4, "items[0].stars: 4.0 is not 4"),
        (["items", 1, "stars"], 1.0, "items[1].stars: None is not 1.0"),
        (["items", 1, "hotel", "city"], "Oslo", "items[1].hotel.city: 'Paris' is not 'Oslo'"),
        (["items", 0, "categories", 1], "x", "items[0].categories[1]: 'luxury' is not 'x'"),
        (["items", 0, "categories"], ["beach"], "items[0].categories: 2 items are not 1"),
        (["items", 0, "id"], ..., "items[0].id: is only in the first"),
        (["items", 0, "new"], 1, "items[0].new: is only in the second"),
    ],
)
def test_differences_changed_value_is_found(
    path: list[str | int], value: Any, expected: str
) -> None:
    assert differences(make_answer(PAGE), make_answer(change_page(path, value))) == [expected]


def test_differences_status_and_headers_are_found() -> None:
    found = differences(
        make_answer(PAGE, etag='"1"', date="x"), make_answer(PAGE, status=201, link="<>")
    )

    assert found == [
        "status: 200 is not 201",
        "header.etag: '\"1\"' is not None",
        "header.link: None is not '<>'",
    ]


def test_differences_invalid_json_is_found() -> None:
    (found,) = differences(make_answer(PAGE), Answer(200, {}, b"Internal Server Error"))

    assert found.startswith("the body: {'items'")
    assert found.endswith("is not 'Internal Server Error'")


def test_differences_ignored_field_must_be_present() -> None:
    ignored = {"items[].id", "header.etag"}
    other = change_page(["items", 1, "id"], "another")

    assert differences(make_answer(PAGE, etag="1"), make_answer(other), ignored) == []
    missing = change_page(["items", 1, "id"], ...)
    assert differences(make_answer(PAGE), make_answer(missing), ignored) == [
        "items[1].id: is only in the first"
    ]
