-- What is to be saved without anybody asking, when, and how long: a schedule. Each of its planned moments is a row, whatever became of it.

CREATE TABLE schedules (
    id              uuid PRIMARY KEY,
    name            text NOT NULL,
    covers          text NOT NULL CHECK (covers IN ('target', 'service', 'server')),
    target_id       uuid REFERENCES targets ON DELETE CASCADE,
    service_id      uuid NOT NULL REFERENCES services ON DELETE CASCADE,
    server_id       uuid REFERENCES servers ON DELETE CASCADE,
    expression      text NOT NULL,
    zone            text NOT NULL DEFAULT 'UTC',
    settings        jsonb NOT NULL DEFAULT '{}',
    retention       jsonb,
    verification    jsonb,
    paused_at       timestamptz,
    planned_until   timestamptz NOT NULL DEFAULT clock_timestamp(),
    overdue_at      timestamptz,
    created_by      uuid REFERENCES admins ON DELETE SET NULL,
    created_at      timestamptz NOT NULL DEFAULT clock_timestamp(),
    updated_at      timestamptz NOT NULL DEFAULT clock_timestamp(),
    deleted_at      timestamptz,
    CHECK ((covers = 'target') = (target_id IS NOT NULL)),
    CHECK ((covers = 'server') = (server_id IS NOT NULL))
);
COMMENT ON TABLE schedules IS 'What is saved without anybody asking, when, and how long it is kept. A deleted schedule stays as a row: slots and saves name it.';
COMMENT ON COLUMN schedules.covers IS 'What it saves: one target, every target of a service, or every database of a server that its patterns name.';
COMMENT ON COLUMN schedules.service_id IS 'The service that it belongs to; of one for a server, the service that newly found databases are given to.';
COMMENT ON COLUMN schedules.expression IS 'Unix cron in five fields, six with seconds first, or a word such as @daily.';
COMMENT ON COLUMN schedules.zone IS 'The IANA time zone in which the expression is read.';
COMMENT ON COLUMN schedules.settings IS 'How it fires: what of the database is dumped, stores, jitter, catch-up, windows, overlap, bandwidth, patterns.';
COMMENT ON COLUMN schedules.retention IS 'How long its saves are kept; null: until somebody deletes them.';
COMMENT ON COLUMN schedules.verification IS 'How its saves are verified, and how often; null: only when somebody asks.';
COMMENT ON COLUMN schedules.paused_at IS 'Since when it does not fire; its slots are written down as skipped.';
COMMENT ON COLUMN schedules.planned_until IS 'Every planned moment up to this one has its slot.';
COMMENT ON COLUMN schedules.overdue_at IS 'Since when it has been told to be overdue; null: it is not.';
CREATE UNIQUE INDEX schedules_name ON schedules (name) WHERE deleted_at IS NULL;
CREATE INDEX schedules_target ON schedules (target_id) WHERE target_id IS NOT NULL;
CREATE INDEX schedules_service ON schedules (service_id);
CREATE INDEX schedules_server ON schedules (server_id) WHERE server_id IS NOT NULL;

CREATE TABLE schedule_slots (
    id          uuid PRIMARY KEY,
    schedule_id uuid NOT NULL REFERENCES schedules ON DELETE CASCADE,
    at          timestamptz NOT NULL,
    fires_at    timestamptz NOT NULL,
    state       text NOT NULL DEFAULT 'planned' CHECK (state IN ('planned', 'ran', 'skipped', 'missed', 'unreachable')),
    reason      text,
    group_id    uuid,
    by_hand     boolean NOT NULL DEFAULT false,
    decided_at  timestamptz,
    UNIQUE (schedule_id, at),
    CHECK ((state = 'planned') = (decided_at IS NULL)),
    CHECK (state NOT IN ('skipped', 'missed') OR reason IS NOT NULL)
);
COMMENT ON TABLE schedule_slots IS 'One planned firing of a schedule, a row whatever became of it: unique per schedule and moment, so that it fires once however many schedulers there are.';
COMMENT ON COLUMN schedule_slots.at IS 'The moment that the expression names.';
COMMENT ON COLUMN schedule_slots.fires_at IS 'The moment with its jitter.';
COMMENT ON COLUMN schedule_slots.reason IS 'Why it was skipped or missed, or what could not be reached, in words.';
COMMENT ON COLUMN schedule_slots.group_id IS 'The group of the jobs that it enqueued.';
COMMENT ON COLUMN schedule_slots.by_hand IS 'Somebody asked for it now; it is not of the plan.';
CREATE INDEX schedule_slots_due ON schedule_slots (fires_at) WHERE state = 'planned';
CREATE INDEX schedule_slots_group ON schedule_slots (group_id) WHERE group_id IS NOT NULL;

ALTER TABLE saves ADD COLUMN schedule_id uuid REFERENCES schedules;
COMMENT ON COLUMN saves.schedule_id IS 'The schedule that asked for it, and whose retention it is under.';
CREATE INDEX saves_schedule ON saves (schedule_id, id DESC) WHERE schedule_id IS NOT NULL;
