"""Processes that share a server: the last one to end stops it."""

import os
import select
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.embedded.embedded_users import (
    OPTIONS,
    UserProcess,
    accepts_queries,
    fetch_value,
    no_process_left,
    postmaster_of,
    supervisors_of,
    user_processes,
    wait_until_accepts_queries,
)
from tests.support.timeouts import TIMEOUT
from tests.support.waiting import wait_for_sync

from app.core.errors import EmbeddedPostgresError
from app.embedded.server import embedded_postgres

pytestmark = pytest.mark.integration

_FORKING_USER = """
import os, pathlib, sys
from app.embedded.server import embedded_postgres
with embedded_postgres(pathlib.Path(os.environ["FOLDER"])) as server:
    if os.fork() == 0:
        print(server.url(), flush=True)
        sys.stdin.read()
        os._exit(0)
os._exit(0)
"""


@pytest.fixture
def folder(initialized_folder: Path) -> Iterator[Path]:
    """Return the data folder of the module, without a server before and after each test."""
    assert no_process_left(initialized_folder)
    yield initialized_folder
    wait_for_sync(lambda: no_process_left(initialized_folder), "no process is left")
    assert not list((initialized_folder / "postgres/run").iterdir())


def kill_supervisor(folder: Path) -> None:
    (pid,) = supervisors_of(folder)
    os.kill(pid, signal.SIGKILL)
    wait_for_sync(lambda: not supervisors_of(folder), "the supervisor ends")


class TestUsers:
    async def test_last_of_two_stops_server(self, folder: Path) -> None:
        with user_processes(folder, 2) as (first, second):
            url = f"postgresql://deals@/deals?host={folder}/postgres/run"
            postmaster = postmaster_of(folder)
            first.release()
            assert await accepts_queries(url)
            assert postmaster_of(folder) == postmaster
            second.release()
            assert no_process_left(folder)

    @pytest.mark.slow
    async def test_killed_one_of_two_keeps_server(self, folder: Path) -> None:
        with user_processes(folder, 1) as (starter,), embedded_postgres(folder) as server:
            starter.kill()
            # A harness that reads the starter's output to its end must not wait for the server.
            output = starter.process.stdout
            assert output is not None
            assert select.select([output], [], [], TIMEOUT)[0]
            assert output.read() == ""
            assert await accepts_queries(server)
        assert no_process_left(folder)

    @pytest.mark.parametrize(
        "number",
        [
            signal.SIGKILL,
            pytest.param(signal.SIGTERM, marks=pytest.mark.slow),
            pytest.param(signal.SIGINT, marks=pytest.mark.slow),
        ],
    )
    async def test_killed_only_user_stops_server(
        self, folder: Path, number: signal.Signals
    ) -> None:
        with user_processes(folder, 1) as (user,):
            user.kill(number)
            wait_for_sync(lambda: no_process_left(folder), "no process is left")

    @pytest.mark.slow
    def test_server_is_detached_from_terminal(self, folder: Path) -> None:
        with user_processes(folder, 1):
            for pid in (*supervisors_of(folder), postmaster_of(folder)):
                assert os.getsid(pid) != os.getsid(0)
                for stream in range(3):
                    target = str(Path(f"/proc/{pid}/fd/{stream}").readlink())
                    assert target in {"/dev/null", f"{folder}/postgres/log/postgresql.log"}

    @pytest.mark.slow
    async def test_forked_child_keeps_server(self, folder: Path) -> None:
        user = UserProcess(folder, _FORKING_USER)
        try:
            url = user.wait_for_url()
            assert user.process.wait(TIMEOUT) == 0
            assert await accepts_queries(url)
        finally:
            user.close()

    @pytest.mark.slow
    def test_exhausted_connections_count_as_running_server(self, folder: Path) -> None:
        options = OPTIONS | {"max_connections": "4", "superuser_reserved_connections": "0"}
        with embedded_postgres(folder, options=options), user_processes(folder, 2):
            pass

    @pytest.mark.slow
    def test_missing_in_ident_map_is_refused(self, folder: Path) -> None:
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
                    return "refuses this user's login" in str(error)

            wait_for_sync(refused, "the start is refused")
            rules.write_text(kept)


