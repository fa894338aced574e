"""The metrics at `/metrics` match the work of the service."""

import asyncio
import gc
import os
import signal
import threading
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from unittest.mock import Mock

import httpx
import pytest
from pydantic import SecretStr
from starlette.requests import Request
from starlette.responses import Response
from tests.conftest import app_client
from tests.support.child_processes import child_workers
from tests.support.csv_files import row
from tests.support.imports import submit
from tests.support.metrics import scrape_metrics
from tests.support.servers import free_port, patient_client, running_server
from tests.support.stored_rows import execute
from tests.support.timeouts import TIMEOUT
from tests.support.waiting import wait_for

from app.core.config import Settings
from app.core.errors import ConfigurationError
from app.db.session import Database
from app.http.monitoring import metrics_served
from app.main import create_app
from app.services.import_runner import ImportRunner

pytestmark = pytest.mark.api

REQUEST_COUNT = "deals_http_request_duration_seconds_count"


class TestRequestMetrics:
    async def test_requests_are_counted_by_route_and_status(
        self, client: httpx.AsyncClient
    ) -> None:
        before = await scrape_metrics(client)
        for path in ("/deals/1", "/deals/2", "/deals/999999", "/deals?limit=0", "/no/such/path"):
            await client.get(path)
        await client.request("BREW", "/deals")
        await client.request("X" * 50, "/deals")
        after = await scrape_metrics(client)

        def increase(**labels: str) -> float:
            return after.value(REQUEST_COUNT, **labels) - before.value(REQUEST_COUNT, **labels)

        assert increase(method="GET", route="/deals/{deal_id}", status="2xx") == 2
        assert increase(method="GET", route="/deals/{deal_id}", status="4xx") == 1
        assert increase(method="GET", route="/deals", status="4xx") == 1
        assert increase(route="none", status="4xx") >= 1
        # Unknown methods share one series.
        assert increase(method="other", status="4xx") == 2
        assert not after.value(REQUEST_COUNT, method="BREW")

    async def test_sql_statements_are_counted_by_route(self, client: httpx.AsyncClient) -> None:
        before = await scrape_metrics(client)
        for _ in range(3):
            await client.get("/deals")
        after = await scrape_metrics(client)

        def increase(name: str) -> float:
            return after.value(name, route="/deals") - before.value(name, route="/deals")

        assert increase("deals_http_request_sql_statements_total") == 3
        assert increase("deals_http_request_sql_seconds_total") > 0

    @pytest.mark.slow
    @pytest.mark.parametrize("own_port", [False, True])
    async def test_several_workers_are_counted_together(
        self, database_url: str, tmp_path: Path, own_port: bool
    ) -> None:
        environment: Mapping[str, str] = {"METRICS_PORT": str(free_port())} if own_port else {}
        async with running_server(
            database_url, tmp_path, "--workers", "2", **environment
        ) as server:
            base = server.url
            if own_port:
                base = f"http://127.0.0.1:{environment['METRICS_PORT']}"

            async def both_workers_report() -> bool:
                # A connection that waits for the killed worker ends with it.
                with suppress(httpx.TransportError):
                    async with patient_client(base) as client:
                        return (await scrape_metrics(client)).value("deals_build_info") == 2
                return False

            await wait_for(both_workers_report, "both workers report")

            async def ask(number: int) -> int:
                # One connection for each request spreads them over both workers.
                async with server.client() as client:
                    return (await client.get(f"/deals/{number}")).status_code

            async with asyncio.TaskGroup() as group:
                asked = [group.create_task(ask(number)) for number in range(1, 101)]
            assert {each.result() for each in asked} == {404}
            async with server.client() as client:
                assert (await client.get("/metrics")).status_code == (404 if own_port else 200)
            async with patient_client(base) as client:
                labels = {"route": "/deals/{deal_id}", "method": "GET", "status": "4xx"}
                assert (await scrape_metrics(client)).value(REQUEST_COUNT, **labels) == 100

            # The counts of a killed worker stay, and another worker replaces it.
            before = child_workers(server.pid)
            os.kill(before[-1], signal.SIGKILL)

            async def replacement_reports() -> bool:
                # The killed worker may still be ending, and then it ends connections as well.
                return (
                    bool(set(child_workers(server.pid)) - set(before))
                    and await both_workers_report()
                )

            await wait_for(replacement_reports, "a replacement of the killed worker reports")
            async with patient_client(base) as client:
                assert (await scrape_metrics(client)).value(REQUEST_COUNT, **labels) == 100


