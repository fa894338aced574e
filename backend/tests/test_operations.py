"""What surrounds the service: tasks, the prompt, the image, compose. None of it needs Docker."""

import json
import os
import re
import shutil
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import asyncpg
import pytest
import yaml
from sqlalchemy import make_url
from tests.databases import SERVER_OPTIONS, dsn

from app.config import Settings, load_settings
from app.db.embedded import embedded_postgres
from app.jobs.limits import GRACE_SECONDS
from app.serving import DRAIN_SECONDS

pytestmark = pytest.mark.integration

BACKEND = Path(__file__).parents[1]
ROOT = BACKEND.parent
TASKS = tomllib.loads((ROOT / "mise.toml").read_text())["tasks"]
UV = os.environ.get("UV") or shutil.which("uv")
DEADLINE = 120


def compose() -> dict[str, Any]:
    """docker-compose.yml, as written: variables are not filled in."""
    loaded: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
    return loaded


def seconds(duration: str) -> int:
    match = re.fullmatch(r"(\d+)s", duration)
    assert match is not None, duration
    return int(match[1])


def dockerfile() -> list[tuple[str, str]]:
    """The Dockerfile's instructions and their arguments, continued lines joined."""
    text = (BACKEND / "Dockerfile").read_text().replace("\\\n", " ")
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    return [(word, rest.strip()) for word, _, rest in (line.partition(" ") for line in lines)]


def last(instruction: str) -> str:
    return [arguments for word, arguments in dockerfile() if word == instruction][-1]


# --- docker-compose.yml

# The services whose image is built here.
OURS = ("backend", "worker")


def test_compose_has_a_database_the_service_and_a_worker() -> None:
    assert set(compose()["services"]) == {"db", "backend", "worker"}


def test_compose_publishes_ports_on_this_machine_only() -> None:
    services = compose()["services"].values()
    published = [port for service in services for port in service.get("ports", ())]

    assert published
    assert all(port.startswith("127.0.0.1:") for port in published)


def test_compose_runs_the_postgresql_that_the_tests_run() -> None:
    version = Settings.model_fields["embedded_postgres_version"].default

    assert compose()["services"]["db"]["image"] == f"postgres:{version}"


def test_compose_makes_both_databases() -> None:
    db = compose()["services"]["db"]
    environment = db["environment"]

    assert (environment["POSTGRES_USER"], environment["POSTGRES_DB"]) == ("super", "super")
    (config,) = db["configs"]
    assert config["target"].startswith("/docker-entrypoint-initdb.d/")
    script = compose()["configs"][config["source"]]["content"]
    assert script == "CREATE DATABASE super_test OWNER super;"


def test_compose_keeps_the_data_in_a_named_volume() -> None:
    db = compose()["services"]["db"]

    # Where the images of PostgreSQL 18 and later have their volume.
    (volume,) = db["volumes"]
    name, _, target = volume.partition(":")
    assert name in compose()["volumes"]
    assert target == "/var/lib/postgresql"


def test_compose_starts_the_service_when_the_database_answers() -> None:
    services = compose()["services"]

    # Over TCP: the socket answers while the volume is still being prepared.
    assert services["db"]["healthcheck"]["test"][:3] == ["CMD", "pg_isready", "--host=127.0.0.1"]
    assert services["backend"]["depends_on"] == {"db": {"condition": "service_healthy"}}
    # Which has migrated then.
    assert services["worker"]["depends_on"] == {"backend": {"condition": "service_healthy"}}


def test_compose_takes_secrets_from_the_environment() -> None:
    services = compose()["services"]
    given = "${POSTGRES_PASSWORD:-super}"

    assert services["db"]["environment"]["POSTGRES_PASSWORD"] == given
    backend = services["backend"]["environment"]
    assert backend["DATABASE_URL"] == f"postgresql+asyncpg://super:{given}@db:5432/super"
    assert backend["SIGNING_KEY"].startswith("${SIGNING_KEY:-")


@pytest.mark.parametrize("name", OURS)
def test_compose_sets_only_variables_that_the_service_knows(name: str) -> None:
    environment = compose()["services"][name]["environment"]
    defaults = {
        name.lower(): re.sub(r"\$\{\w+:-(.*?)\}", r"\1", value)
        for name, value in environment.items()
    }

    assert set(defaults) <= set(Settings.model_fields)
    settings = load_settings(_env_file=None, app_env="production", **defaults)
    assert settings.database_url is not None
    assert settings.database_url.get_secret_value().endswith("://super:super@db:5432/super")


