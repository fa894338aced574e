"""add each hotel's counts of deals below round prices

Exact counts between two prices are computed from these. For the reasons see docs/adr/0010.

Revision ID: 0009
Revises: 0008
"""

from alembic import context, op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

# 64 prices, denser in the usual range.
ROUND_PRICES = [
    *range(10, 200, 10),
    *range(200, 500, 25),
    *range(500, 1_000, 50),
    *range(1_000, 2_000, 100),
    *range(2_000, 5_001, 500),
    *(10_000, 20_000, 50_000, 100_000, 1_000_000, 10_000_000),
]

# The contribution of a deal as in revision 0004, with the step of its price.
CONTRIBUTION = """
    hotel_id,
    price_step(price_per_night)::smallint AS step,
    {sign}1 AS deal_count,
    {sign}is_available::int AS available_count,
    {sign}star_rating AS star_sum,
    {sign}price_per_night AS price_sum,
    {sign}(CASE WHEN is_available THEN price_per_night ELSE 0 END) AS available_price_sum
"""

HOTEL_TRANSITIONS = {
    "insert": [("added", "")],
    "delete": [("removed", "-")],
    "update": [("added", ""), ("removed", "-")],
}


def upgrade() -> None:
    op.execute("LOCK TABLE hotels, deals IN SHARE ROW EXCLUSIVE MODE")
    create_price_steps()
    create_columns()
    fill_columns()
    for event, parts in HOTEL_TRANSITIONS.items():
        note_hotel_changes(event, parts)
    note_truncation()
    apply_at_commit()
    # Deals in a step that a price bound divides are counted by an index-only scan of this index.
    op.execute(
        "CREATE INDEX ix_deals_hotel_id_price_per_night"
        " ON deals (hotel_id, price_per_night) INCLUDE (is_available)"
    )


def create_price_steps() -> None:
    """Create the functions of price steps.

    Step n holds the prices from the nth round price to below the next one. Step 0 holds the prices
    below the first.
    """
    steps = ",".join(map(str, ROUND_PRICES))
    op.execute(
        f"""
        CREATE FUNCTION price_steps() RETURNS numeric[]
        LANGUAGE sql IMMUTABLE PARALLEL SAFE
        RETURN '{{{steps}}}'::numeric[]
        """
    )
    op.execute(
        """
        CREATE FUNCTION price_step(price numeric) RETURNS integer
        LANGUAGE sql IMMUTABLE PARALLEL SAFE
        RETURN width_bucket(price, price_steps())
        """
    )
    op.execute(
        """
        CREATE FUNCTION price_step_start(price numeric) RETURNS numeric
        LANGUAGE sql IMMUTABLE PARALLEL SAFE
        RETURN coalesce((price_steps())[price_step(price)], 0)
        """
    )


def create_columns() -> None:
    op.execute(
        """
        ALTER TABLE hotels
            ADD COLUMN prices_below integer[] NOT NULL
                DEFAULT array_fill(0, ARRAY[cardinality(price_steps())]),
            ADD COLUMN available_prices_below integer[] NOT NULL
                DEFAULT array_fill(0, ARRAY[cardinality(price_steps())])
        """
    )
    op.execute(
        """
        ALTER TABLE hotel_changes
            ADD COLUMN steps smallint[],
            ADD COLUMN step_counts integer[],
            ADD COLUMN available_step_counts integer[]
        """
    )


