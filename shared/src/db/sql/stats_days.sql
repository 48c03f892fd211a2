-- Backups of the targets $1 by the day of UTC on which they ended, from $2 to $3.
SELECT j.target_id AS "target_id!: TargetId", (j.finished_at AT TIME ZONE 'UTC')::date AS "day!",
    count(*) AS "runs!", count(*) FILTER (WHERE j.state = 'failed') AS "failures!", count(*) FILTER (WHERE j.state = 'cancelled') AS "cancelled!",
    (coalesce(sum(s.raw_bytes) FILTER (WHERE j.state = 'succeeded'), 0))::bigint AS "raw_bytes!",
    (coalesce(sum(s.stored_bytes) FILTER (WHERE j.state = 'succeeded'), 0))::bigint AS "stored_bytes!",
    (sum(extract(epoch FROM j.finished_at - j.started_at)) FILTER (WHERE j.state = 'succeeded'))::float8 AS seconds,
    (min(extract(epoch FROM j.finished_at - j.started_at)) FILTER (WHERE j.state = 'succeeded'))::float8 AS least_s,
    (percentile_cont(0.5) WITHIN GROUP (ORDER BY extract(epoch FROM j.finished_at - j.started_at)) FILTER (WHERE j.state = 'succeeded'))::float8 AS median_s,
    (max(extract(epoch FROM j.finished_at - j.started_at)) FILTER (WHERE j.state = 'succeeded'))::float8 AS most_s,
    (array_agg(s.raw_bytes ORDER BY j.finished_at DESC) FILTER (WHERE j.state = 'succeeded'))[1] AS newest_raw_bytes,
    (array_agg(s.stored_bytes ORDER BY j.finished_at DESC) FILTER (WHERE j.state = 'succeeded'))[1] AS newest_stored_bytes
FROM jobs j LEFT JOIN saves s ON s.id = j.save_id
WHERE j.kind = 'backup' AND j.target_id = ANY ($1::uuid[])
  AND j.finished_at >= $2::date::timestamp AT TIME ZONE 'UTC' AND j.finished_at < ($3::date + 1)::timestamp AT TIME ZONE 'UTC'
GROUP BY 1, 2 ORDER BY 1, 2
