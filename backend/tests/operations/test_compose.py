"""docker-compose.yml, checked without Docker."""

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import make_url
from tests.operations.files import (
    BACKEND,
    DOCUMENTS,
    ROOT,
    last_instruction,
    load_compose,
    seconds,
)
from tests.support.programs import give_up, install, require_program

from app.cli.main import app
from app.core.config import Settings, load_settings
from app.jobs.shutdown_signals import GRACE_SECONDS
from app.server.runner import DRAIN_SECONDS

pytestmark = pytest.mark.integration

CHECK = Path(sys.executable).with_name("check-jsonschema")

# The services whose image this repository builds.
OURS = ("migrate", "backend", "worker", "backend-1", "backend-2")

# docs use these names: `docker compose --profile scale up -d proxy worker`, `docker compose exec
# backend …`
COMMAND = re.compile(r"docker compose(?: --profile (\w+))? (?:up -d((?: [a-z0-9-]+)*)|exec (\w+))")


def environments(services: dict[str, Any]) -> list[tuple[str, str]]:
    """Return the variables of all services, with their values."""
    return [item for each in services.values() for item in each.get("environment", {}).items()]


def test_compose_keeps_to_its_specification() -> None:
    subprocess.run(
        [CHECK, "--builtin-schema", "vendor.compose-spec", str(ROOT / "docker-compose.yml")],
        check=True,
    )


def test_compose_is_accepted_by_docker() -> None:
    # The schema above needs no Docker. This test runs on machines with Docker.
    docker = require_program("docker")
    if subprocess.run([docker, "compose", "version"], check=False).returncode:
        give_up("docker", f"docker has no compose: {install('docker')}")

    subprocess.run([docker, "compose", "config", "--quiet"], cwd=ROOT, check=True)


def test_compose_services_and_profiles_in_documents_exist() -> None:
    services = load_compose()["services"]
    found = [match for path in DOCUMENTS for match in COMMAND.findall(path.read_text())]

    assert len(found) > 2
    for profile, started, entered in found:
        assert {*started.split(), *filter(None, [entered])} <= services.keys()
        assert not profile or profile in {
            each for service in services.values() for each in service.get("profiles", ())
        }


def test_compose_default_services_need_no_profile() -> None:
    services = load_compose()["services"]
    default = {name for name, each in services.items() if "profiles" not in each}

    for name in default:
        assert services[name].get("depends_on", {}).keys() <= default


def test_compose_services_of_the_image_are_all_tested() -> None:
    services = load_compose()["services"]

    assert set(OURS) == {
        name
        for name, each in services.items()
        if "build" in each and ROOT / each["build"] == BACKEND
    }


@pytest.mark.parametrize("name", OURS)
def test_compose_command_is_accepted_by_cli(name: str) -> None:
    command, *arguments = load_compose()["services"][name]["command"]

    assert app.commands[command].make_context(command, arguments).params is not None


def test_compose_publishes_ports_on_this_machine_only() -> None:
    services = load_compose()["services"].values()
    published = [port for service in services for port in service.get("ports", ())]

    assert published
    assert all(port.startswith("127.0.0.1:") for port in published)


def test_compose_postgresql_is_the_version_of_the_tests() -> None:
    version = Settings.model_fields["embedded_postgres_version"].default

    assert load_compose()["services"]["db"]["image"] == f"postgres:{version}"


def test_compose_creates_the_databases_of_documented_urls() -> None:
    described = load_compose()
    db = described["services"]["db"]
    (config,) = db["configs"]
    script = described["configs"][config["source"]]["content"]
    texts = [path.read_text() for path in (*DOCUMENTS, ROOT / "docker-compose.yml")]
    urls = {
        make_url(url)
        for text in texts
        for url in re.findall(r"postgresql\+asyncpg://super:super@\S+", text)
    }

    assert config["target"].startswith("/docker-entrypoint-initdb.d/")
    assert {url.database for url in urls} == {
        db["environment"]["POSTGRES_DB"],
        *re.findall(r"CREATE DATABASE (\w+) OWNER super;", script),
    }
    assert {url.username for url in urls} == {db["environment"]["POSTGRES_USER"]}


