"""add derived numbers that stay exact for every writer

A hotel stores the counts and sums of its deals. Triggers on `deals` record the changes of each
statement, and a deferred trigger adds them to the totals at the commit. For the reasons see
docs/adr/0002.

Revision ID: 0004
Revises: 0003
"""

from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

# The contribution of one deal, times +1 or -1, to its hotel's numbers.
CONTRIBUTION = """
    hotel_id,
    {sign}1 AS deal_count,
    {sign}is_available::int AS available_count,
    {sign}star_rating AS star_sum,
    {sign}price_per_night AS price_sum,
    {sign}(CASE WHEN is_available THEN price_per_night ELSE 0 END) AS available_price_sum
"""

HOTEL_TRANSITIONS = {
    "INSERT": ("REFERENCING NEW TABLE AS added", [("added", "")]),
    "DELETE": ("REFERENCING OLD TABLE AS removed", [("removed", "-")]),
    "UPDATE": (
        "REFERENCING OLD TABLE AS removed NEW TABLE AS added",
        [("added", ""), ("removed", "-")],
    ),
}


def upgrade() -> None:
    op.execute("LOCK TABLE hotels, deals, deal_categories IN SHARE ROW EXCLUSIVE MODE")
    create_tables()
    fill_numbers()
    for event, (referencing, parts) in HOTEL_TRANSITIONS.items():
        note_hotel_changes(event, referencing, parts)
        note_category_changes(event, referencing, parts)
    note_truncation()
    apply_at_commit()


def create_tables() -> None:
    op.execute(
        """
        ALTER TABLE hotels
            DROP COLUMN star_rating,
            ADD COLUMN deal_count bigint NOT NULL DEFAULT 0,
            ADD COLUMN available_count bigint NOT NULL DEFAULT 0,
            ADD COLUMN star_sum bigint NOT NULL DEFAULT 0,
            ADD COLUMN price_sum numeric(20, 2) NOT NULL DEFAULT 0,
            ADD COLUMN available_price_sum numeric(20, 2) NOT NULL DEFAULT 0,
            SET (fillfactor = 70)
        """
    )
    op.execute(
        """
        ALTER TABLE hotels ADD COLUMN star_rating numeric
            GENERATED ALWAYS AS (star_sum::numeric / nullif(deal_count, 0)) STORED
        """
    )
    op.execute(
        """
        CREATE TABLE category_totals (
            category_id bigint NOT NULL,
            stripe smallint NOT NULL,
            deal_count bigint NOT NULL DEFAULT 0,
            CONSTRAINT pk_category_totals PRIMARY KEY (category_id, stripe),
            CONSTRAINT fk_category_totals_category_id_categories
                FOREIGN KEY (category_id) REFERENCES categories (id) ON DELETE CASCADE
        ) WITH (fillfactor = 50)
        """
    )
    op.execute(
        """
        CREATE UNLOGGED TABLE hotel_changes (
            transaction_id bigint NOT NULL DEFAULT txid_current(),
            id bigint GENERATED ALWAYS AS IDENTITY,
            hotel_id bigint NOT NULL,
            deal_count bigint NOT NULL,
            available_count bigint NOT NULL,
            star_sum bigint NOT NULL,
            price_sum numeric(20, 2) NOT NULL,
            available_price_sum numeric(20, 2) NOT NULL,
            CONSTRAINT pk_hotel_changes PRIMARY KEY (transaction_id, id)
        )
        """
    )
    op.execute(
        """
        CREATE UNLOGGED TABLE category_changes (
            transaction_id bigint NOT NULL DEFAULT txid_current(),
            id bigint GENERATED ALWAYS AS IDENTITY,
            category_id bigint NOT NULL,
            stripe smallint NOT NULL,
            deal_count bigint NOT NULL,
            CONSTRAINT pk_category_changes PRIMARY KEY (transaction_id, id)
        )
        """
    )


