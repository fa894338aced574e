"""Who comes, who goes, who is killed: the server is there for users and only for them."""

import os
import select
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.embedded.embedded_users import (
    OPTIONS,
    User,
    answers,
    gone,
    postmaster_of,
    query,
    supervisors_of,
    users,
    wait_until_it_answers,
)
from tests.support.timeouts import TIMEOUT
from tests.support.waiting import wait_for_sync

from app.core.errors import EmbeddedPostgresError
from app.embedded.server import embedded_postgres

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("embedded")
    with embedded_postgres(folder, options=OPTIONS):
        return folder


@pytest.fixture
def folder(made: Path) -> Iterator[Path]:
    """One data folder for all tests here, with no server before and none after each."""
    assert gone(made)
    yield made
    wait_for_sync(lambda: gone(made), "the server stops")
    assert not list((made / "postgres/run").iterdir())


def kill_supervisor(folder: Path) -> None:
    (pid,) = supervisors_of(folder)
    os.kill(pid, signal.SIGKILL)
    wait_for_sync(lambda: not supervisors_of(folder), "the supervisor ends")


async def test_two_processes_share_one_server_and_the_last_stops_it(folder: Path) -> None:
    with users(folder, 2) as (first, second):
        url = f"postgresql://deals@/deals?host={folder}/postgres/run"
        postmaster = postmaster_of(folder)
        first.leave()
        assert await answers(url)
        assert postmaster_of(folder) == postmaster
        second.leave()
        assert gone(folder)


@pytest.mark.slow
async def test_killed_user_of_two_leaves_the_server_to_the_other(folder: Path) -> None:
    with users(folder, 1) as (starter,), embedded_postgres(folder) as server:
        starter.kill()
        # A harness that reads the starter's output to its end must not wait for the server.
        output = starter.process.stdout
        assert output is not None
        assert select.select([output], [], [], TIMEOUT)[0]
        assert output.read() == ""
        assert await answers(server)
    assert gone(folder)


@pytest.mark.parametrize(
    "number",
    [
        signal.SIGKILL,
        pytest.param(signal.SIGTERM, marks=pytest.mark.slow),
        pytest.param(signal.SIGINT, marks=pytest.mark.slow),
    ],
)
async def test_killed_only_user_takes_the_server_along(
    folder: Path, number: signal.Signals
) -> None:
    with users(folder, 1) as (user,):
        user.kill(number)
        wait_for_sync(lambda: gone(folder), "the server stops")


@pytest.mark.slow
def test_server_is_out_of_the_reach_of_the_terminal(folder: Path) -> None:
    with users(folder, 1):
        for pid in (*supervisors_of(folder), postmaster_of(folder)):
            assert os.getsid(pid) != os.getsid(0)
            for stream in range(3):
                target = str(Path(f"/proc/{pid}/fd/{stream}").readlink())
                assert target in {"/dev/null", f"{folder}/postgres/log/postgresql.log"}


@pytest.mark.slow
async def test_killed_supervisor_does_not_stop_the_service(folder: Path) -> None:
    with embedded_postgres(folder, options=OPTIONS) as server:
        postmaster = postmaster_of(folder)
        kill_supervisor(folder)
        assert await answers(server)
        with embedded_postgres(folder) as same:  # who comes gives it a new supervisor
            assert len(supervisors_of(folder)) == 1
            assert same == server
        assert postmaster_of(folder) == postmaster
        assert await answers(server)
    assert gone(folder)


@pytest.mark.slow
async def test_last_user_stops_a_server_without_supervisor(folder: Path) -> None:
    with embedded_postgres(folder, options=OPTIONS):
        kill_supervisor(folder)
    assert gone(folder)


@pytest.mark.slow
async def test_leaving_user_gives_the_server_a_new_supervisor(folder: Path) -> None:
    with users(folder, 2) as (first, second):
        kill_supervisor(folder)
        first.leave()
        assert len(supervisors_of(folder)) == 1
        second.kill()
        wait_for_sync(lambda: gone(folder), "the server stops")


async def test_killed_postmaster_comes_back_with_the_data(folder: Path) -> None:
    with embedded_postgres(folder, options=OPTIONS) as server:
        await query(server, "CREATE TABLE IF NOT EXISTS kept AS SELECT 42 AS answer")
        killed = {0}
        for _ in range(3):
            killed.add(postmaster_of(folder))
            os.kill(postmaster_of(folder), signal.SIGKILL)
            wait_for_sync(lambda: postmaster_of(folder) not in killed, "PostgreSQL restarts")
            await wait_until_it_answers(server)
        assert await query(server, "SELECT answer FROM kept") == 42
    assert gone(folder)


@pytest.mark.slow
async def test_new_user_after_a_crash_waits_for_the_restart(folder: Path) -> None:
    with users(folder, 1):
        os.kill(postmaster_of(folder), signal.SIGKILL)
        with embedded_postgres(folder) as server:
            assert await query(server, "SELECT 1") == 1