def fill_columns() -> None:
    op.execute(
        """
        UPDATE hotels SET
            prices_below = numbers.prices_below,
            available_prices_below = numbers.available_prices_below
        FROM (
            SELECT hotel_id,
                array_agg(deal_count::integer ORDER BY n) AS prices_below,
                array_agg(available_count::integer ORDER BY n) AS available_prices_below
            FROM (
                SELECT hotel_id, n,
                    sum(deal_count) AS deal_count, sum(available_count) AS available_count
                FROM (
                    SELECT hotel_id, price_step(price_per_night) AS step,
                        count(*) AS deal_count,
                        count(*) FILTER (WHERE is_available) AS available_count
                    FROM deals GROUP BY 1, 2
                    UNION ALL
                    SELECT id, 0, 0, 0 FROM hotels
                ) AS in_step
                JOIN generate_series(1, cardinality(price_steps())) AS n ON step < n
                GROUP BY hotel_id, n
            ) AS below
            GROUP BY hotel_id
        ) AS numbers
        WHERE hotels.id = numbers.hotel_id
        """
    )


def note_hotel_changes(event: str, parts: list[tuple[str, str]]) -> None:
    """Record changes of steps by `bool_or`: two swapped prices of a hotel change no sum."""
    contributions = " UNION ALL ".join(
        f"SELECT {CONTRIBUTION.format(sign=sign)} FROM {table}" for table, sign in parts
    )
    changed = "deal_count <> 0 OR available_count <> 0"
    op.execute(
        f"""
        CREATE OR REPLACE FUNCTION note_hotel_changes_of_{event}() RETURNS trigger
        LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
        BEGIN
            INSERT INTO hotel_changes (
                hotel_id, deal_count, available_count, star_sum, price_sum, available_price_sum,
                steps, step_counts, available_step_counts
            )
            SELECT hotel_id, sum(deal_count), sum(available_count), sum(star_sum),
                sum(price_sum), sum(available_price_sum),
                array_agg(step) FILTER (WHERE {changed}),
                array_agg(deal_count::integer) FILTER (WHERE {changed}),
                array_agg(available_count::integer) FILTER (WHERE {changed})
            FROM (
                SELECT hotel_id, step,
                    sum(deal_count) AS deal_count,
                    sum(available_count) AS available_count,
                    sum(star_sum) AS star_sum,
                    sum(price_sum) AS price_sum,
                    sum(available_price_sum) AS available_price_sum
                FROM ({contributions}) AS contributions
                GROUP BY hotel_id, step
            ) AS in_step
            GROUP BY hotel_id
            HAVING (
                sum(deal_count), sum(available_count), sum(star_sum),
                sum(price_sum), sum(available_price_sum)
            ) IS DISTINCT FROM (0, 0, 0, 0, 0) OR bool_or({changed});
            RETURN NULL;
        END
        $$
        """
    )


def note_truncation() -> None:
    op.execute(
        """
        CREATE OR REPLACE FUNCTION note_truncated_deals() RETURNS trigger
        LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
        BEGIN
            DELETE FROM hotel_changes WHERE transaction_id = txid_current();
            INSERT INTO hotel_changes (
                hotel_id, deal_count, available_count, star_sum, price_sum, available_price_sum,
                steps, step_counts, available_step_counts
            )
            SELECT id, -deal_count, -available_count, -star_sum, -price_sum, -available_price_sum,
                in_step.*
            FROM hotels CROSS JOIN LATERAL (
                SELECT array_agg(n - 1),
                    array_agg(coalesce(prices_below[n - 1], 0) - prices_below[n]),
                    array_agg(
                        coalesce(available_prices_below[n - 1], 0) - available_prices_below[n]
                    )
                FROM generate_subscripts(prices_below, 1) AS n
            ) AS in_step
            WHERE deal_count <> 0;
            RETURN NULL;
        END
        $$
        """
    )


