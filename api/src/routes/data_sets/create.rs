//! `POST /v1/data-sets`: of saves that are named, or of the latest good one of each target at a moment.

use std::collections::HashSet;

use axum::response::Response;
use chrono::{DateTime, Utc};
use serde::Deserialize;
use serde_json::json;
use shared::{
    db::{
        data_sets::{self, DataSetRow},
        saves, services,
    },
    id::{DatasetId, SaveId, ServiceId, TargetId},
    name::Slug,
    save::{Mode, SaveState, Scope},
};
use sqlx::PgConnection;

use super::{DataSet, MAX_NOTE, WholeDataSet, whole};
use crate::{
    audit::Change,
    call::Call,
    error::{ApiError, FieldError, OnConstraint},
    extract::{Json, short},
    rbac::Permission,
};

/// The most saves of one data set.
const MOST: usize = 200;

#[derive(Debug, Deserialize, utoipa::ToSchema)]
/// Saves that belong together: either those that are named, or the latest good one of each target at a moment.
#[schema(example = json!({ "name": "friday-demo", "as_of": "2026-11-20T03:00:00Z", "note": "what the auditors have seen" }))]
#[serde(deny_unknown_fields)]
pub struct CreateDataSet {
    /// Unique among data sets.
    name: Slug,
    /// For people.
    #[serde(default)]
    #[schema(max_length = 500)]
    note: String,
    /// These saves, in the order in which they are to be swapped in; at most one of a target.
    #[schema(max_items = 200)]
    saves: Option<Vec<SaveId>>,
    /// Of each target the latest full save that was whole by then, and is valid, trusted and not suspicious.
    as_of: Option<DateTime<Utc>>,
    /// With `as_of`: the targets of these services alone. Absent: all targets.
    #[schema(max_items = 200)]
    services: Option<Vec<ServiceId>>,
    /// With `as_of`: leave out targets that have no such save. Else they are named, and nothing is made.
    #[serde(default)]
    allow_missing: bool,
}

/// Makes a data set.
///
/// Its saves stay as long as it stands: neither retention, nor their expiry, nor a person deletes them.
#[utoipa::path(
    post, path = "/v1/data-sets",
    request_body = CreateDataSet,
    responses((status = 201, body = WholeDataSet), (status = 409, description = "there is a data set of that name")),
)]
pub async fn handle(call: Call, Json(body): Json<CreateDataSet>) -> Result<Response, ApiError> {
    let permission = Permission::DataSetCreate;
    call.authorize(permission, None)?;
    short("/note", &body.note, MAX_NOTE)?;
    let mut tx = call.begin().await?;
    let members = body.members(&mut tx).await?;
    let id = DatasetId::generate();
    let row = DataSetRow {
        id,
        name: body.name,
        note: body.note,
        as_of: body.as_of,
        created_by: Some(call.who.admin_id),
        created_at: Utc::now(),
        saves: 0,
    };
    let taken = || ApiError::Conflict("there is a data set of that name already".into());
    data_sets::insert(&mut tx, &row, &members).await.on_constraint("data_sets_name", taken)?;
    let row = data_sets::get(&mut tx, id).await?.ok_or(ApiError::NotFound("data_set"))?;
    let made = whole(&mut tx, row.clone()).await?;
    let detail =
        json!({ "after": DataSet::from(row), "saves": members.iter().map(|(_, save)| save).collect::<Vec<_>>() });
    call.create(tx, Change::new(permission, id, None, detail), "/v1/data-sets", id, made).await
}

impl CreateDataSet {
    /// The saves that it is to hold, each locked against its deletion.
    async fn members(&self, tx: &mut PgConnection) -> Result<Vec<(TargetId, SaveId)>, ApiError> {
        let wanted = match (&self.saves, self.as_of) {
            (Some(_), Some(_)) => return Err(ApiError::field("/as_of", "is instead of saves: say one of them")),
            (None, None) => return Err(ApiError::field("/saves", "is missing: name saves, or a moment in as_of")),
            (Some(_), None) if self.services.is_some() || self.allow_missing => {
                let pointer = if self.services.is_some() { "/services" } else { "/allow_missing" };
                return Err(ApiError::field(pointer, "goes with as_of"));
            }
            (Some(saves), None) => saves.clone(),
            (None, Some(at)) => self.latest(tx, at).await?,
        };
        let pointer = |index| self.saves.as_ref().map_or_else(|| "/as_of".to_owned(), |_| format!("/saves/{index}"));
        if wanted.is_empty() || wanted.len() > MOST {
            let place = if self.saves.is_some() { "/saves" } else { "/as_of" };
            return Err(ApiError::field(
                place,
                format!("must come to 1 to {MOST} saves; it comes to {}", wanted.len()),
            ));
        }
        let (mut members, mut targets) = (Vec::with_capacity(wanted.len()), HashSet::new());
        for (index, id) in wanted.into_iter().enumerate() {
            let refuse = |words: &str| ApiError::field(pointer(index), format!("save {id} {words}"));
            let save = saves::lock_to_read(tx, id).await?.ok_or_else(|| refuse("does not exist"))?;
            if save.state != SaveState::Available {
                return Err(refuse(&format!("is {}: only an available save can be restored", save.state)));
            }
            if save.scope != Scope::Full || save.mode != Mode::All {
                return Err(refuse("is of a part of its database: a whole one is needed"));
            }
            if !save.valid || !save.trusted {
                return Err(refuse(if save.valid { "is not trusted" } else { "is not valid" }));
            }
            if !targets.insert(save.target_id) {
                return Err(refuse("is of a target of which there is one already"));
            }
            members.push((save.target_id, id));
        }
        Ok(members)
    }

    async fn latest(&self, tx: &mut PgConnection, at: DateTime<Utc>) -> Result<Vec<SaveId>, ApiError> {
        for (index, id) in self.services.iter().flatten().enumerate() {
            if services::get(tx, *id).await?.is_none() {
                return Err(ApiError::field(format!("/services/{index}"), "is no service"));
            }
        }
        let found = data_sets::latest(tx, self.services.as_deref(), at).await?;
        let without = found.iter().filter(|one| one.save_id.is_none());
        let without: Vec<_> = without
            .map(|one| FieldError::new("/as_of", format!("{}/{} has no good save of then", one.service, one.target)))
            .collect();
        if !without.is_empty() && !self.allow_missing {
            let detail = "some targets have no good full save of that moment: choose another, or say allow_missing";
            return Err(ApiError::Invalid { detail: detail.into(), errors: without });
        }
        Ok(found.into_iter().filter_map(|one| one.save_id).collect())
    }
}
