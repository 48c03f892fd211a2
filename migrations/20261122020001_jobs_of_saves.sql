-- A save and the job that makes it name each other and come in one transaction: the save is written first, with its job's id, and
-- whether that job is there is looked at when the transaction ends. Written in two steps, every backup would change its save's row again.
ALTER TABLE saves ALTER CONSTRAINT saves_job_id_fkey DEFERRABLE INITIALLY DEFERRED;
