"""As root: PostgreSQL runs as another user, and no other user gets access."""

import os
import pwd
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from tests.embedded.embedded_users import OPTIONS, fetch_value, no_process_left, postmaster_of
from tests.plugins.leftovers import shared_memory, unused_segments

from app.core.errors import EmbeddedPostgresError
from app.embedded.server import embedded_postgres

pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(os.geteuid() != 0, reason="only root changes users"),
]

# Attempts of another user: list, open, and connect.
_INTRUDER = """
import os, socket, sys
allowed = []
for folder in sys.argv[1:]:
    for look in (os.listdir, open):
        try:
            allowed.append(look(folder))
        except OSError:
            pass
    try:
        socket.socket(socket.AF_UNIX).connect(folder + "/.s.PGSQL.5432")
        allowed.append("connected")
    except OSError:
        pass
print(allowed)
"""


@pytest.fixture
def public_folder() -> Iterator[Path]:
    """Create a folder that only our modes protect. pytest's folders are private already."""
    with TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


def run_as_user(uid: int, *command: str) -> str:
    identity = [f"--reuid={uid}", f"--regid={uid}", "--clear-groups"]
    completed = subprocess.run(
        ["setpriv", *identity, *command], capture_output=True, text=True, check=False, cwd="/"
    )
    return completed.stdout.strip() or completed.stderr


def system_python() -> str:
    """Return a Python that other users can run. Ours may be in root's home."""
    python = shutil.which("python3", path="/usr/bin:/bin")
    if python is None:
        pytest.skip("no python that other users can run")
    return python


def process_status(pid: int) -> dict[str, list[str]]:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return {name: value.split() for name, value in (line.split(":", 1) for line in lines)}


@pytest.mark.parametrize(
    ("uid", "deep"),
    [
        (54321, False),
        pytest.param(65534, False, marks=pytest.mark.slow),
        pytest.param(65534, True, marks=pytest.mark.slow),
        pytest.param(54321, True, marks=pytest.mark.slow),
    ],
)
async def test_root_server_is_closed_to_other_users(
    public_folder: Path, uid: int, *, deep: bool
) -> None:
    folder = public_folder.joinpath("data", *(["deep" * 10] * 4 if deep else []))
    with embedded_postgres(folder, options=OPTIONS) as server:
        assert (not server.socket_dir.is_relative_to(public_folder)) == deep
        postmaster = f"/proc/{postmaster_of(folder)}"
        targets = [str(folder), str(server.socket_dir), str(folder / "postgres/data")]
        targets += [f"{postmaster}/{place}" for place in ("cwd", "root", "environ", "mem")]
        assert run_as_user(uid, system_python(), "-c", _INTRUDER, *targets) == "[]"
        assert run_as_user(0, system_python(), "-c", _INTRUDER, *targets) != "[]"


async def test_root_server_runs_as_nobody_with_one_capability(tmp_path: Path) -> None:
    with embedded_postgres(tmp_path, options=OPTIONS) as server:
        status = process_status(postmaster_of(tmp_path))
        assert status["Uid"] == [str(pwd.getpwnam("nobody").pw_uid)] * 4
        assert status["Groups"] == []
        assert int(status["CapPrm"][0], 16) == int(status["CapEff"][0], 16) == 1 << 1
        assert await fetch_value(server, "SELECT 1") == 1
    owners = {path.name: path.stat().st_uid for path in (tmp_path / "postgres").iterdir()}
    assert owners.pop("data") == pwd.getpwnam("nobody").pw_uid
    assert set(owners.values()) == {0}


@pytest.mark.slow
async def test_root_restored_data_gets_owner_of_server(tmp_path: Path) -> None:
    with embedded_postgres(tmp_path / "old", options=OPTIONS):
        pass
    (tmp_path / "new/postgres").mkdir(parents=True)
    data = tmp_path / "new/postgres/data"
    shutil.copytree(tmp_path / "old/postgres/data", data)
    with embedded_postgres(tmp_path / "new", options=OPTIONS) as server:
        assert await fetch_value(server, "SELECT 1") == 1
    assert {path.stat().st_uid for path in data.rglob("*")} == {data.stat().st_uid}


@pytest.mark.slow
async def test_root_foreign_folder_keeps_owner_and_gives_no_capability(public_folder: Path) -> None:
    owner = pwd.getpwnam("daemon").pw_uid
    folder = public_folder / "theirs"
    folder.mkdir()
    os.chown(folder, owner, owner)
    try:
        with embedded_postgres(folder, options=OPTIONS) as server:
            assert int(process_status(postmaster_of(folder))["CapPrm"][0], 16) == 0
            assert await fetch_value(server, "SELECT 1") == 1
    except EmbeddedPostgresError as error:
        # That user cannot reach binaries in root's home.
        assert any(  # noqa: PT017
            reason in str(error)
            for reason in ("run as an ordinary user", "ermission denied", "shared libraries")
        )
    assert no_process_left(folder)
    assert {path.lstat().st_uid for path in (folder, *folder.rglob("*"))} == {owner}


def start_error(folder: Path) -> str:
    with pytest.raises(EmbeddedPostgresError) as caught, embedded_postgres(folder):
        pass
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_root_missing_setpriv_suggests_remedy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    message = start_error(tmp_path)
    assert "setpriv is missing" in message
    assert "run as an ordinary user or set DATABASE_URL" in message


def test_root_missing_capability_returns_setpriv_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    setpriv = tmp_path / "setpriv"
    setpriv.write_text("#!/bin/sh\necho 'setpriv: setresuid failed' >&2\nexit 127\n")
    setpriv.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    assert "setpriv: setresuid failed" in start_error(tmp_path / "data")


def test_start_on_full_disk_returns_free_space(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=20m", "tmpfs", str(disk)], check=False
    )
    if mounted.returncode:
        pytest.skip("mounting is not allowed here")
    segments = shared_memory()
    try:
        assert "MB free" in start_error(disk / "data")
        assert not (disk / "data/postgres/data").exists()
        assert no_process_left(disk)
    finally:
        subprocess.run(["umount", str(disk)], check=True)
        # An initdb that runs out of space leaves its shared memory behind.
        for segment in unused_segments(shared_memory() - segments):
            segment.unlink()
