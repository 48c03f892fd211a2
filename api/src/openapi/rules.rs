//! What holds for operations by rule: their ids and tags, path parameters, the refusals that can come, headers, examples.

use serde_json::{Map, Value, json};

use super::{
    example,
    parts::{REFUSALS, headers},
};

/// A row of the route table.
pub(super) struct Route {
    pub(super) method: &'static str,
    pub(super) path: &'static str,
    /// The handler's module: `["services", "create"]`.
    pub(super) handler: &'static [&'static str],
}

/// Whoever calls these needs no token.
const OPEN: &[&str] =
    &["health_live", "health_ready", "docs_document", "docs_page", "docs_asset", "auth_login", "auth_refresh"];

/// What any admin may call: who they are, and lists that hold what the caller may see.
const UNGUARDED: &[&str] = &[
    "auth_me",
    "services_list",
    "targets_list",
    "saves_list",
    "saves_report",
    "schedules_list",
    "schedules_agenda",
    "jobs_list",
    "events_list",
];

/// Things that have versions, by the route's first segment.
const VERSIONED: &[&str] =
    &["services", "servers", "credentials", "targets", "saves", "schedules", "data-sets", "admins"];

/// What creates or enqueues and keeps no answer under a key: a secret that is shown once, bytes that are streamed, what another
/// service is asked for under a key of its own, what can be repeated anyway.
const KEYLESS: &[&str] = &["tokens_create", "targets_import", "platform_users_create", "jobs_cancel"];

/// What `{id}` names, by the route's first segment.
const IDS: &[(&str, &str)] = &[
    ("services", "ServiceId"),
    ("servers", "ServerId"),
    ("credentials", "CredentialId"),
    ("targets", "TargetId"),
    ("saves", "SaveId"),
    ("schedules", "ScheduleId"),
    ("data-sets", "DatasetId"),
    ("data-set-restores", "GroupId"),
    ("jobs", "JobId"),
    ("admins", "AdminId"),
    // Its sessions.
    ("auth", "SessionId"),
    ("groups", "GroupId"),
    ("tokens", "ApiTokenId"),
];

/// The name of the component that a schema refers to.
pub(super) fn referred(schema: &Value) -> Option<&str> {
    schema.get("$ref")?.as_str()?.strip_prefix("#/components/schemas/")
}

/// Completes what the annotation says of an operation.
pub(super) fn complete(operation: &mut Map<String, Value>, route: &Route, schemas: &Value) {
    let id = route.handler.join("_");
    let is_open = OPEN.contains(&id.as_str());
    let parameters = parameters(operation, route);
    let queries = |name: &str| parameters.iter().any(|p| p["in"] == "query" && (name.is_empty() || p["name"] == name));
    let is_page = route.method == "get" && queries("page");
    let takes_query = !is_open || id.starts_with("auth_");
    if let Some(body) = operation.get_mut("requestBody") {
        request(body, route, schemas);
    }
    let is_single = route.path.ends_with("/{id}") && route.path.matches('/').count() == 3;
    let is_versioned = is_single && VERSIONED.contains(&route.path.split('/').nth(2).unwrap_or_default());
    let changes = ["patch", "delete"].contains(&route.method);
    let mut expected: Vec<u16> = vec![414, 431, 500, 504];
    if route.path.starts_with("/v1/") {
        expected.push(429);
    }
    if is_versioned {
        expected.push(400);
        expected.extend(changes.then_some(412));
    }
    if !["health_live", "docs_document", "docs_page", "docs_asset"].contains(&id.as_str()) {
        expected.push(503);
    }
    if !is_open {
        expected.push(401);
        if !UNGUARDED.contains(&id.as_str()) {
            expected.push(403);
        }
    }
    if route.path.contains('{') || queries("service") {
        expected.push(404);
    }
    if takes_query {
        expected.push(422);
    }
    if operation.contains_key("requestBody") {
        expected.extend([400, 413, 415]);
    }
    let known =
        |responses: &Map<String, Value>, codes: [&str; 2]| codes.iter().any(|code| responses.contains_key(*code));
    let responses_of = operation.get("responses").and_then(Value::as_object).cloned().unwrap_or_default();
    let takes_key = route.method == "post" && known(&responses_of, ["201", "202"]) && !KEYLESS.contains(&id.as_str());
    let mut shared_parameters = Vec::new();
    if takes_key {
        shared_parameters.push("IdempotencyKey");
        expected.push(400);
    }
    if is_versioned {
        shared_parameters.push(if changes { "IfMatch" } else { "IfNoneMatch" });
    }
    let mut parameters = parameters;
    for name in shared_parameters {
        parameters.push(json!({ "$ref": format!("#/components/parameters/{name}") }));
    }
    let responses = operation.entry("responses").or_insert_with(|| json!({}));
    if let Some(responses) = responses.as_object_mut() {
        for status in expected {
            let refusal = REFUSALS.iter().find(|refusal| refusal.status == status);
            if let Some(refusal) = refusal {
                responses.entry(status.to_string()).or_insert_with(|| refusal.shared());
            }
        }
        if is_versioned && !changes {
            responses.entry("304").or_insert_with(|| json!({ "description": "it is what `If-None-Match` says" }));
        }
        let told = Told {
            is_page,
            // The answer to a change of a save is not what is shown of it.
            has_tag: is_versioned && route.method != "delete" && id != "saves_update",
            takes_key,
        };
        for (status, response) in responses.iter_mut() {
            answer(status, response, &id, told, schemas);
        }
    }
    operation.insert("parameters".to_owned(), parameters.into());
    operation.insert("tags".to_owned(), json!([route.handler.first()]));
    operation.insert("operationId".to_owned(), id.into());
    if is_open {
        operation.insert("security".to_owned(), json!([]));
    }
}

