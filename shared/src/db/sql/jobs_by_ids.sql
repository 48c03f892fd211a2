-- Jobs in the order of the ids that are given; ids of no job are passed over.
-- The subselect hides how many ids there are, so that one plan serves for all: else each call would be planned anew.
SELECT j.id, j.kind, j.state, j.phase, j.payload, j.priority, j.worker_group, j.service_id, j.target_id, j.server_id,
    j.save_id, j.reads_save_id, j.exclusive_key, j.group_id, j.after_job_id, j.retry_of, j.attempt, j.max_attempts, j.epoch,
    j.lease_owner, j.lease_until, j.cancel_requested_at, j.next_run_at, j.deadline_s, j.stall_s, j.progress, j.journal, j.result,
    j.error, j.requested_by, j.request_id, j.trace_id, j.created_at, j.started_at, j.finished_at
FROM unnest((SELECT $1::uuid[])) WITH ORDINALITY AS wanted (id, place)
JOIN jobs j ON j.id = wanted.id
ORDER BY wanted.place
