//! What a verification writes of copies and their save, inside its fenced finish.

use sqlx::{PgConnection, types::Json};

use super::DbError;
use crate::{id::SaveId, job::Problem, save::CopyState};

/// The save after a verification.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Standing {
    /// Copies that are good as far as is known, those that were not looked at too.
    pub good: i64,
    pub required: i32,
}

impl Standing {
    /// Whether enough copies are good.
    #[must_use]
    pub fn is_enough(self) -> bool {
        self.good >= i64::from(self.required)
    }
}

/// Good, missing or corrupt, as it was found; `epoch` is that of the copy that was read. `false`: it is another copy by
/// now, or on its way out, and what was found says nothing of it.
pub async fn settle_copy(
    conn: &mut PgConnection,
    save: SaveId,
    store: &str,
    epoch: Option<i64>,
    state: CopyState,
    problem: Option<&Problem>,
) -> Result<bool, DbError> {
    let done = sqlx::query!(
        "UPDATE save_copies SET state = $4, error = $5, updated_at = clock_timestamp()
         WHERE save_id = $1 AND store = $2 AND epoch IS NOT DISTINCT FROM $3 AND state IN ('good', 'missing', 'corrupt')",
        save.0,
        store,
        epoch,
        state.as_str(),
        problem.map(Json) as _
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Whether the save is valid now, which it is with enough good copies, unless a person says otherwise; and, if `verified`, that it was seen so. `None`:
/// it is not available any more.
pub async fn settle_save(conn: &mut PgConnection, save: SaveId, verified: bool) -> Result<Option<Standing>, DbError> {
    let good = sqlx::query_scalar!(
        "SELECT count(*) AS \"good!\" FROM save_copies WHERE save_id = $1 AND state = 'good'",
        save.0
    )
    .fetch_one(&mut *conn)
    .await?;
    let required = sqlx::query_scalar!(
        "UPDATE saves SET valid = $2::bigint >= required_copies AND invalid_reason IS NULL,
             verified_at = CASE WHEN $3 THEN clock_timestamp() ELSE verified_at END
         WHERE id = $1 AND state = 'available' RETURNING required_copies",
        save.0,
        good,
        verified
    )
    .fetch_optional(conn)
    .await?;
    Ok(required.map(|required| Standing { good, required }))
}
