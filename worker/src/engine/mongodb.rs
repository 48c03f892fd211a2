//! `MongoDB`: databases dumped and restored by Holdfast itself (`native`) or by `mongodump` and `mongorestore` (`tools`). Both
//! write and read the same format, [`archive`].

pub mod archive;
mod classify;
mod connect;
mod databases;
pub mod inventory;
mod native;
mod probe;
pub mod restore;
mod sessions;
pub mod tools;
pub mod wipe;

use std::path::PathBuf;

use async_trait::async_trait;
use shared::{name::DatabaseName, server::MongoMode};
use tokio_util::sync::CancellationToken;

pub use self::{connect::Session, tools::MongoTools};
use super::{
    Connection, Dump, DumpOptions, Engine, EngineError, Globals, ProbeReport, Running, dump::Format, process::Launcher,
};

/// The engine for `MongoDB` servers.
#[derive(Debug, Clone)]
pub struct Mongodb {
    /// How its children start.
    pub launcher: Launcher,
    /// Where the private directories of children and sessions are.
    pub run_dir: PathBuf,
    /// `mongodump` and `mongorestore`, where they are installed.
    pub tools: Option<MongoTools>,
}

/// What every archive looks like from outside; [`inventory`] looks inside.
const ARCHIVE: Format = Format { magic: &archive::MAGIC, trailer: &[0xff; 4], archive: false };
/// The name under which Holdfast's own dumps stand in manifests.
const NATIVE: &str = "holdfast";

impl Mongodb {
    /// What dumps a target, and its version; the error where it is not installed.
    pub fn client_of(&self, at: &Connection) -> Result<(String, String), EngineError> {
        match at.mongodb.mode {
            MongoMode::Native => Ok((NATIVE.to_owned(), env!("CARGO_PKG_VERSION").to_owned())),
            MongoMode::Tools => self.tools().map(|tools| ("mongodump".to_owned(), tools.version.clone())),
        }
    }

    /// A session on the server. Its first question is asked before this answers, so that what comes later finds a server
    /// that is there and takes the credential.
    pub async fn session(&self, at: &Connection, cancel: &CancellationToken) -> Result<Session, EngineError> {
        cancellable(cancel, connect::connect(at, &self.run_dir)).await
    }
}

/// Runs to the end or until the token fires.
async fn cancellable<T>(
    cancel: &CancellationToken,
    work: impl Future<Output = Result<T, EngineError>>,
) -> Result<T, EngineError> {
    cancel.run_until_cancelled(work).await.unwrap_or_else(|| Err(EngineError::cancelled()))
}

#[async_trait]
impl Engine for Mongodb {
    async fn probe(
        &self,
        at: &Connection,
        database: &DatabaseName,
        cancel: &CancellationToken,
    ) -> Result<ProbeReport, EngineError> {
        let session = self.session(at, cancel).await?;
        cancellable(cancel, probe::probe(&session, at, database)).await
    }

    async fn databases(&self, at: &Connection, cancel: &CancellationToken) -> Result<Vec<String>, EngineError> {
        let session = self.session(at, cancel).await?;
        cancellable(cancel, databases::databases(&session)).await
    }

    async fn end_older_sessions(
        &self,
        at: &Connection,
        _database: &DatabaseName,
        cancel: &CancellationToken,
    ) -> Result<usize, EngineError> {
        let session = self.session(at, cancel).await?;
        cancellable(cancel, sessions::end_older_sessions(&session, at)).await
    }

    async fn dump(
        &self,
        at: &Connection,
        database: &DatabaseName,
        options: &DumpOptions,
        probe: &ProbeReport,
        cancel: &CancellationToken,
    ) -> Result<Dump<Running>, EngineError> {
        match at.mongodb.mode {
            MongoMode::Native => {
                let session = self.session(at, cancel).await?;
                native::dump(session, database, options, probe, cancel).await
            }
            MongoMode::Tools => self.tool_dump(at, database, options, cancel).await,
        }
    }

    async fn dump_globals(
        &self,
        _at: &Connection,
        _probe: &ProbeReport,
        _cancel: &CancellationToken,
    ) -> Result<Globals, EngineError> {
        Ok(Globals::None)
    }
}
