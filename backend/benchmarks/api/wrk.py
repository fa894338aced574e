"""wrk (https://github.com/wg/wrk) as a load generator."""

import math
import re
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

from benchmarks.api.errors import BenchmarkError
from benchmarks.api.http import Request
from benchmarks.api.load import Load

_SCRIPT = Path(__file__).with_name("measured.lua")
_NUMBER = re.compile(r"(\w+)=(\d+)", re.ASCII)
_FAILURES = ("connect", "read", "write", "timeout", "status")


class Wrk:
    """One thread of wrk, with a script that sends the requests and prints parsable results."""

    def __init__(self, program: str) -> None:
        self._program = program

    @property
    def name(self) -> str:
        """Return the name with the version."""
        # `wrk -v` prints its version and its usage, and exits with 1.
        output = subprocess.run(
            [self._program, "-v"], capture_output=True, text=True, check=False
        ).stdout
        return " ".join(output.split()[:2]) or "wrk"

    def run(
        self, port: int, requests: Sequence[Request], *, connections: int, seconds: float
    ) -> Load:
        """Keep the connections busy for `seconds`, rounded up to whole seconds for wrk.

        Raises:
            BenchmarkError: wrk failed.
        """
        with tempfile.NamedTemporaryFile(prefix="requests-") as file:
            for request in requests:
                raw = request.raw()
                file.write(b"%d\n%s" % (len(raw), raw))
            file.flush()
            how = ["-t1", f"-c{connections}", f"-d{math.ceil(seconds)}s", "--timeout", "10s"]
            where = f"http://127.0.0.1:{port}"
            result = subprocess.run(
                [self._program, *how, "-s", str(_SCRIPT), where, "--", file.name],
                capture_output=True,
                text=True,
                check=False,
            )
        if result.returncode:
            raise BenchmarkError(f"wrk failed: {result.stderr.strip() or result.stdout.strip()}")
        return parsed(result.stdout)


def parsed(output: str) -> Load:
    """Parse the result line of the script.

    Raises:
        BenchmarkError: the output has no result line.
    """
    line = next((line for line in output.splitlines() if line.startswith("measured ")), None)
    if line is None:
        raise BenchmarkError(f"wrk did not say what it measured: {output.strip()!r}")
    numbers = {name: int(value) for name, value in _NUMBER.findall(line)}
    return Load(
        requests=numbers["requests"],
        seconds=numbers["microseconds"] / 1e6,
        p50_ms=numbers["p50"] / 1000,
        p99_ms=numbers["p99"] / 1000,
        failures=sum(numbers[kind] for kind in _FAILURES),
    )
