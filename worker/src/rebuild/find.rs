//! The saves that a store holds, as its keys and manifests say.

use std::collections::{BTreeMap, BTreeSet};

use futures_util::TryStreamExt as _;
use shared::{
    db::rebuild::FoundObject,
    id::SaveId,
    manifest::{self, Manifest},
    name::StoreKey,
    save::Origin,
    telemetry::Causes,
};
use tokio_util::sync::CancellationToken;

use crate::{
    record::manifests,
    signing::{Signer, Verdict},
    store::{Listed, Store},
    stream::{self, Encryption},
};

/// No manifest is as large.
const MOST_BYTES: u64 = 64 << 20;

/// Where a save lies: `<installation>/<service>/<target>/<save>`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    pub(super) service: String,
    pub(super) target: String,
    /// Ids of ours are in the order of time.
    pub(super) save: String,
    pub(super) installation: String,
}

/// The attempts that left something, and the lengths of what they left by key.
pub(super) type Epochs = BTreeMap<i64, BTreeMap<String, u64>>;

/// A copy whose manifest is good and whose objects are there.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) manifest: Manifest,
    pub(super) epoch: i64,
    pub(super) verdict: Verdict,
    pub(super) objects: Vec<FoundObject>,
    /// Why later epochs were passed over.
    pub(super) passed: Vec<String>,
}

impl Found {
    pub(super) fn is_trusted(&self) -> bool {
        // Who brought it, the signature does not vouch for.
        matches!(self.verdict, Verdict::Known { .. }) && self.manifest.origin != Origin::Import
    }
}

/// Sorts a listing by saves; and how many objects are none of any.
pub(super) fn places(listed: Vec<Listed>) -> (BTreeMap<Place, Epochs>, usize) {
    let mut places: BTreeMap<Place, Epochs> = BTreeMap::new();
    let mut strange = 0;
    for Listed { key, bytes } in listed {
        let parts: Vec<&str> = key.split('/').collect();
        let parsed = match parts.as_slice() {
            [installation, service, target, save, epoch, _part] => {
                epoch.parse().ok().filter(|_| save.parse::<SaveId>().is_ok()).map(|epoch: i64| {
                    let text = |part: &str| part.to_owned();
                    let (service, target, save) = (text(service), text(target), text(save));
                    (Place { service, target, save, installation: text(installation) }, epoch)
                })
            }
            _ => None,
        };
        match parsed {
            Some((place, epoch)) => drop(places.entry(place).or_default().entry(epoch).or_default().insert(key, bytes)),
            None => strange += 1,
        }
    }
    (places, strange)
}

/// The highest epoch that is whole; or why none is.
pub(super) async fn find(
    (store, encryption): (&dyn Store, Option<&Encryption>),
    signer: &Signer,
    place: &Place,
    epochs: &Epochs,
) -> Result<Found, String> {
    let mut passed = Vec::new();
    for (epoch, keys) in epochs.iter().rev() {
        match whole((store, encryption), signer, place, *epoch, keys).await {
            Ok(found) => return Ok(Found { passed, ..found }),
            Err(why) => passed.push(format!("epoch {epoch}: {why}")),
        }
    }
    Err(passed.join("; "))
}