@pytest.mark.slow
async def test_adopted_server_comes_back_too(folder: Path) -> None:
    with embedded_postgres(folder, options=OPTIONS) as server:
        kill_supervisor(folder)
        with embedded_postgres(folder):
            os.kill(postmaster_of(folder), signal.SIGKILL)
            await wait_until_it_answers(server)


@pytest.mark.slow
async def test_everything_killed_starts_again(folder: Path) -> None:
    with users(folder, 1) as (user,):
        kill_supervisor(folder)
        os.kill(postmaster_of(folder), signal.SIGKILL)
        user.kill()
    with embedded_postgres(folder, options=OPTIONS) as server:
        assert await query(server, "SELECT 1") == 1


async def test_recorded_id_of_another_program_is_no_server(folder: Path) -> None:
    """As after a reboot, or in a container, where the same few ids come again and again."""
    record = folder / "postgres/data/postmaster.pid"
    record.write_text(f"{os.getpid()}\n{folder}/postgres/data\n1\n5432\n\n\n0 0\nready   \n")
    with embedded_postgres(folder, options=OPTIONS) as server:
        assert await query(server, "SELECT 1") == 1


@pytest.mark.slow
async def test_supervisor_told_to_stop_does_so_and_the_next_user_starts_anew(folder: Path) -> None:
    with users(folder, 1):
        (pid,) = supervisors_of(folder)
        os.kill(pid, signal.SIGTERM)
        with embedded_postgres(folder, options=OPTIONS) as server:
            assert await query(server, "SELECT 1") == 1


@pytest.mark.slow
async def test_forked_child_keeps_the_server(folder: Path) -> None:
    script = """
import os, pathlib, sys
from app.embedded.server import embedded_postgres
with embedded_postgres(pathlib.Path(os.environ["FOLDER"])) as server:
    if os.fork() == 0:
        print(server.url(), flush=True)
        sys.stdin.read()
        os._exit(0)
os._exit(0)
"""
    user = User(folder, script)
    try:
        url = user.wait_until_in()
        assert user.process.wait(TIMEOUT) == 0
        assert await answers(url)
    finally:
        user.close()


@pytest.mark.slow
async def test_gives_up_restarting_what_cannot_start(folder: Path) -> None:
    data, away = folder / "postgres/data", folder / "postgres/away"
    with embedded_postgres(folder, options=OPTIONS) as server:
        data.rename(away)
        os.kill(int((away / "postmaster.pid").read_text().split()[0]), signal.SIGKILL)
        wait_for_sync(lambda: not supervisors_of(folder), "the supervisor ends")
        assert "giving up" in server.log_file.read_text()
        away.rename(data)
        with embedded_postgres(folder, options=OPTIONS):
            assert await answers(server)


@pytest.mark.slow
async def test_long_path_survives_kills_without_piling_up_folders(tmp_path: Path) -> None:
    folder = tmp_path.joinpath(*["deep" * 10] * 4)
    seen = set()
    for _ in range(2):
        with users(folder, 1) as (user,):
            kill_supervisor(folder)
            os.kill(postmaster_of(folder), signal.SIGKILL)
            seen.add((folder / "postgres/socket-folder").read_text())
            user.kill()
        wait_for_sync(lambda: gone(folder), "the server stops")
    with embedded_postgres(folder) as server:
        seen.add(str(server.socket_dir))
        assert await answers(server)
    assert len(seen) == 1
    assert not server.socket_dir.exists()


@pytest.mark.slow
def test_recorded_socket_folder_that_others_may_enter_is_not_used(tmp_path: Path) -> None:
    folder = tmp_path.joinpath(*["deep" * 10] * 4)
    planted = tmp_path / "hotel-deals-planted"
    planted.mkdir()
    planted.chmod(0o755)
    with embedded_postgres(folder, options=OPTIONS):
        pass
    (folder / "postgres/socket-folder").write_text(str(planted))
    with embedded_postgres(folder) as server:
        assert server.socket_dir != planted
    assert planted.exists()


@pytest.mark.slow
def test_too_many_clients_is_still_a_running_server(folder: Path) -> None:
    options = OPTIONS | {"max_connections": "4", "superuser_reserved_connections": "0"}
    with embedded_postgres(folder, options=options), users(folder, 2):
        pass


@pytest.mark.slow
def test_users_the_rules_do_not_know_are_told_so(folder: Path) -> None:
    with embedded_postgres(folder, options=OPTIONS):
        rules = folder / "postgres/ident.conf"
        kept = rules.read_text()
        rules.write_text('deals "somebody else" deals\n')
        os.kill(postmaster_of(folder), signal.SIGHUP)

        def refused() -> bool:
            try:
                with embedded_postgres(folder):
                    return False
            except EmbeddedPostgresError as error:
                return "does not let this user in" in str(error)

        wait_for_sync(refused, "the server refuses this user")
        rules.write_text(kept)
