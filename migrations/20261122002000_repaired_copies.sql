-- Copies that are made again from a good one.

-- What a repaired copy had before is `deleting` while its save lives on, and gc's too. A deletion makes the save `deleting` in the
-- same transaction as its objects, so that no object of a deletion is among these.
CREATE OR REPLACE VIEW dead_objects AS
SELECT o.id, o.save_id, o.job_id, o.epoch, o.store, o.key, o.part, o.upload_ref, o.updated_at
FROM save_objects o JOIN jobs j ON j.id = o.job_id JOIN saves s ON s.id = o.save_id
WHERE (o.state = 'uploading' AND (j.state <> 'running' OR o.epoch < j.epoch))
   OR (o.state = 'deleting' AND s.state IN ('deleted', 'available'));
COMMENT ON VIEW dead_objects IS 'What gc may take away: objects of attempts that are over and never became part of a copy, what a deletion left, and what a repaired copy had before. The one definition. Objects of a save that is deleting are its delete job''s.';
