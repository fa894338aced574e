"""`mise run python`: a prompt, scripts on stdin, and single lines."""

import os
import shutil
import subprocess
from pathlib import Path

import asyncpg
import pytest
from sqlalchemy import make_url
from tests.operations.files import BACKEND, ROOT, TASKS
from tests.support.databases import SERVER_OPTIONS, dsn
from tests.support.programs import require_program
from tests.support.timeouts import TIMEOUT

from app.embedded.server import embedded_postgres

pytestmark = pytest.mark.integration

UV = os.environ.get("UV") or shutil.which("uv")

NOTEBOOK = """\
df = pd.read_csv("deals.csv")
hotels = df[["hotel_name", "hotel_city", "hotel_country", "hotel_phone"]].drop_duplicates()\
.rename(columns=lambda c: c.removeprefix("hotel_"))
hotels.to_sql('hotels', db, if_exists='append', index=False)
ids = pd.read_sql("SELECT id AS hotel_id, phone FROM hotels", db)
deals = df.merge(ids, left_on="hotel_phone", right_on="phone").rename(columns={"id": "external_id",\
 "hotel_star_rating": "star_rating"}).drop(columns=["hotel_name", "hotel_city", "hotel_country",\
 "hotel_phone", "phone"])
deals.to_sql('deals', db, if_exists='append', index=False, method='multi', chunksize=1000)
"""

DEALS_CSV = """\
id,hotel_name,hotel_city,hotel_country,hotel_star_rating,hotel_phone,room_type,price_per_night,\
original_price,discount_percent,checkin_date,checkout_date,is_available,categories,created_at
1,Zum Löwen,Zürich,Switzerland,3,+41-44-555-9557,standard,663.92,862.24,23,2027-06-30,2027-07-10,\
False,business,2026-08-28 00:10:25
2,City Hotel,Sydney,Australia,2,+61-2-555-3505,standard,193.48,483.69,60,2027-08-27,2027-09-02,\
False,"luxury,beach",2026-09-05 02:04:35
3,Zum Löwen,Zürich,Switzerland,4,+41-44-555-9557,suite,99.50,110.00,9,2027-01-01,2027-01-02,\
True,"beach,business",2026-09-05 02:04:36
4,Zum Löwen,Zürich,Switzerland,4,+41-44-555-9557,suite,80.00,100.00,20,2027-02-01,2027-02-03,\
True,,2026-09-06 12:00:00
"""

HOTELS = """
    SELECT hotels.name, hotels.star_rating, avg(deals.star_rating)
    FROM hotels LEFT JOIN deals ON deals.hotel_id = hotels.id
    GROUP BY hotels.id ORDER BY hotels.name
"""
LINKS = """
    SELECT deals.external_id, hotels.phone, deals.created_at::text, deals.checkin_date::text,
        array_remove(array_agg(categories.name ORDER BY categories.name), NULL)
    FROM deals JOIN hotels ON hotels.id = hotel_id
    LEFT JOIN deal_categories ON deal_id = deals.id
    LEFT JOIN categories ON categories.id = category_id
    GROUP BY 1, 2, 3, 4 ORDER BY 1
"""


def environment(data_dir: Path, working: Path) -> dict[str, str]:
    """Return the environment that mise gives to a task that starts in `working`."""
    uv = UV or require_program("uv")
    kept = {name: os.environ[name] for name in ("HOME", "LANG") if name in os.environ}
    return {
        **kept,
        "PATH": f"{Path(uv).parent}:{os.environ['PATH']}",
        "UV_NO_SYNC": "1",  # other tests run in this environment
        "DATA_DIR": str(data_dir),
        "DATABASE_URL": "",
        "MISE_CONFIG_ROOT": str(ROOT),
        "MISE_ORIGINAL_CWD": str(working),
    }