/// What the headers of an operation's answers tell.
#[derive(Clone, Copy)]
struct Told {
    is_page: bool,
    has_tag: bool,
    takes_key: bool,
}

/// Those of the path first, then what the annotation names, then what every operation takes.
fn parameters(operation: &mut Map<String, Value>, route: &Route) -> Vec<Value> {
    let mut annotated = match operation.remove("parameters") {
        Some(Value::Array(parameters)) => parameters,
        _ => Vec::new(),
    };
    // A parameter is there or not; there is no null in a query.
    for parameter in &mut annotated {
        not_null(&mut parameter["schema"]);
    }
    let named = |name: &str| annotated.iter().any(|parameter| parameter["name"] == name);
    let mut all: Vec<Value> = route
        .path
        .split('/')
        .filter_map(|segment| segment.strip_prefix('{')?.strip_suffix('}'))
        .filter(|name| !named(name))
        .map(|name| {
            let resource = route.path.split('/').nth(2).unwrap_or_default();
            let id = IDS.iter().find(|(first, _)| name == "id" && *first == resource).map(|(_, id)| id);
            let schema = match id {
                Some(id) => json!({ "$ref": format!("#/components/schemas/{id}") }),
                None => json!({ "type": "string", "format": "uuid" }),
            };
            json!({ "name": name, "in": "path", "required": true, "description": "What is meant.", "schema": schema })
        })
        .collect();
    all.append(&mut annotated);
    all.push(json!({ "$ref": "#/components/parameters/RequestId" }));
    all
}

fn not_null(schema: &mut Value) {
    if let Some(kinds) = schema["type"].as_array() {
        let kind = kinds.iter().find(|kind| **kind != "null").cloned();
        schema["type"] = kind.unwrap_or_default();
    }
    let choice = schema["oneOf"].as_array().and_then(|choices| choices.iter().find(|one| one["type"] != "null"));
    if let Some(choice) = choice.cloned() {
        *schema = choice;
    }
}

/// A body is needed; one that changes something may come as a merge patch.
fn request(body: &mut Value, route: &Route, schemas: &Value) {
    body["required"] = true.into();
    for content in body.get_mut("content").and_then(Value::as_object_mut).into_iter().flat_map(Map::values_mut) {
        if content.get("example").is_none() {
            content["example"] = example::of(&content["schema"], schemas);
        }
    }
    if route.method == "patch" {
        let content = body["content"]["application/json"].clone();
        body["content"]["application/merge-patch+json"] = content;
    }
}

/// Headers and an example for an answer; what a refusal looks like, where the annotation says only when it comes.
fn answer(status: &str, response: &mut Value, id: &str, told: Told, schemas: &Value) {
    if response.get("$ref").is_some() {
        return;
    }
    let code: u16 = status.parse().unwrap_or_default();
    let refusal = REFUSALS.iter().find(|refusal| refusal.status == code);
    if let Some(refusal) = refusal
        && response.get("content").is_none()
    {
        let when = response["description"].as_str().filter(|text| !text.is_empty()).map(str::to_owned);
        *response = refusal.response(when.as_deref());
        return;
    }
    let mut names = vec!["x-request-id"];
    if !OPEN.contains(&id) {
        names.push("x-access-token");
    }
    // Whoever cancels a job has its address.
    if (code == 201 && id != "platform_users_create") || (code == 202 && id != "jobs_cancel") {
        names.push("location");
    }
    if told.is_page {
        names.extend(["link", "x-total-count", "x-total-count-bound"]);
    }
    if told.has_tag && [200, 304].contains(&code) {
        names.push("etag");
    }
    if told.takes_key && code < 300 {
        names.push("idempotency-replayed");
    }
    if !OPEN.contains(&id) {
        names.extend(["ratelimit-policy", "ratelimit"]);
    }
    let mut all = headers(&names);
    if let Some(own) = response["headers"].as_object_mut() {
        all.append(own);
    }
    response["headers"] = all.into();
    if response["description"].as_str().is_none_or(str::is_empty) {
        let usual = match code {
            201 => "it is created",
            202 => "a job does it; with `wait`, as it then stands",
            204 => "it is done",
            _ => "it is answered",
        };
        response["description"] = usual.into();
    }
    for content in response.get_mut("content").and_then(Value::as_object_mut).into_iter().flat_map(Map::values_mut) {
        if content.get("example").is_none() {
            content["example"] = example::of(&content["schema"], schemas);
        }
    }
}
