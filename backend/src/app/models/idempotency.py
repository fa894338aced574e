"""Stored responses to POST requests with an `Idempotency-Key` header."""

from sqlalchemy import Column, DateTime, Index, LargeBinary, SmallInteger, Table, Text, func
from sqlalchemy.dialects.postgresql import JSONB

from app.db.base import Base

idempotency_keys = Table(
    "idempotency_keys",
    Base.metadata,
    Column("route", Text, primary_key=True),
    Column("actor", Text, primary_key=True),
    Column("key", Text, primary_key=True),
    Column("body_hash", LargeBinary, nullable=False),
    Column("status", SmallInteger, nullable=False),
    Column("headers", JSONB, nullable=False),
    Column("body", LargeBinary, nullable=False),
    Column("created_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
    Index(None, "created_at"),
)