def fill_numbers() -> None:
    op.execute(
        f"""
        UPDATE hotels SET
            deal_count = numbers.deal_count,
            available_count = numbers.available_count,
            star_sum = numbers.star_sum,
            price_sum = numbers.price_sum,
            available_price_sum = numbers.available_price_sum
        FROM (
            SELECT hotel_id,
                sum(deal_count) AS deal_count,
                sum(available_count) AS available_count,
                sum(star_sum) AS star_sum,
                sum(price_sum) AS price_sum,
                sum(available_price_sum) AS available_price_sum
            FROM (SELECT {CONTRIBUTION.format(sign="")} FROM deals) AS contributions
            GROUP BY hotel_id
        ) AS numbers
        WHERE hotels.id = numbers.hotel_id
        """
    )
    # A trigger creates a category's stripes together with its row. If the first writers created
    # them, two writers could wait for each other's insert.
    op.execute(
        """
        CREATE FUNCTION add_category_stripes() RETURNS trigger
        LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
        BEGIN
            INSERT INTO category_totals (category_id, stripe)
            SELECT added.id, stripes.stripe FROM added, generate_series(0, 15) AS stripes (stripe);
            RETURN NULL;
        END
        $$
        """
    )
    op.execute(
        """
        CREATE TRIGGER add_category_stripes AFTER INSERT ON categories
        REFERENCING NEW TABLE AS added
        FOR EACH STATEMENT EXECUTE FUNCTION add_category_stripes()
        """
    )
    op.execute(
        """
        INSERT INTO category_totals (category_id, stripe, deal_count)
        SELECT categories.id, stripes.stripe, coalesce(numbers.deal_count, 0)
        FROM categories CROSS JOIN generate_series(0, 15) AS stripes (stripe)
        LEFT JOIN (
            SELECT category_id, (deal_id & 15) AS stripe, count(*) AS deal_count
            FROM deal_categories GROUP BY 1, 2
        ) AS numbers ON numbers.category_id = categories.id AND numbers.stripe = stripes.stripe
        """
    )


def note_hotel_changes(event: str, referencing: str, parts: list[tuple[str, str]]) -> None:
    contributions = " UNION ALL ".join(
        f"SELECT {CONTRIBUTION.format(sign=sign)} FROM {table}" for table, sign in parts
    )
    name = f"note_hotel_changes_of_{event.lower()}"
    op.execute(
        f"""
        CREATE FUNCTION {name}() RETURNS trigger
        LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
        BEGIN
            INSERT INTO hotel_changes (
                hotel_id, deal_count, available_count, star_sum, price_sum, available_price_sum
            )
            SELECT hotel_id, sum(deal_count), sum(available_count), sum(star_sum),
                sum(price_sum), sum(available_price_sum)
            FROM ({contributions}) AS contributions
            GROUP BY hotel_id
            HAVING (
                sum(deal_count), sum(available_count), sum(star_sum),
                sum(price_sum), sum(available_price_sum)
            ) IS DISTINCT FROM (0, 0, 0, 0, 0);
            RETURN NULL;
        END
        $$
        """
    )
    op.execute(
        f"CREATE TRIGGER {name} AFTER {event} ON deals {referencing}"
        f" FOR EACH STATEMENT EXECUTE FUNCTION {name}()"
    )


def note_category_changes(event: str, referencing: str, parts: list[tuple[str, str]]) -> None:
    contributions = " UNION ALL ".join(
        f"SELECT category_id, (deal_id & 15) AS stripe, {sign}1 AS deal_count FROM {table}"
        for table, sign in parts
    )
    name = f"note_category_changes_of_{event.lower()}"
    op.execute(
        f"""
        CREATE FUNCTION {name}() RETURNS trigger
        LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
        BEGIN
            INSERT INTO category_changes (category_id, stripe, deal_count)
            SELECT category_id, stripe, sum(deal_count)
            FROM ({contributions}) AS contributions
            GROUP BY category_id, stripe
            HAVING sum(deal_count) <> 0;
            RETURN NULL;
        END
        $$
        """
    )
    op.execute(
        f"CREATE TRIGGER {name} AFTER {event} ON deal_categories {referencing}"
        f" FOR EACH STATEMENT EXECUTE FUNCTION {name}()"
    )


def note_truncation() -> None:
    """Record the changes of TRUNCATE, which fires neither row triggers nor transition tables.

    Its table lock excludes all other writers. The recorded changes replace the earlier ones of the
    transaction and set the numbers to zero.
    """
    op.execute(
        """
        CREATE FUNCTION note_truncated_deals() RETURNS trigger
        LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
        BEGIN
            DELETE FROM hotel_changes WHERE transaction_id = txid_current();
            INSERT INTO hotel_changes (
                hotel_id, deal_count, available_count, star_sum, price_sum, available_price_sum
            )
            SELECT id, -deal_count, -available_count, -star_sum, -price_sum, -available_price_sum
            FROM hotels WHERE deal_count <> 0;
            RETURN NULL;
        END
        $$
        """
    )
    op.execute(
        """
        CREATE FUNCTION note_truncated_deal_categories() RETURNS trigger
        LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
        BEGIN
            DELETE FROM category_changes WHERE transaction_id = txid_current();
            INSERT INTO category_changes (category_id, stripe, deal_count)
            SELECT category_id, stripe, -deal_count FROM category_totals WHERE deal_count <> 0;
            RETURN NULL;
        END
        $$
        """
    )
    for table in ("deals", "deal_categories"):
        op.execute(
            f"CREATE TRIGGER note_truncated_{table} AFTER TRUNCATE ON {table}"
            f" FOR EACH STATEMENT EXECUTE FUNCTION note_truncated_{table}()"
        )


