"""The defences of docs/security.md: secrets, headers and proxies."""

import json
import subprocess
from pathlib import Path

import httpx
import pytest
from fastapi import Request
from pydantic import SecretStr
from starlette.routing import Mount
from starlette.types import Receive, Scope, Send
from tests.conftest import app_client
from tests.routers.bodies import HOTEL
from tests.support.servers import DEALS, running_server

from app.core.config import Settings
from app.db.provisioning import DatabaseUrls
from app.db.session import Database
from app.main import create_app
from app.services.keys import KeyService

pytestmark = pytest.mark.api

PASSWORD = "correct-horse-battery"  # noqa: S105 - what is looked for
SIGNING_KEY = "staple-" * 6


class TestSecrets:
    def test_settings_repr_hides_secrets(self) -> None:
        url = f"postgresql://user:{PASSWORD}@host/deals"
        settings = Settings(
            _env_file=None,
            database_url=SecretStr(url),
            read_database_url=SecretStr(url),
            direct_database_url=SecretStr(url),
            signing_key=SecretStr(SIGNING_KEY),
        )

        for shown in (repr(settings), str(settings), str(settings.model_dump()), f"{settings!r:s}"):
            assert PASSWORD not in shown
            assert SIGNING_KEY not in shown
        assert PASSWORD not in settings.model_dump_json()

    def test_database_urls_repr_hides_passwords(self) -> None:
        url = f"postgresql+asyncpg://user:{PASSWORD}@host/deals"

        assert PASSWORD not in repr(DatabaseUrls(url, url, url))
        assert PASSWORD not in str([DatabaseUrls(url, url)])

    def test_cli_connection_error_hides_password(self, tmp_path: Path) -> None:
        environment = {
            "DATABASE_URL": f"postgresql://user:{PASSWORD}@127.0.0.1:1/deals",
            "DATA_DIR": str(tmp_path),
            "LOG_LEVEL": "DEBUG",
        }
        for command in (("keys", "list"), ("migrate",), ("verify",)):
            result = subprocess.run(
                [DEALS, *command], env=environment, capture_output=True, text=True, check=False
            )
            assert result.returncode != 0
            assert PASSWORD not in result.stdout + result.stderr

    async def test_server_log_hides_keys_and_bodies(
        self, database: Database, database_url: str, tmp_path: Path
    ) -> None:
        """Read the log of a server process at level DEBUG."""
        async with database.uow.begin() as session:
            key = await KeyService(session).create("writer", ["deals:write"])
        environment = {"APP_ENV": "production", "SIGNING_KEY": SIGNING_KEY, "LOG_LEVEL": "DEBUG"}
        async with (
            running_server(database_url, tmp_path, **environment) as server,
            server.client() as client,
        ):
            good = {"Authorization": f"Bearer {key}", "Idempotency-Key": "idem-potency-key"}
            assert (await client.post("/hotels", json=HOTEL, headers=good)).status_code == 201
            wrong = {"X-API-Key": f"{key[:-1]}_"}
            assert (await client.post("/hotels", json=HOTEL, headers=wrong)).status_code == 401
            assert (await client.get(f"/deals?q={key}")).status_code == 200
            assert (await client.get(f"/{key}")).status_code == 404

        log = server.log.read_text()
        assert "/hotels" in log
        for secret in (
            SIGNING_KEY,
            key,
            key.split("_", 2)[2][:20],
            "idem-potency-key",
            HOTEL["phone"],
        ):
            assert str(secret) not in log


class TestSecurityHeaders:
    @pytest.mark.parametrize(
        "path", ["/deals", "/health", "/nothing", "/deals?no=1", "/", "/docs", "/openapi.json"]
    )
    async def test_every_response_has_nosniff_and_referrer_policy(
        self, client: httpx.AsyncClient, path: str
    ) -> None:
        answer = await client.get(path)

        assert answer.headers.get_list("x-content-type-options") == ["nosniff"]
        assert answer.headers.get_list("referrer-policy") == ["same-origin"]
        assert "strict-transport-security" not in answer.headers

    async def test_hsts_setting_sends_header(self, own_settings: Settings) -> None:
        settings = own_settings.model_copy(update={"hsts_seconds": 31_536_000})
        async with app_client(create_app(settings)) as client:
            for path in ("/deals", "/nothing"):
                answer = await client.get(path)
                assert answer.headers["strict-transport-security"] == "max-age=31536000"


FORWARDED_HEADERS = {"X-Forwarded-For": "203.0.113.7", "X-Forwarded-Proto": "https"}


class TestForwardedHeaders:
    @pytest.mark.parametrize(
        ("trusted", "seen"),
        [
            ((), ["127.0.0.1", "http"]),
            (("10.0.0.0/8",), ["127.0.0.1", "http"]),
            (("127.0.0.0/8",), ["203.0.113.7", "https"]),
        ],
    )
    async def test_only_trusted_proxy_sets_client_address(
        self, own_settings: Settings, trusted: tuple[str, ...], seen: list[str]
    ) -> None:
        app = create_app(own_settings.model_copy(update={"forwarded_allow_ips": trusted}))

        async def client_endpoint(scope: Scope, receive: Receive, send: Send) -> None:
            request = Request(scope, receive)
            assert request.client is not None
            body = json.dumps([request.client.host, request.url.scheme]).encode()
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": body})

        app.router.routes.insert(0, Mount("/who", client_endpoint))
        async with app_client(app) as client:
            assert (await client.get("/who/", headers=FORWARDED_HEADERS)).json() == seen
