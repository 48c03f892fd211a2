-- Saves in the order of the ids $1; ids of no save are passed over. $2: with their manifests.
-- The subselect hides how many ids there are, so that one plan serves for all: else each call would be planned anew.
SELECT s.id, s.target_id, s.service_id, s.version, s.state, s.scope, s.origin, s.mode, s.required_copies, s.job_id,
    s.requested_by, s.note, s.raw_bytes, s.stored_bytes, CASE WHEN $2 THEN s.manifest END AS "manifest: Json<Manifest>", s.warnings,
    s.error, s.valid, s.invalid_reason, s.unusable_reason, s.trusted, s.suspicious, s.suspicions, s.pinned,
    s.verified_at, s.verified_depth, s.expires_at, s.created_at, s.available_at, s.deleted_at
FROM unnest((SELECT $1::uuid[])) WITH ORDINALITY AS wanted (id, place)
JOIN saves s ON s.id = wanted.id
ORDER BY wanted.place