def run_task(
    name: str, variables: dict[str, str], *arguments: str, stdin: str = ""
) -> subprocess.CompletedProcess[str]:
    """Run the command line of the task as mise does: by a shell, in the repository's folder."""
    return subprocess.run(
        ["/bin/sh", "-c", f'{TASKS[name]["run"]} "$@"', "task", *arguments],
        env=variables,
        cwd=ROOT,
        input=stdin,
        capture_output=True,
        text=True,
        timeout=2 * TIMEOUT,
        check=False,
    )


def alembic(variables: dict[str, str], revision: str) -> None:
    uv = [str(UV), "run", "--directory", str(BACKEND)]
    subprocess.run(
        [*uv, "alembic", "upgrade", revision], env=variables, timeout=2 * TIMEOUT, check=True
    )


@pytest.mark.slow
async def test_python_task_notebook_load_has_right_numbers_at_head(
    tmp_path: Path,
) -> None:
    data_dir = tmp_path / "data"
    variables = environment(data_dir, tmp_path)
    (tmp_path / "deals.csv").write_text(DEALS_CSV)

    alembic(variables, "0001")
    result = run_task("python", variables, stdin=NOTEBOOK)
    assert result.returncode == 0, result.stderr
    assert result.stderr == ""
    alembic(variables, "head")

    with embedded_postgres(data_dir, options=SERVER_OPTIONS) as server:
        connection = await asyncpg.connect(dsn(make_url(server.url())))
        await connection.execute("SET TIME ZONE 'UTC'")
        hotels = [tuple(row) for row in await connection.fetch(HOTELS)]
        links = [tuple(row) for row in await connection.fetch(LINKS)]
        await connection.close()
    zurich, sydney = "+41-44-555-9557", "+61-2-555-3505"
    assert [name for name, _, _ in hotels] == ["City Hotel", "Zum Löwen"]
    assert all(stored == actual for _, stored, actual in hotels)
    assert links == [
        (1, zurich, "2026-08-28 00:10:25+00", "2027-06-30", ["business"]),
        (2, sydney, "2026-09-05 02:04:35+00", "2027-08-27", ["beach", "luxury"]),
        (3, zurich, "2026-09-05 02:04:36+00", "2027-01-01", ["beach", "business"]),
        (4, zurich, "2026-09-06 12:00:00+00", "2027-02-01", []),
    ]


@pytest.mark.slow
def test_python_task_without_schema_suggests_migrate(tmp_path: Path) -> None:
    variables = environment(tmp_path / "data", tmp_path)
    script = (
        "def one():\n    return 1\none() + 1\npd.read_sql('SELECT 5 AS five', db).five.item()\n"
    )

    result = run_task("python", variables, stdin=script)

    assert (result.returncode, result.stdout) == (0, "2\n5\n")
    assert result.stderr == "the database is empty: `mise run db:migrate` creates its tables\n"


def test_python_task_failing_script_exits_with_its_error(database_url: str, tmp_path: Path) -> None:
    variables = {**environment(tmp_path / "data", tmp_path), "DATABASE_URL": database_url}

    result = run_task("python", variables, "-c", "print('before')\n1 / 0\nprint('after')")

    assert (result.returncode, result.stdout) == (1, "before\n")
    assert result.stderr.endswith("ZeroDivisionError: division by zero\n")
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("postgresql://user:hidden@127.0.0.1:1/deals", "the database is not available: "),
        pytest.param(
            "mysql://user:hidden@127.0.0.1/deals",
            "wrong settings: DATABASE_URL: ",
            marks=pytest.mark.slow,
        ),
    ],
)
def test_python_task_unavailable_database_prints_one_line(
    url: str, said: str, tmp_path: Path
) -> None:
    variables = {**environment(tmp_path / "data", tmp_path), "DATABASE_URL": url}

    result = run_task("python", variables, "-c", "db")

    assert result.returncode == 1
    assert result.stderr.startswith(said)
    assert result.stderr.count("\n") == 1
    assert "hidden" not in result.stderr
