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


def answer(content: Any, *, status: int = 200, **headers: str) -> Answer:
    return Answer(status, headers, json.dumps(content).encode())


def changed(path: list[str | int], value: Any) -> Any:
    """A page with another value there; `...` takes it out."""
    copy = json.loads(json.dumps(PAGE))
    place = copy
    for step in path[:-1]:
        place = place[step]
    if value is ...:
        del place[path[-1]]
    else:
        place[path[-1]] = value
    return copy


def test_the_same_is_the_same() -> None:
    assert differences(answer(PAGE), answer(PAGE)) == []
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
def test_each_difference_is_found(path: list[str | int], value: Any, expected: str) -> None:
    assert differences(answer(PAGE), answer(changed(path, value))) == [expected]


def test_status_and_headers_are_compared() -> None:
    found = differences(answer(PAGE, etag='"1"', date="x"), answer(PAGE, status=201, link="<>"))

    assert found == [
        "status: 200 is not 201",
        "header.etag: '\"1\"' is not None",
        "header.link: None is not '<>'",
    ]


def test_what_is_no_json_differs() -> None:
    (found,) = differences(answer(PAGE), Answer(200, {}, b"Internal Server Error"))

    assert found.startswith("the body: {'items'")
    assert found.endswith("is not 'Internal Server Error'")


def test_ignored_fields_may_have_any_value_but_must_be_there() -> None:
    ignored = {"items[].id", "header.etag"}
    other = changed(["items", 1, "id"], "another")

    assert differences(answer(PAGE, etag="1"), answer(other), ignored) == []
    missing = changed(["items", 1, "id"], ...)
    assert differences(answer(PAGE), answer(missing), ignored) == [
        "items[1].id: is only in the first"
    ]
