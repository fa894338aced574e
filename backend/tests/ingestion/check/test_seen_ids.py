import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.ingestion.check import seen_ids
from app.ingestion.check.seen_ids import SeenIds

pytestmark = pytest.mark.unit

ID = st.integers(1, 2**63 - 1) | st.integers(1, 30)


@pytest.fixture(autouse=True, scope="module")
def small_runs() -> object:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(seen_ids, "_RUN_ROWS", 4)
        yield patch


@given(chunks=st.lists(st.dictionaries(ID, st.integers(0, 2**64 - 1), max_size=6), max_size=8))
def test_seen_ids_find_matches_dictionary(chunks: list[dict[int, int]]) -> None:
    expected: dict[int, int] = {}
    with SeenIds() as ids:
        for chunk in chunks:
            asked = np.array([*chunk, *list(expected)[:3], 5], dtype=np.int64)
            assert ids.find(asked) == {i: expected[i] for i in asked.tolist() if i in expected}
            new = {key: value for key, value in chunk.items() if key not in expected}
            ids.add(
                np.array(list(new), dtype=np.int64), np.array(list(new.values()), dtype=np.uint64)
            )
            expected |= new
        assert ids.find(np.array(list(expected), dtype=np.int64)) == expected


def test_seen_ids_empty_query_returns_nothing() -> None:
    with SeenIds() as ids:
        assert ids.find(np.array([], dtype=np.int64)) == {}