def apply_at_commit() -> None:
    """Add a transaction's recorded changes to the totals at its commit.

    One function handles both tables, so that all writers lock totals in the same order: hotels
    before categories, each by key. Locking and adding are two statements, so that the second sees
    the commits that the first had to wait for. The first event of a transaction applies all
    changes. Each later event looks up its own change by key and finds it deleted. A search for
    remaining changes would scan all deleted rows in each event.
    """
    op.execute(
        """
        CREATE FUNCTION apply_changes() RETURNS trigger
        LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
        BEGIN
            IF TG_TABLE_NAME = 'hotel_changes' THEN
                PERFORM 1 FROM hotel_changes
                WHERE transaction_id = NEW.transaction_id AND id = NEW.id;
            ELSE
                PERFORM 1 FROM category_changes
                WHERE transaction_id = NEW.transaction_id AND id = NEW.id;
            END IF;
            IF NOT FOUND THEN
                RETURN NULL;
            END IF;
            IF EXISTS (SELECT FROM hotel_changes WHERE transaction_id = txid_current()) THEN
                PERFORM 1 FROM hotels WHERE id IN (
                    SELECT hotel_id FROM hotel_changes WHERE transaction_id = txid_current()
                ) ORDER BY id FOR NO KEY UPDATE;
                WITH noted AS (
                    DELETE FROM hotel_changes WHERE transaction_id = txid_current() RETURNING *
                )
                UPDATE hotels SET
                    deal_count = hotels.deal_count + change.deal_count,
                    available_count = hotels.available_count + change.available_count,
                    star_sum = hotels.star_sum + change.star_sum,
                    price_sum = hotels.price_sum + change.price_sum,
                    available_price_sum =
                        hotels.available_price_sum + change.available_price_sum
                FROM (
                    SELECT hotel_id,
                        sum(deal_count) AS deal_count,
                        sum(available_count) AS available_count,
                        sum(star_sum) AS star_sum,
                        sum(price_sum) AS price_sum,
                        sum(available_price_sum) AS available_price_sum
                    FROM noted GROUP BY hotel_id
                ) AS change
                WHERE hotels.id = change.hotel_id;
            END IF;
            IF EXISTS (SELECT FROM category_changes WHERE transaction_id = txid_current()) THEN
                PERFORM 1 FROM category_totals WHERE (category_id, stripe) IN (
                    SELECT category_id, stripe FROM category_changes
                    WHERE transaction_id = txid_current()
                ) ORDER BY category_id, stripe FOR NO KEY UPDATE;
                WITH noted AS (
                    DELETE FROM category_changes
                    WHERE transaction_id = txid_current() RETURNING *
                )
                UPDATE category_totals
                SET deal_count = category_totals.deal_count + change.deal_count
                FROM (
                    SELECT category_id, stripe, sum(deal_count) AS deal_count
                    FROM noted GROUP BY category_id, stripe
                ) AS change
                WHERE category_totals.category_id = change.category_id
                    AND category_totals.stripe = change.stripe;
            END IF;
            RETURN NULL;
        END
        $$
        """
    )
    for table in ("hotel_changes", "category_changes"):
        op.execute(
            f"CREATE CONSTRAINT TRIGGER apply_{table} AFTER INSERT ON {table}"
            " DEFERRABLE INITIALLY DEFERRED"
            " FOR EACH ROW EXECUTE FUNCTION apply_changes()"
        )


def downgrade() -> None:
    for table, kind in (("deals", "hotel"), ("deal_categories", "category")):
        for event in ("insert", "delete", "update"):
            op.execute(f"DROP TRIGGER note_{kind}_changes_of_{event} ON {table}")
            op.execute(f"DROP FUNCTION note_{kind}_changes_of_{event}()")
        op.execute(f"DROP TRIGGER note_truncated_{table} ON {table}")
        op.execute(f"DROP FUNCTION note_truncated_{table}()")
        op.execute(f"DROP TABLE {kind}_changes")
    op.execute("DROP FUNCTION apply_changes()")
    op.execute("DROP TABLE category_totals")
    op.execute("DROP TRIGGER add_category_stripes ON categories")
    op.execute("DROP FUNCTION add_category_stripes()")
    op.execute("ALTER TABLE hotels RENAME COLUMN star_rating TO exact_star_rating")
    op.execute("ALTER TABLE hotels ADD COLUMN star_rating numeric")
    op.execute("UPDATE hotels SET star_rating = exact_star_rating")
    op.execute(
        """
        ALTER TABLE hotels
            DROP COLUMN exact_star_rating,
            DROP COLUMN deal_count,
            DROP COLUMN available_count,
            DROP COLUMN star_sum,
            DROP COLUMN price_sum,
            DROP COLUMN available_price_sum,
            RESET (fillfactor)
        """
    )
