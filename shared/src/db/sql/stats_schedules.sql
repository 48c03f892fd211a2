-- What schedules have stored of the targets $1 of late: of the last thirty saves of each.
SELECT r.target_id, r.schedule_id, s.name AS schedule, s.zone, s.retention, l.saves AS "saves!",
    (l.seconds / nullif(l.saves - 1, 0))::float8 AS interval_s, l.mean AS "mean_stored_bytes?"
FROM retention_runs r JOIN schedules s ON s.id = r.schedule_id
CROSS JOIN LATERAL (
    SELECT count(*) AS saves, extract(epoch FROM max(created_at) - min(created_at)) AS seconds, avg(stored_bytes)::float8 AS mean
    FROM (SELECT created_at, stored_bytes FROM saves WHERE schedule_id = r.schedule_id AND target_id = r.target_id AND scope = 'full'
          ORDER BY id DESC LIMIT 30) latest) l
WHERE r.target_id = ANY ($1::uuid[]) AND s.deleted_at IS NULL
ORDER BY r.target_id, s.name
