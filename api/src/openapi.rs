//! The description of the API, OpenAPI 3.1: what the handlers' annotations and the types say, completed by rules with what
//! holds for all routes alike. Made once; `docs/openapi.json` is a snapshot of it.

mod example;
mod parts;
mod rules;
mod schemas;

use std::sync::LazyLock;

use serde::{Serialize, Serializer, ser::SerializeMap};
use serde_json::{Map, Value, json};
use utoipa::OpenApi;

use crate::routes::{self, HANDLERS, ROUTES};

/// The document of this program.
pub static DOCUMENT: LazyLock<Document> = LazyLock::new(Document::build);

/// The document as text, and what it is known by.
#[derive(Debug)]
pub struct Document {
    json: String,
    etag: String,
}

impl Document {
    /// JSON, indented.
    pub fn json(&self) -> &str {
        &self.json
    }

    /// Changes with the text.
    pub fn etag(&self) -> &str {
        &self.etag
    }

    fn build() -> Self {
        // Maps with text for keys: nothing that could not be written.
        let json = serde_json::to_string_pretty(&Parts::collect()).unwrap_or_default();
        let digest = ring::digest::digest(&ring::digest::SHA256, json.as_bytes());
        Self { etag: format!("\"{}\"", hex::encode(&digest.as_ref()[..16])), json }
    }
}

/// The document's members, in the order in which people read them.
#[derive(Serialize)]
struct Parts {
    openapi: &'static str,
    info: Value,
    servers: Value,
    tags: Vec<Value>,
    security: Value,
    paths: Paths,
    components: Value,
}

/// Paths in the order of the route table.
struct Paths(Vec<(&'static str, Map<String, Value>)>);

impl Serialize for Paths {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for (path, item) in &self.0 {
            map.serialize_entry(path, item)?;
        }
        map.end()
    }
}

impl Parts {
    fn collect() -> Self {
        let mut annotated = serde_json::to_value(Annotated::openapi()).unwrap_or_default();
        let mut components = parts::components();
        schemas::tidy(&mut annotated);
        if let Value::Object(found) = annotated["components"]["schemas"].take() {
            components["schemas"] = found.into();
        }
        let mut paths = Paths(Vec::new());
        let mut tags: Vec<&str> = Vec::new();
        for ((method, path), handler) in ROUTES.iter().zip(HANDLERS) {
            let tag = handler.first().copied().unwrap_or_default();
            if !tags.contains(&tag) {
                tags.push(tag);
            }
            // What is not annotated under this method and path is missing here, which a test says.
            let Value::Object(mut operation) = annotated["paths"][*path][*method].take() else { continue };
            let route = rules::Route { method, path, handler };
            rules::complete(&mut operation, &route, &components["schemas"]);
            match paths.0.iter_mut().find(|(known, _)| known == path) {
                Some((_, item)) => _ = item.insert((*method).to_owned(), operation.into()),
                None => paths.0.push((path, Map::from_iter([((*method).to_owned(), operation.into())]))),
            }
        }
        Self {
            openapi: "3.1.0",
            info: parts::info(),
            servers: json!([{ "url": "/", "description": "Where this document comes from." }]),
            tags: tags.into_iter().map(parts::tag).collect(),
            security: parts::security(),
            paths,
            components,
        }
    }
}

/// Every operation that is annotated, and the types that only parameters name.
#[derive(OpenApi)]
#[openapi(
    paths(
        routes::health::live::handle,
        routes::health::ready::handle,
        routes::docs::document::handle,
        routes::docs::page::handle,
        routes::docs::asset::handle,
        routes::auth::login::handle,
        routes::auth::refresh::handle,
        routes::auth::logout::handle,
        routes::auth::logout_everywhere::handle,
        routes::auth::sessions::list::handle,
        routes::auth::sessions::delete::handle,
        routes::auth::me::handle,
        routes::admins::list::handle,
        routes::admins::create::handle,
        routes::admins::get::handle,
        routes::admins::update::handle,
        routes::admins::delete::handle,
        routes::admins::password::handle,
        routes::admins::roles::list::handle,
        routes::admins::roles::create::handle,
        routes::admins::roles::delete::handle,
        routes::platform_users::create::handle,
        routes::tokens::list::handle,
        routes::tokens::create::handle,
        routes::tokens::get::handle,
        routes::tokens::delete::handle,
        routes::services::list::handle,
        routes::services::create::handle,
        routes::services::get::handle,
        routes::services::update::handle,
        routes::services::delete::handle,
        routes::services::backups::handle,
        routes::services::wipe::handle,
        routes::services::broker::get::handle,
        routes::services::broker::put::handle,
        routes::services::broker::delete::handle,
        routes::services::broker::definitions::handle,
        routes::servers::list::handle,
        routes::servers::create::handle,
        routes::servers::get::handle,
        routes::servers::update::handle,
        routes::servers::delete::handle,
        routes::credentials::list::handle,
        routes::credentials::create::handle,
        routes::credentials::get::handle,
        routes::credentials::update::handle,
        routes::credentials::delete::handle,
        routes::targets::list::handle,
        routes::targets::create::handle,
        routes::targets::get::handle,
        routes::targets::update::handle,
        routes::targets::delete::handle,
        routes::targets::probe::handle,
        routes::targets::backups::handle,
        routes::targets::import::handle,
        routes::targets::wipe::handle,
        routes::saves::list::handle,
        routes::saves::report::handle,
        routes::saves::get::handle,
        routes::saves::update::handle,
        routes::saves::delete::handle,
        routes::saves::content::handle,
        routes::saves::restore::handle,
        routes::saves::verify::handle,
        routes::saves::copies::handle,
        routes::saves::accept::handle,
        routes::schedules::list::handle,
        routes::schedules::create::handle,
        routes::schedules::agenda::handle,
        routes::schedules::get::handle,
        routes::schedules::update::handle,
        routes::schedules::delete::handle,
        routes::schedules::pause::handle,
        routes::schedules::resume::handle,
        routes::schedules::run::handle,
        routes::schedules::slots::handle,
        routes::schedules::upcoming::handle,
        routes::schedules::retention::handle,
        routes::data_sets::list::handle,
        routes::data_sets::create::handle,
        routes::data_sets::get::handle,
        routes::data_sets::delete::handle,
        routes::data_sets::restore::handle,
        routes::data_set_restores::list::handle,
        routes::data_set_restores::get::handle,
        routes::data_set_restores::resume::handle,
        routes::data_set_restores::undo::handle,
        routes::gc::create::handle,
        routes::jobs::list::handle,
        routes::jobs::get::handle,
        routes::jobs::history::handle,
        routes::jobs::stream::handle,
        routes::jobs::cancel::handle,
        routes::jobs::retry::handle,
        routes::jobs::undo::handle,
        routes::groups::get::handle,
        routes::events::list::handle,
        routes::audit::list::handle,
        routes::audit::export::handle,
        routes::stats::list::handle,
        routes::config::get::handle,
    ),
    components(schemas(
        crate::error::Problem,
        crate::page::Sort,
        crate::routes::saves::report::By,
        shared::db::audit::Outcome,
        shared::admin::Role,
        shared::id::AdminId,
        shared::id::ApiTokenId,
        shared::id::GroupId,
        shared::id::ScheduleId,
        shared::id::ServerId,
        shared::id::ServiceId,
        shared::id::SessionId,
        shared::id::TargetId,
        shared::job::JobState,
        shared::name::Slug,
        shared::save::Origin,
        shared::save::SaveState,
        shared::schedule::Covers,
        shared::schedule::SlotState,
    ))
)]
struct Annotated;
