-- Every claim asks whether a job of the same exclusive key waits to be decided.
CREATE INDEX jobs_undecided ON jobs (exclusive_key) WHERE state = 'queued' AND journal IS NOT NULL;
