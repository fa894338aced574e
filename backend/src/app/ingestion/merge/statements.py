"""The SQL statements of a merge, with asyncpg's parameters such as `$1`.

Each statement handles a whole chunk. To avoid deadlocks, all writers of the service lock rows in
the same order: stored hotels by id, new hotels by phone, new categories by name, deals by
`external_id`. Triggers update the derived numbers (docs/adr/0002).
"""

from app.repositories.deals.columns import assigned, declared, qualified
from app.schemas.deals_csv import DEAL_COLUMNS

# Settings for the rest of the transaction. A chunk may take longer than a request.
SETTINGS = """
SELECT set_config('statement_timeout', '3600s', true),
    set_config('lock_timeout', '60s', true),
    set_config('work_mem', '32MB', true)
"""

# Without ANALYZE, the planner assumes that newly filled tables are empty until autovacuum has run.
ANALYZE = "ANALYZE hotels, deals, categories, deal_categories"

_STAGED = (*DEAL_COLUMNS.values(), "hotel_id")
_COLUMNS = ", ".join(_STAGED)
_COMPARED = [name for name in _STAGED if name != "external_id"]

# `category_ids` must be sorted, so that equal sets are equal arrays.
CREATE = f"""
CREATE TEMPORARY TABLE IF NOT EXISTS staged_deals (
    {declared(_STAGED)}, category_ids bigint[]
) ON COMMIT DROP;
TRUNCATE staged_deals
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

# The locks keep other transactions from deleting these hotels or changing their keys.
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

# A table that holds the rows of a strict load until all rows are known to be valid.
CREATE_HELD = """
CREATE TEMPORARY TABLE IF NOT EXISTS held_deals (LIKE staged_deals) ON COMMIT DROP
"""

# Sort the held rows by id, split them into slices of $1 rows, and return the last id of each full
# slice.
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

_INSERT = f"""
WITH added AS (
    INSERT INTO deals ({_COLUMNS})
    SELECT {_COLUMNS} FROM staged_deals {{condition}} ORDER BY external_id
    RETURNING id, external_id
), linked AS (
    INSERT INTO deal_categories (deal_id, category_id)
    SELECT added.id, category_id
    FROM added JOIN staged_deals USING (external_id), unnest(category_ids) AS category_id
    ORDER BY added.id, category_id
)
SELECT count(*) FROM added
"""  # noqa: S608 - names of columns
INSERT_ALL = _INSERT.format(condition="")
INSERT_ABSENT = _INSERT.format(
    condition="WHERE NOT EXISTS ("
    "SELECT FROM deals WHERE deals.external_id = staged_deals.external_id)",
)

FIND_CHANGED = f"""
SELECT coalesce(array_agg(staged.external_id), '{{}}')
FROM staged_deals AS staged
JOIN deals USING (external_id)
WHERE (
    {qualified("deals", _COMPARED)}
) IS DISTINCT FROM (
    {qualified("staged", _COMPARED)}
) OR staged.category_ids <> ARRAY(
    SELECT category_id FROM deal_categories WHERE deal_id = deals.id ORDER BY category_id
)
"""  # noqa: S608 - names of columns

COUNT_STORED = "SELECT count(*) FROM staged_deals JOIN deals USING (external_id)"

LOCK_CHANGED = """
SELECT FROM deals WHERE external_id = ANY($1::bigint[])
ORDER BY external_id FOR NO KEY UPDATE
"""

# Increment the version, because the version trigger does not see changes in `deal_categories`.
UPDATE_CHANGED = f"""
UPDATE deals SET
    {assigned("staged", _COMPARED)},
    version_id = deals.version_id + 1
FROM unnest($1::bigint[]) AS changed (external_id)
JOIN staged_deals AS staged USING (external_id)
WHERE deals.external_id = changed.external_id
"""  # noqa: S608 - names of columns

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
