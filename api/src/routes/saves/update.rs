//! `PATCH /v1/saves/{id}`: its note, whether it is pinned, what a person says of it, when it expires.

use axum::Json as Answer;
use chrono::{DateTime, Utc};
use serde::Deserialize;
use shared::{
    db::{
        saves::{self, SaveRow},
        saves_update,
    },
    id::SaveId,
    save::SaveState,
};
use sqlx::PgConnection;

use super::{Save, get::whole};
use crate::{
    audit::{Change, difference},
    call::Call,
    error::ApiError,
    extract::{Json, Path, short},
    merge::Merge,
    rbac::Permission,
};

/// The longest note or reason, in characters.
const MAX_TEXT: usize = 500;

#[derive(Debug, Default, Deserialize, utoipa::ToSchema)]
/// What is to change of a save. `null` clears `expires_at`.
#[schema(example = json!({ "note": "the last one before the move", "pinned": true }))]
#[serde(default, deny_unknown_fields)]
pub struct UpdateSave {
    /// For people; at most 500 characters.
    note: Merge<String>,
    /// A pinned save is not deleted, by nobody.
    pinned: Merge<bool>,
    /// `false` needs `invalid_reason` and stays, whatever a verification finds; `true` takes that back, and what a verification
    /// found to make it of no use.
    valid: Merge<bool>,
    /// Why the save is not to be used; with `valid: false` alone. At most 500 characters.
    invalid_reason: Merge<String>,
    /// When it may be deleted; null: never by itself. It asks for the role that deletes.
    #[schema(value_type = Option<String>, format = DateTime)]
    expires_at: Merge<Option<DateTime<Utc>>>,
}

impl UpdateSave {
    fn check(&self, now: DateTime<Utc>) -> Result<(), ApiError> {
        short("/note", self.note.new_value().map_or("", String::as_str), MAX_TEXT)?;
        let reason = self.invalid_reason.new_value().map(|reason| reason.trim());
        short("/invalid_reason", reason.unwrap_or_default(), MAX_TEXT)?;
        match (self.valid.new_value(), reason) {
            (Some(false), None | Some("")) => {
                return Err(ApiError::field(
                    "/invalid_reason",
                    "is needed with valid: false: why is the save not to be used?",
                ));
            }
            (Some(true) | None, Some(_)) => return Err(ApiError::field("/invalid_reason", "belongs to valid: false")),
            _ => {}
        }
        if matches!(self.expires_at.new_value(), Some(Some(at)) if *at <= now) {
            return Err(ApiError::field("/expires_at", "is in the past: DELETE removes a save at once"));
        }
        Ok(())
    }
}

/// Writes what a person says over what was found.
async fn judge(tx: &mut PgConnection, row: &mut SaveRow, valid: bool, reason: Option<String>) -> Result<(), ApiError> {
    if row.state != SaveState::Available {
        return Err(ApiError::Conflict(format!("the save is {}: only an available one is valid or not", row.state)));
    }
    if valid {
        let (good, required) = (saves_update::good_copies(tx, row.id).await?, row.required_copies);
        if good < i64::from(required) {
            return Err(ApiError::Conflict(format!(
                "{good} of the save's copies are good and {required} are required: repair them"
            )));
        }
    }
    (row.valid, row.invalid_reason) = (valid, reason);
    if valid {
        // Whoever says so knows better than the verification that found otherwise.
        row.unusable_reason = None;
    }
    Ok(())
}

/// Changes what people say of a save: its note, whether it is pinned or valid, when it expires.
#[utoipa::path(
    patch, path = "/v1/saves/{id}",
    request_body = UpdateSave,
    responses((status = 200, body = Save), (status = 409, description = "it is not available, or too few copies are good")),
)]
pub async fn handle(
    call: Call,
    Path(id): Path<SaveId>,
    Json(body): Json<UpdateSave>,
) -> Result<Answer<Save>, ApiError> {
    let permission = Permission::SaveUpdate;
    body.check(Utc::now())?;
    let mut tx = call.begin().await?;
    let mut row = saves::lock(&mut tx, id).await?.ok_or(ApiError::NotFound("save"))?;
    call.authorize(permission, Some(row.service_id))?;
    if body.expires_at.is_set() {
        call.authorize(Permission::SaveDelete, Some(row.service_id))?;
    }
    if matches!(row.state, SaveState::Deleting | SaveState::Deleted) {
        return Err(ApiError::Conflict(format!("the save is {}", row.state)));
    }
    if call.is_conditional() {
        call.check_match(&whole(&mut tx, row.clone()).await?)?;
    }
    let before = Save::from(row.clone());
    if let Some(&valid) = body.valid.new_value() {
        let reason = body.invalid_reason.new_value().map(|reason| reason.trim().to_owned());
        judge(&mut tx, &mut row, valid, reason).await?;
    }
    body.note.apply(&mut row.note);
    body.pinned.apply(&mut row.pinned);
    body.expires_at.apply(&mut row.expires_at);
    saves_update::update(&mut tx, &row).await?;
    let (service, after) = (row.service_id, Save::from(row));
    call.commit(tx, Change::new(permission, id, Some(service), difference(&before, &after))).await?;
    Ok(Answer(after))
}
