"""API keys, which authorize writes."""

from datetime import datetime

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    DateTime,
    Identity,
    LargeBinary,
    Text,
    UniqueConstraint,
    func,
)
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.orm import Mapped, mapped_column

from app.core.limits import MAX_KEY_NAME_LENGTH
from app.db.base import Base
from app.models.checks import trimmed_text


class ApiKey(Base):
    """An API key without its secret.

    `lookup` is the key's public half. `secret_hash` is the SHA-256 hash of the key's secret half.
    """

    __tablename__ = "api_keys"
    __table_args__ = (
        UniqueConstraint("name"),
        UniqueConstraint("lookup"),
        trimmed_text("name", MAX_KEY_NAME_LENGTH),
        CheckConstraint(
            "cardinality(scopes) > 0 AND scopes <@ ARRAY['deals:write', 'imports:write', 'admin']",
            name="scopes",
        ),
    )

    id: Mapped[int] = mapped_column(BigInteger, Identity(), primary_key=True)
    name: Mapped[str] = mapped_column(Text)
    lookup: Mapped[str] = mapped_column(Text)
    secret_hash: Mapped[bytes] = mapped_column(LargeBinary)
    scopes: Mapped[list[str]] = mapped_column(ARRAY(Text))
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())
    last_used_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    revoked_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
