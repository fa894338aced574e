import re
from pathlib import Path

import pytest
from pydantic import ValidationError

from app.core.config import Settings, load_settings
from app.core.errors import ConfigurationError

pytestmark = pytest.mark.unit

BACKEND = Path(__file__).parents[2]
EXAMPLE = BACKEND / ".env.example"
ASSIGNMENT = re.compile(r"#([A-Z_]+)=(.*)")
VARIABLES = {name.upper() for name in Settings.model_fields}
# What the tests read, not the service.
OF_THE_TESTS = {"TEST_DATABASE_URL"}

# Stands for a password.
WORD = "correct-horse"


@pytest.fixture(autouse=True)
def bare_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)


def load() -> Settings:
    """What a process with this environment, and without a `.env`, would run with."""
    return load_settings(_env_file=None)


def example_lines() -> list[tuple[str, str, list[str]]]:
    """Each variable of `.env.example`, the value written there, and the lines above it."""
    found = []
    comment: list[str] = []
    for line in EXAMPLE.read_text().splitlines():
        if match := ASSIGNMENT.fullmatch(line):
            found.append((match[1], match[2], comment))
        if line.startswith("# "):
            comment.append(line)
        else:
            comment = []
    return found


def test_the_example_names_every_setting_once() -> None:
    names = [name for name, _, _ in example_lines()]

    assert sorted(names) == sorted(VARIABLES | OF_THE_TESTS)


def test_the_example_says_what_each_setting_is_for() -> None:
    undocumented = [name for name, _, comment in example_lines() if not comment]

    assert undocumented == []


def test_the_example_shows_the_defaults(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # A relative DATA_DIR counts from the working folder, which is backend/ for every task.
    monkeypatch.chdir(BACKEND)
    file = tmp_path / ".env"
    file.write_text("".join(f"{name}={value}\n" for name, value, _ in example_lines()))

    assert load_settings(_env_file=file) == load()


def test_the_example_is_a_valid_file_as_it_is() -> None:
    assert load_settings(_env_file=EXAMPLE) == load()


def test_the_environment_wins_over_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / ".env"
    file.write_text("LOG_LEVEL=ERROR\nDB_POOL_SIZE=7\n")
    monkeypatch.setenv("LOG_LEVEL", "DEBUG")

    settings = load_settings(_env_file=file)

    assert (settings.log_level, settings.db_pool_size) == ("DEBUG", 7)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("APP_ENV", "staging"),
        ("EMBEDDED_POSTGRES_VERSION", "15"),
        ("EMBEDDED_POSTGRES_VERSION", "eighteen"),
        ("DB_POOL_SIZE", "0"),
        ("DB_POOL_SIZE", "five"),
        ("DB_POOL_SIZE", "1001"),
        ("DB_MAX_OVERFLOW", "-1"),
        ("DB_POOL_RECYCLE", "-2"),
        ("DB_POOL_TIMEOUT", "0"),
        ("DB_CONNECT_TIMEOUT", "-1"),
        ("DB_READ_TIMEOUT", "0"),
        ("DB_STATEMENT_TIMEOUT", "0"),
        ("DB_LOCK_TIMEOUT", "soon"),
        ("DB_HEALTH_TIMEOUT", "0"),
        ("EXPORT_CONCURRENCY", "0"),
        ("EXPORT_TIMEOUT", "0"),
        ("EXPORT_STALL_TIMEOUT", "-1"),
        ("SIGNING_KEY", "short"),
        ("CORS_ORIGINS", "https://shop.example/"),
        ("CORS_ORIGINS", "shop.example"),
        ("CORS_ORIGINS", "https://shop.example,*"),
        ("HSTS_SECONDS", "-1"),
        ("FORWARDED_ALLOW_IPS", "proxy"),
        ("FORWARDED_ALLOW_IPS", "10.0.0.1/8"),
        ("MAX_BODY_BYTES", "0"),
        ("MAX_UPLOAD_BYTES", "68719476737"),
        ("UPLOADS_URL", "gs://bucket"),
        ("UPLOADS_URL", "s3://"),
        ("UPLOADS_URL", "s3://key:secret@bucket"),
        ("UPLOADS_URL", "s3://bucket?region=x"),
        ("AWS_ENDPOINT_URL", "minio:9000"),
        ("AWS_ENDPOINT_URL", "http://minio:port"),
        ("MAX_REQUESTS_IN_PROGRESS", "0"),
        ("REQUEST_ARRIVAL_TIMEOUT", "0"),
        ("DRAIN_DELAY", "-1"),
        ("METRICS_PATH", "metrics"),
        ("METRICS_PATH", "/a b"),
        ("METRICS_PORT", "0"),
        ("METRICS_PORT", "65536"),
        ("LOG_LEVEL", "LOUD"),
        ("LOG_FORMAT", "xml"),
        ("DATABASE_URL", "mysql://user@host/database"),
        ("DATABASE_URL", "postgresql+psycopg2://user@host/database"),
        ("DATABASE_URL", "host"),
        ("READ_DATABASE_URL", "sqlite:///deals.db"),
    ],
)
def test_a_wrong_value_is_one_line_that_names_the_variable(
    name: str, value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, value)

    with pytest.raises(ConfigurationError) as caught:
        load()

    message = str(caught.value)
    assert "\n" not in message
    assert f"{name}: " in message


