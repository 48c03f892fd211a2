//! Whether a save that has just become available is out of line with those before it, in the fenced finish of its job.

use shared::{
    db::{DbError, drift, jobs::JobRow},
    drift::{Shape, judge},
    manifest::Manifest,
    save::{Origin, Scope},
};
use sqlx::PgConnection;

/// Judges a full backup. What a restore saves first, and what somebody brought, is no sign of what becomes of the target.
pub(super) async fn write(
    tx: &mut PgConnection,
    job: &JobRow,
    manifest: &Manifest,
    raw_bytes: u64,
) -> Result<(), DbError> {
    let Some(target) = job.target_id else { return Ok(()) };
    if manifest.scope != Scope::Full || !matches!(manifest.origin, Origin::Schedule | Origin::Manual) {
        return Ok(());
    }
    let settings = drift::of_target(tx, target).await?;
    if settings.off {
        return Ok(());
    }
    let earlier = drift::earlier(tx, target, manifest.version, settings.compared()).await?;
    let unchanged = match settings.unchanged_saves {
        Some(most) => drift::unchanged(tx, manifest.save, target, manifest.version, most).await?,
        None => 0,
    };
    let shape = Shape { raw_bytes, inventory: manifest.inventory.clone() };
    let found = judge(&shape, &earlier, unchanged, &settings);
    if found.is_empty() {
        return Ok(());
    }
    tracing::warn!(save.id = %manifest.save, suspicions = found.len(), "the save is suspicious");
    drift::suspect(tx, job, manifest.save, manifest.version, &found).await
}
