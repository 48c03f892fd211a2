//! `POST /v1/platform-users`: asks the platform's identity service for a user.

use std::sync::Arc;

use axum::{
    Json as Answer,
    http::{HeaderMap, StatusCode},
};
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use shared::{db::outbox, event::NewEvent};
use tracing::Instrument;

use crate::{
    audit::Change,
    call::Call,
    error::ApiError,
    extract::{Json, short},
    platform::Platform,
    rbac::Permission,
};

const MAX_ROLES: usize = 32;

/// What the service is sent, under the same names; what is absent here is absent there. Whether it is a good name or password
/// for the platform is the service's to say.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[schema(example = json!({ "user_name": "ann", "email": "ann@example.org", "roles": ["bidder"] }))]
#[serde(deny_unknown_fields)]
pub struct CreatePlatformUser {
    /// 1 to 128 characters.
    user_name: String,
    /// At most 254 characters.
    email: String,
    /// At most 200 characters.
    display_name: Option<String>,
    /// 1 to 1024 bytes. Without one the service invites the user, or makes one up.
    #[schema(value_type = Option<String>, format = Password, write_only, min_length = 1, max_length = 1024)]
    password: Option<SecretString>,
    /// At most 32 of at most 64 characters, as the platform calls them.
    #[serde(default)]
    roles: Vec<String>,
}

/// The user that was created.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct PlatformUser {
    /// As the service calls the user; null where it did not say.
    id: Option<String>,
    /// As it was asked for.
    user_name: String,
    /// As it was asked for.
    email: String,
}

/// Asks the platform's identity service for a user.
#[utoipa::path(
    post, path = "/v1/platform-users",
    request_body = CreatePlatformUser,
    params(("Idempotency-Key" = Option<String>, Header, description = "Sent on to the service: a repeated call is one user. Absent: a new one.")),
    responses(
        (status = 201, body = PlatformUser),
        (status = 409, description = "the service has such a user"),
        (status = 501, description = "this installation has no identity service"),
        (status = 502, description = "the service refused Holdfast (`outcome` is `not_created`), or what became of it is not known (`unknown`)"),
    ),
)]
pub async fn handle(
    call: Call,
    headers: HeaderMap,
    Json(body): Json<CreatePlatformUser>,
) -> Result<(StatusCode, Answer<PlatformUser>), ApiError> {
    call.authorize(Permission::PlatformUserCreate, None)?;
    let platform = call.state.platform.clone().ok_or(ApiError::NotConfigured("platform.url"))?;
    check(&body)?;
    let key = idempotency_key(&headers)?;
    // It runs to its end even when the caller hangs up: what was created shall be known.
    let tracker = call.state.tracker.clone();
    let work = tracker.spawn(create(call, platform, key, body).in_current_span());
    let user = work.await.map_err(|error| ApiError::Internal(error.into()))??;
    Ok((StatusCode::CREATED, Answer(user)))
}

async fn create(
    call: Call,
    platform: Arc<Platform>,
    key: String,
    body: CreatePlatformUser,
) -> Result<PlatformUser, ApiError> {
    // Noted before the service is asked: nobody is created unseen, whatever happens to this process.
    let CreatePlatformUser { user_name, email, display_name, password, roles } = body;
    let detail = json!({ "user_name": user_name, "roles": roles, "idempotency_key": key });
    let change = Change::new(Permission::PlatformUserCreate, &user_name, None, detail);
    call.note(change).await?;

    let mut sent = json!({ "user_name": user_name, "email": email });
    let mut put = |name: &str, value: Option<Value>| {
        if let Some(value) = value {
            sent[name] = value;
        }
    };
    put("display_name", display_name.map(Value::from));
    put("password", password.as_ref().map(|password| password.expose_secret().into()));
    put("roles", (!roles.is_empty()).then(|| roles.into()));
    let id = platform.create(&key, &sent, password.as_ref()).await?;

    let event = NewEvent {
        kind: "platform_user.created".to_owned(),
        subject: format!("platform_users/{}", id.as_deref().unwrap_or(&user_name)),
        aggregate: format!("platform_user:{user_name}"),
        service: None,
        trace_id: call.asked(None).trace_id,
        data: json!({ "id": id, "user_name": user_name, "created_by": call.who.admin_id }),
    };
    let mut tx = call.state.pool.begin().await?;
    outbox::insert(&mut tx, &event).await?;
    tx.commit().await?;
    Ok(PlatformUser { id, user_name, email })
}

fn check(body: &CreatePlatformUser) -> Result<(), ApiError> {
    let plain = |text: &str| !text.is_empty() && text.trim() == text && !text.contains(char::is_control);
    short("/user_name", &body.user_name, 128)?;
    short("/email", &body.email, 254)?;
    short("/display_name", body.display_name.as_deref().unwrap_or_default(), 200)?;
    if !plain(&body.user_name) {
        return Err(ApiError::field("/user_name", "must have printable characters, without spaces around them"));
    }
    let is_address = body.email.split_once('@').is_some_and(|(name, host)| {
        !name.is_empty() && !host.is_empty() && !host.contains('@') && !body.email.contains(char::is_whitespace)
    });
    if !is_address || !plain(&body.email) {
        return Err(ApiError::field("/email", "is not an address: give name@host"));
    }
    if body.password.as_ref().is_some_and(|password| !(1..=1024).contains(&password.expose_secret().len())) {
        return Err(ApiError::field("/password", "must have 1 to 1024 bytes"));
    }
    if body.roles.len() > MAX_ROLES {
        return Err(ApiError::field("/roles", format!("holds more than {MAX_ROLES}")));
    }
    for (index, role) in body.roles.iter().enumerate() {
        short(&format!("/roles/{index}"), role, 64)?;
        if !plain(role) {
            return Err(ApiError::field(format!("/roles/{index}"), "must have printable characters"));
        }
    }
    Ok(())
}

/// The caller's own key, so that a repeated call is one user; or a new one, which an unknown outcome names.
fn idempotency_key(headers: &HeaderMap) -> Result<String, ApiError> {
    let mut given = headers.get_all("idempotency-key").iter();
    match (given.next().map(|value| value.to_str().unwrap_or_default()), given.next()) {
        (None, _) => Ok(uuid::Uuid::now_v7().to_string()),
        (Some(key), None) if (1..=255).contains(&key.len()) && key.bytes().all(|b| b.is_ascii_graphic()) => {
            Ok(key.to_owned())
        }
        _ => Err(ApiError::Malformed("Idempotency-Key must be 1 to 255 visible ASCII characters, once".into())),
    }
}
