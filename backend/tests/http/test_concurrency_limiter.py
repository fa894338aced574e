"""Which requests the concurrency limiter admits."""

import pytest

from app.http.concurrency_limiter import ConcurrencyLimiter

pytestmark = pytest.mark.unit


@pytest.fixture
def saturated_limiter() -> ConcurrencyLimiter:
    """A limiter whose four slots are taken, and that has refused one request."""
    limiter = ConcurrencyLimiter(4)
    assert [limiter.try_acquire() for _ in range(5)] == [True] * 4 + [False]
    return limiter


def test_limiter_released_slot_admits_one_request(saturated_limiter: ConcurrencyLimiter) -> None:
    saturated_limiter.release()

    assert saturated_limiter.try_acquire()
    assert not saturated_limiter.try_acquire()


def test_limiter_early_retry_waits_for_half_load(saturated_limiter: ConcurrencyLimiter) -> None:
    saturated_limiter.release()
    assert not saturated_limiter.try_acquire(early=True)
    # Other requests are admitted meanwhile.
    assert saturated_limiter.try_acquire()

    saturated_limiter.release()
    saturated_limiter.release()
    assert saturated_limiter.in_progress == 2
    assert saturated_limiter.try_acquire(early=True)


def test_limiter_early_request_without_overload_is_admitted() -> None:
    limiter = ConcurrencyLimiter(4)
    assert [limiter.try_acquire(early=True) for _ in range(5)] == [True] * 4 + [False]


def test_limiter_of_one_slot_admits_early_retry_when_idle() -> None:
    limiter = ConcurrencyLimiter(1)
    assert limiter.try_acquire()
    assert not limiter.try_acquire()
    limiter.release()

    assert limiter.try_acquire(early=True)
