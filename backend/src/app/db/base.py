from sqlalchemy import MetaData
from sqlalchemy.orm import DeclarativeBase

# Constraints have predictable names, so that migrations can drop them, `app.db.errors` can map them
# to error messages, and Alembic's autogenerate reports no differences.
NAMING_CONVENTION = {
    "pk": "pk_%(table_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
}


class Base(DeclarativeBase):
    """The base class of all models, with one naming convention for all tables."""

    metadata = MetaData(naming_convention=NAMING_CONVENTION)