class TestServiceMetrics:
    async def test_running_service_reports_database_build_and_pools(
        self, client: httpx.AsyncClient
    ) -> None:
        await client.get("/deals")
        found = await scrape_metrics(client)

        assert found.value("deals_database_up") == 1
        assert found.value("deals_build_info") == 1
        assert found.value("deals_resident_memory_bytes") > 10_000_000
        assert found.value("deals_db_pool_connections", pool="read") >= 1
        assert found.value("deals_db_pool_waiting") == 0

    async def test_unavailable_database_is_reported_down(
        self, settings: Settings, tmp_path: Path
    ) -> None:
        away = SecretStr(f"postgresql+asyncpg://deals@/deals?host={tmp_path}")
        async with app_client(
            create_app(settings.model_copy(update={"database_url": away}))
        ) as client:
            found = await scrape_metrics(client)

        assert found.value("deals_database_up") == 0
        assert found.value("deals_build_info") == 1

    async def test_event_loop_lag_is_measured(self, client: httpx.AsyncClient) -> None:
        before = (await scrape_metrics(client)).value("deals_event_loop_lag_seconds_count")

        async def lag_is_measured() -> bool:
            return (await scrape_metrics(client)).value(
                "deals_event_loop_lag_seconds_count"
            ) > before

        await wait_for(lag_is_measured, "lag is measured")


class TestJobMetrics:
    async def test_import_run_reports_jobs_and_rows(
        self, api: httpx.AsyncClient, runner: ImportRunner
    ) -> None:
        made = await submit(api, [row(1), row(2), row(3, price_per_night="-1")])
        before = await scrape_metrics(api)
        await runner.run(made["id"])
        after = await scrape_metrics(api)

        assert before.value("deals_jobs", state="waiting") == 1
        assert 0 < before.value("deals_job_oldest_seconds") < 3600
        assert before.value("deals_import_rows_total") == 0
        assert after.value("deals_import_rows_total", outcome="inserted") == 2
        assert after.value("deals_import_rows_total", outcome="rejected") == 1

    async def test_silent_worker_is_not_counted(
        self, api: httpx.AsyncClient, database: Database
    ) -> None:
        add = "INSERT INTO procrastinate_workers (last_heartbeat) VALUES (now() - interval '{}')"
        await execute(database, add.format("1 hour"))
        before = await scrape_metrics(api)
        await execute(database, add.format("1 second"))
        after = await scrape_metrics(api)

        assert before.value("deals_workers") == 0
        assert after.value("deals_workers") == 1


class TestMetricsEndpoint:
    @pytest.mark.parametrize(
        ("changes", "found"),
        [
            ({"metrics_path": ""}, {"/metrics": 404}),
            ({"metrics_path": "/internal/metrics"}, {"/metrics": 404, "/internal/metrics": 200}),
        ],
    )
    async def test_metrics_path_setting_moves_endpoint(
        self, own_settings: Settings, changes: dict[str, str], found: dict[str, int]
    ) -> None:
        async with app_client(create_app(own_settings.model_copy(update=changes))) as client:
            statuses = {path: (await client.get(path)).status_code for path in found}
            document = (await client.get("/openapi.json")).json()

        assert statuses == found
        assert not any("metrics" in path for path in document["paths"])

    @pytest.mark.slow
    # uvicorn stops without closing the transport of the client.
    @pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
    async def test_client_that_reads_nothing_delays_no_shutdown(self) -> None:
        is_asked = asyncio.Event()

        async def respond(_: Request) -> Response:
            is_asked.set()
            # More bytes than the buffers hold.
            return Response(bytes(64 * 1024 * 1024))

        port = free_port()
        async with asyncio.timeout(TIMEOUT):
            async with metrics_served(Mock(respond=respond), "127.0.0.1", port):
                _, writer = await asyncio.open_connection("127.0.0.1", port, limit=1)
                writer.write(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n")
                await is_asked.wait()
        writer.transport.abort()
        # Report the unclosed transport here and not in another test.
        gc.collect()

    def test_busy_default_executor_delays_no_metrics(self) -> None:
        async def respond(_: Request) -> Response:
            return Response("measured")

        async def scrape() -> bytes:
            asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(1))
            is_over = threading.Event()
            busy = asyncio.create_task(asyncio.to_thread(is_over.wait))
            await asyncio.sleep(0)
            port = free_port()
            async with metrics_served(Mock(respond=respond), "127.0.0.1", port):
                reader, writer = await asyncio.open_connection("127.0.0.1", port)
                writer.write(b"GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
                try:
                    async with asyncio.timeout(TIMEOUT):
                        return await reader.read()
                finally:
                    writer.close()
                    is_over.set()
                    await busy

        assert asyncio.run(scrape()).endswith(b"measured")

    async def test_taken_metrics_port_raises_configuration_error(
        self, own_settings: Settings
    ) -> None:
        async with await asyncio.start_server(lambda *_: None, "127.0.0.1") as other:
            port = other.sockets[0].getsockname()[1]
            taken = own_settings.model_copy(update={"metrics_port": port})
            with pytest.raises(
                ConfigurationError, match=f"cannot listen on .*{port}: .* METRICS_PORT"
            ):
                async with app_client(create_app(taken)):
                    pass
