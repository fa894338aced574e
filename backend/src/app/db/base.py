from sqlalchemy import MetaData
from sqlalchemy.orm import DeclarativeBase

# Every constraint has a predictable name, so that a migration can drop it, autogenerate sees no
# difference, and `app.db.errors` can map it to an error message.
NAMING_CONVENTION = {
    "pk": "pk_%(table_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
}


class Base(DeclarativeBase):
    """The base class of the models, with one `MetaData` and one naming convention."""

    metadata = MetaData(naming_convention=NAMING_CONVENTION)