class TestSupervisor:
    @pytest.mark.slow
    async def test_killed_is_replaced_by_new_user(self, folder: Path) -> None:
        with embedded_postgres(folder, options=OPTIONS) as server:
            postmaster = postmaster_of(folder)
            kill_supervisor(folder)
            assert await accepts_queries(server)
            with embedded_postgres(folder) as same:  # the next process starts a new supervisor
                assert len(supervisors_of(folder)) == 1
                assert same == server
            assert postmaster_of(folder) == postmaster
            assert await accepts_queries(server)
        assert no_process_left(folder)

    @pytest.mark.slow
    async def test_killed_last_user_stops_server(self, folder: Path) -> None:
        with embedded_postgres(folder, options=OPTIONS):
            kill_supervisor(folder)
        assert no_process_left(folder)

    @pytest.mark.slow
    async def test_killed_is_replaced_by_leaving_user(self, folder: Path) -> None:
        with user_processes(folder, 2) as (first, second):
            kill_supervisor(folder)
            first.release()
            assert len(supervisors_of(folder)) == 1
            second.kill()
            wait_for_sync(lambda: no_process_left(folder), "no process is left")

    @pytest.mark.slow
    async def test_replaced_restarts_killed_postmaster(self, folder: Path) -> None:
        with embedded_postgres(folder, options=OPTIONS) as server:
            kill_supervisor(folder)
            with embedded_postgres(folder):
                os.kill(postmaster_of(folder), signal.SIGKILL)
                await wait_until_accepts_queries(server)

    @pytest.mark.slow
    async def test_terminated_stops_and_next_user_starts_server(self, folder: Path) -> None:
        with user_processes(folder, 1):
            (pid,) = supervisors_of(folder)
            os.kill(pid, signal.SIGTERM)
            with embedded_postgres(folder, options=OPTIONS) as server:
                assert await fetch_value(server, "SELECT 1") == 1

    @pytest.mark.slow
    async def test_failing_restart_is_given_up(self, folder: Path) -> None:
        data, away = folder / "postgres/data", folder / "postgres/away"
        with embedded_postgres(folder, options=OPTIONS) as server:
            data.rename(away)
            os.kill(int((away / "postmaster.pid").read_text().split()[0]), signal.SIGKILL)
            wait_for_sync(lambda: not supervisors_of(folder), "the supervisor ends")
            assert "giving up" in server.log_file.read_text()
            away.rename(data)
            with embedded_postgres(folder, options=OPTIONS):
                assert await accepts_queries(server)


class TestPostmaster:
    async def test_killed_is_restarted_with_data(self, folder: Path) -> None:
        with embedded_postgres(folder, options=OPTIONS) as server:
            await fetch_value(server, "CREATE TABLE IF NOT EXISTS kept AS SELECT 42 AS answer")
            killed = {0}
            for _ in range(3):
                killed.add(postmaster_of(folder))
                os.kill(postmaster_of(folder), signal.SIGKILL)
                wait_for_sync(lambda: postmaster_of(folder) not in killed, "another server starts")
                await wait_until_accepts_queries(server)
            assert await fetch_value(server, "SELECT answer FROM kept") == 42
        assert no_process_left(folder)

    @pytest.mark.slow
    async def test_killed_new_user_waits_for_restart(self, folder: Path) -> None:
        with user_processes(folder, 1):
            os.kill(postmaster_of(folder), signal.SIGKILL)
            with embedded_postgres(folder) as server:
                assert await fetch_value(server, "SELECT 1") == 1

    @pytest.mark.slow
    async def test_all_processes_killed_starts_again(self, folder: Path) -> None:
        with user_processes(folder, 1) as (user,):
            kill_supervisor(folder)
            os.kill(postmaster_of(folder), signal.SIGKILL)
            user.kill()
        with embedded_postgres(folder, options=OPTIONS) as server:
            assert await fetch_value(server, "SELECT 1") == 1

    async def test_recorded_pid_of_another_program_is_ignored(self, folder: Path) -> None:
        """After a reboot, or in a container, the recorded id may belong to another program."""
        record = folder / "postgres/data/postmaster.pid"
        record.write_text(f"{os.getpid()}\n{folder}/postgres/data\n1\n5432\n\n\n0 0\nready   \n")
        with embedded_postgres(folder, options=OPTIONS) as server:
            assert await fetch_value(server, "SELECT 1") == 1


class TestSocketFolder:
    @pytest.mark.slow
    async def test_long_path_is_reused_after_kills(self, tmp_path: Path) -> None:
        folder = tmp_path.joinpath(*["deep" * 10] * 4)
        seen = set()
        for _ in range(2):
            with user_processes(folder, 1) as (user,):
                kill_supervisor(folder)
                os.kill(postmaster_of(folder), signal.SIGKILL)
                seen.add((folder / "postgres/socket-folder").read_text())
                user.kill()
            wait_for_sync(lambda: no_process_left(folder), "no process is left")
        with embedded_postgres(folder) as server:
            seen.add(str(server.socket_dir))
            assert await accepts_queries(server)
        assert len(seen) == 1
        assert not server.socket_dir.exists()

    @pytest.mark.slow
    def test_recorded_public_folder_is_not_used(self, tmp_path: Path) -> None:
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
