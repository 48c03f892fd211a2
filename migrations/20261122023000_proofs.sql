-- What a save was proven to be: its bytes, what they unpack to, what comes of it when it is restored. A save that was found to be
-- of no use, although its bytes are what was saved, says so apart from what a person says of it.
CREATE TABLE save_verifications (
    id          uuid PRIMARY KEY,
    save_id     uuid NOT NULL REFERENCES saves ON DELETE CASCADE,
    target_id   uuid NOT NULL REFERENCES targets ON DELETE CASCADE,
    schedule_id uuid REFERENCES schedules,
    job_id      uuid REFERENCES jobs,
    depth       text NOT NULL CHECK (depth IN ('hash', 'decode', 'restore')),
    passed      boolean NOT NULL,
    at          timestamptz NOT NULL DEFAULT clock_timestamp(),
    duration_ms bigint NOT NULL,
    result      jsonb NOT NULL
);
COMMENT ON TABLE save_verifications IS 'Every verification that came to an end, whatever it found. Rows are only ever added.';
COMMENT ON COLUMN save_verifications.schedule_id IS 'The schedule of the save; null: it has none.';
COMMENT ON COLUMN save_verifications.depth IS 'How deep it looked: the digests of the bytes, what they unpack to, or what a restore makes of them.';
COMMENT ON COLUMN save_verifications.passed IS 'Whether enough copies were good and the save is of use, as far as it looked.';
COMMENT ON COLUMN save_verifications.result IS 'What was looked at, what was compared, and what differed, in words.';
CREATE INDEX save_verifications_save ON save_verifications (save_id, at DESC);
CREATE INDEX save_verifications_policy ON save_verifications (schedule_id, target_id, at DESC) WHERE schedule_id IS NOT NULL AND passed;
CREATE INDEX save_verifications_job ON save_verifications (job_id) WHERE job_id IS NOT NULL;

ALTER TABLE saves ADD COLUMN verified_depth text CHECK (verified_depth IN ('hash', 'decode', 'restore')),
    ADD COLUMN unusable_depth text CHECK (unusable_depth IN ('decode', 'restore')),
    ADD COLUMN unusable_reason text,
    ADD CONSTRAINT saves_unusable CHECK ((unusable_depth IS NULL) = (unusable_reason IS NULL));
COMMENT ON COLUMN saves.verified_depth IS 'The deepest verification that it has passed, until one as deep does not.';
COMMENT ON COLUMN saves.unusable_depth IS 'At which depth a verification found that it is of no use although its bytes are what was saved; null: none did.';
COMMENT ON COLUMN saves.unusable_reason IS 'What that verification found. One as deep that passes, or a person, takes it back.';
CREATE INDEX saves_provable ON saves (schedule_id, target_id, id DESC) WHERE schedule_id IS NOT NULL AND state = 'available' AND scope = 'full' AND valid;

CREATE TABLE schedule_proofs (
    schedule_id uuid NOT NULL REFERENCES schedules ON DELETE CASCADE,
    target_id   uuid NOT NULL REFERENCES targets ON DELETE CASCADE,
    depth       text NOT NULL CHECK (depth IN ('hash', 'decode', 'restore')),
    job_id      uuid NOT NULL REFERENCES jobs,
    asked_at    timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (schedule_id, target_id, depth)
);
COMMENT ON TABLE schedule_proofs IS 'The last verification that a schedule asked for, per target and depth: one that came to nothing is asked for again a day later.';
