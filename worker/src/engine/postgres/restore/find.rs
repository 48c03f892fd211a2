//! Whose a database is that stands under a wanted name.

use shared::name::DatabaseName;
use sqlx::PgConnection;

use super::{
    super::{
        super::{Connection, EngineError, ErrorCode},
        connect::query,
    },
    mark::{Mark, Stage},
};

/// What was found under the wanted name.
pub(super) enum Found {
    Nothing,
    /// An attempt of this very job had finished it.
    Ours(Mark),
    /// Somebody's; never touched.
    Foreign,
}

pub(super) async fn find(
    session: &mut PgConnection,
    at: &Connection,
    wanted: &DatabaseName,
) -> Result<Found, EngineError> {
    let comment: Option<Option<String>> =
        sqlx::query_scalar("SELECT shobj_description(oid, 'pg_database') FROM pg_database WHERE datname = $1")
            .bind(wanted.as_str())
            .fetch_optional(session)
            .await
            .map_err(query("looking for the database"))?;
    let Some(comment) = comment else { return Ok(Found::Nothing) };
    let mark = comment.as_deref().and_then(Mark::find);
    let ours = mark.filter(|mark| mark.stage == Stage::Restored && mark.is_of(at.installation, at.session.job));
    Ok(ours.map_or(Found::Foreign, Found::Ours))
}

pub(super) fn taken(wanted: &DatabaseName) -> EngineError {
    EngineError::new(ErrorCode::DatabaseExists, format!("database {:?} exists already", wanted.as_str()))
}
