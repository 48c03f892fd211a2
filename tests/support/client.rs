//! A client of the API, as a person's would be.

use reqwest::{Method, StatusCode, header::HeaderMap};
use serde_json::Value;

use crate::wait::{PATIENCE, until};

/// One admin at one API.
#[derive(Debug, Clone)]
pub struct Client {
    http: reqwest::Client,
    /// `http://127.0.0.1:PORT`.
    pub base: String,
    /// Sent as a bearer token when there is one.
    pub token: Option<String>,
}

/// What the API answered.
#[derive(Debug)]
pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    /// Null where the body is not JSON.
    pub body: Value,
    pub text: String,
}

impl Answer {
    /// The body, when the status is this one.
    #[track_caller]
    pub fn expect(self, status: u16) -> Value {
        assert_eq!(self.status.as_u16(), status, "{}", self.text);
        self.body
    }

    /// The `id` of what was created or queued.
    #[track_caller]
    pub fn id(self) -> String {
        assert!(self.status.is_success(), "{} {}", self.status, self.text);
        self.body["id"].as_str().unwrap_or_else(|| panic!("no id: {}", self.text)).to_owned()
    }

    /// A header as text.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }
}

impl Client {
    pub fn new(base: String) -> Self {
        // The client wants to know whose TLS it would use, although it only ever speaks to 127.0.0.1 in the clear. A
        // second answer is refused, and says the same.
        drop(rustls::crypto::ring::default_provider().install_default());
        // No redirects, no proxy of the environment: what is asked is what is answered.
        let http =
            reqwest::Client::builder().no_proxy().redirect(reqwest::redirect::Policy::none()).timeout(PATIENCE * 2);
        Self { http: http.build().unwrap(), base, token: None }
    }

    /// The same client without a token.
    #[must_use]
    pub fn anonymous(&self) -> Self {
        Self { token: None, ..self.clone() }
    }

    /// The same client with another token.
    #[must_use]
    pub fn with_token(&self, token: &str) -> Self {
        Self { token: Some(token.to_owned()), ..self.clone() }
    }

    /// A request that is not sent yet: for headers and bodies of the test's own.
    pub fn request(&self, method: Method, path: &str) -> reqwest::RequestBuilder {
        let request = self.http.request(method, format!("{}{path}", self.base));
        match &self.token {
            Some(token) => request.bearer_auth(token),
            None => request,
        }
    }

    /// Sends it.
    pub async fn send(&self, request: reqwest::RequestBuilder) -> Answer {
        let response = request.send().await.unwrap_or_else(|error| panic!("the API does not answer: {error:?}"));
        let (status, headers) = (response.status(), response.headers().clone());
        let text = response.text().await.unwrap();
        Answer { status, headers, body: serde_json::from_str(&text).unwrap_or_default(), text }
    }

    pub async fn get(&self, path: &str) -> Answer {
        self.send(self.request(Method::GET, path)).await
    }

    pub async fn post(&self, path: &str, body: Value) -> Answer {
        self.send(self.request(Method::POST, path).json(&body)).await
    }

    pub async fn patch(&self, path: &str, body: Value) -> Answer {
        self.send(self.request(Method::PATCH, path).json(&body)).await
    }

    pub async fn put(&self, path: &str, body: Value) -> Answer {
        self.send(self.request(Method::PUT, path).json(&body)).await
    }

    pub async fn delete(&self, path: &str) -> Answer {
        self.send(self.request(Method::DELETE, path)).await
    }

    /// Logs in and gives the client that is.
    pub async fn login(&self, name: &str, password: &str) -> Self {
        let body = self
            .anonymous()
            .post("/v1/auth/login", serde_json::json!({ "name": name, "password": password }))
            .await
            .expect(200);
        self.with_token(body["access_token"].as_str().unwrap())
    }

    /// The job as it is now.
    pub async fn job(&self, id: &str) -> Value {
        self.get(&format!("/v1/jobs/{id}")).await.expect(200)
    }

    /// Waits until the job is as wanted.
    pub async fn job_until(&self, id: &str, what: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        let began = tokio::time::Instant::now();
        let id = &id;
        until(what, || async {
            let job = self.job(id).await;
            // Said here, where the job is at hand: `until` would only say what it waited for.
            let (state, phase) = (&job["state"], &job["phase"]);
            assert!(began.elapsed() < PATIENCE * 9 / 10, "job {id}: not {what}, but {state}, {phase}; it is {job:#}");
            wanted(&job).then_some(job)
        })
        .await
    }

    /// Waits until the job is in this state.
    pub async fn job_is(&self, id: &str, state: &str) -> Value {
        self.job_until(id, state, |job| {
            let now = job["state"].as_str().unwrap();
            assert!(
                now == state || !matches!(now, "succeeded" | "failed" | "cancelled"),
                "job {id} should become {state}: {job:#}"
            );
            now == state
        })
        .await
    }
}
