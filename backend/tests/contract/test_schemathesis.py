"""The service matches its OpenAPI document, by all checks of Schemathesis.

The service runs in production mode with an API key. `schemathesis.toml` has the expected statuses.
`schemathesis_hooks.py` has the rules that OpenAPI cannot express. `EXAMPLES=1000 uv run pytest
tests/contract/test_schemathesis.py` sends more requests, and other ones in each run.
"""

import asyncio
import json
import os
import re
import socket
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import asyncpg
import pytest
import schemathesis
import uvicorn
from fastapi import FastAPI
from hypothesis import HealthCheck
from hypothesis import settings as hypothesis_settings
from pydantic import SecretStr
from schemathesis import Case, Response
from schemathesis.config import SchemathesisConfig
from sqlalchemy import URL
from tests.support.databases import as_text, dsn
from tests.support.factories import HotelFactory, insert_catalog

from app.core.config import Settings
from app.db.session import Database
from app.main import create_app
from app.services.keys import KeyService

pytestmark = pytest.mark.api

SCHEMATHESIS = Path(sys.executable).with_name("schemathesis")
CONFIG = Path(__file__).with_name("schemathesis.toml")
HOOKS = Path(__file__).with_name("schemathesis_hooks.py")
EXAMPLES = int(os.environ.get("EXAMPLES", "0"))
DOCUMENT: dict[str, Any] = json.loads(Path(__file__).with_name("openapi.json").read_text())
# The operations of each tag. A long run tests the tags in parallel.
TAGS = Counter(
    operation["tags"][0] for path in DOCUMENT["paths"].values() for operation in path.values()
)

# Without a worker the event stream of an import does not end.
FINISH_IMPORTS = """
INSERT INTO imports (state, finished_at, strict, dry_run, bytes_total, sha256, created_by)
SELECT 'cancelled', now(), false, false, 1, sha256(n::text::bytea), 'somebody'
FROM generate_series(1, 20) AS n;
CREATE FUNCTION end_at_once() RETURNS trigger LANGUAGE plpgsql AS
$$ BEGIN NEW.state = 'succeeded'; NEW.finished_at = now(); RETURN NEW; END $$;
CREATE TRIGGER end_at_once BEFORE INSERT ON imports FOR EACH ROW EXECUTE FUNCTION end_at_once();
"""

# Create hotels and deals with the ids of schemathesis.toml. Half of the hotels have no deals.
RESET_DATA = """
TRUNCATE hotels, deals, categories, idempotency_keys, imports RESTART IDENTITY CASCADE;
INSERT INTO hotels (name, city, country, phone)
SELECT 'Inn', 'Berlin', n::text, n::text FROM generate_series(1, 20) AS n;
INSERT INTO deals (
    hotel_id, room_type, star_rating, price_per_night, original_price, discount_percent,
    checkin_date, checkout_date
)
SELECT 11 + n % 10, 'suite', 4, 90, 100, 10, '2026-12-01', '2026-12-06'
FROM generate_series(1, 20) AS n;
"""


