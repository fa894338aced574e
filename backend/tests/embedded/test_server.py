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
from tests.embedded.embedded_users import OPTIONS, gone, processes_of, query
from tests.support.databases import VERSIONS
from tests.support.waiting import wait_for_sync

from app.core.errors import EmbeddedPostgresError
from app.embedded import commands
from app.embedded.server import EmbeddedServer, embedded_postgres

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("embedded")
    with embedded_postgres(folder, options=OPTIONS):
        return folder


@pytest.fixture
def folder(made: Path) -> Iterator[Path]:
    """A folder with data, for tests that do not care whose; no server runs before or after."""
    assert gone(made)
    yield made
    assert gone(made)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.mark.parametrize("version", VERSIONS)
async def test_starts_keeps_data_and_leaves_no_process(tmp_path: Path, version: int) -> None:
    with embedded_postgres(tmp_path, version=version, options=OPTIONS) as server:
        assert server.version == version
        assert (await query(server, "SHOW server_version")).startswith(f"{version}.")
        assert await query(server, "SELECT current_user || '/' || current_database()") == (
            "deals/deals"
        )
        assert await query(server, "SHOW fsync") == "off"
        await query(server, "CREATE TABLE kept AS SELECT 42 AS answer")
    assert gone(tmp_path)
    # The other version is asked for, and the data's own one comes.
    with embedded_postgres(tmp_path, version=16 + 18 - version) as server:
        assert server.version == version
        assert await query(server, "SELECT answer FROM kept") == 42
        assert await query(server, "SHOW fsync") == "on"
    assert gone(tmp_path)


async def test_text_is_the_same_on_every_machine(folder: Path) -> None:
    with embedded_postgres(folder, options=OPTIONS) as server:
        assert await query(server, "SHOW server_encoding") == "UTF8"
        assert await query(server, "SHOW timezone") == "UTC"
        assert await query(server, "SELECT upper('zürich')") == "ZÜRICH"
        order = "SELECT string_agg(t, '' ORDER BY t) FROM unnest(array['a','B','É','b']) t"
        assert await query(server, order) == "BabÉ"


def test_psql_serves_with_the_socket_folder(folder: Path) -> None:
    with embedded_postgres(folder, options=OPTIONS) as server:
        psql = commands.find_binaries(18) / "psql"
        arguments = ["-h", str(server.socket_dir), "-U", "deals", "-Atc", "SELECT 6 * 7", "deals"]
        assert subprocess.check_output([psql, *arguments], text=True).strip() == "42"


