//! `POST /v1/saves/{id}/verify`: reads the copies again, whole, and looks as deep as is asked for. A job.

use axum::response::Response;
use serde::Deserialize;
use serde_json::json;
use shared::{
    db::saves,
    enqueue::{self, VerifyRequest},
    id::SaveId,
    name::Slug,
    schedule::Depth,
};

use super::restore::UNTRUSTED;
use crate::{
    audit::Change,
    call::Call,
    error::ApiError,
    extract::{Json, Path},
    rbac::Permission,
    routes::jobs::{Job, WaitQuery, accepted, check_priority, refused},
};

#[derive(Debug, Deserialize, utoipa::ToSchema)]
/// A verification that is wanted.
#[schema(example = json!({ "stores": [], "repair": true, "depth": "hash" }))]
#[serde(deny_unknown_fields)]
pub struct CreateVerify {
    /// The copies in these stores alone; empty: all of them.
    #[serde(default)]
    stores: Vec<Slug>,
    /// Make broken copies again from a good one; yes, unless said otherwise.
    repair: Option<bool>,
    /// How deep it looks: `hash`, which is the default, `decode` or `restore`.
    #[serde(default)]
    depth: Depth,
    /// With depth `restore`: the save is restored although nobody known here has signed it.
    #[serde(default)]
    trust: bool,
    /// The higher the sooner; 5 unless said otherwise.
    #[schema(minimum = 0, maximum = 9)]
    priority: Option<i16>,
}

/// Reads the copies of a save again, whole; opens one of them and reads it to its end, or restores it on a scratch server.
///
/// What each is, is the result of a job; broken ones are made again from a good one unless that is refused. A save that turns out
/// to be of no use is not valid any more.
#[utoipa::path(
    post, path = "/v1/saves/{id}/verify",
    params(WaitQuery),
    request_body = CreateVerify,
    responses((status = 202, body = Job), (status = 409, description = "the save is not there to be read")),
)]
pub async fn handle(
    call: Call<WaitQuery>,
    Path(id): Path<SaveId>,
    Json(body): Json<CreateVerify>,
) -> Result<Response, ApiError> {
    let permission = Permission::SaveVerify;
    let wait = call.query.wait(&call.state)?;
    check_priority(body.priority)?;
    let mut tx = call.begin().await?;
    let save = saves::get(&mut tx, id).await?.ok_or(ApiError::NotFound("save"))?;
    call.authorize(permission, Some(save.service_id))?;
    let depth = body.depth;
    // A drill runs what the save says on the scratch server, as a restore does on the target's.
    if depth == Depth::Restore && !save.trusted {
        call.authorize(Permission::SaveTrust, None)?;
        if !body.trust {
            return Err(ApiError::field("/trust", UNTRUSTED));
        }
    }
    let wanted = VerifyRequest { save_id: id, stores: body.stores, repair: body.repair.unwrap_or(true), depth };
    let job = enqueue::verify(&mut tx, wanted, &call.asked(body.priority)).await.map_err(refused)?;
    let detail = json!({ "job_id": job, "depth": depth, "trusted": save.trusted });
    call.commit(tx, Change::new(permission, id, Some(save.service_id), detail)).await?;
    accepted(&call.state, job, wait).await
}
