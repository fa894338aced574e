"""A Starlette path convertor for deal ids."""

from starlette.convertors import Convertor, register_url_convertor


class _DealSegment(Convertor[str]):
    """A convertor that matches every path segment except the names of other `/deals` routes.

    With Starlette's default convertor, `PATCH /deals/stats` would match the route that changes a
    deal, so the response would not be a 405.
    """

    regex = "(?!(?:bulk|export|stats)$)[^/]+"

    def convert(self, value: str) -> str:
        return value

    def to_string(self, value: str) -> str:
        return value


register_url_convertor("deal", _DealSegment())
DEAL = "/{deal_id:deal}"
