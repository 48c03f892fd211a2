-- Lists over a million saves: what each filter walks in the order in which it is shown, and totals that nobody counts.

CREATE INDEX saves_service_state ON saves (service_id, state, id DESC);
CREATE INDEX saves_target_state ON saves (target_id, state, id DESC);
CREATE INDEX saves_origin ON saves (origin, id DESC);
CREATE INDEX saves_invalid ON saves (id DESC) WHERE NOT valid;
CREATE INDEX saves_suspicious ON saves (id DESC) WHERE suspicious;
CREATE INDEX saves_pinned ON saves (id DESC) WHERE pinned;
CREATE INDEX jobs_service_state ON jobs (service_id, state, id DESC);
CREATE INDEX jobs_kind_state ON jobs (kind, state, id DESC);

-- Totals. Every change adds a line, so that no two transactions ever wait for one another over a counter; the sweeper adds the
-- lines up. A reader sums whatever is there: it is exact at any moment.

CREATE TABLE save_counts (
    service_id   uuid NOT NULL,
    target_id    uuid NOT NULL,
    state        text NOT NULL,
    valid        boolean NOT NULL,
    suspicious   boolean NOT NULL,
    saves        bigint NOT NULL,
    stored_bytes bigint NOT NULL,
    settled      boolean NOT NULL DEFAULT false
) WITH (autovacuum_vacuum_threshold = 1000, autovacuum_vacuum_scale_factor = 0);
COMMENT ON TABLE save_counts IS 'How many saves there are of each kind, as lines to be summed: written by triggers, added up by the sweeper.';
COMMENT ON COLUMN save_counts.saves IS 'How many came (or went, where negative) by this line.';
COMMENT ON COLUMN save_counts.stored_bytes IS 'The stored bytes of these saves.';
COMMENT ON COLUMN save_counts.settled IS 'Added up by the sweeper; every other line is one change.';
CREATE INDEX save_counts_target ON save_counts (target_id);
CREATE INDEX save_counts_service ON save_counts (service_id);
CREATE INDEX save_counts_open ON save_counts (target_id) WHERE NOT settled;

CREATE TABLE job_counts (
    service_id uuid NOT NULL,
    target_id  uuid NOT NULL,
    kind       text NOT NULL,
    state      text NOT NULL,
    jobs       bigint NOT NULL,
    settled    boolean NOT NULL DEFAULT false
) WITH (autovacuum_vacuum_threshold = 1000, autovacuum_vacuum_scale_factor = 0);
COMMENT ON TABLE job_counts IS 'How many jobs there are of each kind, as lines to be summed: written by triggers, added up by the sweeper.';
COMMENT ON COLUMN job_counts.service_id IS 'The job''s service; of a job of none, the nil UUID.';
COMMENT ON COLUMN job_counts.target_id IS 'The job''s target; of a job of none, the nil UUID.';
COMMENT ON COLUMN job_counts.jobs IS 'How many came (or went, where negative) by this line.';
COMMENT ON COLUMN job_counts.settled IS 'Added up by the sweeper; every other line is one change.';
CREATE INDEX job_counts_target ON job_counts (target_id);
CREATE INDEX job_counts_service ON job_counts (service_id);
CREATE INDEX job_counts_open ON job_counts (target_id) WHERE NOT settled;

CREATE FUNCTION count_new_saves() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO save_counts (service_id, target_id, state, valid, suspicious, saves, stored_bytes)
    SELECT service_id, target_id, state, valid, suspicious, count(*), coalesce(sum(stored_bytes), 0)
    FROM added GROUP BY service_id, target_id, state, valid, suspicious;
    RETURN NULL;
END $$;
CREATE FUNCTION count_changed_save() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO save_counts (service_id, target_id, state, valid, suspicious, saves, stored_bytes) VALUES
        (OLD.service_id, OLD.target_id, OLD.state, OLD.valid, OLD.suspicious, -1, -coalesce(OLD.stored_bytes, 0)),
        (NEW.service_id, NEW.target_id, NEW.state, NEW.valid, NEW.suspicious, 1, coalesce(NEW.stored_bytes, 0));
    RETURN NULL;
