//! `Idempotency-Key`: a request that is sent again under its key is done once and answered again. The key is claimed in
//! the transaction of the change ([`Call::begin`](crate::call::Call::begin)) and stored with it: whoever is second waits
//! for the first, a failure gives the key back, and a process that died after the commit has answered all the same.

use axum::{
    http::{HeaderMap, HeaderValue, Method, StatusCode, Uri, header},
    response::{IntoResponse, Response},
};
use ring::digest::{self, Digest, SHA256};
use shared::{
    db::{
        idempotency::{self, Answer, Claim, Key},
        jobs,
    },
    id::{AdminId, GroupId, JobId},
};
use sqlx::PgConnection;

use crate::{
    auth::Identity,
    error::ApiError,
    extract,
    rbac::{self, Permission},
    routes::{
        groups,
        jobs::{Job, WaitQuery, wait_for},
    },
    state::AppState,
};

/// Says that an answer is one that was given before.
pub const REPLAYED: &str = "idempotency-replayed";
const NAME: &str = "idempotency-key";
/// The longest key, in bytes.
const MAX_KEY: usize = 255;

/// The key of a request, for its path and method.
#[derive(Debug, Clone)]
pub struct Keyed {
    key: String,
    method: Method,
    path: String,
}

impl Keyed {
    /// The key, if the request has one that counts: what other methods do can be done twice anyway.
    pub fn of(method: &Method, uri: &Uri, headers: &HeaderMap) -> Result<Option<Self>, ApiError> {
        if method != Method::POST {
            return Ok(None);
        }
        let mut given = headers.get_all(NAME).iter();
        let key = match (given.next(), given.next()) {
            (None, _) => return Ok(None),
            (Some(value), None) => value.as_bytes(),
            (Some(_), Some(_)) => return Err(ApiError::Malformed("Idempotency-Key stands twice".into())),
        };
        if !(1..=MAX_KEY).contains(&key.len()) || !key.iter().all(u8::is_ascii_graphic) {
            let problem = format!("Idempotency-Key must be 1 to {MAX_KEY} visible ASCII characters");
            return Err(ApiError::Malformed(problem));
        }
        let key = String::from_utf8_lossy(key).into_owned();
        Ok(Some(Self { key, method: method.clone(), path: uri.path().to_owned() }))
    }

    /// Whether a request has one, good or not.
    pub fn is_given(headers: &HeaderMap) -> bool {
        headers.contains_key(NAME)
    }

    fn of_admin(&self, admin_id: AdminId) -> Key<'_> {
        Key { admin_id, method: self.method.as_str(), path: &self.path, key: &self.key }
    }

    /// Claims it for this request; what it was answered with if it was done before.
    pub async fn claim(
        &self,
        tx: &mut PgConnection,
        admin: AdminId,
        uri: &Uri,
        body: Option<Digest>,
    ) -> Result<Option<Answer>, ApiError> {
        let request = fingerprint(uri, body);
        match idempotency::claim(tx, self.of_admin(admin), request.as_ref()).await? {
            Claim::New => Ok(None),
            Claim::Answered(answer) => Ok(Some(answer)),
            Claim::Taken => Err(ApiError::KeyReused),
        }
    }

    /// Keeps what was done: the answer itself, or else the job that was enqueued. What did neither gives the key back.
    pub async fn keep(
        &self,
        tx: &mut PgConnection,
        admin: AdminId,
        reply: Option<&Reply>,
        jobs: &[JobId],
    ) -> Result<(), ApiError> {
        let key = self.of_admin(admin);
        match (reply, jobs) {
            (Some(reply), _) => idempotency::store(tx, key, &reply.stored()).await?,
            (None, [job]) => idempotency::store(tx, key, &Answer::Job(*job)).await?,
            (None, _) => idempotency::release(tx, key).await?,
        }
        Ok(())
    }
}

/// Of what makes a request the same: its query, but for how long it waits, and its body.
fn fingerprint(uri: &Uri, body: Option<Digest>) -> Digest {
    let mut hash = digest::Context::new(&SHA256);
    for pair in uri.query().unwrap_or_default().split('&').filter(|pair| !pair.is_empty() && !is_wait(pair)) {
        hash.update(pair.as_bytes());
        hash.update(b"&");
    }
    hash.update(b"\n");
    if let Some(body) = body {
        hash.update(body.as_ref());
    }
    hash.finish()
}

fn is_wait(pair: &str) -> bool {
    pair.split('=').next() == Some("wait")
}

