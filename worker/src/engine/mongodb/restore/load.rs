//! Collections out of an archive into a database, under staging names.

use std::collections::BTreeSet;

use mongodb::{
    Database,
    bson::{Document, doc},
};
use shared::job::View;
use tokio::io::AsyncRead;

use super::{
    batch::{Batch, Says},
    fault::failed,
    names,
    series::{self, Series},
    survey,
    takes::Takes,
    tally::Tally,
    view,
    writers::Writers,
};
use crate::engine::{
    EngineError, ErrorCode, SessionTag,
    mongodb::archive::{ArchiveError, Event, Kind, Metadata, Prelude, Reader},
};

/// Documents that wait in batches which are not full, all together.
const OPEN: usize = 8 << 20;

/// Options that servers list, or listed once, and that no `create` takes.
pub(in super::super) const NOT_FOR_CREATE: [&str; 4] = ["create", "temp", "flags", "autoIndexId"];

/// What of an archive is wanted.
#[derive(Debug, Clone, Default)]
pub struct Chosen {
    /// The database as the archive calls it.
    pub database: String,
    /// Only these collections and views; empty: all.
    pub only: BTreeSet<String>,
    /// All of it must be able to wait under a name of ours, as a later job gives it its name.
    pub must_wait: bool,
}

/// A collection that was written.
#[derive(Debug, Clone)]
pub struct Collection {
    pub name: String,
    /// The name under which its documents are written and wait; of a time series that of its buckets.
    pub staged: String,
    /// A time series has its own name already.
    pub series: Option<Series>,
    pub indexes: Vec<Document>,
    /// A capped collection drops its oldest documents when it is full.
    pub is_capped: bool,
    /// It has a collation that indexes without one of their own take on.
    pub has_collation: bool,
    /// What was written, as the archive had it.
    pub tally: Tally,
}

/// What was written, and what is still to be made.
#[derive(Debug, Clone, Default)]
pub struct Loaded {
    pub collections: Vec<Collection>,
    pub views: Vec<View>,
    pub warnings: Vec<String>,
}

