-- What the audit log is asked for, newest first.

CREATE INDEX audit_admin ON audit (admin_id, id DESC);
CREATE INDEX audit_action ON audit (action, id DESC);
CREATE INDEX audit_service ON audit (service_id, id DESC);
CREATE INDEX audit_resource ON audit (resource_id, id DESC);
CREATE INDEX audit_refused ON audit (id DESC) WHERE outcome <> 'allowed';
