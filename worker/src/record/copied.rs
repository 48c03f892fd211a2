//! What a repaired copy is in the record, in the fenced finish of its job.

use serde_json::json;
use shared::{
    db::{DbError, claim::Fence, jobs::JobRow, objects, outbox, repair, saves::GoodFacts, verify},
    event::NewEvent,
};
use sqlx::PgConnection;

use crate::handler::copy::Copied;

/// The copy is good from here on. If it was made good by somebody else meanwhile, what this attempt wrote stays what its
/// rows say, and is gc's.
pub(super) async fn write(tx: &mut PgConnection, fence: Fence, job: &JobRow, copied: &Copied) -> Result<(), DbError> {
    let (save, store) = (copied.save_id, copied.store.as_str());
    let facts = GoodFacts {
        stored_bytes: copied.stored_bytes(),
        encodings: &copied.encodings,
        sealing: copied.sealing.as_ref(),
    };
    let replaced = repair::replace_copy(tx, fence, save, store, facts).await?;
    if !replaced {
        return Ok(());
    }
    for (id, facts) in &copied.objects {
        objects::set_stored(tx, *id, facts).await?;
    }
    let Some(standing) = verify::settle_save(tx, save, verify::Judgement::default()).await? else { return Ok(()) };
    let event = NewEvent {
        kind: "save.repaired".to_owned(),
        subject: format!("saves/{save}"),
        aggregate: format!("save:{save}"),
        service: job.service_id,
        trace_id: job.trace_id.clone(),
        data: json!({
            "save_id": save, "target_id": job.target_id, "job_id": job.id, "store": copied.store, "from": copied.from,
            "stored_bytes": copied.stored_bytes(), "good": standing.good, "required": standing.required,
            "valid": standing.valid,
        }),
    };
    outbox::insert(tx, &event).await
}
