//! Rows made anew of what a store says (`holdfast-worker rebuild-catalogue`): a save that was found, and the service, the
//! server and the target that it is of, as far as they are missing. Nothing that is there is changed, but for a store that
//! a rebuilt target did not have, and a save that gets a copy more.

use sqlx::{Connection as _, PgConnection, types::Json};

use super::DbError;
use crate::{
    id::{CredentialId, JobId, ObjectId, SaveId, ServerId, ServiceId, TargetId},
    job::{BackupJob, Payload},
    manifest::{Manifest, Sealing},
    save::SaveState,
    server::{Engine, MongoUri},
};

/// The name of the credential that stands in for those that no store holds: it opens for nobody.
pub const NO_CREDENTIAL: &str = "rebuilt-without-password";

/// A copy of a save, as it lies in a store.
#[derive(Debug)]
pub struct FoundCopy<'a> {
    pub manifest: &'a Manifest,
    pub store: &'a str,
    pub epoch: i64,
    /// Whether its manifest is signed by a key that is known here.
    pub trusted: bool,
    /// To whom it is encrypted; none if it is not.
    pub sealing: Option<&'a Sealing>,
    /// The manifest itself too.
    pub objects: Vec<FoundObject>,
    /// The name of its server, where no server at its address is known.
    pub server_name: String,
}

/// An object of the copy.
#[derive(Debug, Clone)]
pub struct FoundObject {
    pub key: String,
    pub part: String,
    pub raw_bytes: Option<i64>,
    pub stored_bytes: i64,
    pub blake3: Option<Vec<u8>>,
    pub sha256: Vec<u8>,
}

/// What became of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Rebuilt {
    /// A save more.
    Save,
    /// A save that was known has a copy more.
    Copy,
    /// All of it was known.
    Known,
    /// It is not taken up, for this reason.
    Refused(String),
}

/// Takes a copy up, in a transaction of its own.
pub async fn take_up(conn: &mut PgConnection, copy: &FoundCopy<'_>) -> Result<Rebuilt, DbError> {
    let mut tx = conn.begin().await?;
    let rebuilt = take_up_in(&mut tx, copy).await?;
    match rebuilt {
        Rebuilt::Save | Rebuilt::Copy => tx.commit().await?,
        Rebuilt::Known | Rebuilt::Refused(_) => tx.rollback().await?,
    }
    Ok(rebuilt)
}

async fn take_up_in(tx: &mut PgConnection, copy: &FoundCopy<'_>) -> Result<Rebuilt, DbError> {
    let save = copy.manifest.save;
    let found = sqlx::query!("SELECT state, job_id, trusted FROM saves WHERE id = $1 FOR UPDATE", save.0)
        .fetch_optional(&mut *tx)
        .await?;
    if let Some(found) = found {
        let job = match (found.state, found.job_id) {
            (SaveState::Available, Some(job)) => job,
            (state, _) => return Ok(Rebuilt::Refused(format!("the catalogue knows this save, and it is {state}"))),
        };
        let known = sqlx::query_scalar!(
            "SELECT count(*) AS \"n!\" FROM save_copies WHERE save_id = $1 AND store = $2",
            save.0,
            copy.store
        )
        .fetch_one(&mut *tx)
        .await?;
        if known > 0 {
            return Ok(Rebuilt::Known);
        }
        if found.trusted && !copy.trusted {
            return Ok(Rebuilt::Refused("the save is trusted, and this copy of it is not".to_owned()));
        }
        insert_copy(tx, copy, job).await?;
        return Ok(Rebuilt::Copy);
    }
    let service = service(tx, copy).await?;
    let target = target(tx, copy, service).await?;
    let version = copy.manifest.version;
    let twin = sqlx::query_scalar!(
        "SELECT count(*) AS \"n!\" FROM saves WHERE target_id = $1 AND version = $2",
        target.0,
        version
    )
    .fetch_one(&mut *tx)
    .await?;
    if twin > 0 {
        return Ok(Rebuilt::Refused(format!("the target has another save of version {version}")));
    }
    insert_save(tx, copy, service, target).await?;
    Ok(Rebuilt::Save)
}

