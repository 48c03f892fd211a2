//! What a worker must know of a target to work on it: its service, server, and the sealed credential of the occasion.

use sqlx::PgConnection;

use super::{DbError, credentials::SealedCredential};
use crate::id::{CredentialId, ServerId, ServiceId, TargetId};

/// A target with all that a job on it needs. The password is still sealed.
#[derive(Debug, Clone)]
pub struct TargetWork {
    pub target_id: TargetId,
    pub target: String,
    pub database: String,
    pub service_id: ServiceId,
    pub service: String,
    pub server_id: ServerId,
    pub engine: String,
    pub host: String,
    pub port: i32,
    pub tls_mode: String,
    pub tls_ca_pem: Option<String>,
    pub maintenance_database: String,
    /// Bytes that all databases of the server may have together, as the operator says.
    pub capacity_bytes: Option<i64>,
    /// Hosts and options of a `MongoDB` server that is more than one host.
    pub uri: Option<String>,
    pub auth: String,
    pub mongo_mode: String,
    pub credential_id: CredentialId,
    pub user_name: String,
    pub sealed_version: i16,
    pub key_id: String,
    pub encapped: Vec<u8>,
    pub ciphertext: Vec<u8>,
}

impl TargetWork {
    /// What the worker logs in with.
    #[must_use]
    pub fn credential(&self) -> SealedCredential {
        let sealed = (self.sealed_version, self.key_id.clone(), self.encapped.clone(), self.ciphertext.clone());
        SealedCredential::of(self.credential_id, self.user_name.clone(), sealed)
    }
}

/// Which of a target's credentials a job uses. A restore falls back to the backup credential where no other is set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    Backup,
    Restore,
}

/// Loads a target for work.
pub async fn target(conn: &mut PgConnection, id: TargetId, purpose: Purpose) -> Result<Option<TargetWork>, DbError> {
    Ok(sqlx::query_as!(
        TargetWork,
        r#"SELECT t.id AS target_id, t.name AS target, t.database, v.id AS service_id, v.name AS service, s.id AS server_id,
             s.engine AS "engine: String", s.host, s.port, s.tls_mode AS "tls_mode: String", s.tls_ca_pem, s.maintenance_database, s.capacity_bytes,
             s.uri, s.auth AS "auth: String", t.mongo_mode AS "mongo_mode: String",
             c.id AS credential_id, c.user_name, c.sealed_version, c.key_id, c.encapped, c.ciphertext
         FROM targets t JOIN services v ON v.id = t.service_id JOIN servers s ON s.id = t.server_id
         JOIN credentials c ON c.id = CASE WHEN $2 THEN coalesce(t.restore_credential_id, t.backup_credential_id) ELSE t.backup_credential_id END
         WHERE t.id = $1"#,
        id.0,
        purpose == Purpose::Restore
    )
    .fetch_optional(conn)
    .await?)
}
