"""The configuration in ops/pgbouncer, with a real PgBouncer."""

import re
from pathlib import Path

import asyncpg
import pytest
from sqlalchemy import URL, select
from tests.operations.files import ROOT, load_compose
from tests.support.databases import as_text, dsn
from tests.support.pgbouncer import let_in, running_pgbouncer

from app.core.config import Settings
from app.db.provisioning import DatabaseUrls
from app.db.session import Database

pytestmark = pytest.mark.integration

CONFIGURATION = (ROOT / "ops" / "pgbouncer" / "pgbouncer.ini").read_text()


async def test_pgbouncer_configuration_admits_user_by_password(
    server_url: URL, clone_url: URL, settings: Settings, tmp_path: Path
) -> None:
    """Use the configuration unchanged, except for the port and the addresses."""
    users = tmp_path / "users"
    users.write_text('"super" "secret"')
    users.chmod(0o644)
    here = CONFIGURATION.replace("* = host=db port=5432", "* = {target}")
    here = here.replace("listen_port = 6432", "listen_port = {port}")
    here = here.replace("/etc/pgbouncer/userlist.txt", str(users))
    assert here.count("{") == 2
    await let_in(server_url)

    with running_pgbouncer(server_url, users.parent / "pgbouncer", here) as bouncer:
        url = bouncer.url(clone_url).set(username="super", password="secret")  # noqa: S106
        pooled = as_text(url)
        urls = DatabaseUrls(pooled, pooled, as_text(clone_url), pooled=True)
        async with Database(urls, settings) as database:
            assert await database.reader.row(select(1)) is not None
        with pytest.raises(asyncpg.PostgresError, match="authentication failed"):
            await asyncpg.connect(dsn(url.set(password="wrong")))  # noqa: S106


def test_pgbouncer_users_match_database_url_of_compose() -> None:
    described = load_compose()
    (config,) = described["services"]["pgbouncer"]["configs"]
    content = described["configs"][config["source"]]["content"]
    (user, password), *others = {
        re.findall(r"://(.+?):(\$\{.+?\})@pgbouncer", service["environment"]["DATABASE_URL"])[0]
        for service in described["services"].values()
        if "DB_PGBOUNCER" in service.get("environment", ())
    }

    assert not others
    assert content == f'"{user}" "{password}"'
    assert f"auth_file = {config['target']}" in CONFIGURATION
