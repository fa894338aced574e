"""Records with more or fewer fields than the header, at any place of a file."""

# ruff: noqa: ASYNC240 - a test can wait for its own small files

import csv
import io
from collections.abc import Sequence
from pathlib import Path

import httpx
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from tests.support.csv_files import as_csv, counts, read_rejects, row
from tests.support.imports import find, get_rejects, import_counts, submit
from tests.support.stored_rows import ids

from app.db.session import Database
from app.ingestion.check.validation import check
from app.ingestion.columns import NAMES
from app.ingestion.read.chunks import Chunk, chunks, inspect
from app.ingestion.read.source import opened
from app.services.import_runner import ImportRunner
from app.services.loading import LoadingService

WIDTH = len(NAMES)
SURPLUSES = [*range(1, 31)]
DEFICITS = [*range(-14, 0)]
CHUNK_ROWS = 10

OPTIONS: list[dict[str, bool]] = [{}, {"strict": True}, {"dry_run": True}]


def csv_line(number: int, surplus: int = 0) -> str:
    """Return a valid row as a line, with `surplus` more non-empty fields, or fewer if negative."""
    fields = next(csv.reader(as_csv([row(number)]).splitlines()[1:]))
    text = io.StringIO(newline="")
    csv.writer(text, lineterminator="\n").writerow((fields + ["x"] * surplus)[: WIDTH + surplus])
    return text.getvalue()


def uniform_chunks(surpluses: Sequence[int]) -> str:
    """Return a file with records of one width in each chunk, given relative to the header."""
    lines = [csv_line(number) for number in range(1, len(surpluses) * CHUNK_ROWS + 1)]
    for place, surplus in enumerate(surpluses):
        for index in range(place * CHUNK_ROWS, (place + 1) * CHUNK_ROWS):
            lines[index] = csv_line(index + 1, surplus)
    return "".join([as_csv([]), *lines])


def read_chunks(path: Path, rows: int) -> list[Chunk]:
    header = inspect(path)
    with opened(path) as source:
        return list(chunks(source, header, rows))


@pytest.mark.unit
@pytest.mark.parametrize("place", [0, 1, 2])
@pytest.mark.parametrize("surplus", [*SURPLUSES, *DEFICITS])
def test_check_chunk_of_wrong_width_rejects_its_records(
    deals: Path, surplus: int, place: int
) -> None:
    surpluses = [0, 0, 0]
    surpluses[place] = surplus
    deals.write_text(uniform_chunks(surpluses))
    header = inspect(deals)
    for number, chunk in enumerate(read_chunks(deals, CHUNK_ROWS)):
        found = check(chunk, header, lambda names: {name: name for name in names}, "0" * 16)
        wrong = CHUNK_ROWS if number == place else 0
        assert len(found.rows) == CHUNK_ROWS - wrong
        assert [reject.problem.code for reject in found.rejects] == ["wrong_field_count"] * wrong
        assert len({reject.line for reject in found.rejects}) == wrong


FIELDS = [
    *("", " ", "a", "é", "😀", "NA", "null", "nan", "007", "1.10", "1e5", "-", "true", "\ufeff"),
    *("2027-03-01", "2026-08-28 00:10:25", "a b", "'", "\u2028", "\x1f", "\\", "\\N", ";", "\t"),
    *('"a,b"', '"q""q"', '""', '""""', '"\ufeff"', '","'),
]


@pytest.mark.unit
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=200)
@given(
    records=st.lists(
        st.tuples(
            st.sampled_from([WIDTH, WIDTH, WIDTH, WIDTH - 1, WIDTH + 1]),
            st.lists(st.sampled_from(FIELDS), min_size=3, max_size=8),
        ),
        min_size=1,
        max_size=8,
    ),
    end=st.sampled_from(["\n", "\r\n"]),
    rows=st.integers(1, 4),
)
@example(records=[(WIDTH, ["\ufeff"])], end="\n", rows=1)
@example(records=[(WIDTH, ["a"]), (WIDTH, ["\ufeffa"])], end="\n", rows=1)
def test_read_chunks_any_records_matches_csv_module(
    records: list[tuple[int, list[str]]], end: str, rows: int, deals: Path
) -> None:
    lines = [",".join((fields * WIDTH)[:width]) for width, fields in records]
    # Write one line for each record. A byte order mark in a value stays at its place.
    text = as_csv([], end=end) + end.join(lines)
    deals.write_text(text, encoding="utf-8", newline="")
    expected = [
        fields[:WIDTH] if not "".join(fields[WIDTH:]).strip() else fields
        for fields in list(csv.reader(io.StringIO(text, newline="")))[1:]
        if fields
    ]
    found: dict[int, list[str]] = {}
    for chunk in read_chunks(deals, rows):
        found |= {record.line: record.fields for record in chunk.misshapen}
        texts = chunk.frame.to_numpy().tolist()
        found |= dict(zip(chunk.lines.tolist(), texts, strict=True))
    assert [found[number] for number in sorted(found)] == expected


