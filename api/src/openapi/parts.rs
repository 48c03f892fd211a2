//! The parts of the document that no single operation owns: problems, headers, how callers identify themselves, tags.

use serde_json::{Map, Value, json};

/// A refusal that many operations share.
pub(super) struct Refusal {
    pub(super) status: u16,
    name: &'static str,
    slug: &'static str,
    title: &'static str,
    detail: &'static str,
    when: &'static str,
}

macro_rules! refusals {
    ($($status:literal $name:literal $slug:literal $title:literal $detail:literal: $when:literal;)+) => {
        /// Every refusal, by status.
        pub(super) const REFUSALS: &[Refusal] = &[$(Refusal {
            status: $status, name: $name, slug: $slug, title: $title, detail: $detail, when: $when,
        }),+];
    };
}

refusals! {
    400 "Malformed" "malformed" "Malformed request" "the request cannot be read: EOF while parsing a value at line 1 column 0":
        "the body is not JSON, or is nested deeper than 127 levels";
    401 "Unauthorized" "unauthorized" "Not authenticated" "a valid access token is needed":
        "no valid token; always the same answer";
    403 "Forbidden" "forbidden" "Not permitted" "this needs the permission service.create":
        "the permission that is missing is named in `detail`";
    404 "NotFound" "not-found" "Not found" "there is no such service":
        "it is not there, or the caller may not know of it";
    409 "Conflict" "conflict" "Conflict" "a service of that name exists already":
        "name taken, still referred to, in use, wrong state, too late";
    412 "PreconditionFailed" "precondition-failed" "Changed meanwhile" "it is not as it was when you read it: read it again, and decide anew":
        "it is not as `If-Match` says";
    413 "PayloadTooLarge" "payload-too-large" "Body too large" "the body is larger than this service reads":
        "the body is over the limit: 64 KiB unless configured otherwise";
    414 "UriTooLong" "uri-too-long" "Address too long" "the path and query are longer than 8192 bytes":
        "path and query are over 8 KiB";
    415 "UnsupportedMediaType" "unsupported-media-type" "Unsupported media type" "the body must be application/json":
        "the body is not `application/json`";
    416 "RangeNotSatisfiable" "range-not-satisfiable" "Range not satisfiable" "the range begins after the end":
        "the part that `Range` asks for is not there";
    422 "Invalid" "invalid" "Invalid request" "the request holds a value that cannot be used":
        "a member or parameter is missing, unknown or of no use: `errors` says which";
    429 "TooManyRequests" "too-many-requests" "Too many requests" "too many failed logins: wait":
        "too much was asked: `Retry-After` says when to come again";
    431 "HeadersTooLarge" "headers-too-large" "Headers too large" "there are more than 64 header lines or 16384 bytes of them":
        "more than 64 header lines, or over 16 KiB of them";
    500 "Internal" "internal" "Internal error" "something went wrong on our side":
        "never with the cause, which is in the log under the request's id";
    501 "NotConfigured" "not-configured" "Not configured" "this installation does not offer it: platform.url is not configured":
        "this installation does not offer it: the setting is named in `detail`";
    502 "UpstreamUnknown" "upstream-unknown" "Outcome unknown" "whether the user was created is not known: it did not answer in time":
        "another service was asked: `outcome` is `unknown`, or `not_created` where it refused";
    503 "Unavailable" "unavailable" "Temporarily unavailable" "a service that is needed is not available: try again":
        "the database is away";
    504 "Timeout" "timeout" "Timed out" "the request took too long":
        "the request took longer than requests may";
}

impl Refusal {
    /// A reference to the response that all operations share.
    pub(super) fn shared(&self) -> Value {
        json!({ "$ref": format!("#/components/responses/{}", self.name) })
    }

    /// The response, said to come for this reason; none: the usual one.
    pub(super) fn response(&self, when: Option<&str>) -> Value {
        let mut example = json!({
            "type": format!("urn:holdfast:problem:{}", self.slug), "title": self.title, "status": self.status,
            "detail": self.detail, "request_id": "019a9f3e-5c1b-7d2a-9e4f-3b8c6d1a2f50",
        });
        if self.status == 422 {
            example["errors"] = json!([{ "pointer": "/name", "detail": "name is empty" }]);
        }
        let mut headers = headers(&["x-request-id"]);
        match self.status {
            401 => headers.extend(self::headers(&["www-authenticate"])),
            429 => headers.extend(self::headers(&["retry-after"])),
            _ => {}
        }
        let schema = json!({ "$ref": "#/components/schemas/Problem" });
        json!({
            "description": when.unwrap_or(self.when),
            "headers": headers,
            "content": { "application/problem+json": { "schema": schema, "example": example } },
        })
    }
}

/// Headers of answers: name, component, kind of value, what it says.
const HEADERS: &[(&str, &str, &str, &str)] = &[
    (
        "x-request-id",
        "RequestId",
        "string",
        "What the log and the audit know the request by; a sane one of the caller's is kept.",
    ),
    (
        "x-access-token",
        "AccessToken",
        "string",
        "In prod, on each call with a token: a newer one, until the session's absolute end.",
    ),
    ("location", "Location", "string", "Where what was created or queued is."),
    ("link", "Link", "string", "RFC 8288: the pages `first`, `prev`, `next` and `last`."),
    ("x-total-count", "TotalCount", "integer", "How many things the list has on all pages."),
    (
        "x-total-count-bound",
        "TotalCountBound",
        "string",
        "`lower` where counting stopped, so that there are as many or more. Absent where the count is exact.",
    ),
    ("retry-after", "RetryAfter", "integer", "Seconds to wait."),
    ("etag", "ETag", "string", "A digest of the very bytes: for `If-Match` and `If-None-Match`."),
    (
        "idempotency-replayed",
        "Replayed",
        "string",
        "`true` where the answer was given before, under the same `Idempotency-Key`.",
    ),
    (
        "ratelimit-policy",
        "RateLimitPolicy",
        "string",
        "What may be asked for, per address, admin and day (draft-ietf-httpapi-ratelimit-headers-10).",
    ),
    ("ratelimit", "RateLimit", "string", "What is left of it."),
    ("www-authenticate", "WwwAuthenticate", "string", "`Bearer`."),
];