/// An answer that can be given again.
#[derive(Debug)]
pub struct Reply {
    status: StatusCode,
    location: Option<String>,
    /// JSON.
    body: String,
    /// Whether it was given before.
    replayed: bool,
}

impl Reply {
    /// A first answer.
    #[must_use]
    pub fn new(status: StatusCode, location: Option<String>, body: String) -> Self {
        Self { status, location, body, replayed: false }
    }

    fn stored(&self) -> Answer {
        let status = i16::try_from(self.status.as_u16()).unwrap_or(200);
        Answer::Text { status, location: self.location.clone(), body: self.body.clone() }
    }
}

/// The answer to a request that was done before. A job is shown as it is by now, after waiting for its end where that is
/// asked for, and only to who may still see it; everything else as it was shown then, to the same admin, and of a group after
/// waiting for its end.
pub async fn replay(state: &AppState, who: &Identity, uri: &Uri, answer: Answer) -> Result<Reply, ApiError> {
    match answer {
        Answer::Job(id) => {
            let wait = extract::query::<WaitQuery>(uri).and_then(|query| query.wait(state))?;
            let row = jobs::get(&mut *state.pool.acquire().await?, id).await?.ok_or(ApiError::NotFound("job"))?;
            rbac::authorize(who, Permission::JobRead, row.service_id)?;
            let job = Job::from(wait_for(state, id, wait).await?);
            let body = serde_json::to_string(&job).map_err(|error| ApiError::Internal(error.into()))?;
            Ok(Reply { status: StatusCode::ACCEPTED, location: Some(format!("/v1/jobs/{id}")), body, replayed: true })
        }
        Answer::Text { status, location, body } => {
            if let Some(group) = location.as_deref().and_then(group_at) {
                let wait = extract::query::<WaitQuery>(uri).and_then(|query| query.wait(state))?;
                groups::wait_for(state, group, wait).await?;
            }
            let status = u16::try_from(status).ok().and_then(|status| StatusCode::from_u16(status).ok());
            Ok(Reply { status: status.unwrap_or(StatusCode::OK), location, body, replayed: true })
        }
    }
}

/// The group that is followed there, if one is.
fn group_at(location: &str) -> Option<GroupId> {
    location.strip_prefix("/v1/groups/")?.parse().ok()
}

impl IntoResponse for Reply {
    fn into_response(self) -> Response {
        let mut response = (self.status, [(header::CONTENT_TYPE, "application/json")], self.body).into_response();
        let headers = response.headers_mut();
        if self.replayed {
            headers.insert(REPLAYED, HeaderValue::from_static("true"));
        }
        if let Some(location) = self.location.and_then(|location| HeaderValue::from_str(&location).ok()) {
            headers.insert(header::LOCATION, location);
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_visible_ascii_and_stands_once() {
        let of = |method: Method, keys: &[&[u8]]| {
            let mut headers = HeaderMap::new();
            for key in keys {
                headers.append(NAME, HeaderValue::from_bytes(key).unwrap());
            }
            Keyed::of(&method, &Uri::from_static("/v1/gc"), &headers)
        };
        assert_eq!(of(Method::POST, &[b"a-1"]).unwrap().unwrap().key, "a-1");
        assert!(of(Method::POST, &[&[b'~'; 255]]).unwrap().is_some());
        assert!(of(Method::POST, &[]).unwrap().is_none() && of(Method::PATCH, &[b"a"]).unwrap().is_none());
        let bad: [&[&[u8]]; 5] = [&[b""], &[b"a b"], &[b"\xff"], &[&[b'a'; 256]], &[b"a", b"a"]];
        for keys in bad {
            assert!(matches!(of(Method::POST, keys), Err(ApiError::Malformed(_))), "{keys:?}");
        }
    }

    #[test]
    fn waiting_longer_is_the_same_request_and_nothing_else_is() {
        let of = |uri: &str, body: &str| {
            fingerprint(&uri.parse().unwrap(), Some(digest::digest(&SHA256, body.as_bytes()))).as_ref().to_vec()
        };
        let first = of("/a?wait=1s", "{}");
        assert!(of("/a", "{}") == first && of("/a?wait=30s", "{}") == first);
        for (uri, body) in [("/a?x=1", "{}"), ("/a", "{ }"), ("/a?waiter=1s", "{}")] {
            assert_ne!(of(uri, body), first, "{uri} {body}");
        }
    }
}