@pytest.mark.parametrize("name", OURS)
def test_compose_leaves_the_service_no_more_than_it_needs(name: str) -> None:
    service = compose()["services"][name]

    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert "privileged" not in service
    assert "user" not in service  # the image's own


def test_compose_has_uploads_where_both_find_them() -> None:
    described = compose()
    backend, worker = (described["services"][name]["volumes"] for name in OURS)
    dockerfile = (BACKEND / "Dockerfile").read_text()

    assert backend == ["uploads:/data"]
    assert worker == ["uploads:/data", "scratch:/tmp"]
    assert {"uploads", "scratch"} <= set(described["volumes"])
    assert "DATA_DIR=/data" in dockerfile
    # A new volume takes the owner of the image's folder.
    assert "install --directory --owner=10001 --group=10001 --mode=0700 /data" in dockerfile


def test_compose_waits_for_requests_under_way() -> None:
    services = compose()["services"]

    assert seconds(services["backend"]["stop_grace_period"]) > DRAIN_SECONDS
    assert seconds(services["worker"]["stop_grace_period"]) > GRACE_SECONDS
    assert {service["restart"] for service in services.values()} == {"unless-stopped"}


@pytest.mark.parametrize("name", OURS)
def test_compose_builds_the_image_that_is_here(name: str) -> None:
    context = ROOT / compose()["services"][name]["build"]

    assert context == BACKEND
    assert (context / "Dockerfile").is_file()


def test_compose_is_what_docker_takes() -> None:
    docker = shutil.which("docker")
    if docker is None or subprocess.run([docker, "compose", "version"], check=False).returncode:
        pytest.skip("docker compose is not installed")

    subprocess.run([docker, "compose", "config", "--quiet"], cwd=ROOT, check=True)


# --- Dockerfile


def test_the_image_is_locked_and_without_development_tools() -> None:
    syncs = [rest for word, rest in dockerfile() if word == "RUN" and "uv sync" in rest]

    assert len(syncs) == 2
    for sync in syncs:
        assert "--locked --no-dev" in sync
        assert "--extra" not in sync


def test_the_image_is_not_run_by_root() -> None:
    user, _, group = last("USER").partition(":")

    assert int(user) > 0
    assert int(group) > 0


def test_the_image_runs_in_production_and_writes_nothing() -> None:
    environment = dict(item.split("=", 1) for item in last("ENV").split())

    assert environment["APP_ENV"] == "production"
    assert environment["PYTHONDONTWRITEBYTECODE"] == "1"
    assert any(word == "ENV" and "UV_COMPILE_BYTECODE=1" in rest for word, rest in dockerfile())


def test_the_image_migrates_before_it_serves_and_gets_signals() -> None:
    # JSON lists: no shell between the container and the command.
    command = json.loads(last("ENTRYPOINT")) + json.loads(last("CMD"))

    assert command[:2] == ["deals", "serve"]
    assert "--migrate" in command
    assert command[command.index("--host") + 1] == "0.0.0.0"  # noqa: S104 - inside the container
    assert command[command.index("--port") + 1] == last("EXPOSE")


def test_the_image_checks_its_health_with_what_it_has() -> None:
    check = json.loads(last("HEALTHCHECK").partition(" CMD ")[2])

    assert check[:2] == ["python", "-c"]
    assert f"http://127.0.0.1:{last('EXPOSE')}/health" in check[2]
    compile(check[2], "HEALTHCHECK", "exec")


def test_what_the_image_copies_is_let_through() -> None:
    ignored = (BACKEND / ".dockerignore").read_text().splitlines()
    copied = {
        part.removeprefix("./")
        for word, rest in dockerfile()
        if word == "COPY" and not rest.startswith("--from")
        for part in rest.split()[:-1]
    }

    assert ignored[ignored.index("*") + 1 :]
    assert copied == {line.removeprefix("!") for line in ignored if line.startswith("!")}
    assert all((BACKEND / name).exists() for name in copied)


# --- mise.toml and the git hook


def test_every_task_is_there_and_says_what_it_does() -> None:
    assert set(TASKS) == {
        "install:backend",
        "dev:backend",
        "worker",
        "test:backend",
        "test:pgbouncer",
        "typecheck:backend",
        "lint:backend",
        "lint:api",
        "format:backend",
        "format:backend:check",
        "check",
        "db:generate",
        "db:migrate",
        "db:rollback",
        "python",
        "demo",
        "bench",
        "bench:scale",
        "bench:memory",
        "bench:load",
        "bench:export",
        "bench:flame",
        "bench:imports",
        "bench:overload",
        "bench:pages",
        "soak",
        "assets",
        "setup",
        "pre-commit",
    }
    assert all(task["description"] for task in TASKS.values())


