-- What a scheduler looks for each second: schedules whose plan has run out.
CREATE INDEX schedules_plan ON schedules (planned_until) WHERE deleted_at IS NULL;
