"""Unedited TypeScript and Python clients, generated from the OpenAPI document."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.support import node
from tests.support.servers import running_server

from app.db.session import Database
from app.services.keys import KeyService

pytestmark = [pytest.mark.integration, pytest.mark.slow, pytest.mark.clients]

HERE = Path(__file__).parent
GENERATE = HERE / "generate.py"
PROGRAM = (HERE / "use.ts").read_text()
DOCUMENT = HERE.parent / "contract" / "openapi.json"
UV = os.environ.get("UV") or shutil.which("uv")


# mypy checks the program that uses the client, not the generated code.
MYPY = """
[mypy]
strict = true
[mypy-hotel_deals_client.*]
follow_imports = silent
"""
LANGUAGE = ("--module", "nodenext", "--target", "es2022", "--lib", "es2022,dom,dom.iterable")


@dataclass(frozen=True)
class Service:
    url: str
    key: str

    @property
    def document(self) -> str:
        return f"{self.url}/openapi.json"


@pytest.fixture
async def service(database: Database, database_url: str, tmp_path: Path) -> AsyncIterator[Service]:
    """Serve in production mode."""
    async with database.uow.begin() as session:
        key = await KeyService(session).create("client", ["deals:write", "imports:write"])
    folder = tmp_path / "server"
    folder.mkdir()
    environment = {"APP_ENV": "production", "SIGNING_KEY": "k" * 32}
    async with running_server(database_url, folder, **environment) as server:
        yield Service(server.url, key)


def run_command(folder: Path, *command: str | Path, **environment: str) -> str:
    """Return the output of a command, and fail if it contains a warning."""
    result = subprocess.run(
        command,
        cwd=folder,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    output = result.stdout + result.stderr
    assert result.returncode == 0, output
    assert "warning" not in output.lower(), output
    return output


def generate_typescript(folder: Path, document: str, program: str) -> None:
    """Generate types from the document, and write a program that uses them."""
    node.require("openapi-typescript", "tsc")
    folder.mkdir()
    (folder / "package.json").write_text('{"type": "module"}')
    (folder / "node_modules").symlink_to(node.NPM / "node_modules")
    (folder / "use.ts").write_text(program)
    options = ["--default-non-nullable=false", "--output", "schema.d.ts"]
    run_command(folder, node.BIN / "openapi-typescript", document, *options)


def test_typescript_client_compiles_and_runs(service: Service, tmp_path: Path) -> None:
    folder = tmp_path / "typescript"
    generate_typescript(folder, service.document, PROGRAM)

    run_command(folder, node.BIN / "tsc", "--strict", *LANGUAGE, "use.ts")
    output = run_command(folder, "node", "use.js", service.url, service.key)

    assert output == "all done\n"


TYPE_ERRORS = [
    ("limit: 2 }", 'limit: "two" }'),
    ('room_type: "suite"', "room_type: 5"),
    ('  room_type: "suite",\n', ""),
    ("hotel.name", "hotel.title"),
    ("error.code", "error.kode"),
]


def test_typescript_client_wrong_program_fails_to_compile(tmp_path: Path) -> None:
    """A wrong program must not compile, which proves that the types are not `any`."""
    folder = tmp_path / "typescript"
    generate_typescript(folder, str(DOCUMENT), PROGRAM)
    names = [f"wrong{number}.ts" for number in range(len(TYPE_ERRORS))]
    for name, (line, wrong) in zip(names, TYPE_ERRORS, strict=True):
        assert line in PROGRAM
        (folder / name).write_text(PROGRAM.replace(line, wrong))

    with pytest.raises(AssertionError, match="error TS2") as refused:
        run_command(folder, node.BIN / "tsc", "--strict", "--noEmit", *LANGUAGE, "use.ts", *names)

    said = str(refused.value)
    assert set(re.findall(r"(\w+\.ts)\(\d+,\d+\): error TS2", said)) == set(names), said


def test_python_client_type_checks_and_runs(service: Service, tmp_path: Path) -> None:
    tool = [str(UV), "run", "--offline", "--locked", "--script", str(GENERATE)]
    if (
        UV is None
        or subprocess.run([*tool, "--version"], capture_output=True, check=False).returncode
    ):
        node.give_up(
            f"openapi-python-client is missing: install uv, and run `uv sync --script {GENERATE}`"
        )
    shutil.copy(HERE / "use.py", tmp_path)
    (tmp_path / "mypy.ini").write_text(MYPY)
    options = ["--meta", "none", "--output-path", "hotel_deals_client", "--fail-on-warning"]

    run_command(tmp_path, *tool, "generate", "--url", service.document, *options)
    run_command(tmp_path, sys.executable, "-m", "mypy", "use.py")
    output = run_command(tmp_path, sys.executable, "use.py", service.url, service.key)

    assert output == "all done\n"
    program = (tmp_path / "use.py").read_text()
    (tmp_path / "use.py").write_text(program.replace("parsed.hotel.name", "parsed.hotel.title"))
    with pytest.raises(AssertionError, match='has no attribute "title"'):
        run_command(tmp_path, sys.executable, "-m", "mypy", "use.py")
