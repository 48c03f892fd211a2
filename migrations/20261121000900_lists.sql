-- Lists by state or kind, newest first: what is rare (a failed save, a restore) is found without reading what is common.

CREATE INDEX jobs_state ON jobs (state, id DESC);
CREATE INDEX jobs_kind ON jobs (kind, id DESC);
CREATE INDEX saves_state ON saves (state, id DESC);
