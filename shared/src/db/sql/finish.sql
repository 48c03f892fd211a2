-- Ends an attempt, if the fence holds. $1 job, $2 epoch, $3 what is wished, $4 problem, $5 delay in seconds, $6 result.
WITH mine AS (
    SELECT id, CASE
        -- What stands in the journal may have happened: somebody looks until it is known.
        WHEN $3 IN ('retry', 'released', 'postponed', 'cancelled') AND journal IS NOT NULL THEN 'queued'
        WHEN $3 = 'retry' AND cancel_requested_at IS NOT NULL THEN 'cancelled'
        WHEN $3 IN ('released', 'postponed') AND cancel_requested_at IS NOT NULL THEN 'cancelled'
        WHEN $3 = 'retry' AND attempt >= max_attempts THEN 'failed'
        WHEN $3 IN ('retry', 'released', 'postponed') THEN 'queued'
        ELSE $3 END AS next
    FROM jobs WHERE id = $1 AND epoch = $2 AND state = 'running' FOR UPDATE)
UPDATE jobs j SET state = mine.next, phase = NULL, lease_owner = NULL, lease_until = NULL, server_slot = NULL,
    dispatched_at = NULL, error = $4, result = $6,
    attempt = CASE WHEN $3 IN ('released', 'postponed') THEN greatest(attempt - 1, 0) ELSE attempt END,
    next_run_at = CASE WHEN mine.next = 'queued' THEN clock_timestamp() + make_interval(secs => $5) ELSE next_run_at END,
    finished_at = CASE WHEN mine.next <> 'queued' THEN clock_timestamp() END
FROM mine WHERE j.id = mine.id RETURNING j.id
