//! Promises that rows alone can break.

use crate::app::App;

/// Each question gives the ids of what breaks its promise.
const QUESTIONS: &[(&str, &str)] = &[
    (
        "a save is available without its required good copies",
        "SELECT s.id::text FROM saves s WHERE s.state = 'available'
         AND (SELECT count(*) FROM save_copies c WHERE c.save_id = s.id AND c.state = 'good') < s.required_copies",
    ),
    (
        "a good copy of an available save has no manifest or no dump",
        "SELECT s.id || ' in ' || c.store FROM saves s JOIN save_copies c ON c.save_id = s.id
         WHERE s.state = 'available' AND c.state = 'good' AND (SELECT count(*) FROM save_objects o
           WHERE o.save_id = s.id AND o.store = c.store AND o.epoch = c.epoch AND o.state = 'stored'
             AND (o.part = 'manifest.json' OR o.part = 'dump.0001')) <> 2",
    ),
    (
        "the objects of a copy come from several attempts",
        "SELECT o.save_id || ' in ' || o.store FROM save_objects o WHERE o.state = 'stored'
         GROUP BY o.save_id, o.store HAVING count(DISTINCT o.epoch) > 1",
    ),
    (
        "a slot that ran has no jobs, or has them in common with another",
        "SELECT k.id::text FROM schedule_slots k WHERE k.state IN ('ran', 'unreachable')
         AND (NOT EXISTS (SELECT FROM jobs j WHERE j.group_id = k.group_id)
              OR EXISTS (SELECT FROM schedule_slots o WHERE o.group_id = k.group_id AND o.id <> k.id))",
    ),
    (
        "a save waits for a job that has ended",
        "SELECT s.id::text FROM saves s JOIN jobs j ON j.id = s.job_id
         WHERE s.state = 'pending' AND j.state IN ('succeeded', 'failed', 'cancelled')",
    ),
    (
        "a succeeded backup has no available save",
        "SELECT j.id::text FROM jobs j JOIN saves s ON s.id = j.save_id
         WHERE j.kind = 'backup' AND j.state = 'succeeded' AND s.state IN ('pending', 'failed')",
    ),
    (
        "a backup that did not succeed has an available save",
        "SELECT j.id::text FROM jobs j JOIN saves s ON s.job_id = j.id
         WHERE j.kind = 'backup' AND j.state <> 'succeeded' AND s.state = 'available'",
    ),
    (
        "a deletion succeeded, and its save is not deleted",
        "SELECT j.id::text FROM jobs j JOIN saves s ON s.id::text = j.payload->>'save_id'
         WHERE j.kind = 'delete' AND j.state = 'succeeded' AND s.state <> 'deleted'",
    ),
    (
        "a deleted save has objects that are not",
        "SELECT s.id::text FROM saves s JOIN save_objects o ON o.save_id = s.id
         WHERE s.state = 'deleted' AND o.state <> 'deleted' AND o.epoch IN (SELECT epoch FROM save_copies c WHERE c.save_id = s.id)",
    ),
    (
        "an ended job still uses a save",
        "SELECT u.job_id::text FROM save_uses u JOIN jobs j ON j.id = u.job_id WHERE j.state <> 'running'",
    ),
    (
        "a job that is over or waits still holds a lease or a place on a server",
        "SELECT id::text FROM jobs WHERE state <> 'running' AND (lease_until IS NOT NULL OR server_slot IS NOT NULL)",
    ),
    (
        "a due job was never told of, although a worker sweeps",
        "SELECT id::text FROM jobs WHERE state = 'queued' AND next_run_at < clock_timestamp() - interval '30 s'
         AND (dispatched_at IS NULL OR dispatched_at < clock_timestamp() - interval '60 s')
         AND EXISTS (SELECT FROM workers WHERE last_seen_at > clock_timestamp() - interval '5 s'
                       AND started_at < clock_timestamp() - interval '30 s')",
    ),
    (
        "a job's end has no event, or more than one",
        "SELECT j.id::text FROM jobs j WHERE j.state IN ('succeeded', 'failed', 'cancelled')
         AND (SELECT count(*) FROM outbox o WHERE o.subject = 'jobs/' || j.id AND o.type = 'job.' || j.state) <> 1",
    ),
    (
        "a start of a job has no event, or more than one",
        "SELECT j.id::text FROM jobs j
         WHERE (SELECT count(*) FROM outbox o WHERE o.subject = 'jobs/' || j.id AND o.type = 'job.started')
            <> (SELECT count(DISTINCT e.epoch) FROM job_events e WHERE e.job_id = j.id AND e.to_state = 'running')",
    ),
    (
        "an available save has no event, or more than one",
        "SELECT s.id::text FROM saves s WHERE s.state = 'available'
         AND (SELECT count(*) FROM outbox o WHERE o.subject = 'saves/' || s.id AND o.type = 'save.completed') <> 1",
    ),
    (
        "a job's history does not end where the job is",
        "SELECT j.id::text FROM jobs j WHERE j.state IS DISTINCT FROM
         (SELECT e.to_state FROM job_events e WHERE e.job_id = j.id ORDER BY e.id DESC LIMIT 1)",
    ),
    (
        "an epoch fell, so that an old attempt could write",
        "SELECT job_id::text FROM (SELECT job_id, epoch - lag(epoch) OVER (PARTITION BY job_id ORDER BY id) AS step
           FROM job_events) e WHERE step < 0",
    ),
    (
        "the history of facts has a gap",
        "SELECT count(*) || ' places up to ' || max(seq) FROM outbox WHERE seq IS NOT NULL HAVING count(*) <> max(seq)",
    ),
    (
        "facts of one thing have places in another order than they were written in",
        "SELECT id::text FROM (SELECT id, seq - lag(seq) OVER (PARTITION BY aggregate ORDER BY position) AS step
           FROM outbox WHERE seq IS NOT NULL) o WHERE step < 0",
    ),
    (
        "the totals of saves are not those of the saves",
        "SELECT target_id || ' ' || state FROM (
             SELECT target_id, state, valid, suspicious, saves, stored_bytes FROM save_counts
             UNION ALL SELECT target_id, state, valid, suspicious, -1, -coalesce(stored_bytes, 0) FROM saves) told
         GROUP BY target_id, state, valid, suspicious HAVING sum(saves) <> 0 OR sum(stored_bytes) <> 0",
    ),
    (
        "the totals of jobs are not those of the jobs",
        "SELECT kind || ' ' || state FROM (
             SELECT target_id, kind, state, jobs FROM job_counts
             UNION ALL SELECT coalesce(target_id, '00000000-0000-0000-0000-000000000000'), kind, state, -1 FROM jobs) told
         GROUP BY target_id, kind, state HAVING sum(jobs) <> 0",
    ),
];

pub(super) async fn check(app: &App, broken: &mut Vec<String>) {
    for (promise, sql) in QUESTIONS {
        for id in app.values::<String>(sql).await {
            broken.push(format!("{promise}: {id}"));
        }
    }
}
