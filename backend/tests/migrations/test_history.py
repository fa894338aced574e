"""The chain of revisions: pytest-alembic's tests, and several starters at once."""

import asyncio
import sys

import asyncpg
import pytest
from alembic import command
from alembic.config import Config
from procrastinate.schema import SchemaManager
from pytest_alembic.tests import (
    test_model_definitions_match_ddl,
    test_single_head_revision,
    test_up_down_consistency,
    test_upgrade,
)
from sqlalchemy import URL, make_url
from tests.support.databases import as_text, dsn, temporary_database

from app.core.errors import ConfigurationError, ConflictError
from app.db import migrations
from app.db.migrations import head_revision, upgrade_async

__all__ = [
    "test_model_definitions_match_ddl",
    "test_single_head_revision",
    "test_up_down_consistency",
    "test_upgrade",
]

pytestmark = pytest.mark.migration

# A downgrade must remove everything that its revision made.
SCHEMA_OBJECTS = """
    SELECT 'relation', relname FROM pg_class WHERE relnamespace = 'public'::regnamespace
    UNION ALL
    SELECT 'function', proname FROM pg_proc WHERE pronamespace = 'public'::regnamespace
    UNION ALL
    SELECT 'type', typname FROM pg_type WHERE typnamespace = 'public'::regnamespace
    ORDER BY 1, 2
"""


async def schema_objects(url: str) -> list[tuple[str, str]]:
    connection = await asyncpg.connect(dsn(make_url(url)))
    try:
        return [(row[0], row[1]) for row in await connection.fetch(SCHEMA_OBJECTS)]
    finally:
        await connection.close()


async def test_upgrade_to_head_after_downgrade_restores_schema(
    url: str, alembic_config_for: Config
) -> None:
    await upgrade_async(url)
    at_head = await schema_objects(url)
    await asyncio.to_thread(command.downgrade, alembic_config_for, "base")
    at_base = await schema_objects(url)
    await upgrade_async(url)

    assert {name for kind, name in at_base if kind == "relation"} == {
        "alembic_version",
        "alembic_version_pkc",
    }
    assert [name for kind, name in at_base if kind == "function"] == []
    assert await schema_objects(url) == at_head


DEFINITIONS = """
    SELECT proname, pg_get_functiondef(oid) FROM pg_proc
    WHERE pronamespace = 'public'::regnamespace AND prokind = 'f'
    UNION ALL
    SELECT tgname, pg_get_triggerdef(oid) FROM pg_trigger WHERE NOT tgisinternal
    UNION ALL
    SELECT indexname, indexdef FROM pg_indexes WHERE schemaname = 'public'
    UNION ALL
    SELECT table_name || '.' || column_name, data_type || coalesce(column_default, '')
    FROM information_schema.columns WHERE table_schema = 'public'
    ORDER BY 1, 2
"""


async def schema_definitions(url: str) -> list[tuple[str, str]]:
    connection = await asyncpg.connect(dsn(make_url(url)))
    try:
        return [(row[0], row[1]) for row in await connection.fetch(DEFINITIONS)]
    finally:
        await connection.close()


async def test_downgrade_of_0009_restores_functions(url: str, alembic_config_for: Config) -> None:
    await upgrade_async(url, "0008")
    at_8 = await schema_definitions(url)
    await upgrade_async(url, "0009")
    await asyncio.to_thread(command.downgrade, alembic_config_for, "0008")

    assert await schema_definitions(url) == at_8


def queue_definitions(found: list[tuple[str, str]]) -> set[tuple[str, str]]:
    return {each for each in found if each[0].startswith("procrastinate_")}


async def test_upgrade_job_queue_matches_procrastinate(url: str, version_url: URL) -> None:
    """An upgrade of procrastinate that changes its schema needs a revision with the same change."""
    await upgrade_async(url)
    async with temporary_database(version_url) as fresh:
        connection = await asyncpg.connect(dsn(fresh))
        try:
            await connection.execute(SchemaManager.get_schema())
        finally:
            await connection.close()
        expected = queue_definitions(await schema_definitions(as_text(fresh)))

    assert queue_definitions(await schema_definitions(url)) == expected
    assert len(expected) > 50


async def test_autogenerate_at_head_finds_no_change(url: str, alembic_config_for: Config) -> None:
    await upgrade_async(url)

    await asyncio.to_thread(command.check, alembic_config_for)


@pytest.mark.slow
async def test_upgrade_concurrent_processes_succeed(url: str) -> None:
    starter = "import sys; from app.db.migrations import upgrade; upgrade(sys.argv[1])"
    starters = [
        await asyncio.create_subprocess_exec(sys.executable, "-c", starter, url) for _ in range(3)
    ]
    assert [await process.wait() for process in starters] == [0, 0, 0]

    connection = await asyncpg.connect(dsn(make_url(url)))
    try:
        versions = await connection.fetch("SELECT version_num FROM alembic_version")
    finally:
        await connection.close()
    assert [row[0] for row in versions] == [head_revision()]


async def test_upgrade_behind_long_transaction_times_out(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    await upgrade_async(url, "0002")
    connection = await asyncpg.connect(dsn(make_url(url)))
    try:
        async with connection.transaction():
            await connection.execute("LOCK TABLE deals IN ACCESS SHARE MODE")
            with monkeypatch.context() as patch:
                patch.setattr(migrations, "LOCK_TIMEOUT", "100ms")
                with pytest.raises(ConflictError):
                    await upgrade_async(url)
        assert await connection.fetchval("SELECT version_num FROM alembic_version") == "0002"
    finally:
        await connection.close()
    await upgrade_async(url)


async def test_upgrade_unknown_revision_is_refused(url: str) -> None:
    await upgrade_async(url)
    connection = await asyncpg.connect(dsn(make_url(url)))
    try:
        await connection.execute("UPDATE alembic_version SET version_num = '9999'")
    finally:
        await connection.close()

    with pytest.raises(ConfigurationError, match="9999"):
        await upgrade_async(url)


async def test_upgrade_other_encoding_is_refused(url: str) -> None:
    connection = await asyncpg.connect(dsn(make_url(url)))
    name = f"{make_url(url).database}_ascii"
    try:
        await connection.execute(
            f"CREATE DATABASE {name} TEMPLATE template0 ENCODING 'SQL_ASCII' LOCALE 'C'"
        )
        with pytest.raises(ConfigurationError, match="SQL_ASCII"):
            await upgrade_async(url.replace(str(make_url(url).database), name))
    finally:
        await connection.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
        await connection.close()
