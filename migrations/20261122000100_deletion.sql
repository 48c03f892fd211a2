-- Deleting saves and collecting what dead attempts left.

-- Whether a queued or running job reads a save: asked before the save is deleted.
CREATE INDEX jobs_reads ON jobs (reads_save_id) WHERE reads_save_id IS NOT NULL AND state IN ('queued', 'running');
-- The deletion that is under way, and how often gc ran lately, are found by jobs_save and jobs_kind.

CREATE VIEW dead_objects AS
SELECT o.id, o.save_id, o.job_id, o.epoch, o.store, o.key, o.part, o.upload_ref, o.updated_at
FROM save_objects o JOIN jobs j ON j.id = o.job_id JOIN saves s ON s.id = o.save_id
WHERE (o.state = 'uploading' AND (j.state <> 'running' OR o.epoch < j.epoch))
   OR (o.state = 'deleting' AND s.state = 'deleted');
COMMENT ON VIEW dead_objects IS 'What gc may take away: objects of attempts that are over and never became part of a copy, and what a deletion left. The one definition. Objects of a save that is deleting are its delete job''s.';
