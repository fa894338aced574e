"""The limit of requests in flight."""

import pytest

from app.http.concurrency_limiter import ConcurrencyLimiter

pytestmark = pytest.mark.unit


def test_limiter_released_slot_admits_one_request() -> None:
    limiter = ConcurrencyLimiter(4)
    assert [limiter.try_acquire() for _ in range(5)] == [True] * 4 + [False]
    limiter.release()

    assert limiter.try_acquire()
    assert not limiter.try_acquire()


@pytest.mark.parametrize(
    ("method", "path", "counts"),
    [
        ("GET", "/deals", True),
        ("GET", "/deals/export", False),
        ("HEAD", "/deals/export", False),
        ("GET", "/deals/exports", True),
        ("GET", "/health/ready", False),
        ("POST", "/imports", False),
        ("GET", "/imports", True),
        ("GET", "/imports/17/events", False),
        ("GET", "/imports/17", True),
        ("GET", "/internal", False),
    ],
)
def test_limiter_counts_requests_by_method_and_path(method: str, path: str, counts: bool) -> None:
    assert ConcurrencyLimiter(4, "/internal").counts(method, path) is counts
