-- Who may read an event is decided by the service's id: names move from one service to another.

ALTER TABLE outbox ADD COLUMN service_id uuid;
UPDATE outbox SET service_id = (SELECT id FROM services WHERE name = service) WHERE service IS NOT NULL;
COMMENT ON COLUMN outbox.service IS 'Name of the service that it concerns, as it was then.';
COMMENT ON COLUMN outbox.service_id IS 'The service that it concerns: whoever may see that service may read it. It may be deleted by now.';
CREATE INDEX outbox_service ON outbox (service_id, seq);
