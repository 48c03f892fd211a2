-- Verifications that schedules want now, at most $1. Days are counted from the newest success at that depth or a deeper one of any
-- save of the schedule and the target; with 0 days each new save wants its own.
SELECT DISTINCT ON (s.id, t.id) s.id AS schedule_id, t.id AS "target_id!: TargetId", newest.id AS save_id, d.depth AS "depth!: Depth"
FROM schedules s
CROSS JOIN LATERAL (
    SELECT s.target_id AS id WHERE s.covers = 'target'
    UNION ALL SELECT id FROM targets WHERE s.covers = 'service' AND service_id = s.service_id
    UNION ALL SELECT id FROM targets WHERE s.covers = 'server' AND server_id = s.server_id) t
CROSS JOIN LATERAL (
    SELECT id FROM saves WHERE schedule_id = s.id AND target_id = t.id AND state = 'available' AND scope = 'full' AND valid
    ORDER BY id DESC LIMIT 1) newest
CROSS JOIN LATERAL (VALUES
    (3, 'restore', ARRAY['restore'], (s.verification ->> 'restore_days')::int),
    (2, 'decode', ARRAY['decode', 'restore'], (s.verification ->> 'decode_days')::int),
    (1, 'hash', ARRAY['hash', 'decode', 'restore'], (s.verification ->> 'hash_days')::int)) AS d (rank, depth, proven_by, days)
WHERE s.deleted_at IS NULL AND s.verification IS NOT NULL AND d.days IS NOT NULL
    AND NOT EXISTS (
        SELECT FROM save_verifications v WHERE v.schedule_id = s.id AND v.target_id = t.id AND v.passed AND v.depth = ANY (d.proven_by)
            AND CASE WHEN d.days = 0 THEN v.save_id = newest.id ELSE v.at > clock_timestamp() - make_interval(days => d.days) END)
    AND NOT EXISTS (
        SELECT FROM jobs j WHERE j.reads_save_id = newest.id AND j.state IN ('queued', 'running') AND j.kind = 'verify')
    AND NOT EXISTS (
        SELECT FROM schedule_proofs p WHERE p.schedule_id = s.id AND p.target_id = t.id AND p.depth = d.depth
            AND p.asked_at > clock_timestamp() - interval '1 day'
            AND NOT EXISTS (SELECT FROM save_verifications v WHERE v.job_id = p.job_id AND v.passed))
ORDER BY s.id, t.id, d.rank DESC
LIMIT $1
