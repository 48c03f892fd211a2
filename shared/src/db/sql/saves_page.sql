-- The ids of a page of saves, newest first, and how many saves there are, counted no further than $8.
-- $1 services, $2 service, $3 target, $4 state, $5 valid: null does not restrict. $6 limit, $7 offset.
-- Not materialized, so that each of its two uses stops where it may.
WITH matching AS NOT MATERIALIZED (
    SELECT id FROM saves
    WHERE ($1::uuid[] IS NULL OR service_id = ANY($1)) AND ($2::uuid IS NULL OR service_id = $2)
      AND ($3::uuid IS NULL OR target_id = $3) AND ($4::text IS NULL OR state = $4) AND ($5::bool IS NULL OR valid = $5))
SELECT ARRAY(SELECT id FROM matching ORDER BY id DESC LIMIT $6 OFFSET $7) AS "ids!: Vec<SaveId>",
    (SELECT count(*) FROM (SELECT FROM matching LIMIT $8) counted) AS "total!"
