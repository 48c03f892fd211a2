-- Statistics: a target's ended backups by the day on which they ended.

CREATE INDEX jobs_backups ON jobs (target_id, finished_at) WHERE kind = 'backup' AND finished_at IS NOT NULL;
