//! Databases that a schedule finds on its server: where to look, what is known of the server, and the targets that new
//! databases become.

use sqlx::{PgConnection, types::Json};

use super::{DbError, ensure_rows, schedules::ScheduleRow, work::TargetWork};
use crate::{
    id::{JobId, ServerId, ServiceId, TargetId},
    name::{DatabaseName, Slug},
    schedule::Discovery,
};

/// The worker group of a server that has no target yet.
pub const DEFAULT_GROUP: &str = "default";

/// A target of a server, whosever it is.
#[derive(Debug, Clone)]
pub struct KnownTarget {
    pub id: TargetId,
    pub service_id: ServiceId,
    pub name: Slug,
    pub database: DatabaseName,
}

/// A target that a new database becomes.
#[derive(Debug, Clone, Copy)]
pub struct NewTarget<'a> {
    pub id: TargetId,
    pub service: ServiceId,
    pub server: ServerId,
    pub name: &'a Slug,
    pub database: &'a DatabaseName,
    pub worker_group: &'a str,
    pub discovery: &'a Discovery,
}

/// Where most targets of the server run: who reaches those, reaches it.
pub async fn worker_group(conn: &mut PgConnection, server: ServerId) -> Result<String, DbError> {
    let group = sqlx::query_scalar!(
        r#"SELECT worker_group AS "group: String" FROM targets WHERE server_id = $1 GROUP BY worker_group ORDER BY count(*) DESC, worker_group LIMIT 1"#,
        server.0
    )
    .fetch_optional(conn)
    .await?;
    Ok(group.unwrap_or_else(|| DEFAULT_GROUP.to_owned()))
}

/// What a worker needs to look at a schedule's server: its maintenance database, with the credential of the new targets.
/// There is no target behind it; it has the server's id in that place. None: there is no such server or credential.
pub async fn work(conn: &mut PgConnection, schedule: &ScheduleRow) -> Result<Option<TargetWork>, DbError> {
    let (Some(server), Some(discovery)) = (schedule.server_id, &schedule.settings.discovery) else { return Ok(None) };
    Ok(sqlx::query_as!(
        TargetWork,
        r#"SELECT s.id AS "target_id: TargetId", s.name AS target, s.maintenance_database AS database, v.id AS service_id, v.name AS service,
             s.id AS server_id, s.engine AS "engine: String", s.host, s.port, s.tls_mode AS "tls_mode: String", s.tls_ca_pem,
             s.maintenance_database, s.capacity_bytes, s.uri, s.auth AS "auth: String", 'native' AS "mongo_mode!: String",
             c.id AS credential_id, c.user_name, c.sealed_version, c.key_id, c.encapped, c.ciphertext
         FROM servers s, services v, credentials c WHERE s.id = $1 AND v.id = $2 AND c.id = $3"#,
        server.0,
        schedule.service_id.0,
        discovery.backup_credential_id.0
    )
    .fetch_optional(conn)
    .await?)
}

/// The targets of a server, by name; no other is added by a discovery until the transaction ends.
pub async fn known(tx: &mut PgConnection, server: ServerId) -> Result<Vec<KnownTarget>, DbError> {
    // Two schedules may look at one server: the second sees what the first has found.
    sqlx::query!("SELECT id FROM servers WHERE id = $1 FOR NO KEY UPDATE", server.0).fetch_optional(&mut *tx).await?;
    Ok(sqlx::query_as!(
        KnownTarget,
        "SELECT id, service_id, name, database FROM targets WHERE server_id = $1 ORDER BY name, id",
        server.0
    )
    .fetch_all(tx)
    .await?)
}

/// Adds a target. `false`: the service has one of this name.
pub async fn insert(tx: &mut PgConnection, new: &NewTarget<'_>) -> Result<bool, DbError> {
    let stores: Vec<String> = new.discovery.stores.iter().map(ToString::to_string).collect();
    let done = sqlx::query!(
        "INSERT INTO targets (id, service_id, server_id, name, database, backup_credential_id, stores, required_copies, worker_group)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) ON CONFLICT (service_id, name) DO NOTHING",
        new.id.0,
        new.service.0,
        new.server.0,
        new.name.as_str(),
        new.database.as_str(),
        new.discovery.backup_credential_id.0,
        &stores,
        i32::from(new.discovery.required_copies.unwrap_or(1)),
        new.worker_group
    )
    .execute(tx)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// What the job found, known only in its last transaction.
pub async fn set_result(tx: &mut PgConnection, job: JobId, result: &serde_json::Value) -> Result<(), DbError> {
    let done = sqlx::query!("UPDATE jobs SET result = $2 WHERE id = $1", job.0, Json(result) as _).execute(tx).await?;
    ensure_rows("jobs", &done, 1)
}
