"""Spans, as a collector receives them."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
import uvicorn
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from tests.routers.bodies import HOTEL
from tests.support.servers import free_port, running_server

pytestmark = pytest.mark.integration


class Collector:
    """A collector that receives spans by OTLP over HTTP, and keeps them."""

    def __init__(self) -> None:
        self.spans: list[Span] = []
        self.services: set[str] = set()
        self.url = f"http://127.0.0.1:{free_port()}"

    async def receive(self, request: Request) -> Response:
        sent = ExportTraceServiceRequest.FromString(await request.body())
        for resource in sent.resource_spans:
            self.services |= {
                each.value.string_value
                for each in resource.resource.attributes
                if each.key == "service.name"
            }
            for scope in resource.scope_spans:
                self.spans += scope.spans
        return Response()

    def spans_of(self, trace_id: str) -> list[Span]:
        return [span for span in self.spans if span.trace_id.hex() == trace_id]


class ServerWithoutSignals(uvicorn.Server):
    def install_signal_handlers(self) -> None: ...


@pytest.fixture
async def collector() -> AsyncIterator[Collector]:
    collector = Collector()
    app = Starlette(routes=[Route("/v1/traces", collector.receive, methods=["POST"])])
    port = int(collector.url.rpartition(":")[2])
    server = ServerWithoutSignals(uvicorn.Config(app, port=port, log_config=None, lifespan="off"))
    serving = asyncio.create_task(server._serve())  # noqa: SLF001 - without its signal handlers
    yield collector
    server.should_exit = True
    await serving


async def test_trace_of_request_joins_sql_spans_and_log_line(
    database_url: str, tmp_path: Path, collector: Collector
) -> None:
    async with running_server(
        database_url,
        tmp_path,
        OTEL_EXPORTER_OTLP_ENDPOINT=collector.url,
    ) as server:
        async with server.client() as client:
            parent = "0af7651916cd43dd8448eb211c80319c"
            headers = {"traceparent": f"00-{parent}-b7ad6b7169203331-01"}
            assert (await client.get("/deals?limit=1", headers=headers)).status_code == 200
            assert (await client.post("/hotels", json=HOTEL)).status_code == 201
            assert (await client.post("/hotels", json=HOTEL)).status_code == 409
        log = server.log
    # The server exports the remaining spans when it stops.
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    requests = [line for line in lines if line["event"] == "request" and "/hotels" in line["route"]]

    read = {span.name: span for span in collector.spans_of(parent)}
    assert {"GET /deals", "SELECT"} <= set(read)
    (line,) = [each for each in lines if each.get("trace_id") == parent]
    assert line["route"] == "/deals"
    sql = {each.key: each.value.string_value for each in read["SELECT"].attributes}
    assert sql["db.system.name"] == "postgresql"
    assert "deals" in sql["db.query.text"]
    made, refused = (collector.spans_of(each["trace_id"]) for each in requests)
    assert len(sql_spans(made)) == requests[0]["sql_statements"]
    assert any(span.status.code == span.status.STATUS_CODE_ERROR for span in refused)
    assert collector.services == {"hotel-deals"}
    assert HOTEL["phone"] not in str(made)


def sql_spans(spans: list[Span]) -> list[Span]:
    return [span for span in spans if any(a.key == "db.query.text" for a in span.attributes)]


async def test_tracing_without_endpoint_logs_no_trace_id(
    client: httpx.AsyncClient, capsys: pytest.CaptureFixture[str]
) -> None:
    assert (await client.get("/deals")).status_code == 200
    assert "trace_id" not in capsys.readouterr().err
