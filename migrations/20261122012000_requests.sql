-- What makes requests safe to repeat, and how many jobs an admin may ask for in a day.

CREATE TABLE idempotency_keys (
    admin_id       uuid NOT NULL REFERENCES admins ON DELETE CASCADE,
    method         text NOT NULL,
    path           text NOT NULL,
    key            text NOT NULL,
    request_sha256 bytea NOT NULL CHECK (octet_length(request_sha256) = 32),
    job_id         uuid,
    status         smallint,
    location       text,
    body           text,
    created_at     timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (admin_id, method, path, key)
);
COMMENT ON TABLE idempotency_keys IS 'Requests that carried an Idempotency-Key, with their answers, for 24 hours: a row comes with the transaction of what was asked for. The sweeper prunes it.';
COMMENT ON COLUMN idempotency_keys.request_sha256 IS 'Of the query without wait and the body: what else the key may not be used for.';
COMMENT ON COLUMN idempotency_keys.job_id IS 'The one job that was enqueued; the answer is read from it. Else the answer is in status, location and body.';
CREATE INDEX idempotency_keys_age ON idempotency_keys (created_at);

ALTER TABLE admins ADD COLUMN jobs_per_day integer CHECK (jobs_per_day >= 0);
COMMENT ON COLUMN admins.jobs_per_day IS 'How many jobs the admin may ask for in a day; 0: as many as they like; null: what the configuration says.';

CREATE TABLE jobs_of_a_day (
    admin_id uuid NOT NULL REFERENCES admins ON DELETE CASCADE,
    day      date NOT NULL,
    jobs     integer NOT NULL,
    PRIMARY KEY (admin_id, day)
);
COMMENT ON TABLE jobs_of_a_day IS 'Jobs that an admin with a daily quota asked for, by day in UTC. Counted in the transaction of the jobs; the sweeper prunes it.';
