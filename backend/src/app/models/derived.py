"""Tables for derived numbers, such as deal counts.

Only triggers (docs/adr/0002) and `deals verify --fix` write to these tables. The declarations below
keep Alembic's autogenerate from dropping the tables.
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

# With one row per category, writers of deals in one category would wait for each other's commits.
# Therefore each category has sixteen rows (stripes), chosen by deal id. Two writers then need the
# same row in one of sixteen cases. A reader adds up the sixteen rows.
category_totals = Table(
    "category_totals",
    Base.metadata,
    Column("category_id", ForeignKey("categories.id", ondelete="CASCADE"), primary_key=True),
    Column("stripe", SmallInteger, primary_key=True, autoincrement=False),
    Column("deal_count", BigInteger, nullable=False, server_default=text("0")),
)

# Changes to hotels' totals that a running transaction applies at its commit. The transaction
# deletes these rows before it commits, so no other transaction sees them. The table is UNLOGGED,
# because its rows need not survive a crash.
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
    # The affected price steps, and the change of the deal count at each step (docs/adr/0010). The
    # arrays are null if no step is affected.
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