/// References to these headers.
pub(super) fn headers(names: &[&str]) -> Map<String, Value> {
    let known = HEADERS.iter().filter(|(name, ..)| names.contains(name));
    let refer = |component: &str| json!({ "$ref": format!("#/components/headers/{component}") });
    known.map(|(name, component, ..)| ((*name).to_owned(), refer(component))).collect()
}

/// Everything that operations refer to but the schemas.
pub(super) fn components() -> Value {
    let responses: Map<String, Value> =
        REFUSALS.iter().map(|refusal| (refusal.name.to_owned(), refusal.response(None))).collect();
    let header = |kind: &str, text: &str| json!({ "description": text, "schema": { "type": kind } });
    let headers: Map<String, Value> =
        HEADERS.iter().map(|(_, component, kind, text)| ((*component).to_owned(), header(kind, text))).collect();
    json!({
        "headers": headers,
        "parameters": {
            "RequestId": {
                "name": "x-request-id", "in": "header", "required": false,
                "description": "An id of the caller's own for the request: it comes back, and stands in the log and the audit.",
                "schema": { "type": "string", "pattern": "^[A-Za-z0-9._-]{8,64}$" },
            },
            "IdempotencyKey": {
                "name": "idempotency-key", "in": "header", "required": false,
                "description": "Best a fresh UUID: under one key the same request is done once within 24 hours, however often it is sent.",
                "schema": { "type": "string", "pattern": "^[!-~]{1,255}$" },
            },
            "IfMatch": {
                "name": "if-match", "in": "header", "required": false,
                "description": "The `ETag` that was read: what has changed since is left alone (412).",
                "schema": { "type": "string" },
            },
            "IfNoneMatch": {
                "name": "if-none-match", "in": "header", "required": false,
                "description": "The `ETag` that is known: 304 while it is still that.",
                "schema": { "type": "string" },
            },
        },
        "responses": responses,
        "schemas": {},
        "securitySchemes": {
            "bearer": {
                "type": "http", "scheme": "bearer", "bearerFormat": "JWT",
                "description": "The `access_token` of a login. Never beside `y-access-token`.",
            },
            "y_access_token": {
                "type": "apiKey", "in": "header", "name": "y-access-token",
                "description": "The same token under another name, for clients that are used to it.",
            },
            "admin_id": {
                "type": "apiKey", "in": "header", "name": "admin-id",
                "description": "The second factor, where it is on: one of the current ids, with every call below `/v1`.",
            },
        },
    })
}

/// Either kind of token, and the second factor where it is on, on every operation that does not say otherwise.
pub(super) fn security() -> Value {
    json!([
        { "bearer": [] },
        { "y_access_token": [] },
        { "bearer": [], "admin_id": [] },
        { "y_access_token": [], "admin_id": [] },
    ])
}

pub(super) fn info() -> Value {
    json!({
        "title": "Holdfast",
        "version": env!("CARGO_PKG_VERSION"),
        "summary": "Saves the databases of a system of services, and puts them back.",
        "description": "JSON over HTTP. Refusals are `application/problem+json` (RFC 9457). What is slow is a job: `202`, \
            `Location: /v1/jobs/{id}` and the job as the body; `?wait=30s` answers when the job has ended or the time is up. \
            Unknown members and parameters are refused. `PATCH` is a merge patch (RFC 7396): what is absent is kept. \
            An admin without a role for a service is told 404, in the words for what does not exist.",
        "license": { "name": "MIT OR Apache-2.0", "identifier": "MIT OR Apache-2.0" },
    })
}

/// What a tag, the name of a module of routes, stands for.
pub(super) fn tag(name: &str) -> Value {
    let text = match name {
        "health" => "Whether the process lives and can work.",
        "docs" => "This description.",
        "auth" => "Who calls.",
        "services" => "Systems that own databases.",
        "servers" => "Database servers.",
        "credentials" => "User names and passwords: written, never read back.",
        "targets" => "Databases that are backed up, and what is asked of them.",
        "saves" => "What was kept, and putting it back.",
        "schedules" => "What is saved without anybody asking, when, and how long it is kept.",
        "data_sets" => "Saves over services that are restored as one.",
        "data_set_restores" => "How far the restore of a data set is, on and back.",
        "gc" => "What dead attempts left in the stores.",
        "jobs" => "What was asked, how far it is, how it ended.",
        "events" => "Published facts.",
        "tokens" => "API tokens: made and ended by people, presented by programs.",
        "groups" => "Jobs that were asked for together and are followed together.",
        "audit" => "Who did what, from where, with what result.",
        "stats" => "How it went, over time.",
        "config" => "The configuration of this process.",
        "admins" => "Users of this API, and their roles.",
        "platform_users" => "Users of the platform, by its own identity service.",
        _ => "",
    };
    json!({ "name": name, "description": text })
}
