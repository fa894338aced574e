"""A comparison of answers, because servers with different answers cannot be compared."""

import json
from collections.abc import Collection, Iterator
from typing import Any

from benchmarks.api.http import Answer

# The compared headers. Others, such as dates and request ids, differ between servers.
_HEADERS = ("content-type", "etag", "link", "location")
_SHOWN = 80


def differences(expected: Answer, found: Answer, ignored: Collection[str] = ()) -> list[str]:
    """Return a line for each difference: `items[3].hotel.city: 'Rome' is not 'Paris'`.

    Fields in `ignored` must exist on both sides and may have any value. `[]` stands for items of
    lists, as in `items[].id`. Headers are named `header.NAME`, and an ignored one may be missing.
    """
    problems = []
    if expected.status != found.status:
        problems.append(f"status: {expected.status} is not {found.status}")
    for name in _HEADERS:
        one, other = expected.headers.get(name), found.headers.get(name)
        if one != other and f"header.{name}" not in ignored:
            problems.append(f"header.{name}: {one!r} is not {other!r}")
    problems += _between(_content(expected), _content(found), "", "", ignored)
    return problems


def _content(answer: Answer) -> Any:
    if not answer.body:
        return None
    try:
        return json.loads(answer.body)
    except ValueError:
        return answer.body.decode(errors="replace")


def _between(
    one: Any, other: Any, path: str, pattern: str, ignored: Collection[str]
) -> Iterator[str]:
    """Yield the differences below `path`. `pattern` is the path with `[]` for every item."""
    if pattern in ignored:
        return
    if isinstance(one, dict) and isinstance(other, dict):
        for name in [*one, *(name for name in other if name not in one)]:
            where = f"{path}.{name}" if path else name
            if name not in one or name not in other:
                yield f"{where}: is only in the {'second' if name in other else 'first'}"
            else:
                below = f"{pattern}.{name}" if pattern else name
                yield from _between(one[name], other[name], where, below, ignored)
    elif isinstance(one, list) and isinstance(other, list):
        if len(one) != len(other):
            yield f"{path or 'the body'}: {len(one)} items are not {len(other)}"
        for place, (first, second) in enumerate(zip(one, other, strict=False)):
            yield from _between(first, second, f"{path}[{place}]", f"{pattern}[]", ignored)
    # 1, 1.0 and true are equal in Python and not in JSON.
    elif type(one) is not type(other) or one != other:
        yield f"{path or 'the body'}: {one!r:.{_SHOWN}} is not {other!r:.{_SHOWN}}"
