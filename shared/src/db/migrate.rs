//! Migrations and grants, run by the owner role (`holdfast-api migrate`): the application role has no DDL.

use sqlx::{AssertSqlSafe, Connection, PgConnection, PgPool};

use super::DbError;
use crate::id::InstallationId;

/// The migrations of `migrations/`, embedded in the binary.
pub static MIGRATOR: sqlx::migrate::Migrator = sqlx::migrate!("../migrations");

/// Why a migration stopped. Nothing is half applied: each migration is one transaction.
#[derive(Debug, thiserror::Error)]
pub enum MigrateError {
    #[error("the migrations did not apply")]
    Migrate(#[from] sqlx::migrate::MigrateError),
    #[error("the queue's own tables were not set up")]
    Queue(#[source] sqlx::Error),
    #[error("the application role {role:?} does not exist: CREATE ROLE it with LOGIN and a password first")]
    RoleMissing { role: String },
    #[error(transparent)]
    Db(#[from] DbError),
}

/// Applies what is new, names the installation once, and grants the application role exactly what it needs.
///
/// `queue_setup` prepares apalis' schema (it creates extensions, so the owner does it): passed in because only
/// `queue.rs` knows apalis.
pub async fn migrate(owner: &PgPool, app_role: &str) -> Result<InstallationId, MigrateError> {
    MIGRATOR.run(owner).await?;
    let mut conn = owner.acquire().await.map_err(DbError::from)?;
    sqlx::query!("INSERT INTO installation (id) VALUES ($1) ON CONFLICT DO NOTHING", InstallationId::generate().0)
        .execute(&mut *conn)
        .await
        .map_err(DbError::from)?;
    grant(&mut conn, app_role).await?;
    Ok(installation(&mut conn).await?)
}

/// The id of this installation.
pub async fn installation(conn: &mut PgConnection) -> Result<InstallationId, DbError> {
    Ok(sqlx::query_scalar!("SELECT id FROM installation").fetch_one(conn).await?)
}

/// Whether every migration of this binary is applied and none failed: what readiness asks.
pub async fn is_current(conn: &mut PgConnection) -> Result<bool, DbError> {
    // Not checked at compile time: the table is sqlx's own, made by the first migration that a database sees.
    let applied: Vec<i64> =
        sqlx::query_scalar("SELECT version FROM _sqlx_migrations WHERE success").fetch_all(conn).await?;
    Ok(MIGRATOR.iter().filter(|m| !m.migration_type.is_down_migration()).all(|m| applied.contains(&m.version)))
}

async fn grant(conn: &mut PgConnection, app_role: &str) -> Result<(), MigrateError> {
    let found = sqlx::query!(
        r#"SELECT quote_ident(rolname) AS "role!", rolname = current_user AS "is_owner!" FROM pg_roles WHERE rolname = $1::text"#,
        app_role
    )
    .fetch_optional(&mut *conn)
    .await
    .map_err(DbError::from)?;
    let Some(found) = found else {
        return Err(MigrateError::RoleMissing { role: app_role.to_owned() });
    };
    if found.is_owner {
        return Ok(());
    }
    let role = found.role;
    // History is append-only for the application: it may add and read, never change or remove.
    let statements = format!(
        "GRANT USAGE ON SCHEMA public, apalis TO {role};
         GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public, apalis TO {role};
         GRANT USAGE, SELECT ON ALL SEQUENCES IN SCHEMA public, apalis TO {role};
         GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA public, apalis TO {role};
         REVOKE UPDATE, DELETE, TRUNCATE ON audit, job_events FROM {role};
         REVOKE INSERT, UPDATE, DELETE, TRUNCATE ON installation, _sqlx_migrations FROM {role};"
    );
    let mut tx = conn.begin().await.map_err(DbError::from)?;
    // `role` went through quote_ident on the server.
    sqlx::raw_sql(AssertSqlSafe(statements)).execute(&mut *tx).await.map_err(DbError::from)?;
    tx.commit().await.map_err(DbError::from)?;
    Ok(())
}
