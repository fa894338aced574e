"""Tables the database keeps for itself: the workings of the derived numbers.

Triggers write them (docs/adr/0002), and `deals verify --fix` mends them; no other code does. They
are declared here so that autogenerate knows them.
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

# With one row a category, all writers of "luxury" deals would queue behind one row lock and its
# fsync; striped by deal id they meet one time in sixteen, and a reader adds up sixteen rows.
category_totals = Table(
    "category_totals",
    Base.metadata,
    Column("category_id", ForeignKey("categories.id", ondelete="CASCADE"), primary_key=True),
    Column("stripe", SmallInteger, primary_key=True, autoincrement=False),
    Column("deal_count", BigInteger, nullable=False, server_default=text("0")),
)

# What the running transaction has changed and not yet added to the totals. A row lives from a
# statement to the commit of the same transaction: nobody else ever sees one, and none has to
# survive a crash, hence UNLOGGED.
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
    # In which price steps, and by how many deals each; null when in none (docs/adr/0010).
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