async fn whole(
    (store, encryption): (&dyn Store, Option<&Encryption>),
    signer: &Signer,
    place: &Place,
    epoch: i64,
    keys: &BTreeMap<String, u64>,
) -> Result<Found, String> {
    let Place { installation, service, target, save } = place;
    let directory = format!("{installation}/{service}/{target}/{save}/{epoch}");
    let key = format!("{directory}/{}", manifest::PART);
    let Some(length) = keys.get(&key) else {
        return Err("it has no manifest: the backup did not come to its end, or its deletion has begun".to_owned());
    };
    if *length > MOST_BYTES {
        return Err(format!("its manifest has {length} bytes, which is more than any has"));
    }
    let key = StoreKey::parse(key).map_err(|error| error.to_string())?;
    let stored = read(store, &key).await?;
    let (text, verdict) = signer.check(&stored).map_err(|error| error.to_string())?;
    let (manifest, _) = manifests::read(&text, store.name(), encryption)
        .map_err(|error| format!("its manifest cannot be read: {}", Causes(&error)))?;
    let says = (manifest.installation.to_string(), manifest.service.as_str(), manifest.target.as_str());
    if (says.0.as_str(), says.1, says.2) != (installation, service, target) || manifest.save.to_string() != *save {
        return Err("its manifest is another save's".to_owned());
    }
    let mut objects = Vec::new();
    let mut names = BTreeSet::new();
    for object in &manifest.objects {
        let key = object.key.as_str();
        if key != format!("{directory}/{}", object.part) || !names.insert(key) {
            return Err(format!("its manifest names an object elsewhere: {key}"));
        }
        match keys.get(key) {
            None => return Err(format!("{} is missing", object.part)),
            Some(found) if *found != object.stored_bytes => {
                return Err(format!("{} has {found} bytes, its manifest says {}", object.part, object.stored_bytes));
            }
            Some(_) => {}
        }
        objects.push(FoundObject {
            key: key.to_owned(),
            part: object.part.clone(),
            raw_bytes: object.raw_bytes.and_then(|bytes| i64::try_from(bytes).ok()),
            stored_bytes: i64::try_from(object.stored_bytes).unwrap_or(i64::MAX),
            blake3: object.blake3.as_deref().map(digest).transpose()?,
            sha256: digest(&object.sha256)?,
        });
    }
    if !objects.iter().any(|object| object.part.starts_with("dump.")) {
        return Err("its manifest names no dump".to_owned());
    }
    let bytes = i64::try_from(stored.len()).unwrap_or(i64::MAX);
    objects.push(FoundObject {
        key: key.to_string(),
        part: manifest::PART.to_owned(),
        raw_bytes: Some(bytes),
        stored_bytes: bytes,
        blake3: Some(blake3::hash(&stored).as_bytes().to_vec()),
        sha256: stream::sha256(&stored).0.to_vec(),
    });
    Ok(Found { manifest, epoch, verdict, objects, passed: Vec::new() })
}

async fn read(store: &dyn Store, key: &StoreKey) -> Result<Vec<u8>, String> {
    let told = |error: crate::store::StoreError| format!("its manifest cannot be read: {}", Causes(&error));
    let mut stream = store.read(key, &CancellationToken::new()).await.map_err(told)?;
    let mut bytes = Vec::new();
    while let Some(piece) = stream.try_next().await.map_err(told)? {
        bytes.extend_from_slice(&piece);
        if bytes.len() as u64 > MOST_BYTES {
            return Err("its manifest is longer than it was listed".to_owned());
        }
    }
    Ok(bytes)
}

fn digest(hex: &str) -> Result<Vec<u8>, String> {
    let bytes = hex::decode(hex).ok().filter(|bytes| bytes.len() == 32);
    bytes.ok_or_else(|| "its manifest holds a digest that is none".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listing_is_sorted_by_saves() {
        let save = SaveId::generate();
        let listed = |key: String| Listed { key, bytes: 7 };
        let (places, strange) = places(vec![
            listed(format!("i/items/main/{save}/1/dump.0001")),
            listed(format!("i/items/main/{save}/12/dump.0001")),
            listed(format!("i/items/main/{save}/12/manifest.json")),
            listed("i/items/main/no-save/12/manifest.json".to_owned()),
            listed("notes.txt".to_owned()),
        ]);
        assert_eq!((places.len(), strange), (1, 2));
        let epochs = places.values().next().unwrap();
        assert_eq!(epochs.iter().map(|(epoch, keys)| (*epoch, keys.len())).collect::<Vec<_>>(), [(1, 1), (12, 2)]);
    }
}
