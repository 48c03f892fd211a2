//! Ends what older attempts of a job still run on a server, before the next one begins (design §5).

use std::time::Duration;

use mongodb::bson::{Bson, Document, doc};

use super::{
    super::{Connection, EngineError, ErrorCode, SessionTag},
    Session,
    classify::{failed, is_refusal, is_unknown_command},
};

/// Kills the operations of older epochs until there are none. A server that does not list operations, or not to this role,
/// is told of in the log and no obstacle: what an older attempt of a *dump* still reads disturbs nobody.
pub(super) async fn end_older_sessions(session: &Session, at: &Connection) -> Result<usize, EngineError> {
    let prefix = format!("holdfast/{}/", at.session.job);
    let deadline = tokio::time::Instant::now() + Duration::from_secs(30);
    let mut ended = std::collections::BTreeSet::new();
    loop {
        let question =
            doc! { "currentOp": 1, "$ownOps": true, "appName": { "$gte": &prefix, "$lt": format!("{prefix}:") } };
        let answer = match session.admin().run_command(question).await {
            Ok(answer) => answer,
            Err(error) if is_unknown_command(&error) || is_refusal(&error) => {
                tracing::warn!(%error, "the server does not list operations: those of older attempts end by themselves");
                return Ok(0);
            }
            Err(error) => return Err(failed("looking for operations of older attempts")(error)),
        };
        let operations = answer.get_array("inprog").map(Vec::as_slice).unwrap_or_default();
        let older: Vec<Bson> = operations.iter().filter_map(|operation| older(operation.as_document()?, at)).collect();
        if older.is_empty() {
            return Ok(ended.len());
        }
        if tokio::time::Instant::now() > deadline {
            let message = format!("{} operations of older attempts did not end within 30 s", older.len());
            return Err(EngineError::new(ErrorCode::DatabaseInUse, message));
        }
        for operation in older {
            ended.insert(operation.to_string());
            let killed = session.admin().run_command(doc! { "killOp": 1, "op": operation }).await;
            match killed {
                Err(error) if is_refusal(&error) || is_unknown_command(&error) => {
                    tracing::warn!(%error, "the operations of an older attempt cannot be ended");
                    return Ok(0);
                }
                other => drop(other.map_err(failed("ending an operation of an older attempt"))?),
            }
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// The id of an operation of an older epoch of this job.
fn older(operation: &Document, at: &Connection) -> Option<Bson> {
    let tag: SessionTag = operation.get_str("appName").ok()?.parse().ok()?;
    (tag.job == at.session.job && tag.epoch < at.session.epoch).then(|| operation.get("opid").cloned())?
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_prefix_covers_every_epoch_and_nothing_else() {
        let prefix = "holdfast/0190a1b2-0000-7000-8000-000000000000/";
        let (from, to) = (prefix.to_owned(), format!("{prefix}:"));
        for epoch in ["0", "17", "9223372036854775807"] {
            let name = format!("{prefix}{epoch}");
            assert!(from <= name && name < to, "{name}");
        }
    }
}
