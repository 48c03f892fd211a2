//! `GET /v1/saves/{id}/content`: the stored bytes of a copy, as they lie: one object, or all of them as a tar.

use axum::{
    http::{HeaderMap, Method},
    response::Response,
};
use serde::Deserialize;
use serde_json::{Value, json};
use shared::{
    db::{
        jobs, objects, outbox,
        saves::{self, CopyRow},
        tickets::{self, Errand, NewTicket},
        workers::{self, Carrier},
    },
    event::NewEvent,
    id::{SaveId, TransferId},
    name::Slug,
    save::{CopyState, SaveState},
    telemetry::Causes,
};
use sqlx::PgConnection;

use crate::{
    audit::Change,
    call::Call,
    error::ApiError,
    extract::Path,
    rbac::Permission,
    transfer::{self, Fresh, How, Sent},
};

#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct ContentQuery {
    /// The copy in this store; else a good one that can be reached.
    store: Option<Slug>,
    /// One object, by its name in the copy; else all of them as a tar.
    object: Option<String>,
}

/// Downloads the stored bytes of a save, as they lie: one object, or all of them as a tar.
///
/// A worker sends them; a part is asked for by `Range`.
#[utoipa::path(
    get, path = "/v1/saves/{id}/content",
    params(
        ContentQuery,
        ("range" = Option<String>, Header, description = "One range of bytes, as `bytes=0-1023`."),
        ("if-range" = Option<String>, Header, description = "The `ETag` that the range is of; else all is sent."),
    ),
    responses(
            (status = 200, body = String, content_type = "application/octet-stream"),
            (status = 206, body = String, content_type = "application/octet-stream", description = "the part that `Range` asks for"),
            (status = 409, description = "the save or the copy is not good"),
            (status = 416, description = "the part is not there"),
        ),
)]
pub async fn handle(
    call: Call<ContentQuery>,
    Path(id): Path<SaveId>,
    method: Method,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let permission = Permission::SaveDownload;
    let mut tx = call.begin().await?;
    let save = saves::get(&mut tx, id).await?.ok_or(ApiError::NotFound("save"))?;
    call.authorize(permission, Some(save.service_id))?;
    if save.state != SaveState::Available {
        return Err(ApiError::Conflict(format!(
            "save {id} is {}: only an available save can be downloaded",
            save.state
        )));
    }
    let group = jobs::place(&mut tx, save.target_id).await?.map(|place| place.worker_group).unwrap_or_default();
    let copies = saves::copies(&mut tx, id).await?;
    let (store, carriers) = choose(&mut tx, id, copies, call.query.store.as_ref(), &group).await?;
    if let Some(part) = &call.query.object {
        let objects = objects::of_copy(&mut tx, id, store.as_str()).await?;
        if !objects.iter().any(|object| object.part == *part) {
            return Err(ApiError::NotFound("object of the save"));
        }
    }
    let ticket = Fresh::generate()?;
    let request_id = call.request_id().to_owned();
    let errand = Errand::Content { save_id: id, store: store.clone(), part: call.query.object.clone() };
    let written = NewTicket {
        id: TransferId::generate(),
        hash: ticket.hash,
        errand,
        admin_id: call.who.admin_id,
        request_id: request_id.clone(),
    };
    tickets::issue(&mut tx, &written).await?;
    let range = headers.get(axum::http::header::RANGE).and_then(|value| value.to_str().ok());
    let what = json!({ "store": store, "object": call.query.object, "range": range, "method": method.as_str() });
    call.commit(tx, Change::new(permission, id, Some(save.service_id), what.clone())).await?;

    let workers = &call.state.workers;
    let mut answer = Some(workers.fetch(&carriers, &ticket, method.clone(), &headers, &request_id).await?);
    let mut response = transfer::passed_on(&mut answer).await?;
    let Some(answer) = answer.filter(|_| method == Method::GET && response.status().is_success()) else {
        return Ok(response);
    };
    let (body, work) = transfer::pass(answer, workers.stall(), call.state.stop.clone());
    *response.body_mut() = body;
    let tracker = call.state.tracker.clone();
    tracker.spawn(async move {
        let sent = work.await;
        let end = End { save: id, target: save.target_id, service: save.service_id, what, sent };
        if let Err(error) = end.write(&call, &request_id).await {
            tracing::error!(save.id = %id, error = %Causes(&error), ?sent, "the end of a download was not audited");
        }
    });
    Ok(response)
}

/// A good copy, and living workers that have its store.
async fn choose(
    conn: &mut PgConnection,
    id: SaveId,
    copies: Vec<CopyRow>,
    wanted: Option<&Slug>,
    group: &str,
) -> Result<(Slug, Vec<Carrier>), ApiError> {
    if let Some(wanted) = wanted {
        let copy = copies.iter().find(|copy| copy.store == wanted.as_str());
        let copy = copy.ok_or_else(|| ApiError::field("?store", "the save has no copy there"))?;
        if copy.state != CopyState::Good {
            return Err(ApiError::Conflict(format!("the copy of save {id} in store {wanted} is {}", copy.state)));
        }
    }
    let is_wanted = |copy: &&CopyRow| wanted.is_none_or(|wanted| copy.store == wanted.as_str());
    let mut stores = Vec::new();
    for copy in copies.iter().filter(|copy| copy.state == CopyState::Good).filter(is_wanted) {
        let Ok(store) = Slug::parse(copy.store.clone()) else { continue };
        let carriers = workers::carriers(conn, std::slice::from_ref(&copy.store), group, false).await?;
        if !carriers.is_empty() {
            return Ok((store, carriers));
        }
        stores.push(copy.store.clone());
    }
    if stores.is_empty() {
        return Err(ApiError::Conflict(format!("save {id} has no good copy")));
    }
    Err(ApiError::NoWorker(format!(
        "no worker that lives has the store ({}): start one that declares it",
        stores.join(", ")
    )))
}

/// What is known when a download has ended, however.
struct End {
    save: SaveId,
    target: shared::id::TargetId,
    service: shared::id::ServiceId,
    what: Value,
    sent: Sent,
}

impl End {
    /// The audit entry of the result, and the event.
    async fn write(self, call: &Call<ContentQuery>, request_id: &str) -> Result<(), ApiError> {
        let Sent { bytes, how } = self.sent;
        let mut detail = self.what;
        detail["bytes"] = bytes.into();
        detail["result"] = how.as_str().into();
        let mut data = detail.clone();
        data["save_id"] = json!(self.save);
        data["target_id"] = json!(self.target);
        data["admin"] = json!(call.who.name);
        let mut tx = call.begin().await?;
        let event = NewEvent {
            kind: "save.downloaded".to_owned(),
            subject: format!("saves/{}", self.save),
            aggregate: format!("save:{}", self.save),
            service: Some(self.service),
            trace_id: Some(request_id.to_owned()),
            data,
        };
        outbox::insert(&mut tx, &event).await?;
        let change = Change {
            action: "save.downloaded",
            ..Change::new(Permission::SaveDownload, self.save, Some(self.service), detail)
        };
        if how == How::Whole { call.commit(tx, change).await } else { call.commit_failed(tx, change).await }
    }
}
