//! What a `MongoDB` server says about itself and one database, and what a dump by this role would lack or fail on.

use futures_util::TryStreamExt as _;
use mongodb::{
    Database,
    bson::{Bson, Document, RawDocumentBuf, doc},
};
use shared::{name::DatabaseName, server::Auth};

use super::{
    super::{Connection, DatabaseProperties, EngineError, ErrorCode, ProbeReport, TlsMode, Unreadable, UnreadableKind},
    Session,
    archive::Kind,
    classify::{failed, is_refusal},
    restore::{Own, Survey, names::PREFIX},
};

/// How many collections are tried.
const TRIED: usize = 500;

/// A collection, view or time series as the server lists it.
#[derive(Debug, Clone)]
pub(super) struct Listed {
    pub(super) name: String,
    pub(super) kind: Kind,
    pub(super) options: Document,
    /// 32 hex digits, where the server has one.
    pub(super) uuid: Option<String>,
}

pub(super) async fn probe(session: &Session, at: &Connection, name: &DatabaseName) -> Result<ProbeReport, EngineError> {
    let build = session.admin().run_command(doc! { "buildInfo": 1 }).await;
    let build = build.map_err(failed("asking the server for its version"))?;
    let version = build.get_str("version").unwrap_or("?").to_owned();
    let database = session.database(name);
    let listed = list(&database).await?;
    if listed.is_empty() {
        let problem = format!("the server has no database {:?}, or an empty one", name.as_str());
        return Err(EngineError::new(ErrorCode::DatabaseMissing, problem));
    }
    let mut warnings = Vec::new();
    if at.mongodb.auth == Auth::None {
        warnings.push("the server is used without a password, as its setting auth says".to_owned());
    }
    if at.tls == TlsMode::Disable {
        warnings
            .push("the connection is not encrypted: password exchange and data are readable on the network".to_owned());
    }
    warnings.push(
        "a dump of one MongoDB database is not of one moment: each document is as it was when it was read".to_owned(),
    );
    // What kind of server it is decides nothing here.
    if let Ok(hello) = session.admin().run_command(doc! { "hello": 1 }).await {
        if hello.get_str("msg").is_ok_and(|text| text == "isdbgrid") {
            warnings.push(
                "the server is a mongos: stop its balancer during a dump, or chunks on their way come twice or never"
                    .to_owned(),
            );
        }
        if hello.get_bool("secondary").unwrap_or_default() {
            warnings.push("the server is a secondary: it may lag behind".to_owned());
        }
    }
    let size = match database.run_command(doc! { "dbStats": 1 }).await {
        Ok(stats) => number(&stats, "dataSize").unwrap_or_default(),
        Err(error) if is_refusal(&error) => {
            warnings.push("the role may not ask for the size of the database".to_owned());
            0
        }
        Err(error) => return Err(failed("asking for the size of the database")(error)),
    };
    let mut unreadable = Vec::new();
    for collection in listed.iter().filter(|listed| listed.kind != Kind::View).take(TRIED) {
        if !is_readable(&database, &collection.name).await? {
            let name = collection.name.clone();
            unreadable.push(Unreadable { kind: UnreadableKind::Collection, schema: None, name });
        }
    }
    if let Some(first) = unreadable.first() {
        warnings.push(format!("the role cannot read everything ({} found, {:?} first)", unreadable.len(), first.name));
    }
    Ok(ProbeReport {
        server_version_num: version_number(&version),
        server_version: version,
        tls_in_use: at.tls != TlsMode::Disable,
        is_superuser: false,
        size_bytes: size,
        table_count: i64::try_from(listed.len()).unwrap_or(i64::MAX),
        extensions: Vec::new(),
        properties: DatabaseProperties::default(),
        unreadable,
        warnings,
    })
}

/// What users have in a database: the server's own collections are left out, as mongodump does, and time series that a restore
/// is still filling.
pub(super) async fn list(database: &Database) -> Result<Vec<Listed>, EngineError> {
    let what = "listing the collections";
    let cursor =
        database.run_cursor_command(doc! { "listCollections": 1, "cursor": {} }).await.map_err(failed(what))?;
    let documents: Vec<Document> = cursor.try_collect().await.map_err(failed(what))?;
    let mut names = documents.iter().filter_map(|one| one.get_str("name").ok());
    let is_marked = names.any(|name| matches!(Own::of(name), Some(Own::Series(_))));
    let mut listed: Vec<Listed> = documents.into_iter().filter_map(read).collect();
    if is_marked {
        let survey = Survey::of(database).await?;
        listed.retain(|listed| !survey.is_being_filled(&listed.name));
    }
    listed.sort_unstable_by(|a, b| a.name.cmp(&b.name));
    Ok(listed)
}

fn read(mut document: Document) -> Option<Listed> {
    let Some(Bson::String(name)) = document.remove("name") else { return None };
    let is_systems = name.starts_with("system.") && name != "system.js";
    // What a restore has put aside, or was about to put in place, is no part of the database.
    let is_ours = name.starts_with(PREFIX);
    if is_systems || is_ours || name.contains('$') {
        return None;
    }
    let uuid = document.get_document("info").ok().and_then(|info| match info.get("uuid") {
        Some(Bson::Binary(binary)) if u8::from(binary.subtype) == 4 => Some(hex::encode(&binary.bytes)),
        _ => None,
    });
    let kind = Kind::of(document.get_str("type").unwrap_or_default());
    let options = match document.remove("options") {
        Some(Bson::Document(options)) => options,
        _ => Document::new(),
    };
    Some(Listed { name, kind, options, uuid })
}

async fn is_readable(database: &Database, name: &str) -> Result<bool, EngineError> {
    let collection = database.collection::<RawDocumentBuf>(name);
    match collection.find(doc! {}).limit(1).batch_size(1).projection(doc! { "_id": 1 }).await {
        Ok(_) => Ok(true),
        Err(error) if is_refusal(&error) => Ok(false),
        Err(error) => Err(failed(&format!("reading collection {name:?}"))(error)),
    }
}

/// A number of whatever type the server chose.
pub(super) fn number(document: &Document, key: &str) -> Option<i64> {
    match document.get(key)? {
        Bson::Int32(number) => Some((*number).into()),
        Bson::Int64(number) => Some(*number),
        #[expect(clippy::cast_possible_truncation, reason = "sizes far below 2^53, and only estimates")]
        Bson::Double(number) => Some(*number as i64),
        _ => None,
    }
}

/// 7.0.12 as 70012.
fn version_number(version: &str) -> u32 {
    let mut parts = version.split(|c: char| !c.is_ascii_digit()).map(|part| part.parse::<u32>().unwrap_or(0));
    let mut next = || parts.next().unwrap_or(0).min(99);
    next() * 10_000 + next() * 100 + next()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_numbers() {
        assert_eq!(version_number("7.0.12"), 70_012);
        assert_eq!(version_number("8.3.0-rc1"), 80_300);
        assert_eq!(version_number("?"), 0);
    }

    #[test]
    fn the_servers_own_collections_are_left_out() {
        let names = ["a", "system.js", "system.views", "system.buckets.x", "a.system.b", "a$b"];
        let seen: Vec<String> = names
            .iter()
            .filter_map(|name| read(doc! { "name": *name, "type": "collection" }))
            .map(|l| l.name)
            .collect();
        assert_eq!(seen, ["a", "system.js", "a.system.b"]);
    }
}