async fn service(tx: &mut PgConnection, copy: &FoundCopy<'_>) -> Result<ServiceId, DbError> {
    let name = copy.manifest.service.as_str();
    let found = sqlx::query_scalar!("SELECT id FROM services WHERE name = $1", name).fetch_optional(&mut *tx).await?;
    if let Some(id) = found {
        return Ok(id);
    }
    let id = ServiceId::generate();
    sqlx::query!("INSERT INTO services (id, name, description) VALUES ($1, $2, 'rebuilt from a store')", id.0, name)
        .execute(tx)
        .await?;
    Ok(id)
}

async fn server(tx: &mut PgConnection, copy: &FoundCopy<'_>) -> Result<ServerId, DbError> {
    let Manifest { engine, server, .. } = copy.manifest;
    let at = server.clone().unwrap_or_default();
    let port = i32::from(at.port);
    let mongodb = at.mongodb.filter(|_| engine == Engine::Mongodb.as_str());
    let uri = mongodb.as_ref().and_then(|mongodb| mongodb.uri.as_ref()).map(MongoUri::as_str);
    let found = sqlx::query_scalar!(
        "SELECT id FROM servers WHERE engine = $1 AND host = $2 AND port = $3 AND uri IS NOT DISTINCT FROM $4 ORDER BY id LIMIT 1",
        engine,
        at.host,
        port,
        uri
    )
    .fetch_optional(&mut *tx)
    .await?;
    if let Some(id) = found {
        return Ok(id);
    }
    let id = ServerId::generate();
    sqlx::query!(
        "INSERT INTO servers (id, name, engine, host, port, tls_mode, tls_ca_pem, maintenance_database, uri, auth)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)",
        id.0,
        copy.server_name,
        engine,
        at.host,
        port,
        at.tls_mode,
        at.tls_ca_pem,
        at.maintenance_database,
        uri,
        mongodb.as_ref().map(|mongodb| mongodb.auth).unwrap_or_default().as_str()
    )
    .execute(tx)
    .await?;
    Ok(id)
}

async fn target(tx: &mut PgConnection, copy: &FoundCopy<'_>, service: ServiceId) -> Result<TargetId, DbError> {
    let Manifest { target, database, .. } = copy.manifest;
    let found =
        sqlx::query_scalar!("SELECT id FROM targets WHERE service_id = $1 AND name = $2", service.0, target.as_str())
            .fetch_optional(&mut *tx)
            .await?;
    if let Some(id) = found {
        return Ok(id);
    }
    let server = server(tx, copy).await?;
    let credential = nobody(tx).await?;
    let id = TargetId::generate();
    let stores = [copy.store.to_owned()];
    let mode = copy.manifest.server.as_ref().and_then(|server| server.mongodb.as_ref()).map(|mongodb| mongodb.mode);
    sqlx::query!(
        "INSERT INTO targets (id, service_id, server_id, name, database, backup_credential_id, stores, mongo_mode)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
        id.0,
        service.0,
        server.0,
        target.as_str(),
        database.as_str(),
        credential.0,
        stores.as_slice(),
        mode.unwrap_or_default().as_str()
    )
    .execute(tx)
    .await?;
    Ok(id)
}

async fn nobody(tx: &mut PgConnection) -> Result<CredentialId, DbError> {
    let found = sqlx::query_scalar!("SELECT id FROM credentials WHERE name = $1", NO_CREDENTIAL)
        .fetch_optional(&mut *tx)
        .await?;
    if let Some(id) = found {
        return Ok(id);
    }
    let id = CredentialId::generate();
    sqlx::query!(
        "INSERT INTO credentials (id, name, user_name, sealed_version, key_id, encapped, ciphertext)
         VALUES ($1, $2, 'nobody', 0, 'none', '', '')",
        id.0,
        NO_CREDENTIAL
    )
    .execute(tx)
    .await?;
    Ok(id)
}