@pytest.mark.integration
@pytest.mark.parametrize("options", OPTIONS, ids=str)
async def test_load_any_wrong_width_rejects_its_rows(
    loading: LoadingService,
    database: Database,
    deals: Path,
    rejects: Path,
    options: dict[str, bool],
) -> None:
    surpluses = [-1, *SURPLUSES, 0, *DEFICITS, 0, 1]
    deals.write_text(uniform_chunks(surpluses))
    mode = next(iter(options), "rows").replace("_", "-")
    summary = await loading.load(
        deals,
        mode=mode,  # type: ignore[arg-type]
        rejects=rejects,
        chunk_rows=CHUNK_ROWS,
    )

    wrong = [place for place, surplus in enumerate(surpluses) if surplus]
    good = (len(surpluses) - len(wrong)) * CHUNK_ROWS
    kind = "held_back" if mode == "strict" else "inserted"
    assert counts(summary) == {kind: good, "rejected": len(wrong) * CHUNK_ROWS}
    assert read_rejects(rejects) == [
        (2 + place * CHUNK_ROWS + index, "", "wrong_field_count")
        for place in wrong
        for index in range(CHUNK_ROWS)
    ]
    assert len(await ids(database)) == (good if mode == "rows" else 0)


@pytest.mark.integration
@pytest.mark.parametrize("options", OPTIONS, ids=str)
async def test_import_any_wrong_width_rejects_its_rows(
    api: httpx.AsyncClient, runner: ImportRunner, options: dict[str, bool]
) -> None:
    surpluses = [-1, *SURPLUSES, 0, *DEFICITS, 0, 1]
    made = await submit(api, uniform_chunks(surpluses).encode(), **options)
    await runner.run(made["id"])

    done = await find(api, made["id"])
    kind = "held_back" if options.get("strict") else "inserted"
    wrong = (len(surpluses) - 2) * CHUNK_ROWS
    assert import_counts(done) == {kind: 2 * CHUNK_ROWS, "rejected": wrong}
    assert done["state"] == ("failed" if options.get("strict") else "succeeded")
    content = (await get_rejects(api, made["id"])).decode()
    assert len(list(csv.reader(io.StringIO(content)))) == wrong + 1


@pytest.mark.integration
@pytest.mark.parametrize("surplus", ["", ",,", ', ,""'])
async def test_load_surplus_empty_fields_drops_them_and_warns(
    loading: LoadingService, database: Database, deals: Path, rejects: Path, surplus: str
) -> None:
    lines = [csv_line(number).rstrip() for number in range(1, 30)]
    lines[10:20] = [f"{each},{surplus}" for each in lines[10:20]]
    deals.write_text("\n".join([as_csv([]).rstrip(), *lines]))
    summary = await loading.load(deals, rejects=rejects, chunk_rows=CHUNK_ROWS)

    assert counts(summary) == {"inserted": 29}
    assert [(warning.code, warning.rows) for warning in summary.warnings] == [
        ("surplus_empty_fields", 10)
    ]
    assert len(await ids(database)) == 29


@pytest.mark.integration
async def test_import_surplus_empty_fields_adds_up_the_warnings_of_all_chunks(
    api: httpx.AsyncClient, runner: ImportRunner
) -> None:
    lines = [f"{csv_line(number).rstrip()},\n" for number in range(1, 30)]
    made = await submit(api, "".join([as_csv([]), *lines]).encode())
    assert made["warnings"] == []
    await runner.run(made["id"])

    done = await find(api, made["id"])
    assert import_counts(done) == {"inserted": 29}
    assert done["warnings"] == [
        {
            "code": "surplus_empty_fields",
            "message": "Empty fields after the header's last column were dropped",
            "rows": 29,
        }
    ]
    page = (await api.get("/dashboard/imports/" + str(made["id"]))).text
    assert "Empty fields after the header&#39;s last column were dropped: 29 rows" in page
