"""The tables behind the derived numbers.

Only triggers (docs/adr/0002) and `deals verify --fix` write to them. They are declared here so that
Alembic's autogenerate knows them.
"""

from sqlalchemy import (
    BigInteger,
    Column,
    ForeignKey,
    Identity,
    Integer,
    Numeric,
    SmallInteger,
    Table,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY

from app.db.base import Base

# With one row per category, all writers of "luxury" deals would wait for the same row lock until
# its holder has committed. Sixteen stripes by deal id make two writers collide one time in sixteen,
# and a reader adds up sixteen rows.
category_totals = Table(
    "category_totals",
    Base.metadata,
    Column("category_id", ForeignKey("categories.id", ondelete="CASCADE"), primary_key=True),
    Column("stripe", SmallInteger, primary_key=True, autoincrement=False),
    Column("deal_count", BigInteger, nullable=False, server_default=text("0")),
)

# The changes that a running transaction has not yet added to the totals. A row exists only inside
# its transaction, which deletes it before the commit. No other transaction sees it and it need not
# survive a crash, so the table is UNLOGGED.
hotel_changes = Table(
    "hotel_changes",
    Base.metadata,
    Column("transaction_id", BigInteger, primary_key=True, server_default=text("txid_current()")),
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column("hotel_id", BigInteger, nullable=False),
    Column("deal_count", BigInteger, nullable=False),
    Column("available_count", BigInteger, nullable=False),
    Column("star_sum", BigInteger, nullable=False),
    Column("price_sum", Numeric(20, 2), nullable=False),
    Column("available_price_sum", Numeric(20, 2), nullable=False),
    # The affected price steps and the change of the deal count in each (docs/adr/0010). Null if no
    # step is affected.
    Column("steps", ARRAY(SmallInteger)),
    Column("step_counts", ARRAY(Integer)),
    Column("available_step_counts", ARRAY(Integer)),
    prefixes=["UNLOGGED"],
)

category_changes = Table(
    "category_changes",
    Base.metadata,
    Column("transaction_id", BigInteger, primary_key=True, server_default=text("txid_current()")),
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column("category_id", BigInteger, nullable=False),
    Column("stripe", SmallInteger, nullable=False),
    Column("deal_count", BigInteger, nullable=False),
    prefixes=["UNLOGGED"],
)
