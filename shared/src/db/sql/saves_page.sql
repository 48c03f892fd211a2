-- The ids of a page of saves, and how many saves there are.
-- $1 services, $2 service, $3 target, $4 state, $5 valid, $6 suspicious, $7 pinned, $8 origin: null does not restrict.
-- $9 limit, $10 offset, $11 oldest first, else newest. $12: how far is counted; null: what is asked for is kept in save_counts.
-- It is planned anew each time, so that what is not asked for is not in the plan. Of several services each walks its own index.
WITH matching AS NOT MATERIALIZED (
    SELECT id, service_id FROM saves
    WHERE ($2::uuid IS NULL OR service_id = $2) AND ($3::uuid IS NULL OR target_id = $3) AND ($4::text IS NULL OR state = $4)
      AND ($5::bool IS NULL OR valid = $5) AND ($6::bool IS NULL OR suspicious = $6) AND ($7::bool IS NULL OR pinned = $7)
      AND ($8::text IS NULL OR origin = $8))
SELECT CASE
    WHEN $1::uuid[] IS NULL AND $11::bool THEN ARRAY(SELECT id FROM matching ORDER BY id LIMIT $9::bigint OFFSET $10::bigint)
    WHEN $1::uuid[] IS NULL THEN ARRAY(SELECT id FROM matching ORDER BY id DESC LIMIT $9::bigint OFFSET $10::bigint)
    WHEN $11::bool THEN ARRAY(SELECT first.id FROM unnest($1::uuid[]) AS visible (id) CROSS JOIN LATERAL (
            SELECT id FROM matching WHERE service_id = visible.id ORDER BY id LIMIT $9::bigint + $10::bigint) first
        ORDER BY first.id LIMIT $9::bigint OFFSET $10::bigint)
    ELSE ARRAY(SELECT first.id FROM unnest($1::uuid[]) AS visible (id) CROSS JOIN LATERAL (
            SELECT id FROM matching WHERE service_id = visible.id ORDER BY id DESC LIMIT $9::bigint + $10::bigint) first
        ORDER BY first.id DESC LIMIT $9::bigint OFFSET $10::bigint)
    END,
    CASE WHEN $12::bigint IS NULL THEN (
        SELECT coalesce(sum(saves), 0)::bigint FROM save_counts
        WHERE ($1::uuid[] IS NULL OR service_id = ANY($1)) AND ($2::uuid IS NULL OR service_id = $2)
          AND ($3::uuid IS NULL OR target_id = $3) AND ($4::text IS NULL OR state = $4)
          AND ($5::bool IS NULL OR valid = $5) AND ($6::bool IS NULL OR suspicious = $6))
    ELSE (SELECT count(*) FROM (SELECT FROM matching WHERE $1::uuid[] IS NULL OR service_id = ANY($1) LIMIT $12::bigint) counted)
    END
