//! The saves that a store holds, as its keys and manifests say.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use futures_util::TryStreamExt as _;
use shared::{
    db::rebuild::FoundObject,
    id::SaveId,
    manifest::{self, Manifest, Sealing},
    name::StoreKey,
    telemetry::Causes,
};
use tokio_util::sync::CancellationToken;

use crate::{
    record::manifests,
    signing::{Signer, Verdict},
    store::{Listed, Store, StoreError},
    stream::{self, Encryption},
};

/// No manifest is as large.
const MOST_BYTES: u64 = 64 << 20;

/// Where a save lies: `<installation>/<service>/<target>/<save>`.
#[derive(Debug, Clone, PartialEq, Eq)]
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
    /// To whom it is encrypted, by the head of its manifest.
    pub(super) sealing: Option<Sealing>,
    pub(super) epoch: i64,
    pub(super) verdict: Verdict,
    pub(super) objects: Vec<FoundObject>,
    /// Why later epochs were passed over.
    pub(super) passed: Vec<String>,
}

impl Found {
    pub(super) fn is_trusted(&self) -> bool {
        matches!(self.verdict, Verdict::Known { .. })
    }
}

/// The saves of a store, one after another, as its listing gives their objects in order: a page of it and one save are all
/// that is in memory, however large the store is.
#[derive(Debug)]
pub(super) struct Places<'a> {
    store: &'a dyn Store,
    page_of: usize,
    page: VecDeque<Listed>,
    /// The last key that was listed.
    after: String,
    ended: bool,
    strange: usize,
}

impl<'a> Places<'a> {
    /// Nothing is asked for yet. `page_of`: so many names at once.
    pub(super) fn new(store: &'a dyn Store, page_of: usize) -> Self {
        Self { store, page_of, page: VecDeque::new(), after: String::new(), ended: false, strange: 0 }
    }

    /// The next save, with all that its attempts have left.
    pub(super) async fn next(&mut self) -> Result<Option<(Place, Epochs)>, StoreError> {
        let mut found: Option<(Place, Epochs)> = None;
        while let Some(Listed { key, bytes }) = self.listed().await? {
            let Some((place, epoch)) = place(&key) else {
                self.strange += 1;
                continue;
            };
            match &mut found {
                Some((of, _)) if *of != place => {
                    self.page.push_front(Listed { key, bytes });
                    break;
                }
                Some((_, epochs)) => drop(epochs.entry(epoch).or_default().insert(key, bytes)),
                None => found = Some((place, Epochs::from([(epoch, BTreeMap::from([(key, bytes)]))]))),
            }
        }
        Ok(found)
    }

    /// How many objects so far are no save's.
    pub(super) fn strange(&self) -> usize {
        self.strange
    }

    async fn listed(&mut self) -> Result<Option<Listed>, StoreError> {
        if self.page.is_empty() && !self.ended {
            self.page = self.store.list_after("", &self.after, self.page_of).await?.into();
            self.ended = self.page.len() < self.page_of;
            if let Some(last) = self.page.back() {
                self.after.clone_from(&last.key);
            }
        }
        Ok(self.page.pop_front())
    }
}

/// Of which save and attempt an object is, by its key.
fn place(key: &str) -> Option<(Place, i64)> {
    let parts: Vec<&str> = key.split('/').collect();
    let [installation, service, target, save, epoch, _part] = parts.as_slice() else { return None };
    save.parse::<SaveId>().ok()?;
    let text = |part: &str| part.to_owned();
    let (service, target, save) = (text(service), text(target), text(save));
    Some((Place { service, target, save, installation: text(installation) }, epoch.parse().ok()?))
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
    let sealing = manifests::sealing(&text);
    Ok(Found { manifest, sealing, epoch, verdict, objects, passed: Vec::new() })
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
    use shared::name::Slug;

    use super::*;
    use crate::store::{FileStore, ReadBack};

    #[tokio::test]
    async fn a_listing_gives_save_after_save_whatever_its_pages_are() {
        let dir = tempfile::tempdir().unwrap();
        let (one, two) = (SaveId::generate(), SaveId::generate());
        for key in [
            format!("i/items/main/{one}/1/dump.0001"),
            format!("i/items/main/{one}/12/dump.0001"),
            format!("i/items/main/{one}/12/manifest.json"),
            format!("i/items/main/{one}/9/dump.0001"),
            "i/items/main/no-save/12/manifest.json".to_owned(),
            format!("i/items/other/{two}/1/dump.0001"),
            format!("i/items-more/main/{two}/1/dump.0001"),
            "notes.txt".to_owned(),
        ] {
            let path = dir.path().join(key);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, "1234567").unwrap();
        }
        let store = FileStore::open(Slug::parse("disk").unwrap(), dir.path().to_owned(), ReadBack::Off).await.unwrap();
        for page in [1, 2, 3, 100] {
            let mut places = Places::new(&store, page);
            let mut found = Vec::new();
            while let Some((place, epochs)) = places.next().await.unwrap() {
                let epochs: Vec<(i64, usize)> = epochs.iter().map(|(epoch, keys)| (*epoch, keys.len())).collect();
                found.push((place.service, place.target, epochs));
            }
            let is = |service: &str, target: &str, epochs: &[(i64, usize)]| {
                (service.to_owned(), target.to_owned(), epochs.to_vec())
            };
            assert_eq!(
                found,
                [
                    is("items-more", "main", &[(1, 1)]),
                    is("items", "main", &[(1, 1), (9, 1), (12, 2)]),
                    is("items", "other", &[(1, 1)]),
                ],
                "{page} at once"
            );
            assert_eq!(places.strange(), 2);
        }
    }
}
