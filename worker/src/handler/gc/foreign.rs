//! What lies in a store and no row names: reported, never touched.

use std::collections::BTreeMap;

use serde::Serialize;
use shared::{
    db::gc,
    name::{Slug, StoreKey},
    save::ObjectState,
};

use crate::{
    handler::{Job, JobError},
    store::{Listed, Store},
};

/// Objects that one report looks at: a listing is for people, and its time must have an end.
const LISTED: usize = 10_000;
/// Keys that a report names.
const NAMED: usize = 100;

/// What was found.
#[derive(Debug, Default, Serialize)]
pub(super) struct Foreign {
    count: u64,
    bytes: u64,
    /// Of the count: keys of another installation.
    other_installations: u64,
    /// Of the count: objects that were deleted according to their rows, and are there again.
    leftovers: u64,
    /// The first of them.
    keys: Vec<Stranger>,
    /// Visible objects that were looked at, and whether those are all.
    listed: usize,
    complete: bool,
}

#[derive(Debug, Serialize)]
struct Stranger {
    key: String,
    bytes: u64,
    why: Why,
}

#[derive(Debug, Clone, Copy, Serialize)]
#[serde(rename_all = "snake_case")]
enum Why {
    /// No row knows the key.
    Unknown,
    /// The key begins with another installation's id.
    OtherInstallation,
    /// The row says that it was deleted.
    Leftover,
}

/// Compares a bounded listing with the rows. The listing comes first: a row is committed before its object exists, so
/// that nothing which is just being made looks foreign.
pub(super) async fn look(job: &Job, name: &Slug, store: &dyn Store) -> Result<Foreign, JobError> {
    let mut listed = store.list("", LISTED + 1).await?;
    let mut found = Foreign { complete: listed.len() <= LISTED, ..Foreign::default() };
    listed.truncate(LISTED);
    found.listed = listed.len();
    let keys: Vec<String> = listed.iter().map(|object| object.key.clone()).collect();
    let known: BTreeMap<String, ObjectState> = {
        let mut conn = job.ctx.pool.acquire().await?;
        gc::known(&mut conn, name, &keys).await?.into_iter().collect()
    };
    let ours = format!("{}/", job.ctx.installation);
    for Listed { key, bytes } in listed {
        let why = match known.get(&key) {
            Some(ObjectState::Deleted) if is_still_there(store, &key).await? => Why::Leftover,
            Some(_) => continue,
            None if is_of_an_installation(&key) && !key.starts_with(&ours) => Why::OtherInstallation,
            None => Why::Unknown,
        };
        found.count += 1;
        found.bytes += bytes;
        match why {
            Why::Leftover => found.leftovers += 1,
            Why::OtherInstallation => found.other_installations += 1,
            Why::Unknown => {}
        }
        if found.keys.len() < NAMED {
            found.keys.push(Stranger { key, bytes, why });
        }
    }
    Ok(found)
}

/// It may have been deleted between the listing and its row's look-up.
async fn is_still_there(store: &dyn Store, key: &str) -> Result<bool, JobError> {
    match StoreKey::parse(key) {
        Ok(key) => Ok(store.stat(&key).await?.is_some()),
        Err(_) => Ok(true),
    }
}

fn is_of_an_installation(key: &str) -> bool {
    key.split_once('/').is_some_and(|(first, _)| first.len() == 36 && first.parse::<uuid::Uuid>().is_ok())
}
