-- Saves over services that belong together, and their restores as one.
CREATE TABLE data_sets (
    id         uuid PRIMARY KEY,
    name       text NOT NULL CONSTRAINT data_sets_name UNIQUE,
    note       text NOT NULL DEFAULT '',
    as_of      timestamptz,
    created_by uuid REFERENCES admins ON DELETE SET NULL,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
COMMENT ON TABLE data_sets IS 'A named group of saves, one of each target, that are restored together. They stay as long as it stands.';
COMMENT ON COLUMN data_sets.as_of IS 'The moment whose latest valid full saves they are; none: they were named one by one.';

CREATE TABLE data_set_saves (
    data_set_id uuid NOT NULL REFERENCES data_sets ON DELETE CASCADE,
    position    integer NOT NULL,
    target_id   uuid NOT NULL REFERENCES targets,
    save_id     uuid NOT NULL REFERENCES saves,
    PRIMARY KEY (data_set_id, position),
    UNIQUE (data_set_id, target_id)
);
COMMENT ON TABLE data_set_saves IS 'The saves of a data set, in the order in which they are swapped in.';
CREATE INDEX data_set_saves_save ON data_set_saves (save_id);
CREATE INDEX data_set_saves_target ON data_set_saves (target_id);

CREATE TABLE data_set_restores (
    group_id     uuid PRIMARY KEY,
    data_set_id  uuid REFERENCES data_sets ON DELETE SET NULL,
    name         text NOT NULL,
    state        text NOT NULL DEFAULT 'checking' CHECK (state IN ('checking', 'checked', 'staging', 'swapping', 'purging',
                     'succeeded', 'failed', 'undoing', 'undone', 'partly_swapped')),
    dry_run      boolean NOT NULL,
    safety       boolean NOT NULL,
    keep_old_s   integer NOT NULL CHECK (keep_old_s >= 3600),
    purges       uuid[] NOT NULL DEFAULT '{}',
    problem      jsonb,
    requested_by uuid REFERENCES admins ON DELETE SET NULL,
    request_id   text,
    trace_id     text,
    created_at   timestamptz NOT NULL DEFAULT clock_timestamp(),
    updated_at   timestamptz NOT NULL DEFAULT clock_timestamp(),
    finished_at  timestamptz
);
COMMENT ON TABLE data_set_restores IS 'A data set that is put back: all are looked at, all are restored beside their databases, then all are swapped in, one after another.';
COMMENT ON COLUMN data_set_restores.group_id IS 'The group of all its jobs.';
COMMENT ON COLUMN data_set_restores.name IS 'The data set''s name at that time.';
COMMENT ON COLUMN data_set_restores.state IS 'checking, staging, swapping, undoing and purging go on by themselves; partly_swapped waits for a person: resume or undo.';
COMMENT ON COLUMN data_set_restores.keep_old_s IS 'Seconds that what makes way is kept.';
COMMENT ON COLUMN data_set_restores.purges IS 'The jobs that purge the services'' queues.';
COMMENT ON COLUMN data_set_restores.problem IS 'Why it did not go through; none: it has, or goes on.';
CREATE INDEX data_set_restores_set ON data_set_restores (data_set_id, group_id DESC);
CREATE INDEX data_set_restores_open ON data_set_restores (group_id)
    WHERE state IN ('checking', 'staging', 'swapping', 'undoing', 'purging');

CREATE TABLE data_set_members (
    group_id    uuid NOT NULL REFERENCES data_set_restores ON DELETE CASCADE,
    position    integer NOT NULL,
    target_id   uuid NOT NULL REFERENCES targets,
    save_id     uuid NOT NULL REFERENCES saves,
    state       text NOT NULL DEFAULT 'waiting' CHECK (state IN ('waiting', 'staged', 'swapped', 'back')),
    doing       text CHECK (doing IN ('check', 'stage', 'swap', 'undo')),
    job_id      uuid REFERENCES jobs,
    tries       integer NOT NULL DEFAULT 0,
    incoming_id uuid REFERENCES kept_databases,
    outgoing_id uuid REFERENCES kept_databases,
    problem     jsonb,
    PRIMARY KEY (group_id, position)
);
COMMENT ON TABLE data_set_members IS 'The database of one target in the restore of a data set.';
COMMENT ON COLUMN data_set_members.state IS 'waiting: as it was; staged: restored beside it; swapped: in its place; back: swapped, and swapped back.';
COMMENT ON COLUMN data_set_members.doing IS 'What its job is about; none: nothing is under way.';
COMMENT ON COLUMN data_set_members.job_id IS 'Its latest job.';
COMMENT ON COLUMN data_set_members.tries IS 'How often it was begun again because its worker died before the point of no return.';
COMMENT ON COLUMN data_set_members.incoming_id IS 'What is restored and waits, staged or back.';
COMMENT ON COLUMN data_set_members.outgoing_id IS 'What made way, swapped; none: there was nothing.';
CREATE INDEX data_set_members_job ON data_set_members (job_id) WHERE doing IS NOT NULL;
CREATE INDEX data_set_members_save ON data_set_members (save_id);
CREATE INDEX data_set_members_target ON data_set_members (target_id);