def apply_at_commit() -> None:
    """Extend the function of revision 0004 by the steps, which need one more subquery.

    The function turns sequential scans off. The planner always finds `hotel_changes` empty, so it
    would read all of it and all hotels at each commit, with thousands of dead rows for a live one.
    """
    op.execute(
        """
        CREATE FUNCTION add_to_steps(below integer[], steps smallint[], counts integer[])
        RETURNS integer[] LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE AS $$
        DECLARE
            added integer[];
            running integer := 0;
        BEGIN
            -- One deal that comes, goes or gets another price: nearly always, so by the quick way.
            IF cardinality(steps) <= 2 THEN
                FOR s IN 1 .. cardinality(steps) LOOP
                    CONTINUE WHEN counts[s] = 0;
                    FOR n IN steps[s] + 1 .. cardinality(below) LOOP
                        below[n] := below[n] + counts[s];
                    END LOOP;
                END LOOP;
            ELSIF steps IS NOT NULL THEN
                FOR s IN 1 .. cardinality(steps) LOOP
                    added[steps[s]] := coalesce(added[steps[s]], 0) + counts[s];
                END LOOP;
                FOR n IN array_lower(added, 1) + 1 .. cardinality(below) LOOP
                    running := running + coalesce(added[n - 1], 0);
                    below[n] := below[n] + running;
                END LOOP;
            END IF;
            RETURN below;
        END
        $$
        """
    )
    op.execute(
        """
        CREATE OR REPLACE FUNCTION apply_changes() RETURNS trigger
        LANGUAGE plpgsql SET search_path FROM CURRENT SET enable_seqscan = off AS $$
        DECLARE
            on_hotels boolean := true;
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
            IF TG_TABLE_NAME <> 'hotel_changes' THEN
                on_hotels := EXISTS (
                    SELECT FROM hotel_changes WHERE transaction_id = txid_current()
                );
            END IF;
            IF on_hotels THEN
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
                        hotels.available_price_sum + change.available_price_sum,
                    prices_below = add_to_steps(
                        hotels.prices_below, in_step.steps, in_step.counts
                    ),
                    available_prices_below = add_to_steps(
                        hotels.available_prices_below, in_step.steps, in_step.available_counts
                    )
                FROM (
                    SELECT hotel_id,
                        sum(deal_count) AS deal_count,
                        sum(available_count) AS available_count,
                        sum(star_sum) AS star_sum,
                        sum(price_sum) AS price_sum,
                        sum(available_price_sum) AS available_price_sum
                    FROM noted GROUP BY hotel_id
                ) AS change
                LEFT JOIN (
                    SELECT hotel_id,
                        array_agg(step) AS steps,
                        array_agg(added) AS counts,
                        array_agg(available_added) AS available_counts
                    FROM noted CROSS JOIN LATERAL unnest(
                        steps, step_counts, available_step_counts
                    ) AS step (step, added, available_added)
                    GROUP BY hotel_id
                ) AS in_step ON in_step.hotel_id = change.hotel_id
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


def downgrade() -> None:
    """Remove the objects of this revision and create the functions of revision 0004 again."""
    op.execute("DROP INDEX ix_deals_hotel_id_price_per_night")
    for event in HOTEL_TRANSITIONS:
        op.execute(f"DROP FUNCTION note_hotel_changes_of_{event}() CASCADE")
    op.execute("DROP FUNCTION note_truncated_deals() CASCADE")
    op.execute("DROP FUNCTION note_truncated_deal_categories() CASCADE")
    op.execute("DROP FUNCTION apply_changes() CASCADE")
    op.execute("DROP FUNCTION add_to_steps(integer[], smallint[], integer[])")
    op.execute(
        """
        ALTER TABLE hotel_changes
            DROP COLUMN steps, DROP COLUMN step_counts, DROP COLUMN available_step_counts
        """
    )
    op.execute("ALTER TABLE hotels DROP COLUMN prices_below, DROP COLUMN available_prices_below")
    op.execute("DROP FUNCTION price_step_start(numeric)")
    op.execute("DROP FUNCTION price_step(numeric)")
    op.execute("DROP FUNCTION price_steps()")
    derived_numbers = context.script.get_revision("0004").module
    for event, (referencing, parts) in derived_numbers.HOTEL_TRANSITIONS.items():
        derived_numbers.note_hotel_changes(event, referencing, parts)
    derived_numbers.note_truncation()
    derived_numbers.apply_at_commit()
