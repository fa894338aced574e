"""A Starlette path convertor that keeps deal ids and the names of other routes apart."""

from starlette.convertors import Convertor, register_url_convertor


class _DealSegment(Convertor[str]):
    """A path segment with a deal's id, which matches no name of another route under `/deals`.

    With Starlette's default convertor `PATCH /deals/stats` would match the route that changes a
    deal. The response would then not be 405, and `Allow` would list PATCH.
    """

    regex = "(?!(?:bulk|export|stats)$)[^/]+"

    def convert(self, value: str) -> str:
        return value

    def to_string(self, value: str) -> str:
        return value


register_url_convertor("deal", _DealSegment())
DEAL = "/{deal_id:deal}"
