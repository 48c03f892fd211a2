-- Schedules in the order of the ids that are given; ids of no schedule are passed over.
-- The subselect hides how many ids there are, so that one plan serves for all: else each call would be planned anew.
SELECT s.id, s.name, s.covers, s.target_id, s.service_id, s.server_id, s.expression, s.zone, s.settings, s.retention, s.verification,
    s.paused_at, s.planned_until, s.overdue_at, s.created_by, s.created_at, s.updated_at, s.deleted_at
FROM unnest((SELECT $1::uuid[])) WITH ORDINALITY AS wanted (id, place)
JOIN schedules s ON s.id = wanted.id
ORDER BY wanted.place
