-- The ids of a page of jobs, newest first, and how many jobs there are, counted no further than $8.
-- $1 services, $2 target, $3 kind, $4 state, $5 group: null does not restrict. $6 limit, $7 offset.
-- Not materialized, so that each of its two uses stops where it may.
WITH matching AS NOT MATERIALIZED (
    SELECT id FROM jobs
    WHERE ($1::uuid[] IS NULL OR service_id = ANY($1)) AND ($2::uuid IS NULL OR target_id = $2)
      AND ($3::text IS NULL OR kind = $3) AND ($4::text IS NULL OR state = $4) AND ($5::uuid IS NULL OR group_id = $5))
SELECT ARRAY(SELECT id FROM matching ORDER BY id DESC LIMIT $6 OFFSET $7) AS "ids!: Vec<JobId>",
    (SELECT count(*) FROM (SELECT FROM matching LIMIT $8) counted) AS "total!"
