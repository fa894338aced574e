"""Which path is whose."""

from starlette.convertors import StringConvertor, register_url_convertor


class _DealSegment(StringConvertor):
    """Where a deal's id stands, and not the name of a route beside it.

    Otherwise `PATCH /deals/stats` would be a change of a deal of that name, not a 405, and
    `Allow` would list it.
    """

    regex = "(?!(?:bulk|export|stats)$)[^/]+"


register_url_convertor("deal", _DealSegment())
DEAL = "/{deal_id:deal}"
