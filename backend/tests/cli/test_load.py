"""`deals generate`, `deals load` and `deals verify`: output, exit status and rejected rows."""

import gzip
import json
from functools import partial
from pathlib import Path

import pytest
from tests.cli.deals_process import RunDeals
from tests.support.child_processes import processes_of
from tests.support.commands import Command

from app.ingestion.generator import generate

pytestmark = pytest.mark.integration


def test_load_again_changes_nothing_and_verifies(
    invoke: Command, database_url: str, tmp_path: Path
) -> None:
    _load_twice(partial(invoke, DATABASE_URL=database_url), tmp_path)


@pytest.mark.slow
def test_load_again_on_embedded_database_changes_nothing(run: RunDeals, tmp_path: Path) -> None:
    _load_twice(run, tmp_path)
    assert processes_of(tmp_path / "data") == []


def _load_twice(run: Command | RunDeals, folder: Path) -> None:
    assert run("generate", "--rows", "300", "--seed", "5", "--out", "deals.csv").returncode == 0

    first = run("load", "deals.csv", "--json")
    again = run("load", "deals.csv")
    verified = run("verify")

    assert first.returncode == 0, first.stderr
    assert json.loads(first.stdout)["inserted"] == 300
    assert again.returncode == 0
    assert "0 inserted, 0 updated, 300 unchanged, 0 duplicates, 0 rejected" in again.stdout
    assert (verified.returncode, verified.stdout) == (0, "every derived number is correct\n")
    assert not (folder / "deals.csv.rejects.csv").exists()


def test_load_rejected_rows_exits_1(invoke: Command, database_url: str, tmp_path: Path) -> None:
    generate(tmp_path / "deals.csv.gz", rows=20, seed=5)
    header, first, *rest = gzip.decompress((tmp_path / "deals.csv.gz").read_bytes()).splitlines()
    bad = b",".join([b"x", *first.split(b",")[1:]])
    (tmp_path / "bad.csv").write_bytes(b"\n".join([header, bad, *rest]))

    strict = invoke("load", "bad.csv", "--strict", "--json", DATABASE_URL=database_url)
    lenient = invoke("load", "bad.csv", "--json", "--rejects", "out.csv", DATABASE_URL=database_url)

    assert strict.returncode == lenient.returncode == 1
    assert json.loads(strict.stdout)["inserted"] == 0
    assert json.loads(lenient.stdout)["inserted"] == 19
    assert json.loads(lenient.stdout)["rejected"] == 1
    assert b"2,id,not_an_integer" in (tmp_path / "out.csv").read_bytes()
    assert b"2,id,not_an_integer" in (tmp_path / "bad.csv.rejects.csv").read_bytes()


@pytest.mark.parametrize("content", [None, b"", b"id,hotel_name\n1,x\n", b"\x00\x01\xff" * 100])
def test_load_invalid_file_exits_2_with_one_line(
    invoke: Command, database_url: str, tmp_path: Path, content: bytes | None
) -> None:
    if content is not None:
        (tmp_path / "deals.csv").write_bytes(content)

    result = invoke("load", "deals.csv", DATABASE_URL=database_url)

    assert result.returncode == 2
    assert result.stdout == ""
    [line] = [line for line in result.stderr.splitlines() if not line.startswith("{")]
    assert line.startswith("deals: ")
