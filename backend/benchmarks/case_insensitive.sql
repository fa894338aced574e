-- Ways to search a city ignoring case, compared by plan and cost (docs/adr/0003).
-- Needs the contrib extensions, hence a stock PostgreSQL and not the embedded one:
--   psql -X -f benchmarks/case_insensitive.sql postgresql://…/scratch
\set ON_ERROR_STOP on
\pset pager off
CREATE EXTENSION IF NOT EXISTS citext;
CREATE EXTENSION IF NOT EXISTS pg_trgm;
DROP TABLE IF EXISTS places;
CREATE TABLE places AS
SELECT n AS id,
    (ARRAY['Berlin', 'Zürich', 'Paris', 'Rome', 'Łódź'])[1 + n % 5] || ' ' || n / 100 AS city
FROM generate_series(1, 100000) AS n;
ALTER TABLE places ADD city_citext citext, ADD city_folded text;
UPDATE places SET city_citext = city, city_folded = lower(city);
CREATE INDEX places_city ON places (city);
CREATE INDEX places_lower ON places (lower(city));
CREATE INDEX places_citext ON places (city_citext);
CREATE INDEX places_trigram ON places USING gin (city gin_trgm_ops);
CREATE INDEX places_folded ON places (city_folded);
VACUUM ANALYZE places;
SELECT indexrelid::regclass AS index, pg_size_pretty(pg_relation_size(indexrelid)) AS size
FROM pg_index WHERE indrelid = 'places'::regclass ORDER BY 1;
SELECT datcollate, lower('ZÜRICH'), 'ZÜRICH' ILIKE 'zürich' AS ilike, 'ZÜRICH'::citext = 'zürich' AS citext
FROM pg_database WHERE datname = current_database();
PREPARE by_ilike (text) AS SELECT id FROM places WHERE city ILIKE $1;
PREPARE by_lower (text) AS SELECT id FROM places WHERE lower(city) = lower($1);
PREPARE by_citext (citext) AS SELECT id FROM places WHERE city_citext = $1;
PREPARE by_folded (text) AS SELECT id FROM places WHERE city_folded = $1;
\echo ILIKE with a trigram index
EXPLAIN (ANALYZE, BUFFERS) EXECUTE by_ilike ('berlin 500');
DROP INDEX places_trigram;
\echo ILIKE with an ordinary index
EXPLAIN (ANALYZE, BUFFERS) EXECUTE by_ilike ('berlin 500');
\echo lower() with a functional index
EXPLAIN (ANALYZE, BUFFERS) EXECUTE by_lower ('BERLIN 500');
DROP INDEX places_lower;
\echo lower() with an ordinary index
EXPLAIN (ANALYZE, BUFFERS) EXECUTE by_lower ('BERLIN 500');
\echo citext
EXPLAIN (ANALYZE, BUFFERS) EXECUTE by_citext ('BERLIN 500');
\echo a generated folded column
EXPLAIN (ANALYZE, BUFFERS) EXECUTE by_folded ('berlin 500');
DROP TABLE places;
