from typing import Any

from app.schemas.common import PageQuery

_PAGE_FIELDS = {"sort", *PageQuery.model_fields}


def filters_of(query: PageQuery) -> dict[str, Any]:
    """The filters that `query` sets, by name; neither page nor order is one."""
    return {
        name: value
        for name, value in query
        if name not in _PAGE_FIELDS and value is not None and value is not False
    }
