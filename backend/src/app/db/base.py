from sqlalchemy import MetaData
from sqlalchemy.orm import DeclarativeBase

# Predictable names of constraints let migrations drop them, let `app.db.errors` map them to error
# messages, and keep Alembic's autogenerate from reporting differences.
NAMING_CONVENTION = {
    "pk": "pk_%(table_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
}


class Base(DeclarativeBase):
    """The base class of all models. It gives their tables one naming convention."""

    metadata = MetaData(naming_convention=NAMING_CONVENTION)
