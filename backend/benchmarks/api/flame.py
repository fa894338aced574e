"""Draw a flame graph of the service under load by py-spy.

`uvx` runs py-spy (https://github.com/benfred/py-spy), which starts the service as its child,
because tracing a child needs no root rights. py-spy samples by wall-clock time, so other load on
the machine distorts the graph. Compare only graphs of a quiet machine. To draw the service of
another commit, set PYTHONPATH to its `backend/src`.
"""

import argparse
import os
import shutil
import signal
import sys
import time
from pathlib import Path

from app.embedded.server import EmbeddedServer
from benchmarks.api import cli
from benchmarks.api.database import filled, postgres
from benchmarks.api.errors import BenchmarkError
from benchmarks.api.http import Request
from benchmarks.api.servers import Server, last_words, servers
from benchmarks.api.stacks import flame_graph, requests_only, shares

_COMMAND = "mise run bench:flame"
_CONNECTIONS = 4
# The time that py-spy may take to write its samples.
_WRITING_LIMIT = 60.0
_POLL = 0.1


def main() -> int:
    """Run the benchmark."""
    arguments = _arguments()
    if shutil.which("uvx") is None:
        raise BenchmarkError("py-spy comes by uvx, which is not on PATH: install uv")
    with postgres() as (server, folder):
        return _run(arguments, server, folder)


def _arguments() -> argparse.Namespace:
    made = cli.parser(_COMMAND, __doc__)
    cli.add_rows(made)
    made.add_argument("--path", default="/deals", help="what is asked for (default %(default)s)")
    made.add_argument("--out", type=Path, default=Path("flame.svg"), help="default %(default)s")
    made.add_argument("--seconds", type=float, default=20.0, help="default %(default)s")
    made.add_argument(
        "--rate", type=int, default=200, help="samples a second (default %(default)s)"
    )
    return made.parse_args()


def _run(arguments: argparse.Namespace, server: EmbeddedServer, folder: Path) -> int:
    load = cli.generator(arguments.client)
    out = folder / "stacks"
    # Native frames would need symbols, and walking them takes longer than a request.
    spy = ["uvx", "py-spy", "record", "--format", "raw", "--output", str(out)]
    spy += ["--rate", str(arguments.rate), "--duration", "unlimited", "--nonblocking", "--"]
    with (
        filled(server, folder, arguments.rows) as database,
        servers(["service"], database, dict(arguments.setting), under=spy) as running,
    ):
        service = running["service"]
        cli.say(f"{arguments.path} for {arguments.seconds:g} s")
        load.run(
            service.port,
            [Request("GET", arguments.path)],
            connections=_CONNECTIONS,
            seconds=arguments.seconds,
        )
        text = _written(service, out)
    stacks = requests_only(text)
    if not stacks:
        raise BenchmarkError("py-spy saw no request")
    for package, share in shares(stacks).items():
        print(f"{share:6.1%} {package}")
    title = f"GET {arguments.path}: where the service's time goes"
    _from_there(arguments.out).write_text(flame_graph(title, stacks), encoding="utf-8")
    return 0


def _from_there(path: Path) -> Path:
    """Resolve a path relative to the caller's folder."""
    return (Path(os.environ.get("MISE_ORIGINAL_CWD", ".")) / path).resolve()


def _written(service: Server, out: Path) -> str:
    """Interrupt py-spy and return the samples that it writes."""
    os.kill(service.pid, signal.SIGINT)
    deadline = time.monotonic() + _WRITING_LIMIT
    while time.monotonic() < deadline:
        if out.exists() and (text := out.read_text(encoding="utf-8")):
            return text
        time.sleep(_POLL)
    raise BenchmarkError(
        "py-spy has written nothing; it needs to be allowed to trace its children (in a container "
        f"--cap-add SYS_PTRACE, on macOS root): {last_words(service.log)}"
    )


if __name__ == "__main__":
    sys.exit(cli.guarded(main))
