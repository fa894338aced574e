"""The service level alerts match docs/service-levels.md and the API's routes."""

import re

import pytest
import yaml
from fastapi.routing import APIRoute, iter_route_contexts
from tests.operations.files import ROOT

from app.core.config import Settings
from app.main import create_app

pytestmark = pytest.mark.integration

PAGE = (ROOT / "docs" / "service-levels.md").read_text()
GROUPS = yaml.safe_load((ROOT / "ops" / "prometheus" / "alerts.yml").read_text())["groups"]
[RULES] = [
    {rule["alert"]: rule["expr"] for rule in group["rules"]}
    for group in GROUPS
    if group["name"] == "hotel-deals-service-levels"
]


def routes_of(expression: str) -> set[str]:
    return {
        route for found in re.findall(r'route=~"(.+?)"', expression) for route in found.split("|")
    }


def test_service_level_alerts_are_those_of_the_page() -> None:
    assert set(re.findall(r"HotelDeals\w+", PAGE)) == RULES.keys()


def test_service_level_alerts_name_existing_routes(settings: Settings) -> None:
    contexts = iter_route_contexts(create_app(settings).routes)
    routes = [each.original_route for each in contexts]
    paths = {route.path_format for route in routes if isinstance(route, APIRoute)}

    for alert, expression in RULES.items():
        assert routes_of(expression), alert
        assert routes_of(expression) <= paths, alert
        assert all(f"`{route}`" in PAGE for route in routes_of(expression)), alert