async def test_url_serves_every_client(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
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


@pytest.mark.parametrize(
    "name",
    [
        pytest.param("/".join(["deep" * 10] * 4), id="deep"),
        pytest.param('it\'s "quoted" $HOME `id` %s \\ back', id="quotes", marks=pytest.mark.slow),
        pytest.param("with space", id="space", marks=pytest.mark.slow),
        pytest.param("comma,colon:hash#question?amp&percent%41", id="url", marks=pytest.mark.slow),
        pytest.param("Zürich-ホテル", id="unicode", marks=pytest.mark.slow),
    ],
)
async def test_any_path_works(tmp_path: Path, name: str) -> None:
    with embedded_postgres(tmp_path / name, options=OPTIONS) as server:
        assert await query(server, "SELECT 1") == 1
        assert len(os.fsencode(server.socket_dir / ".s.PGSQL.5432")) <= 107
        assert mode(server.socket_dir) == 0o700
        outside = not server.socket_dir.is_relative_to(tmp_path)
        usual = os.fsencode(tmp_path / name / "postgres/run/.s.PGSQL.5432")
        assert outside == (len(usual) > 107 or bool(set(name) & set(',:"')))
        with embedded_postgres(tmp_path / name) as same:
            assert same.socket_dir == server.socket_dir
    assert gone(tmp_path)
    assert server.socket_dir.exists() != outside


@pytest.mark.slow
async def test_relative_and_linked_folders_are_the_same_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    monkeypatch.chdir(tmp_path)
    with (
        embedded_postgres(Path("link"), options=OPTIONS) as first,
        embedded_postgres(tmp_path / "real") as second,
    ):
        assert first == second
        assert await query(first, "SELECT 1") == 1
    assert gone(tmp_path)


async def test_client_settings_in_the_environment_change_nothing(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {"PGPORT": "1", "PGDATA": "/nowhere", "PGHOST": "nowhere.invalid"}.items():
        monkeypatch.setenv(name, value)
    with embedded_postgres(folder, options=OPTIONS) as server:
        assert await query(server, "SELECT 1") == 1


async def test_no_network_and_no_other_way_in(folder: Path) -> None:
    options = OPTIONS | {"listen_addresses": "*", "unix_socket_permissions": "0777"}
    with embedded_postgres(folder, options=options) as server:
        assert await query(server, "SHOW listen_addresses") == ""
        assert mode(server.socket_dir / ".s.PGSQL.5432") == 0o700
        rules = "SELECT string_agg(type || auth_method || options::text, '') FROM pg_hba_file_rules"
        assert await query(server, rules) == "localpeer{map=deals}"


async def test_only_the_folder_itself_becomes_private(tmp_path: Path) -> None:
    parent, folder = tmp_path / "private parent", tmp_path / "private parent" / "data"
    parent.mkdir(mode=0o700)
    folder.mkdir(mode=0o755)
    above = [parent, *parent.parents]
    before = [(path.stat().st_mode, path.stat().st_uid) for path in above]
    with embedded_postgres(folder, options=OPTIONS) as server:
        assert await query(server, "SELECT 1") == 1
    assert [(path.stat().st_mode, path.stat().st_uid) for path in above] == before
    assert mode(folder) == mode(folder / "postgres") == mode(folder / "postgres/run") == 0o700


async def test_nested_and_threaded_uses_share_one_server(folder: Path) -> None:
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
    assert gone(folder)


def supervisor_commands(folder: Path) -> list[str]:
    return [command for command in processes_of(folder).values() if "supervisor.py" in command]


async def test_half_made_data_folder_is_made_anew(tmp_path: Path) -> None:
    draft = tmp_path / "postgres" / "data.new"
    (draft / "base").mkdir(parents=True)
    (draft / "PG_VERSION").write_text("18\n")
    with embedded_postgres(tmp_path, options=OPTIONS) as server:
        assert await query(server, "SELECT 1") == 1
    assert not draft.exists()


async def test_failing_body_stops_the_server_and_keeps_its_error(folder: Path) -> None:
    with pytest.raises(OSError, match="mine"), embedded_postgres(folder, options=OPTIONS):
        raise OSError("mine")
    assert gone(folder)


@pytest.mark.slow
async def test_deleting_the_folder_in_use_ends_the_server_too(tmp_path: Path) -> None:
    folder = tmp_path / "deleted"
    with embedded_postgres(folder, options=OPTIONS) as server:
        assert await query(server, "SELECT 1") == 1
        shutil.rmtree(folder, ignore_errors=True)
    wait_for_sync(lambda: gone(folder), "the server stops")
    # Where the path is too long it was elsewhere, which was written down in the folder.
    shutil.rmtree(server.socket_dir, ignore_errors=True)


def fails(folder: Path, version: int = 18, options: dict[str, str] | None = None) -> str:
    """The one line that says why it does not start; nothing may stay behind."""
    with (
        pytest.raises(EmbeddedPostgresError) as caught,
        embedded_postgres(folder, version=version, options=options),
    ):
        pass
    message = str(caught.value)
    assert "\n" not in message
    assert gone(folder)
    return message


def test_missing_wheel_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _name: None)
    message = fails(tmp_path)
    assert "hotel-deals[embedded]" in message
    assert "DATABASE_URL" in message


def test_unknown_versions_say_which_there_are(tmp_path: Path) -> None:
    assert "16 and 18" in fails(tmp_path, version=17)
    data = tmp_path / "postgres" / "data"
    data.mkdir()
    (data / "PG_VERSION").write_text("15\n")
    assert "PostgreSQL 15 is not among" in fails(tmp_path)


def test_wrong_option_is_told_from_the_log(folder: Path) -> None:
    message = fails(folder, options=OPTIONS | {"no_such_setting": "1"})
    assert 'unrecognized configuration parameter "no_such_setting"' in message


def test_foreign_content_in_the_data_folder_is_left_alone(tmp_path: Path) -> None:
    data = tmp_path / "postgres" / "data"
    data.mkdir(parents=True)
    (data / "mine").write_text("precious")
    assert "is not a PostgreSQL data folder" in fails(tmp_path)
    assert (data / "mine").read_text() == "precious"


def test_unusable_folders_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    assert "file" in fails(tmp_path / "file")
    assert "file" in fails(tmp_path / "file" / "below")
    assert "control character" in fails(tmp_path / "two\nlines")
    home = tmp_path / "home"
    home.mkdir(mode=0o755)
    monkeypatch.setenv("HOME", str(home))
    assert "folder of its own" in fails(home)
    home.chmod(0o1777)
    monkeypatch.undo()
    assert "folder of its own" in fails(home)
    assert mode(home) == 0o1777


def test_url_of_a_database() -> None:
    server = EmbeddedServer(Path("/a b/run"), 18, Path("log"))
    assert server.url("x") == "postgresql+asyncpg://deals@/x?host=/a%20b/run&port=5432"
