-- How services stand. $1 visible services (null: all), $2 limit, $3 offset.
WITH page AS (
    SELECT id, name FROM services WHERE $1::uuid[] IS NULL OR id = ANY ($1) ORDER BY name LIMIT $2 OFFSET $3)
SELECT p.id AS "service_id!: ServiceId", p.name AS "service!: Slug",
    NULL::uuid AS "target_id: TargetId", NULL::text AS "target: Slug",
    l.id AS "latest_save_id?: SaveId", l.version AS "latest_version?", l.available_at AS "latest_at?",
    coalesce(c.saved, 0) AS "saved!", coalesce(c.valid, 0) AS "valid!", coalesce(c.invalid, 0) AS "invalid!",
    coalesce(c.suspicious, 0) AS "suspicious!", coalesce(c.failed, 0) AS "failed!", coalesce(c.stored_bytes, 0) AS "stored_bytes!"
FROM page p
LEFT JOIN LATERAL (
    SELECT (sum(saves) FILTER (WHERE state = 'available'))::bigint AS saved,
        (sum(saves) FILTER (WHERE state = 'available' AND valid))::bigint AS valid,
        (sum(saves) FILTER (WHERE state = 'available' AND NOT valid))::bigint AS invalid,
        (sum(saves) FILTER (WHERE state = 'available' AND suspicious))::bigint AS suspicious,
        (sum(saves) FILTER (WHERE state = 'failed'))::bigint AS failed,
        (sum(stored_bytes) FILTER (WHERE state = 'available'))::bigint AS stored_bytes
    FROM save_counts WHERE service_id = p.id) c ON true
LEFT JOIN LATERAL (
    SELECT id, version, available_at FROM saves WHERE service_id = p.id AND state = 'available' ORDER BY id DESC LIMIT 1) l ON true
ORDER BY p.name
