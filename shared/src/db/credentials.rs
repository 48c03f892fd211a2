//! Credentials: a user name in clear, a password that only workers can open.

use chrono::{DateTime, Utc};
use secrecy::SecretString;
use sqlx::PgConnection;

use super::{DbError, ensure_rows};
use crate::{
    id::CredentialId,
    name::{Slug, UserName},
    secret::{self, Aad, KeyRing, Sealed, SecretError},
};

/// What may be shown of a credential.
#[derive(Debug, Clone)]
pub struct CredentialRow {
    pub id: CredentialId,
    pub name: Slug,
    pub user_name: UserName,
    /// Which of the workers' keys opens it.
    pub key_id: String,
    pub created_at: DateTime<Utc>,
    pub updated_at: DateTime<Utc>,
}

/// A credential as a worker is given it: the password is still sealed.
#[derive(Debug, Clone)]
pub struct SealedCredential {
    pub id: CredentialId,
    pub user_name: String,
    pub sealed: Sealed,
}

impl SealedCredential {
    /// As the columns hold it: version, key, encapsulated key and ciphertext of the password.
    pub(super) fn of(id: CredentialId, user_name: String, sealed: (i16, String, Vec<u8>, Vec<u8>)) -> Self {
        let (version, key_id, encapped, ciphertext) = sealed;
        Self { id, user_name, sealed: Sealed { version, key_id, encapped, ciphertext } }
    }

    /// The password.
    pub fn open(&self, keys: &KeyRing) -> Result<SecretString, SecretError> {
        secret::open(keys, &password_of(self.id), &self.sealed)
    }
}

/// What a password is sealed to: its own row alone.
#[must_use]
pub fn password_of(id: CredentialId) -> Aad {
    Aad::new("credentials", id.0, "password")
}

pub async fn insert(
    conn: &mut PgConnection,
    id: CredentialId,
    name: &Slug,
    user_name: &UserName,
    sealed: &Sealed,
) -> Result<(), DbError> {
    sqlx::query!(
        "INSERT INTO credentials (id, name, user_name, sealed_version, key_id, encapped, ciphertext)
         VALUES ($1, $2, $3, $4, $5, $6, $7)",
        id.0,
        name.as_str(),
        user_name.as_str(),
        sealed.version,
        sealed.key_id,
        sealed.encapped,
        sealed.ciphertext
    )
    .execute(conn)
    .await?;
    Ok(())
}

pub async fn get(conn: &mut PgConnection, id: CredentialId) -> Result<Option<CredentialRow>, DbError> {
    Ok(sqlx::query_as!(
        CredentialRow,
        "SELECT id, name, user_name, key_id, created_at, updated_at FROM credentials WHERE id = $1",
        id.0
    )
    .fetch_optional(conn)
    .await?)
}

/// The row, locked until the transaction ends, so that two changes at once do not undo each other.
pub async fn lock(conn: &mut PgConnection, id: CredentialId) -> Result<Option<CredentialRow>, DbError> {
    Ok(sqlx::query_as!(
        CredentialRow,
        "SELECT id, name, user_name, key_id, created_at, updated_at FROM credentials WHERE id = $1 FOR UPDATE",
        id.0
    )
    .fetch_optional(conn)
    .await?)
}

/// By name. Answers the page and the whole count.
pub async fn list(conn: &mut PgConnection, limit: i64, offset: i64) -> Result<(Vec<CredentialRow>, i64), DbError> {
    let rows = sqlx::query_as!(
        CredentialRow,
        "SELECT id, name, user_name, key_id, created_at, updated_at FROM credentials ORDER BY name LIMIT $1 OFFSET $2",
        limit,
        offset
    )
    .fetch_all(&mut *conn)
    .await?;
    let total = sqlx::query_scalar!("SELECT count(*) AS \"total!\" FROM credentials").fetch_one(conn).await?;
    Ok((rows, total))
}

/// Changes what is given and keeps the rest.
pub async fn update(
    conn: &mut PgConnection,
    id: CredentialId,
    name: Option<&Slug>,
    user_name: Option<&UserName>,
    sealed: Option<&Sealed>,
) -> Result<(), DbError> {
    let result = sqlx::query!(
        "UPDATE credentials SET name = coalesce($2, name), user_name = coalesce($3, user_name),
                sealed_version = coalesce($4, sealed_version), key_id = coalesce($5, key_id),
                encapped = coalesce($6, encapped), ciphertext = coalesce($7, ciphertext), updated_at = clock_timestamp()
         WHERE id = $1",
        id.0,
        name.map(Slug::as_str),
        user_name.map(UserName::as_str),
        sealed.map(|s| s.version),
        sealed.map(|s| s.key_id.as_str()),
        sealed.map(|s| s.encapped.as_slice()),
        sealed.map(|s| s.ciphertext.as_slice())
    )
    .execute(conn)
    .await?;
    ensure_rows("credentials", &result, 1)
}

/// A foreign key refuses it while targets refer to it.
pub async fn delete(conn: &mut PgConnection, id: CredentialId) -> Result<(), DbError> {
    let result = sqlx::query!("DELETE FROM credentials WHERE id = $1", id.0).execute(conn).await?;
    ensure_rows("credentials", &result, 1)
}