@contextmanager
def serve_in_thread(app: FastAPI) -> Iterator[str]:
    """Serve `app` in a thread on a real port, for clients in other processes."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = uvicorn.Server(uvicorn.Config(app, log_config=None, access_log=False))
        thread = threading.Thread(target=server.run, args=([listener],))
        thread.start()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join()


Serve = Callable[[str], AbstractContextManager[dict[str, str]]]


@pytest.fixture
async def serve(clone_url: URL, database: Database, settings: Settings) -> Serve:
    """Return a function that starts a service with data and a write key for `schemathesis.toml`."""
    connection = await asyncpg.connect(dsn(clone_url))
    await connection.execute(FINISH_IMPORTS)
    await connection.close()
    async with database.uow.begin() as session:
        key = await KeyService(session).create("schemathesis", ["deals:write", "imports:write"])
        for deals in (2, 0):
            await insert_catalog(
                await session.connection(), HotelFactory.batch(10), deals_per_hotel=deals
            )

    @contextmanager
    def serve(app_env: str) -> Iterator[dict[str, str]]:
        changes = {
            "app_env": app_env,
            "database_url": SecretStr(as_text(clone_url)),
            "signing_key": SecretStr("k" * 32),
        }
        with serve_in_thread(create_app(settings.model_copy(update=changes))) as url:
            yield {"BASE_URL": url, "API_KEY": key, "HOOKS": str(HOOKS)}

    return serve


def run_schemathesis(
    environment: dict[str, str], folder: Path, *options: str, examples: int = EXAMPLES or 10
) -> tuple[int, str]:
    """Run Schemathesis with its findings in `folder`, and return the exit status and the output."""
    result = subprocess.run(
        [
            SCHEMATHESIS,
            *("--config-file", CONFIG),
            *("run", f"{environment['BASE_URL']}/openapi.json", "--no-color"),
            *("--max-examples", str(examples)),
            *([] if EXAMPLES else ["--generation-deterministic"]),
            *options,
        ],
        env={**os.environ, **environment},
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    return result.returncode, result.stdout + result.stderr


def test_schemathesis_all_operations_pass(serve: Serve, tmp_path: Path) -> None:
    """Send the examples of the document, and a few random requests to each operation."""
    with serve("production") as environment:
        status, output = run_schemathesis(
            environment, tmp_path, "--phases", "examples,fuzzing", examples=3
        )

    assert status == 0, output
    assert re.search(r"(\d+) selected / \1 total", output)


@pytest.mark.slow
@pytest.mark.parametrize("tag", TAGS)
def test_schemathesis_each_tag_passes_all_phases(serve: Serve, tmp_path: Path, tag: str) -> None:
    """Send examples, the edges of every schema, and random valid and invalid requests."""
    phases = ("--phases", "examples,coverage,fuzzing")
    with serve("production") as environment:
        status, output = run_schemathesis(environment, tmp_path, *phases, "--include-tag", tag)

    assert status == 0, output
    assert f" {TAGS[tag]} selected / {TAGS.total()} total" in output


@pytest.mark.slow
def test_schemathesis_unauthenticated_write_is_reported(serve: Serve, tmp_path: Path) -> None:
    """In development writes need no key, which contradicts the document."""
    only = ("--phases", "fuzzing", "--include-operation-id", "create_hotel", "--mode", "positive")
    with serve("development") as environment:
        status, output = run_schemathesis(environment, tmp_path, *only)

    assert status == 1, output
    assert "without authentication" in output, output


@pytest.mark.slow
def test_schemathesis_sequences_of_operations_pass(
    serve: Serve, clone_url: URL, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Follow the links of the document: created rows exist, deleted rows do not, versions match."""
    observed: set[tuple[str, int]] = set()
    with serve("production") as environment, asyncio.Runner() as runner:
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        full_schema = schemathesis.openapi.from_url(
            f"{environment['BASE_URL']}/openapi.json", config=SchemathesisConfig.from_path(CONFIG)
        )
        # No link leads to or from the other operations. They would only use up the steps.
        schema = full_schema.exclude(path_regex="^/imports")
        connection = runner.run(asyncpg.connect(dsn(clone_url)))

        class Machine(schema.as_state_machine()):  # type: ignore[misc]
            def setup(self) -> None:
                # A repeated sequence must find the same rows.
                runner.run(connection.execute(RESET_DATA))

            def after_call(self, response: Response, case: Case[Any]) -> None:
                super().after_call(response, case)
                observed.add((case.operation.definition.raw["operationId"], response.status_code))

        Machine.run(
            settings=hypothesis_settings(
                max_examples=EXAMPLES or 40,
                stateful_step_count=6,
                derandomize=not EXAMPLES,
                deadline=None,
                suppress_health_check=list(HealthCheck),
            )
        )
        runner.run(connection.close())

    for resource in ("deal", "hotel"):
        done = {(f"create_{resource}", 201), (f"get_{resource}", 200)}
        done |= {(f"change_{resource}", 200), (f"delete_{resource}", 204)}
        assert done <= observed, "\n".join(map(str, sorted(observed)))
