-- Retention: what has to be looked at, what became of it, and saves whose time is over.

CREATE TABLE retention_runs (
    schedule_id     uuid NOT NULL REFERENCES schedules ON DELETE CASCADE,
    target_id       uuid NOT NULL REFERENCES targets ON DELETE CASCADE,
    due_at          timestamptz,
    ran_at          timestamptz,
    kept            integer,
    removed         integer,
    blocked         text CHECK (blocked IN ('failed', 'suspicious')),
    blocked_save_id uuid REFERENCES saves ON DELETE SET NULL,
    blocked_since   timestamptz,
    PRIMARY KEY (schedule_id, target_id),
    CHECK ((blocked IS NULL) = (blocked_since IS NULL))
);
COMMENT ON TABLE retention_runs IS 'The retention of a schedule''s saves of one target: whether it is to look again, and what the last look did.';
COMMENT ON COLUMN retention_runs.due_at IS 'Since when something has happened that the last look did not see; null: nothing. Set by a trigger, so that nothing is forgotten.';
COMMENT ON COLUMN retention_runs.kept IS 'How many of the schedule''s saves the last look left.';
COMMENT ON COLUMN retention_runs.removed IS 'How many saves the last look had deleted.';
COMMENT ON COLUMN retention_runs.blocked IS 'Why nothing was removed: what is the matter with the target''s newest save. Told once while it stays the same.';
COMMENT ON COLUMN retention_runs.blocked_save_id IS 'That save.';
CREATE INDEX retention_runs_due ON retention_runs (due_at) WHERE due_at IS NOT NULL;
CREATE INDEX retention_runs_target ON retention_runs (target_id);

-- A save that came to its end, well or not, one that a person accepted, and one that held retention up and is deleted: every schedule that has saves of the target looks again.
-- The rows are always written, also where they are due already: whoever has just taken one has not seen this save.
CREATE FUNCTION note_retention() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.schedule_id IS NOT NULL THEN
        INSERT INTO retention_runs (schedule_id, target_id) VALUES (NEW.schedule_id, NEW.target_id) ON CONFLICT DO NOTHING;
    END IF;
    UPDATE retention_runs SET due_at = clock_timestamp() WHERE (schedule_id, target_id) IN (
        SELECT schedule_id, target_id FROM retention_runs WHERE target_id = NEW.target_id ORDER BY schedule_id FOR UPDATE);
    RETURN NULL;
END $$;
COMMENT ON FUNCTION note_retention() IS 'Writes retention_runs.due_at.';
CREATE TRIGGER saves_retention AFTER UPDATE OF state, suspicious ON saves FOR EACH ROW
    WHEN (NEW.scope = 'full' AND ((OLD.state = 'pending' AND NEW.state IN ('available', 'failed')) OR (OLD.suspicious AND NOT NEW.suspicious)
        OR (NEW.state = 'deleting' AND (OLD.state = 'failed' OR OLD.suspicious))))
    EXECUTE FUNCTION note_retention();

ALTER TABLE saves ADD COLUMN expiry_tried_at timestamptz;
COMMENT ON COLUMN saves.expiry_tried_at IS 'When it was last tried to delete it because its time is over.';
CREATE INDEX saves_expiring ON saves (expires_at) WHERE expires_at IS NOT NULL AND state IN ('available', 'failed');