def test_compose_keeps_data_in_declared_volumes() -> None:
    described = load_compose()
    services = described["services"]
    mounts = [mount for each in services.values() for mount in each.get("volumes", ())]

    assert {mount.partition(":")[0] for mount in mounts} == described["volumes"].keys()
    # The images of PostgreSQL 18 and later have their volume here.
    assert [mount.partition(":")[2] for mount in services["db"]["volumes"]] == [
        "/var/lib/postgresql"
    ]


def test_compose_services_wait_for_database_and_migration() -> None:
    services = load_compose()["services"]

    # The check must use TCP: the socket answers while the volume is still being prepared.
    assert services["db"]["healthcheck"]["test"][:3] == ["CMD", "pg_isready", "--host=127.0.0.1"]
    assert services["migrate"]["depends_on"] == {"db": {"condition": "service_healthy"}}
    migrated = {"migrate": {"condition": "service_completed_successfully"}}
    for name in OURS:
        assert name == "migrate" or services[name]["depends_on"].items() >= migrated.items()


def test_compose_takes_secrets_from_the_environment() -> None:
    variables = environments(load_compose()["services"])
    secrets = [value for name, value in variables if re.search("PASSWORD|SECRET|KEY", name)]
    passwords = re.findall(r"://\w+:(.+?)@", " ".join(value for _, value in variables))

    assert len(secrets) > 1
    assert len(passwords) > 1
    assert all(value.startswith("${") for value in (*secrets, *passwords))


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


@pytest.mark.parametrize("name", [*OURS, "proxy", "pgbouncer"])
def test_compose_service_has_no_more_rights_than_it_needs(name: str) -> None:
    service = load_compose()["services"][name]

    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert "privileged" not in service
    assert "user" not in service  # the image sets the user


def test_compose_uploads_are_shared_by_servers_and_workers() -> None:
    services = load_compose()["services"]
    environment = dict(item.split("=", 1) for item in last_instruction("ENV").split())
    user, _, group = last_instruction("USER").partition(":")
    folder = environment["DATA_DIR"]
    volumes = [
        [mount.partition(":")[0] for mount in each["volumes"] if mount.endswith(f":{folder}")]
        for name, each in services.items()
        if name in OURS and name != "migrate"
    ]

    assert volumes == [["uploads"]] * 4
    # A file of a load may be larger than the machine's memory.
    assert services["worker"]["tmpfs"] == []
    assert any(mount.endswith(":/tmp") for mount in services["worker"]["volumes"])
    # A new volume takes the owner of the folder in the image.
    assert (
        f"install --directory --owner={user} --group={group} --mode=0700 {folder}"
        in (BACKEND / "Dockerfile").read_text()
    )


def test_compose_waits_for_requests_in_flight() -> None:
    services = load_compose()["services"]

    assert seconds(services["backend"]["stop_grace_period"]) > DRAIN_SECONDS
    assert seconds(services["worker"]["stop_grace_period"]) > GRACE_SECONDS
    for name in ("backend-1", "backend-2"):
        delay = int(services[name]["environment"]["DRAIN_DELAY"])
        assert seconds(services[name]["stop_grace_period"]) > delay + DRAIN_SECONDS
    once = {name for name, each in services.items() if each["restart"] == "no"}
    assert once == {"migrate"}


def test_compose_configurations_and_dockerfiles_exist() -> None:
    described = load_compose()

    for service in described["services"].values():
        for config in service.get("configs", ()):
            source = described["configs"][config["source"]]
            assert "content" in source or (ROOT / source["file"]).is_file()
        if "build" in service:
            assert (ROOT / service["build"] / "Dockerfile").is_file()
