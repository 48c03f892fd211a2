-- The ids of a page of audit entries, and how many there are, counted no further than $15.
-- $1 services, $2 service, $3 admin, $4 action, $5 resource type, $6 resource id, $7 outcome, $8 from, $9 to (not included):
-- null does not restrict. $10 after this id, $11 up to this id. $12 limit, $13 offset, $14 oldest first, else newest.
-- Ids are given in the order of time but for a moment; so a time is looked up as an id, and a walk by id begins where it must.
WITH matching AS NOT MATERIALIZED (
    SELECT id FROM audit
    WHERE ($1::uuid[] IS NULL OR service_id = ANY($1)) AND ($2::uuid IS NULL OR service_id = $2) AND ($3::uuid IS NULL OR admin_id = $3)
      AND ($4::text IS NULL OR action = $4) AND ($5::text IS NULL OR resource_type = $5) AND ($6::text IS NULL OR resource_id = $6)
      AND ($7::text IS NULL OR outcome = $7)
      AND ($8::timestamptz IS NULL OR (at >= $8 AND id >= coalesce((SELECT a.id FROM audit a WHERE a.at >= $8 ORDER BY a.at LIMIT 1), 9223372036854775807) - 1000))
      AND ($9::timestamptz IS NULL OR (at < $9 AND id <= coalesce((SELECT a.id FROM audit a WHERE a.at < $9 ORDER BY a.at DESC LIMIT 1), -1001) + 1000))
      AND ($10::bigint IS NULL OR id > $10) AND ($11::bigint IS NULL OR id <= $11))
SELECT CASE
    WHEN $14::bool THEN ARRAY(SELECT id FROM matching ORDER BY id LIMIT $12::bigint OFFSET $13::bigint)
    ELSE ARRAY(SELECT id FROM matching ORDER BY id DESC LIMIT $12::bigint OFFSET $13::bigint)
    END,
    (SELECT count(*) FROM (SELECT FROM matching LIMIT $15::bigint) counted)