/// Why an archive could not be loaded.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    #[error(transparent)]
    Archive(#[from] ArchiveError),
    #[error(transparent)]
    Engine(#[from] EngineError),
}

/// What becomes of a namespace of the archive.
#[derive(Debug)]
enum Role {
    /// The collection of that place.
    Write(usize),
    Skip,
}

/// What becomes of each namespace of an archive, and the collections to be made with their options.
type Planned = (Vec<Role>, Vec<(Collection, Document)>);

/// Writes one archive. Memory: the batches on their way and those that fill (16 MiB, the former twice), one document, and the prelude.
#[derive(Debug)]
pub struct Loader {
    database: Database,
    session: SessionTag,
    chosen: Chosen,
    roles: Vec<Role>,
    takes: Takes,
    loaded: Loaded,
    open: Vec<Option<Batch>>,
    open_bytes: usize,
    writers: Writers,
}

impl Loader {
    /// Nothing is done yet.
    pub fn new(database: Database, session: SessionTag, chosen: Chosen) -> Self {
        Self {
            writers: Writers::new(database.clone()),
            database,
            session,
            chosen,
            roles: Vec::new(),
            takes: Takes::default(),
            loaded: Loaded::default(),
            open: Vec::new(),
            open_bytes: 0,
        }
    }

    /// Reads the archive to its end. After an error, or when this is dropped, [`Loader::settle`] comes before what was
    /// written is dropped.
    pub async fn run(&mut self, archive: impl AsyncRead + Unpin) -> Result<Loaded, LoadError> {
        let mut reader = Reader::open(archive).await?;
        let (roles, collections) = self.plan(reader.prelude())?;
        self.roles = roles;
        self.takes = Takes::of(&self.database).await?;
        for (collection, options) in collections {
            match &collection.series {
                Some(_) if !self.takes.buckets => return Err(series::without_buckets(&collection.name).into()),
                Some(one) => series::make(&self.database, one, &collection.name, options).await?,
                None => self.create(&collection.staged, options).await?,
            }
            self.loaded.collections.push(collection);
            self.open.push(None);
        }
        while let Some(event) = reader.next().await? {
            match event {
                Event::Document { namespace, bytes } => self.document(namespace, bytes).await?,
                Event::End { namespace, .. } => self.end(namespace).await?,
            }
        }
        for (collection, twice) in self.writers.finish().await? {
            let Some(written) = self.loaded.collections.get_mut(collection) else { continue };
            written.tally = written.tally.without(twice);
            self.loaded.warnings.push(format!(
                "{} document(s) of collection {:?} are twice in the save, as its dump met them before and after they were written anew: each was restored once",
                twice.documents, written.name
            ));
        }
        Ok(std::mem::take(&mut self.loaded))
    }

    /// Waits for what is on its way.
    pub async fn settle(&mut self) {
        self.writers.settle().await;
    }

    /// What an archive that begins so would come to, without a document.
    pub fn would(
        database: &Database,
        session: SessionTag,
        chosen: Chosen,
        prelude: &Prelude,
    ) -> Result<Loaded, EngineError> {
        let mut this = Self::new(database.clone(), session, chosen);
        let (_, collections) = this.plan(prelude)?;
        this.loaded.collections = collections.into_iter().map(|(collection, _)| collection).collect();
        Ok(this.loaded)
    }

    fn plan(&mut self, prelude: &Prelude) -> Result<Planned, EngineError> {
        let others = prelude.namespaces.iter().filter(|namespace| namespace.db != self.chosen.database).count();
        if others > 0 && others == prelude.namespaces.len() {
            let message = format!("the archive holds nothing of database {:?}", self.chosen.database);
            return Err(EngineError::new(ErrorCode::RestoreIncompatible, message));
        }
        if others > 0 {
            self.loaded.warnings.push(format!("{others} collection(s) of other databases were left out"));
        }
        let mut missing = self.chosen.only.clone();
        let (mut roles, mut collections) = (Vec::new(), Vec::new());
        for namespace in &prelude.namespaces {
            let name = namespace.collection.as_str();
            let is_chosen = self.chosen.only.is_empty() || missing.remove(name);
            if namespace.db != self.chosen.database || !is_chosen {
                roles.push(Role::Skip);
                continue;
            }
            let metadata = namespace.metadata().map_err(|error| {
                EngineError::new(ErrorCode::RestoreIncompatible, format!("the metadata of {name:?} cannot be read"))
                    .with_source(error)
            })?;
            if survey::is_system(name) {
                let why = "as it belongs to the server, which lets nobody rename it";
                self.loaded.warnings.push(format!("collection {name:?} was not restored, {why}"));
                roles.push(Role::Skip);
                continue;
            }
            match &namespace.kind {
                Kind::View => {
                    self.loaded.views.push(view::packed(name, &metadata.options)?);
                    roles.push(Role::Skip);
                }
                Kind::Collection if metadata.options.contains_key("viewOn") => {
                    self.loaded.views.push(view::packed(name, &metadata.options)?);
                    roles.push(Role::Skip);
                }
                Kind::Collection => {
                    let index = collections.len();
                    roles.push(Role::Write(index));
                    collections.push(collection(self.session, index, name, metadata));
                }
                Kind::Timeseries if self.chosen.must_wait => return Err(series::cannot_wait(name)),
                Kind::Timeseries => {
                    let index = collections.len();
                    roles.push(Role::Write(index));
                    collections.push(time_series(self.session, index, name, metadata));
                }
                Kind::Other(word) => {
                    return Err(EngineError::new(
                        ErrorCode::CollectionUnsupported,
                        format!("{name:?} is a {word:?}, which this version does not know"),
                    ));
                }
            }
        }
        match missing.first() {
            Some(name) => {
                Err(EngineError::new(ErrorCode::TableNotInSave, format!("the save has no collection {name:?}"))
                    .with_hint("check the name, which is literal and case-sensitive, against the save's inventory"))
            }
            None => Ok((roles, collections)),
        }
    }

    async fn create(&self, staged: &str, options: Document) -> Result<(), EngineError> {
        let mut create = doc! { "create": staged };
        create.extend(options.into_iter().filter(|(key, _)| !NOT_FOR_CREATE.contains(&key.as_str())));
        create.insert("writeConcern", doc! { "w": "majority" });
        self.database.run_command(create).await.map(drop).map_err(failed("creating a collection"))
    }

    async fn document(&mut self, namespace: usize, bytes: &[u8]) -> Result<(), EngineError> {
        let Some(Role::Write(index)) = self.roles.get(namespace) else { return Ok(()) };
        let index = *index;
        if self.open[index].as_ref().is_some_and(|batch| batch.is_full_before(bytes.len())) {
            self.flush(index).await?;
        }
        // Many collections at once, each with a little: the fullest makes room.
        if self.open_bytes + bytes.len() > OPEN
            && let Some(fullest) = self.fullest()
        {
            self.flush(fullest).await?;
        }
        let batch = match self.open[index].take() {
            Some(batch) => batch,
            None => self.batch(index),
        };
        let batch = self.open[index].insert(batch);
        let before = batch.len();
        let tally = batch.push(bytes);
        self.open_bytes += batch.len() - before;
        self.loaded.collections[index].tally.add(tally);
        Ok(())
    }

    async fn end(&mut self, namespace: usize) -> Result<(), EngineError> {
        match self.roles.get(namespace) {
            Some(Role::Write(index)) => self.flush(*index).await,
            _ => Ok(()),
        }
    }

    fn fullest(&self) -> Option<usize> {
        let open = self.open.iter().enumerate().filter_map(|(index, batch)| Some((batch.as_ref()?.len(), index)));
        open.max().map(|(_, index)| index)
    }

    async fn flush(&mut self, index: usize) -> Result<(), EngineError> {
        let Some(batch) = self.open[index].take() else { return Ok(()) };
        self.open_bytes -= batch.len() - self.batch(index).len();
        self.writers.send(batch, self.loaded.collections[index].is_capped).await
    }

    fn batch(&self, index: usize) -> Batch {
        let collection = &self.loaded.collections[index];
        let series = collection.series.as_ref().map(|_| collection.name.clone());
        Batch::new(index, &collection.staged, Says { series, empty_timestamps: self.takes.empty_timestamps })
    }
}

fn collection(session: SessionTag, index: usize, name: &str, metadata: Metadata) -> (Collection, Document) {
    let Metadata { options, indexes, .. } = metadata;
    let is_capped = options.get_bool("capped").unwrap_or_default();
    let locale = options.get_document("collation").ok().and_then(|collation| collation.get_str("locale").ok());
    let has_collation = locale.is_some_and(|locale| locale != "simple");
    let staged = names::staged(session, index);
    let name = name.to_owned();
    (Collection { name, staged, series: None, indexes, is_capped, has_collation, tally: Tally::default() }, options)
}

/// As [`collection`], with the series' own name.
fn time_series(session: SessionTag, index: usize, name: &str, metadata: Metadata) -> (Collection, Document) {
    let (collection, options) = collection(session, index, name, metadata);
    let series = Series { marker: names::series(session, index), expiry: series::expiry(&options) };
    (Collection { staged: series::buckets(name), series: Some(series), ..collection }, options)
}
