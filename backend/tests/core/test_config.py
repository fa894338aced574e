import re
from pathlib import Path

import pytest
from pydantic import ValidationError

from app.core.config import Settings, load_settings
from app.core.errors import ConfigurationError

pytestmark = pytest.mark.unit

BACKEND = Path(__file__).parents[2]
ENV_EXAMPLE = BACKEND / ".env.example"
ASSIGNMENT = re.compile(r"#([A-Z_]+)=(.*)")
VARIABLES = {name.upper() for name in Settings.model_fields}
# Variables of the tests, unknown to the service.
TEST_VARIABLES = {"TEST_DATABASE_URL"}

# The placeholder of a password.
WORD = "correct-horse"


@pytest.fixture(autouse=True)
def bare_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)


def load() -> Settings:
    """Return the settings of a process with this environment and without `.env`."""
    return load_settings(_env_file=None)


def example_lines() -> list[tuple[str, str, list[str]]]:
    """Return each variable of `.env.example`, its value, and the comment above it."""
    found = []
    comment: list[str] = []
    for line in ENV_EXAMPLE.read_text().splitlines():
        if match := ASSIGNMENT.fullmatch(line):
            found.append((match[1], match[2], comment))
        if line.startswith("# "):
            comment.append(line)
        else:
            comment = []
    return found


class TestEnvExample:
    def test_names_every_setting_once(self) -> None:
        names = [name for name, _, _ in example_lines()]

        assert sorted(names) == sorted(VARIABLES | TEST_VARIABLES)

    def test_documents_every_setting(self) -> None:
        undocumented = [name for name, _, comment in example_lines() if not comment]

        assert undocumented == []

    def test_shows_defaults(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        # A relative DATA_DIR starts at the working folder, which is backend/ for every task.
        monkeypatch.chdir(BACKEND)
        file = tmp_path / ".env"
        file.write_text("".join(f"{name}={value}\n" for name, value, _ in example_lines()))

        assert load_settings(_env_file=file) == load()

    def test_unchanged_file_loads_defaults(self) -> None:
        assert load_settings(_env_file=ENV_EXAMPLE) == load()


class TestLoadSettings:
    def test_environment_overrides_file(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
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
    def test_invalid_value_raises_one_line_naming_variable(
        self, name: str, value: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv(name, value)

        with pytest.raises(ConfigurationError) as caught:
            load()

        message = str(caught.value)
        assert "\n" not in message
        assert f"{name}: " in message

    def test_several_invalid_values_are_all_named(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("DB_POOL_SIZE", "0")
        monkeypatch.setenv("LOG_FORMAT", "xml")

        with pytest.raises(ConfigurationError, match=r"DB_POOL_SIZE: .*; LOG_FORMAT: "):
            load()

    @pytest.mark.parametrize(
        "name",
        ["DATABASE_URL", "READ_DATABASE_URL", "SIGNING_KEY", "UPLOADS_URL", "AWS_ENDPOINT_URL"],
    )
    def test_empty_value_becomes_none(self, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv(name, "")
        settings = load()

        assert getattr(settings, name.lower()) is None

    @pytest.mark.parametrize("scheme", ["postgres", "postgresql", "postgresql+asyncpg"])
    def test_database_url_scheme_becomes_asyncpg(
        self, scheme: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        rest = "user:p%40ss@host:5433/database?ssl=require"
        monkeypatch.setenv("DATABASE_URL", f"{scheme}://{rest}")
        url = load().database_url

        assert url is not None
        assert url.get_secret_value() == f"postgresql+asyncpg://{rest}"

    def test_data_dir_becomes_absolute_with_home_expanded(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.chdir(tmp_path)
        monkeypatch.setenv("HOME", str(tmp_path / "home"))

        monkeypatch.setenv("DATA_DIR", "here")
        assert load().data_dir == tmp_path / "here"
        monkeypatch.setenv("DATA_DIR", "~/there")
        assert load().data_dir == tmp_path / "home" / "there"

    def test_loaded_settings_are_frozen(self) -> None:
        settings = load()

        with pytest.raises(ValidationError, match="frozen"):
            settings.log_level = "DEBUG"  # type: ignore[misc]

    def test_pgbouncer_without_direct_url_raises_error(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """LISTEN and locks need a direct connection: PgBouncer accepts them without effect."""
        monkeypatch.setenv("DB_PGBOUNCER", "true")
        monkeypatch.setenv("DATABASE_URL", "postgresql://pooler/deals")
        with pytest.raises(ConfigurationError, match=r"DB_PGBOUNCER needs .* DIRECT_DATABASE_URL$"):
            load()

        monkeypatch.setenv("DIRECT_DATABASE_URL", "postgresql://server/deals")
        settings = load()

        assert settings.direct_database_url is not None
        direct = settings.direct_database_url.get_secret_value()
        assert direct == "postgresql+asyncpg://server/deals"

    def test_comma_separated_value_becomes_tuple(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("CORS_ORIGINS", "https://shop.example, http://localhost:3000,")
        monkeypatch.setenv("FORWARDED_ALLOW_IPS", "10.0.0.0/8,::1")
        settings = load()

        assert settings.cors_origins == ("https://shop.example", "http://localhost:3000")
        assert settings.forwarded_allow_ips == ("10.0.0.0/8", "::1")


class TestSecrets:
    @pytest.mark.parametrize("name", ["DATABASE_URL", "READ_DATABASE_URL"])
    def test_database_password_is_hidden(self, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv(name, f"postgresql://user:{WORD}@host/database")
        settings = load()

        assert WORD not in repr(settings)
        assert WORD not in str(settings)
        assert WORD not in str(settings.model_dump())
        assert WORD not in settings.model_dump_json()

    def test_signing_key_is_hidden(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("SIGNING_KEY", key := WORD * 3)

        assert key not in repr(load())
        assert key not in load().model_dump_json()

    @pytest.mark.parametrize("name", ["DATABASE_URL", "READ_DATABASE_URL"])
    def test_invalid_url_error_hides_password(
        self, name: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv(name, f"postgresql+asyncpg:/user:{WORD}@host/database")

        with pytest.raises(ConfigurationError) as caught:
            load()

        assert WORD not in str(caught.value)
        assert caught.value.__cause__ is None
        assert caught.value.__suppress_context__
