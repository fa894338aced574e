"""Which path is whose."""

from starlette.convertors import Convertor, register_url_convertor


class _DealSegment(Convertor[str]):
    """Where a deal's id stands, and not the name of a route beside it.

    Otherwise `PATCH /deals/stats` would be a change of a deal of that name, not a 405, and
    `Allow` would list it.
    """

    regex = "(?!(?:bulk|export|stats)$)[^/]+"

    def convert(self, value: str) -> str:
        return value

    def to_string(self, value: str) -> str:
        return value


register_url_convertor("deal", _DealSegment())
DEAL = "/{deal_id:deal}"
