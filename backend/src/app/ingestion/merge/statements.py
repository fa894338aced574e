"""The statements of a merge, for asyncpg: `$1` is a parameter, a whole chunk is one statement.

Locks are taken in the house's order: hotels by id or phone, categories by name, deals by
`external_id`. Derived numbers are the triggers' business (docs/adr/0002).
"""

# For the rest of the transaction: a chunk may take longer than a request.
SETTINGS = """
SELECT set_config('statement_timeout', '3600s', true),
    set_config('lock_timeout', '60s', true),
    set_config('work_mem', '32MB', true)
"""

# Without it the planner takes the tables for empty until autovacuum's next round.
ANALYZE = "ANALYZE hotels, deals, categories, deal_categories"

CREATE = """
CREATE TEMPORARY TABLE IF NOT EXISTS staged_deals (
    external_id bigint NOT NULL,
    room_type text NOT NULL,
    star_rating integer NOT NULL,
    price_per_night numeric(10, 2) NOT NULL,
    original_price numeric(10, 2) NOT NULL,
    discount_percent integer NOT NULL,
    checkin_date date NOT NULL,
    checkout_date date NOT NULL,
    is_available boolean NOT NULL,
    created_at timestamptz NOT NULL,
    hotel_id bigint NOT NULL,
    category_ids bigint[] NOT NULL  -- sorted
) ON COMMIT DROP;
TRUNCATE staged_deals
"""

_COLUMNS = """
    external_id, room_type, star_rating, price_per_night, original_price, discount_percent,
    checkin_date, checkout_date, is_available, created_at, hotel_id
"""

FIND_HOTELS = """
SELECT id, phone, name, city, country FROM hotels WHERE phone = ANY($1::text[])
UNION
SELECT id, phone, name, city, country
FROM unnest($2::text[], $3::text[], $4::text[]) AS wanted (name, city, country)
JOIN hotels USING (name, city, country)
"""

ADD_HOTELS = """
INSERT INTO hotels (phone, name, city, country)
SELECT phone, name, city, country
FROM unnest($1::text[], $2::text[], $3::text[], $4::text[]) AS new (phone, name, city, country)
ORDER BY phone
ON CONFLICT DO NOTHING
RETURNING id, phone, name, city, country
"""

# Until the commit nobody deletes these hotels or gives them another name or phone.
LOCK_HOTELS = """
SELECT id, phone, name, city, country FROM hotels WHERE id = ANY($1::bigint[])
ORDER BY id FOR KEY SHARE
"""

ADD_CATEGORIES = """
INSERT INTO categories (name)
SELECT name FROM unnest($1::text[]) AS wanted (name)
WHERE NOT EXISTS (SELECT FROM categories WHERE categories.name = wanted.name)
ORDER BY name
ON CONFLICT DO NOTHING
"""

LOCK_CATEGORIES = """
SELECT id, name FROM categories WHERE name = ANY($1::text[]) ORDER BY id FOR KEY SHARE
"""

# Where a strict load waits until it is known that no row is wrong.
CREATE_HELD = """
CREATE TEMPORARY TABLE IF NOT EXISTS held_deals (LIKE staged_deals) ON COMMIT DROP
"""

# The last id of each slice of $1 rows, in order of the ids.
HELD_SLICES = """
SELECT external_id
FROM (SELECT external_id, row_number() OVER (ORDER BY external_id) AS place FROM held_deals)
WHERE place % $1::bigint = 0
ORDER BY external_id
"""

STAGE_HELD = """
INSERT INTO staged_deals SELECT * FROM held_deals WHERE external_id > $1 AND external_id <= $2
"""

ANY_STORED = """
SELECT EXISTS (
    SELECT FROM deals
    WHERE external_id BETWEEN (SELECT min(external_id) FROM staged_deals)
        AND (SELECT max(external_id) FROM staged_deals)
)
"""

_INSERT = """
WITH added AS (
    INSERT INTO deals ({columns})
    SELECT {columns} FROM staged_deals {condition} ORDER BY external_id
    RETURNING id, external_id
), linked AS (
    INSERT INTO deal_categories (deal_id, category_id)
    SELECT added.id, category_id
    FROM added JOIN staged_deals USING (external_id), unnest(category_ids) AS category_id
    ORDER BY added.id, category_id
)
SELECT count(*) FROM added
"""
INSERT_ALL = _INSERT.format(columns=_COLUMNS, condition="")
INSERT_ABSENT = _INSERT.format(
    columns=_COLUMNS,
    condition="WHERE NOT EXISTS ("
    "SELECT FROM deals WHERE deals.external_id = staged_deals.external_id)",
)

FIND_CHANGED = """
SELECT coalesce(array_agg(staged.external_id), '{}')
FROM staged_deals AS staged
JOIN deals USING (external_id)
WHERE (
    deals.hotel_id, deals.room_type, deals.star_rating, deals.price_per_night,
    deals.original_price, deals.discount_percent, deals.checkin_date, deals.checkout_date,
    deals.is_available, deals.created_at
) IS DISTINCT FROM (
    staged.hotel_id, staged.room_type, staged.star_rating, staged.price_per_night,
    staged.original_price, staged.discount_percent, staged.checkin_date, staged.checkout_date,
    staged.is_available, staged.created_at
) OR staged.category_ids <> ARRAY(
    SELECT category_id FROM deal_categories WHERE deal_id = deals.id ORDER BY category_id
)
"""

COUNT_STORED = "SELECT count(*) FROM staged_deals JOIN deals USING (external_id)"

LOCK_CHANGED = """
SELECT FROM deals WHERE external_id = ANY($1::bigint[])
ORDER BY external_id FOR NO KEY UPDATE
"""

# The version rises here and not only by the trigger, which does not see that categories differ.
UPDATE_CHANGED = """
UPDATE deals SET
    hotel_id = staged.hotel_id,
    room_type = staged.room_type,
    star_rating = staged.star_rating,
    price_per_night = staged.price_per_night,
    original_price = staged.original_price,
    discount_percent = staged.discount_percent,
    checkin_date = staged.checkin_date,
    checkout_date = staged.checkout_date,
    is_available = staged.is_available,
    created_at = staged.created_at,
    version_id = deals.version_id + 1
FROM unnest($1::bigint[]) AS changed (external_id)
JOIN staged_deals AS staged USING (external_id)
WHERE deals.external_id = changed.external_id
"""

UNLINK_CHANGED = """
DELETE FROM deal_categories
USING unnest($1::bigint[]) AS changed (external_id)
JOIN staged_deals USING (external_id)
JOIN deals USING (external_id)
WHERE deal_id = deals.id AND category_id <> ALL (category_ids)
"""

LINK_CHANGED = """
INSERT INTO deal_categories (deal_id, category_id)
SELECT deals.id, category_id
FROM unnest($1::bigint[]) AS changed (external_id)
JOIN staged_deals USING (external_id)
JOIN deals USING (external_id), unnest(category_ids) AS category_id
ORDER BY deals.id, category_id
ON CONFLICT DO NOTHING
"""
