//! Which databases a server has.

use mongodb::bson::doc;

use super::{super::EngineError, Session, classify::failed};

/// What the server keeps for itself.
const SYSTEM: &[&str] = &["admin", "config", "local"];

/// The names of all that the credential may see.
pub(super) async fn databases(session: &Session) -> Result<Vec<String>, EngineError> {
    let what = "listing the databases of the server";
    let answer = session.admin().run_command(doc! { "listDatabases": 1, "nameOnly": true }).await;
    let answer = answer.map_err(failed(what))?;
    let listed = answer.get_array("databases").map(Vec::as_slice).unwrap_or_default();
    let name = |one: &mongodb::bson::Bson| Some(one.as_document()?.get_str("name").ok()?.to_owned());
    let mut names: Vec<String> =
        listed.iter().filter_map(name).filter(|name| !SYSTEM.contains(&name.as_str())).collect();
    names.sort_unstable();
    Ok(names)
}
