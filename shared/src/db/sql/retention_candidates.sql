-- The saves of target $2 that are not gone, as the retention of schedule $1 sees them.
SELECT s.id, s.version, s.state, s.scope, s.origin, s.schedule_id IS NOT DISTINCT FROM $1 AS "is_own!", s.valid,
    s.verified_at IS NOT NULL AS "verified!", s.suspicious, s.pinned, s.created_at, s.stored_bytes,
    (EXISTS (SELECT FROM jobs j WHERE j.reads_save_id = s.id AND j.state IN ('queued', 'running'))
        OR EXISTS (SELECT FROM save_uses u WHERE u.save_id = s.id)
        OR EXISTS (SELECT FROM data_set_saves d WHERE d.save_id = s.id)
        OR EXISTS (SELECT FROM jobs m WHERE m.id = s.job_id AND m.state IN ('queued', 'running'))
        OR EXISTS (SELECT FROM transfers t WHERE t.save_id = s.id AND t.busy_until > clock_timestamp())) AS "in_use!"
FROM saves s
WHERE s.target_id = $2 AND s.state IN ('pending', 'available', 'failed')
ORDER BY s.version