def test_tasks_need_nothing_but_uv() -> None:
    document = tomllib.loads((ROOT / "mise.toml").read_text())
    commands = [
        command
        for task in TASKS.values()
        for command in ([task["run"]] if isinstance(task["run"], str) else task["run"])
        if isinstance(command, str)
    ]

    # Tools would be downloaded; templates would have mise ask whether the file is trusted.
    assert set(document) == {"tasks"}
    assert "{{" not in (ROOT / "mise.toml").read_text()
    assert all(
        re.match(r'(cd "\$MISE_ORIGINAL_CWD" && )?uv (run|sync) ', line) for line in commands
    )


def test_check_runs_every_check_there_is() -> None:
    (parallel, *_) = TASKS["check"]["run"]

    assert set(parallel["tasks"]) == {
        name for name in TASKS if name.startswith(("lint:", "typecheck:"))
    } | {name for name in TASKS if name.endswith(":check")}


def test_the_git_hook_needs_no_download() -> None:
    config = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())

    assert [repository["repo"] for repository in config["repos"]] == ["local"]
    hooks = config["repos"][0]["hooks"]
    assert {hook["language"] for hook in hooks} == {"system"}
    assert all(hook["entry"].startswith("uv run --directory backend ") for hook in hooks)


# --- mise run python

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
    """What mise gives a task that was typed in `working`."""
    if UV is None:
        pytest.skip("uv is not installed")
    kept = {name: os.environ[name] for name in ("HOME", "LANG") if name in os.environ}
    return {
        **kept,
        "PATH": f"{Path(UV).parent}:{os.environ['PATH']}",
        "UV_NO_SYNC": "1",  # other tests run in this environment
        "DATA_DIR": str(data_dir),
        "DATABASE_URL": "",
        "MISE_CONFIG_ROOT": str(ROOT),
        "MISE_ORIGINAL_CWD": str(working),
    }


def run_task(
    name: str, variables: dict[str, str], *arguments: str, stdin: str = ""
) -> subprocess.CompletedProcess[str]:
    """The task's own command line, as mise runs it: by a shell, in the repository's folder."""
    return subprocess.run(
        ["/bin/sh", "-c", f'{TASKS[name]["run"]} "$@"', "task", *arguments],
        env=variables,
        cwd=ROOT,
        input=stdin,
        capture_output=True,
        text=True,
        timeout=DEADLINE,
        check=False,
    )


def alembic(variables: dict[str, str], revision: str) -> None:
    uv = [str(UV), "run", "--directory", str(BACKEND)]
    subprocess.run(
        [*uv, "alembic", "upgrade", revision], env=variables, timeout=DEADLINE, check=True
    )


@pytest.mark.slow
async def test_a_notebook_fills_the_first_revision_and_its_numbers_are_right_at_head(
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
def test_the_prompt_works_without_a_schema_and_says_what_is_missing(tmp_path: Path) -> None:
    variables = environment(tmp_path / "data", tmp_path)
    script = (
        "def one():\n    return 1\none() + 1\npd.read_sql('SELECT 5 AS five', db).five.item()\n"
    )

    result = run_task("python", variables, stdin=script)

    assert (result.returncode, result.stdout) == (0, "2\n5\n")
    assert result.stderr == "the database is empty: `mise run db:migrate` makes its tables\n"


def test_a_failing_script_ends_with_its_error(database_url: str, tmp_path: Path) -> None:
    variables = {**environment(tmp_path / "data", tmp_path), "DATABASE_URL": database_url}

    result = run_task("python", variables, "-c", "print('before')\n1 / 0\nprint('after')")

    assert (result.returncode, result.stdout) == (1, "before\n")
    assert result.stderr.endswith("ZeroDivisionError: division by zero\n")
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("postgresql://user:hidden@127.0.0.1:1/deals", "the database is not available: "),
        ("mysql://user:hidden@127.0.0.1/deals", "wrong settings: DATABASE_URL: "),
    ],
)
def test_no_database_is_one_line(url: str, said: str, tmp_path: Path) -> None:
    variables = {**environment(tmp_path / "data", tmp_path), "DATABASE_URL": url}

    result = run_task("python", variables, "-c", "db")

    assert result.returncode == 1
    assert result.stderr.startswith(said)
    assert result.stderr.count("\n") == 1
    assert "hidden" not in result.stderr
