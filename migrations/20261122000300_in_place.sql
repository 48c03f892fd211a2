-- Restoring in place: what a job is about to make final, and the databases it put aside.

ALTER TABLE jobs ADD COLUMN journal jsonb;
COMMENT ON COLUMN jobs.journal IS 'Written with phase committing, before the point of no return: what is about to be made final, and how to see whether it was. A job with a journal is never worked through again, only resolved.';

CREATE TABLE kept_databases (
    id         uuid PRIMARY KEY,
    target_id  uuid NOT NULL REFERENCES targets,
    server_id  uuid NOT NULL REFERENCES servers,
    job_id     uuid NOT NULL UNIQUE REFERENCES jobs,
    database   text NOT NULL,
    name       text NOT NULL,
    oid        bigint NOT NULL,
    state      text NOT NULL DEFAULT 'kept' CHECK (state IN ('kept', 'restored', 'dropped', 'gone')),
    kept_at    timestamptz NOT NULL DEFAULT clock_timestamp(),
    keep_until timestamptz NOT NULL,
    tried_at   timestamptz,
    ended_at   timestamptz,
    ended_by   uuid REFERENCES jobs,
    CHECK ((state = 'kept') = (ended_at IS NULL))
);
COMMENT ON TABLE kept_databases IS 'A database that a restore in place put aside: undo swaps it back, and after keep_until it is dropped.';
COMMENT ON COLUMN kept_databases.job_id IS 'The job that put it aside.';
COMMENT ON COLUMN kept_databases.database IS 'The name it had, and whose place was taken.';
COMMENT ON COLUMN kept_databases.name IS 'The name it stands under now.';
COMMENT ON COLUMN kept_databases.oid IS 'Its oid on the server: what proves that it is the same database.';
COMMENT ON COLUMN kept_databases.state IS 'kept; restored: swapped back by an undo; dropped: by us, when its time was over; gone: somebody else dropped or renamed it.';
COMMENT ON COLUMN kept_databases.tried_at IS 'When a job was last enqueued to drop it.';
COMMENT ON COLUMN kept_databases.ended_by IS 'The job that swapped it back or dropped it.';
CREATE INDEX kept_databases_due ON kept_databases (keep_until) WHERE state = 'kept';
CREATE INDEX kept_databases_target ON kept_databases (target_id, id DESC);