async fn insert_save(
    tx: &mut PgConnection,
    copy: &FoundCopy<'_>,
    service: ServiceId,
    target: TargetId,
) -> Result<(), DbError> {
    let manifest = copy.manifest;
    let job = JobId::generate();
    let payload = Payload::Backup(BackupJob {
        v: 1,
        save_id: manifest.save,
        target_id: target,
        mode: manifest.mode,
        tables: manifest.tables.clone(),
        exclude_tables: manifest.exclude_tables.clone(),
        collections: manifest.collections.clone(),
        exclude_collections: manifest.exclude_collections.clone(),
        bytes_per_s: None,
    });
    // The job that made it, as far as it is known: the objects are its epoch's.
    sqlx::query!(
        "INSERT INTO jobs (id, kind, state, payload, service_id, target_id, server_id, attempt, epoch, started_at, finished_at, result)
         SELECT $1, $2, 'succeeded', $3, $4, id, server_id, 1, $6, $7, $8, '{\"rebuilt\": true}' FROM targets WHERE id = $5",
        job.0,
        payload.kind(),
        Json(&payload) as _,
        service.0,
        target.0,
        copy.epoch,
        manifest.started_at,
        manifest.finished_at
    )
    .execute(&mut *tx)
    .await?;
    let raw: i64 = copy.objects.iter().filter_map(|object| object.raw_bytes).sum();
    let stored: i64 = copy.objects.iter().map(|object| object.stored_bytes).sum();
    sqlx::query!(
        "INSERT INTO saves (id, target_id, service_id, version, state, scope, origin, mode, required_copies, job_id, raw_bytes,
             stored_bytes, manifest, warnings, trusted, created_at, available_at)
         VALUES ($1, $2, $3, $4, 'available', $5, $6, $7, 1, $8, $9, $10, $11, $12, $13, $14, $15)",
        manifest.save.0,
        target.0,
        service.0,
        manifest.version,
        manifest.scope.as_str(),
        manifest.origin.as_str(),
        manifest.mode.as_str(),
        job.0,
        raw,
        stored,
        Json(manifest) as _,
        Json(&manifest.warnings) as _,
        copy.trusted,
        manifest.started_at,
        manifest.finished_at
    )
    .execute(&mut *tx)
    .await?;
    sqlx::query!("UPDATE jobs SET save_id = $2 WHERE id = $1", job.0, manifest.save.0).execute(&mut *tx).await?;
    sqlx::query!(
        "UPDATE targets SET last_version = greatest(last_version, $2) WHERE id = $1",
        target.0,
        manifest.version
    )
    .execute(&mut *tx)
    .await?;
    insert_copy(tx, copy, job).await
}

async fn insert_copy(tx: &mut PgConnection, copy: &FoundCopy<'_>, job: JobId) -> Result<(), DbError> {
    let save: SaveId = copy.manifest.save;
    let stored: i64 = copy.objects.iter().map(|object| object.stored_bytes).sum();
    sqlx::query!(
        "INSERT INTO save_copies (save_id, store, state, epoch, stored_bytes, encodings, sealing)
         VALUES ($1, $2, 'good', $3, $4, $5, $6)",
        save.0,
        copy.store,
        copy.epoch,
        stored,
        Json(&copy.manifest.encodings) as _,
        copy.sealing.map(Json) as _
    )
    .execute(&mut *tx)
    .await?;
    for object in &copy.objects {
        let id = ObjectId::generate();
        sqlx::query!(
            "INSERT INTO save_objects (id, save_id, job_id, epoch, store, key, part, upload_ref, state, raw_bytes, stored_bytes,
                 blake3, sha256)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, 'stored', $9, $10, $11, $12)",
            id.0,
            save.0,
            job.0,
            copy.epoch,
            copy.store,
            object.key,
            object.part,
            // Where it was written is not known any more, and nobody asks once an object is stored.
            id.to_string(),
            object.raw_bytes,
            object.stored_bytes,
            object.blake3.as_deref(),
            object.sha256
        )
        .execute(&mut *tx)
        .await?;
    }
    sqlx::query!(
        "UPDATE targets SET stores = array_append(stores, $2) FROM saves, credentials
         WHERE saves.id = $1 AND targets.id = saves.target_id AND credentials.id = backup_credential_id
           AND credentials.name = $3 AND NOT $2 = ANY (stores) AND cardinality(stores) < 8",
        save.0,
        copy.store,
        NO_CREDENTIAL
    )
    .execute(tx)
    .await?;
    Ok(())
}