def test_every_wrong_value_is_named_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DB_POOL_SIZE", "0")
    monkeypatch.setenv("LOG_FORMAT", "xml")

    with pytest.raises(ConfigurationError, match=r"DB_POOL_SIZE: .*; LOG_FORMAT: "):
        load()


@pytest.mark.parametrize("name", ["DATABASE_URL", "READ_DATABASE_URL"])
def test_a_password_is_never_shown(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, f"postgresql://user:{WORD}@host/database")
    settings = load()

    assert WORD not in repr(settings)
    assert WORD not in str(settings)
    assert WORD not in str(settings.model_dump())
    assert WORD not in settings.model_dump_json()


def test_the_signing_key_is_never_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SIGNING_KEY", key := WORD * 3)

    assert key not in repr(load())
    assert key not in load().model_dump_json()


@pytest.mark.parametrize("name", ["DATABASE_URL", "READ_DATABASE_URL"])
def test_a_wrong_url_does_not_give_its_password_away(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, f"postgresql+asyncpg:/user:{WORD}@host/database")

    with pytest.raises(ConfigurationError) as caught:
        load()

    assert WORD not in str(caught.value)
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__


@pytest.mark.parametrize(
    "name", ["DATABASE_URL", "READ_DATABASE_URL", "SIGNING_KEY", "UPLOADS_URL", "AWS_ENDPOINT_URL"]
)
def test_an_empty_value_means_none(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, "")
    settings = load()

    assert getattr(settings, name.lower()) is None


@pytest.mark.parametrize("scheme", ["postgres", "postgresql", "postgresql+asyncpg"])
def test_the_usual_spellings_of_a_url_mean_asyncpg(
    scheme: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    rest = "user:p%40ss@host:5433/database?ssl=require"
    monkeypatch.setenv("DATABASE_URL", f"{scheme}://{rest}")
    url = load().database_url

    assert url is not None
    assert url.get_secret_value() == f"postgresql+asyncpg://{rest}"


def test_data_dir_is_absolute_and_knows_the_home_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))

    monkeypatch.setenv("DATA_DIR", "here")
    assert load().data_dir == tmp_path / "here"
    monkeypatch.setenv("DATA_DIR", "~/there")
    assert load().data_dir == tmp_path / "home" / "there"


def test_settings_do_not_change() -> None:
    settings = load()

    with pytest.raises(ValidationError, match="frozen"):
        settings.log_level = "DEBUG"  # type: ignore[misc]


def test_a_pooler_needs_the_database_behind_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Through it alone LISTEN and locks would seem to work."""
    monkeypatch.setenv("DB_PGBOUNCER", "true")
    monkeypatch.setenv("DATABASE_URL", "postgresql://pooler/deals")
    with pytest.raises(ConfigurationError, match=r"DB_PGBOUNCER needs .* DIRECT_DATABASE_URL$"):
        load()

    monkeypatch.setenv("DIRECT_DATABASE_URL", "postgresql://server/deals")
    settings = load()

    assert settings.direct_database_url is not None
    direct = settings.direct_database_url.get_secret_value()
    assert direct == "postgresql+asyncpg://server/deals"


def test_lists_are_separated_by_commas(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CORS_ORIGINS", "https://shop.example, http://localhost:3000,")
    monkeypatch.setenv("FORWARDED_ALLOW_IPS", "10.0.0.0/8,::1")
    settings = load()

    assert settings.cors_origins == ("https://shop.example", "http://localhost:3000")
    assert settings.forwarded_allow_ips == ("10.0.0.0/8", "::1")
