-- The best eligible job becomes the caller's. $1 owner, $2 worker groups, $3 lease in seconds.
WITH best AS (
    SELECT j.id, slot.n AS slot
    FROM jobs j
    LEFT JOIN servers s ON s.id = j.server_id
    LEFT JOIN LATERAL (
        SELECT min(n) AS n FROM generate_series(1, s.max_jobs) n
        WHERE NOT EXISTS (SELECT 1 FROM jobs r WHERE r.state = 'running' AND r.server_id = s.id AND r.server_slot = n)
    ) slot ON s.id IS NOT NULL
    WHERE j.state = 'queued' AND j.next_run_at <= clock_timestamp() AND j.cancel_requested_at IS NULL
      AND j.worker_group = ANY($2)
      AND (s.id IS NULL OR slot.n IS NOT NULL)
      AND (j.exclusive_key IS NULL OR NOT EXISTS (
           SELECT 1 FROM jobs r WHERE r.state = 'running' AND r.exclusive_key = j.exclusive_key))
      -- What a job with a journal left behind is not to be changed before somebody has looked at it.
      AND (j.exclusive_key IS NULL OR NOT EXISTS (
           SELECT 1 FROM jobs r WHERE r.state = 'queued' AND r.journal IS NOT NULL
             AND r.exclusive_key = j.exclusive_key AND r.id <> j.id))
      -- Not EXISTS, which the planner may answer by reading every job that ever succeeded.
      AND (j.after_job_id IS NULL OR (SELECT a.state FROM jobs a WHERE a.id = j.after_job_id) = 'succeeded')
    ORDER BY j.priority DESC, j.next_run_at, j.id
    LIMIT 1 FOR UPDATE OF j SKIP LOCKED)
UPDATE jobs j SET state = 'running', phase = 'starting', attempt = attempt + 1, epoch = epoch + 1,
    lease_owner = $1, lease_until = clock_timestamp() + make_interval(secs => $3), server_slot = best.slot,
    started_at = coalesce(started_at, clock_timestamp()), progress = '{}', error = NULL
FROM best WHERE j.id = best.id
RETURNING j.id
