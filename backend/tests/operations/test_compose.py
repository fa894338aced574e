"""docker-compose.yml. None of it needs Docker."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
from tests.operations.files import BACKEND, ROOT, load_compose, seconds
from tests.support.programs import give_up, install, require_program

from app.core.config import Settings, load_settings
from app.jobs.limits import GRACE_SECONDS
from app.server.runner import DRAIN_SECONDS

pytestmark = pytest.mark.integration

CHECK = Path(sys.executable).with_name("check-jsonschema")

# The services whose image is built here.
OURS = ("migrate", "backend", "worker", "backend-1", "backend-2")
SCALED = {"pgbouncer", "backend-1", "backend-2", "proxy"}


def test_compose_has_a_database_the_service_and_a_worker() -> None:
    services = load_compose()["services"]

    assert {name for name in services if name not in SCALED} == {
        *("db", "migrate", "backend", "worker")
    }
    # Not without being asked for.
    assert {name for name, each in services.items() if each.get("profiles") == ["scale"]} == SCALED


def test_compose_keeps_to_its_specification() -> None:
    subprocess.run(
        [CHECK, "--builtin-schema", "vendor.compose-spec", str(ROOT / "docker-compose.yml")],
        check=True,
    )


def test_compose_publishes_ports_on_this_machine_only() -> None:
    services = load_compose()["services"].values()
    published = [port for service in services for port in service.get("ports", ())]

    assert published
    assert all(port.startswith("127.0.0.1:") for port in published)


def test_compose_runs_the_postgresql_that_the_tests_run() -> None:
    version = Settings.model_fields["embedded_postgres_version"].default

    assert load_compose()["services"]["db"]["image"] == f"postgres:{version}"


def test_compose_makes_both_databases() -> None:
    db = load_compose()["services"]["db"]
    environment = db["environment"]

    assert (environment["POSTGRES_USER"], environment["POSTGRES_DB"]) == ("super", "super")
    (config,) = db["configs"]
    assert config["target"].startswith("/docker-entrypoint-initdb.d/")
    script = load_compose()["configs"][config["source"]]["content"]
    assert script == "CREATE DATABASE super_test OWNER super;"


def test_compose_keeps_the_data_in_a_named_volume() -> None:
    db = load_compose()["services"]["db"]

    # Where the images of PostgreSQL 18 and later have their volume.
    (volume,) = db["volumes"]
    name, _, target = volume.partition(":")
    assert name in load_compose()["volumes"]
    assert target == "/var/lib/postgresql"


def test_compose_starts_the_service_when_the_database_answers() -> None:
    services = load_compose()["services"]

    # Over TCP: the socket answers while the volume is still being prepared.
    assert services["db"]["healthcheck"]["test"][:3] == ["CMD", "pg_isready", "--host=127.0.0.1"]
    assert services["migrate"]["depends_on"] == {"db": {"condition": "service_healthy"}}
    assert services["migrate"]["command"] == ["migrate"]
    migrated = {"migrate": {"condition": "service_completed_successfully"}}
    for name in ("backend", "worker", "backend-1", "backend-2"):
        assert services[name]["depends_on"].items() >= migrated.items()


def test_compose_takes_secrets_from_the_environment() -> None:
    services = load_compose()["services"]
    given = "${POSTGRES_PASSWORD:-super}"

    assert services["db"]["environment"]["POSTGRES_PASSWORD"] == given
    backend = services["backend"]["environment"]
    assert backend["DATABASE_URL"] == f"postgresql+asyncpg://super:{given}@db:5432/super"
    assert backend["SIGNING_KEY"].startswith("${SIGNING_KEY:-")


@pytest.mark.parametrize("name", OURS)
def test_compose_sets_only_variables_that_the_service_knows(name: str) -> None:
    environment = load_compose()["services"][name]["environment"]
    defaults = {
        name.lower(): re.sub(r"\$\{\w+:-(.*?)\}", r"\1", value)
        for name, value in environment.items()
    }

    assert defaults.keys() <= Settings.model_fields.keys()
    settings = load_settings(_env_file=None, app_env="production", **defaults)
    direct = settings.direct_database_url if settings.db_pgbouncer else settings.database_url
    assert direct is not None
    assert direct.get_secret_value().endswith("://super:super@db:5432/super")


@pytest.mark.parametrize("name", OURS)
def test_compose_leaves_the_service_no_more_than_it_needs(name: str) -> None:
    service = load_compose()["services"][name]

    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert "privileged" not in service
    assert "user" not in service  # the image's own


def test_compose_has_uploads_where_both_find_them() -> None:
    described = load_compose()
    services = described["services"]
    backend, worker = (services[name]["volumes"] for name in ("backend", "worker"))
    dockerfile = (BACKEND / "Dockerfile").read_text()

    assert backend == services["backend-1"]["volumes"] == ["uploads:/data"]
    assert worker == ["uploads:/data", "scratch:/tmp"]
    assert {"uploads", "scratch"} <= set(described["volumes"])
    assert "DATA_DIR=/data" in dockerfile
    # A new volume takes the owner of the image's folder.
    assert "install --directory --owner=10001 --group=10001 --mode=0700 /data" in dockerfile


def test_compose_waits_for_requests_under_way() -> None:
    services = load_compose()["services"]

    assert seconds(services["backend"]["stop_grace_period"]) > DRAIN_SECONDS
    assert seconds(services["worker"]["stop_grace_period"]) > GRACE_SECONDS
    for name in ("backend-1", "backend-2"):
        delay = int(services[name]["environment"]["DRAIN_DELAY"])
        assert seconds(services[name]["stop_grace_period"]) > delay + DRAIN_SECONDS
    once = {name for name, each in services.items() if each["restart"] == "no"}
    assert once == {"migrate"}


@pytest.mark.parametrize("name", OURS)
def test_compose_builds_the_image_that_is_here(name: str) -> None:
    context = ROOT / load_compose()["services"][name]["build"]

    assert context == BACKEND
    assert (context / "Dockerfile").is_file()


def test_compose_is_what_docker_takes() -> None:
    # The schema above holds everywhere; this is for machines that have Docker.
    docker = require_program("docker")
    if subprocess.run([docker, "compose", "version"], check=False).returncode:
        give_up("docker", f"docker has no compose: {install('docker')}")

    subprocess.run([docker, "compose", "config", "--quiet"], cwd=ROOT, check=True)


@pytest.mark.parametrize("name", ["proxy", "pgbouncer"])
def test_compose_mounts_configurations_that_are_here(name: str) -> None:
    service = load_compose()["services"][name]

    for config in service["configs"]:
        described = load_compose()["configs"][config["source"]]
        assert "content" in described or (ROOT / described["file"]).is_file()
    if "build" in service:
        assert (ROOT / service["build"] / "Dockerfile").is_file()
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
