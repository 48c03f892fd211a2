-- One line per user table, materialized view, sequence and large object set: name|rows|checksum. Two databases with the
-- same contents print the same:  psql -X -q -A -t -f checksums.sql
-- The sum of the rows' hashes does not depend on their order. Partitions are listed one by one, their parent is not.
\set ON_ERROR_STOP on
SET client_min_messages = warning;
SET timezone = 'UTC';
SET datestyle = 'ISO';
SET intervalstyle = 'postgres';
SET bytea_output = 'hex';
SET extra_float_digits = 1;
SET search_path = pg_catalog;
SELECT format('SELECT %L, count(*), coalesce(sum(hashtextextended(t::text, 0)), 0) FROM %I.%I t', n.nspname || '.' || c.relname, n.nspname, c.relname)
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'm') AND n.nspname NOT IN ('pg_catalog', 'information_schema') AND n.nspname NOT LIKE 'pg\_%'
ORDER BY n.nspname COLLATE "C", c.relname COLLATE "C" \gexec
SELECT format('SELECT %L, 1, hashtextextended(last_value || %L || is_called, 0) FROM %I.%I', n.nspname || '.' || c.relname, '/', n.nspname, c.relname)
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind = 'S' AND n.nspname NOT IN ('pg_catalog', 'information_schema')
ORDER BY n.nspname COLLATE "C", c.relname COLLATE "C" \gexec
SELECT '(large objects)', count(*), coalesce(sum(hashtextextended(oid || '/' || encode(sha256(lo_get(oid)), 'hex'), 0)), 0) FROM pg_largeobject_metadata;
