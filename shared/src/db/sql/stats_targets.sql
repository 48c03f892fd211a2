-- How targets stand now. $1 visible services (null: all), $2 target (null: all), $3 limit, $4 offset.
WITH page AS (
    SELECT t.id, t.name, s.id AS service_id, s.name AS service FROM targets t JOIN services s ON s.id = t.service_id
    WHERE ($1::uuid[] IS NULL OR t.service_id = ANY ($1)) AND ($2::uuid IS NULL OR t.id = $2)
    ORDER BY s.name, t.name LIMIT $3 OFFSET $4)
SELECT p.id AS "target_id!: TargetId", p.name AS "target!: Slug", p.service_id AS "service_id!: ServiceId", p.service AS "service!: Slug",
    n.id AS "save_id?: SaveId", n.version AS "version?", n.available_at AS "available_at?",
    n.raw_bytes AS "raw_bytes?", n.stored_bytes AS "stored_bytes?",
    (extract(epoch FROM clock_timestamp() - v.created_at) / 86400)::float8 AS verified_age_days
FROM page p
LEFT JOIN LATERAL (
    SELECT id, version, available_at, raw_bytes, stored_bytes FROM saves
    WHERE target_id = p.id AND state = 'available' AND scope = 'full' ORDER BY id DESC LIMIT 1) n ON true
LEFT JOIN LATERAL (
    SELECT created_at FROM saves
    WHERE target_id = p.id AND state = 'available' AND scope = 'full' AND valid AND verified_at IS NOT NULL ORDER BY id DESC LIMIT 1) v ON true
ORDER BY p.service, p.name
