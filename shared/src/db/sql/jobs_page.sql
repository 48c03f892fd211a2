-- The ids of a page of jobs, and how many jobs there are.
-- $1 services, $2 service, $3 target, $4 kind, $5 state, $6 group: null does not restrict. $7 limit, $8 offset, $9 oldest first,
-- else newest. $10: how far is counted; null: what is asked for is kept in job_counts.
-- It is planned anew each time, so that what is not asked for is not in the plan. Of several services each walks its own index.
WITH matching AS NOT MATERIALIZED (
    SELECT id, service_id FROM jobs
    WHERE ($2::uuid IS NULL OR service_id = $2) AND ($3::uuid IS NULL OR target_id = $3) AND ($4::text IS NULL OR kind = $4)
      AND ($5::text IS NULL OR state = $5) AND ($6::uuid IS NULL OR group_id = $6))
SELECT CASE
    WHEN $1::uuid[] IS NULL AND $9::bool THEN ARRAY(SELECT id FROM matching ORDER BY id LIMIT $7::bigint OFFSET $8::bigint)
    WHEN $1::uuid[] IS NULL THEN ARRAY(SELECT id FROM matching ORDER BY id DESC LIMIT $7::bigint OFFSET $8::bigint)
    WHEN $9::bool THEN ARRAY(SELECT first.id FROM unnest($1::uuid[]) AS visible (id) CROSS JOIN LATERAL (
            SELECT id FROM matching WHERE service_id = visible.id ORDER BY id LIMIT $7::bigint + $8::bigint) first
        ORDER BY first.id LIMIT $7::bigint OFFSET $8::bigint)
    ELSE ARRAY(SELECT first.id FROM unnest($1::uuid[]) AS visible (id) CROSS JOIN LATERAL (
            SELECT id FROM matching WHERE service_id = visible.id ORDER BY id DESC LIMIT $7::bigint + $8::bigint) first
        ORDER BY first.id DESC LIMIT $7::bigint OFFSET $8::bigint)
    END,
    CASE WHEN $10::bigint IS NULL THEN (
        SELECT coalesce(sum(jobs), 0)::bigint FROM job_counts
        WHERE ($1::uuid[] IS NULL OR service_id = ANY($1)) AND ($2::uuid IS NULL OR service_id = $2)
          AND ($3::uuid IS NULL OR target_id = $3) AND ($4::text IS NULL OR kind = $4) AND ($5::text IS NULL OR state = $5))
    ELSE (SELECT count(*) FROM (SELECT FROM matching WHERE $1::uuid[] IS NULL OR service_id = ANY($1) LIMIT $10::bigint) counted)
    END
