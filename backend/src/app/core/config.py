import os
import re
from ipaddress import ip_network
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from app.core.errors import ConfigurationError

_PROJECT = Path(__file__).resolve().parents[3]
# The folder of `.env` and `.data`: the project folder of a checkout, or the current folder if the
# package is installed.
_HOME = _PROJECT if (_PROJECT / "pyproject.toml").is_file() else Path.cwd()

# The pattern of an S3 URL. Credentials and queries are rejected, because they would be ignored.
_BUCKET = re.compile(r"s3://[a-z0-9][a-z0-9.-]{1,61}[a-z0-9](/[A-Za-z0-9._-]+)*/?", re.ASCII)

# The pattern of a CORS origin as browsers send it: lower-case and without a path.
_ORIGIN = re.compile(r"https?://([a-z0-9.-]+|\[[0-9a-f:.]+\])(:[0-9]{1,5})?", re.ASCII)

_ENDPOINT = re.compile(r"https?://([A-Za-z0-9.-]+|\[[0-9a-fA-F:.]+\])(:[0-9]{1,5})?/?", re.ASCII)


class Settings(BaseSettings):
    """The operator's settings, read once at start from the environment and `.env`.

    Settings are frozen and passed as arguments, so two applications in one process, for example in
    tests, can use different settings. `.env.example` documents each setting with its default.
    """

    model_config = SettingsConfigDict(env_file=_HOME / ".env", frozen=True, extra="ignore")

    app_env: Literal["development", "production"] = "development"
    data_dir: Path = _HOME / ".data"

    database_url: SecretStr | None = None
    read_database_url: SecretStr | None = None
    # True if `database_url` and `read_database_url` lead to PgBouncer in transaction mode. Then
    # `direct_database_url` is required.
    db_pgbouncer: bool = False
    direct_database_url: SecretStr | None = None
    embedded_postgres_version: Literal[16, 18] = 18

    db_pool_size: Annotated[int, Field(ge=1, le=1000)] = 5
    db_max_overflow: Annotated[int, Field(ge=0, le=1000)] = 10
    db_pool_recycle: Annotated[int, Field(ge=-1)] = 3600
    db_pool_timeout: Annotated[float, Field(gt=0)] = 5.0
    db_connect_timeout: Annotated[float, Field(gt=0)] = 1.0
    db_read_timeout: Annotated[float, Field(gt=0)] = 3.0
    db_statement_timeout: Annotated[float, Field(gt=0)] = 10.0
    db_lock_timeout: Annotated[float, Field(gt=0)] = 5.0
    # Time limit in seconds for health checks and the database queries of /metrics.
    db_health_timeout: Annotated[float, Field(gt=0)] = 1.0

    export_concurrency: Annotated[int, Field(ge=1, le=100)] = 2
    export_timeout: Annotated[float, Field(gt=0)] = 3600.0
    export_stall_timeout: Annotated[float, Field(gt=0)] = 60.0

    # The key that signs cursors. Production requires it, with the same value in all processes.
    signing_key: Annotated[SecretStr | None, Field(min_length=32)] = None

    max_body_bytes: Annotated[int, Field(ge=1024)] = 1024 * 1024
    max_upload_bytes: Annotated[int, Field(ge=1024, le=64 * 1024**3)] = 1024**3

    # The bucket for uploaded files. If unset, a folder in data_dir stores uploaded files.
    uploads_url: str | None = None
    # Validated in this class, because obstore reports a wrong URL late and unclearly.
    aws_endpoint_url: str | None = None

    # Seconds between a worker's heartbeats. A worker that misses three heartbeats counts as dead.
    worker_heartbeat: Annotated[float, Field(gt=0, le=300)] = 5.0
    # Days after an import's end until its uploaded file and its rejected rows are deleted. The row
    # counts are kept.
    upload_retention_days: Annotated[float, Field(ge=0)] = 7.0
    rejects_retention_days: Annotated[float, Field(ge=0)] = 30.0

    # Maximum number of concurrent requests per process. Load shedding refuses further requests.
    max_requests_in_progress: Annotated[int, Field(ge=1)] = 128
    # Time limit in seconds for receiving a request's head and body, or each piece of an upload.
    request_arrival_timeout: Annotated[float, Field(gt=0)] = 20.0
    # Seconds after SIGTERM during which the process still accepts new requests.
    drain_delay: Annotated[float, Field(ge=0, le=300)] = 0.0

    # Path of the Prometheus metrics. If metrics_port is set, only that port serves metrics. If the
    # path is empty, the API's port serves no metrics.
    metrics_path: Annotated[str, Field(pattern=r"^(/[A-Za-z0-9._/-]*)?$")] = "/metrics"
    metrics_host: str = "127.0.0.1"
    metrics_port: Annotated[int | None, Field(ge=1, le=65535)] = None

    # CORS: origins whose web pages may call the API.
    cors_origins: Annotated[tuple[str, ...], NoDecode] = ()
    # Strict-Transport-Security: for how many seconds browsers must use HTTPS. 0 omits the header.
    hsts_seconds: Annotated[int, Field(ge=0)] = 0
    # Addresses of trusted proxies, whose X-Forwarded-For header gives the client's address.
    forwarded_allow_ips: Annotated[tuple[str, ...], NoDecode] = ()

    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    log_format: Literal["auto", "json", "console"] = "auto"

    @field_validator("cors_origins", "forwarded_allow_ips", mode="before")
    @classmethod
    def _separated_by_commas(cls, value: Any) -> Any:
        if isinstance(value, str):
            return tuple(part.strip() for part in value.split(",") if part.strip())
        return value

    @field_validator("cors_origins")
    @classmethod
    def _origins(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        """Reject origins with a path or a trailing slash, because browsers send neither."""
        if value != ("*",) and not all(_ORIGIN.fullmatch(origin) for origin in value):
            raise ValueError("must look like https://host:port,https://other, or be *")
        return value

    @field_validator("forwarded_allow_ips")
    @classmethod
    def _addresses(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for address in value:
            ip_network(address)
        return value

    @field_validator("embedded_postgres_version", mode="before")
    @classmethod
    def _number_from_environment(cls, value: Any) -> Any:
        return int(value) if isinstance(value, str) and value.isdigit() else value

    @field_validator(
        "database_url",
        "read_database_url",
        "direct_database_url",
        "signing_key",
        "uploads_url",
        "aws_endpoint_url",
        "metrics_port",
        mode="before",
    )
    @classmethod
    def _empty_means_unset(cls, value: Any) -> Any:
        """Treat an empty value, such as `DATABASE_URL=` in a `.env` file, as unset."""
        return None if value == "" else value

    @field_validator("database_url", "read_database_url", "direct_database_url")
    @classmethod
    def _postgres_with_asyncpg(cls, value: SecretStr | None) -> SecretStr | None:
        """Accept the common forms of a PostgreSQL URL, and add the driver asyncpg to the URL.

        Without a driver in the URL, SQLAlchemy 2.1 would use psycopg.
        """
        if value is None:
            return None
        url = value.get_secret_value()
        scheme, separator, rest = url.partition("://")
        if not separator or scheme not in {"postgresql+asyncpg", "postgresql", "postgres"}:
            raise ValueError("must look like postgresql+asyncpg://user:password@host:5432/database")
        return SecretStr(f"postgresql+asyncpg://{rest}")

    @field_validator("uploads_url")
    @classmethod
    def _bucket(cls, value: str | None) -> str | None:
        if value is not None and not _BUCKET.fullmatch(value):
            raise ValueError("must look like s3://bucket/prefix")
        return value

    @field_validator("aws_endpoint_url")
    @classmethod
    def _endpoint(cls, value: str | None) -> str | None:
        if value is not None and not _ENDPOINT.fullmatch(value):
            raise ValueError("must look like https://host:port")
        return value

    @model_validator(mode="after")
    def _sessions_are_possible(self) -> Self:
        """Require a direct URL with PgBouncer, because LISTEN and session locks must bypass it."""
        if self.db_pgbouncer and not (self.database_url and self.direct_database_url):
            raise ValueError("DB_PGBOUNCER needs DATABASE_URL and DIRECT_DATABASE_URL")
        return self

    def with_command_timeouts(self) -> "Settings":
        """Return settings for commands, whose statements may run for up to an hour."""
        return self.model_copy(
            update=dict.fromkeys(("db_read_timeout", "db_statement_timeout"), 3600.0)
        )

    @field_validator("data_dir")
    @classmethod
    def _absolute(cls, value: Path) -> Path:
        return value.expanduser().absolute()


def is_traced() -> bool:
    """Return whether an `OTEL_EXPORTER_OTLP` variable of OpenTelemetry is set.

    If none is set, requests have no traces, and log lines are written without trace ids.
    """
    return any(name.startswith("OTEL_EXPORTER_OTLP") for name in os.environ)


def load_settings(**overrides: Any) -> Settings:
    """Return the settings of this process.

    Raises:
        ConfigurationError: a setting is invalid. The message is one line that names each invalid
            variable and its rule.
    """
    try:
        return Settings(**overrides)
    except ValidationError as error:
        problems = "; ".join(
            ": ".join(filter(None, [".".join(map(str, problem["loc"])).upper(), problem["msg"]]))
            for problem in error.errors(include_input=False, include_url=False)
        )
        raise ConfigurationError(f"wrong settings: {problems}") from None