END $$;
CREATE FUNCTION count_removed_saves() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO save_counts (service_id, target_id, state, valid, suspicious, saves, stored_bytes)
    SELECT service_id, target_id, state, valid, suspicious, -count(*), -coalesce(sum(stored_bytes), 0)
    FROM removed GROUP BY service_id, target_id, state, valid, suspicious;
    RETURN NULL;
END $$;
CREATE TRIGGER saves_counted_new AFTER INSERT ON saves REFERENCING NEW TABLE AS added
    FOR EACH STATEMENT EXECUTE FUNCTION count_new_saves();
CREATE TRIGGER saves_counted_changed AFTER UPDATE ON saves FOR EACH ROW
    WHEN ((OLD.service_id, OLD.target_id, OLD.state, OLD.valid, OLD.suspicious, OLD.stored_bytes)
          IS DISTINCT FROM (NEW.service_id, NEW.target_id, NEW.state, NEW.valid, NEW.suspicious, NEW.stored_bytes))
    EXECUTE FUNCTION count_changed_save();
CREATE TRIGGER saves_counted_removed AFTER DELETE ON saves REFERENCING OLD TABLE AS removed
    FOR EACH STATEMENT EXECUTE FUNCTION count_removed_saves();

CREATE FUNCTION count_new_jobs() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO job_counts (service_id, target_id, kind, state, jobs)
    SELECT coalesce(service_id, '00000000-0000-0000-0000-000000000000'), coalesce(target_id, '00000000-0000-0000-0000-000000000000'),
        kind, state, count(*) FROM added GROUP BY 1, 2, 3, 4;
    RETURN NULL;
END $$;
CREATE FUNCTION count_changed_job() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE nobody constant uuid := '00000000-0000-0000-0000-000000000000';
BEGIN
    INSERT INTO job_counts (service_id, target_id, kind, state, jobs) VALUES
        (coalesce(OLD.service_id, nobody), coalesce(OLD.target_id, nobody), OLD.kind, OLD.state, -1),
        (coalesce(NEW.service_id, nobody), coalesce(NEW.target_id, nobody), NEW.kind, NEW.state, 1);
    RETURN NULL;
END $$;
CREATE FUNCTION count_removed_jobs() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO job_counts (service_id, target_id, kind, state, jobs)
    SELECT coalesce(service_id, '00000000-0000-0000-0000-000000000000'), coalesce(target_id, '00000000-0000-0000-0000-000000000000'),
        kind, state, -count(*) FROM removed GROUP BY 1, 2, 3, 4;
    RETURN NULL;
END $$;
CREATE TRIGGER jobs_counted_new AFTER INSERT ON jobs REFERENCING NEW TABLE AS added
    FOR EACH STATEMENT EXECUTE FUNCTION count_new_jobs();
CREATE TRIGGER jobs_counted_changed AFTER UPDATE OF state ON jobs FOR EACH ROW
    WHEN (OLD.state IS DISTINCT FROM NEW.state) EXECUTE FUNCTION count_changed_job();
CREATE TRIGGER jobs_counted_removed AFTER DELETE ON jobs REFERENCING OLD TABLE AS removed
    FOR EACH STATEMENT EXECUTE FUNCTION count_removed_jobs();

INSERT INTO save_counts (service_id, target_id, state, valid, suspicious, saves, stored_bytes, settled)
SELECT service_id, target_id, state, valid, suspicious, count(*), coalesce(sum(stored_bytes), 0), true
FROM saves GROUP BY 1, 2, 3, 4, 5;
INSERT INTO job_counts (service_id, target_id, kind, state, jobs, settled)
SELECT coalesce(service_id, '00000000-0000-0000-0000-000000000000'), coalesce(target_id, '00000000-0000-0000-0000-000000000000'),
    kind, state, count(*), true
FROM jobs GROUP BY 1, 2, 3, 4;

COMMENT ON FUNCTION count_new_saves() IS 'Writes save_counts.';
COMMENT ON FUNCTION count_changed_save() IS 'Writes save_counts.';
COMMENT ON FUNCTION count_removed_saves() IS 'Writes save_counts.';
COMMENT ON FUNCTION count_new_jobs() IS 'Writes job_counts.';
COMMENT ON FUNCTION count_changed_job() IS 'Writes job_counts.';
COMMENT ON FUNCTION count_removed_jobs() IS 'Writes job_counts.';
