//! What can go wrong with a store, in the operator's words: what, where, what to do.

use std::error::Error;
use std::io;

use chrono::{DateTime, Utc};
use shared::id::InstallationId;
use shared::name::Slug;

/// A failed operation on a store.
#[derive(Debug, thiserror::Error)]
#[error("{doing} {place:?} in store {store} failed: {fault}")]
pub struct StoreError {
    store: Slug,
    doing: &'static str,
    place: String,
    fault: Fault,
    #[source]
    source: Option<Box<dyn Error + Send + Sync>>,
}

/// The kind of failure.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    #[error("the store is full: free space, shorten the retention or add a store")]
    Full,
    #[error("the store cannot be reached: check that it runs, is mounted, and that this worker may connect to it")]
    Unreachable,
    #[error("the store refuses access: check its user, permissions and whether it is read-only")]
    Denied,
    #[error("there is no such object: it was deleted outside Holdfast or never committed; verify this copy")]
    Missing,
    #[error("an object or upload of this name exists already: it is left as it is; a new attempt uses another name")]
    Exists,
    #[error(
        "the store belongs to installation {owner}: use another store, or `holdfast-worker adopt` if that installation is gone"
    )]
    Foreign { owner: InstallationId },
    #[error("the object is damaged ({detail}): use another copy and verify this store")]
    Corrupt { detail: String },
    #[error("the upload is not whole ({detail}): it was not made visible; look for a second worker that cleaned it up")]
    Incomplete { detail: String },
    #[error("there is no such bucket here: create it, or correct the store's bucket, endpoint and region")]
    NoBucket,
    #[error(
        "strangers can read the store ({detail}): take public access away from the bucket, or set allow_public = true if it is meant"
    )]
    Public { detail: String },
    #[error("the object is locked{}: it can be deleted when its retention is over", until.map(|at| format!(" until {}", at.to_rfc3339())).unwrap_or_default())]
    Locked { until: Option<DateTime<Utc>> },
    #[error("the name is reserved for the store itself")]
    Reserved,
    #[error(
        "the store took nothing for {seconds} s while enough others went on: its copy was given up; look at the store, and copy the save there once it is well"
    )]
    Lagging { seconds: u64 },
    #[error("the operation was cancelled")]
    Cancelled,
    #[error("the store answered with an error; the cause follows")]
    Failed,
}

impl StoreError {
    /// `doing` is a phrase such as "writing"; `place` names the key, path or upload.
    pub(super) fn new(store: &Slug, doing: &'static str, place: impl Into<String>, fault: Fault) -> Self {
        Self { store: store.clone(), doing, place: place.into(), fault, source: None }
    }

    /// The copy was given up, as the store took nothing for so long.
    pub(crate) fn lagging(store: &Slug, seconds: u64) -> Self {
        Self::new(store, "writing", "", Fault::Lagging { seconds })
    }

    /// What is to lie in the store could not be named.
    pub(crate) fn unnamed(store: &Slug, key: &str, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::new(store, "naming", key, Fault::Failed).because(source)
    }

    pub(super) fn because(mut self, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }

    pub(super) fn io(store: &Slug, doing: &'static str, place: impl Into<String>, source: io::Error) -> Self {
        use io::ErrorKind as Kind;
        let fault = match source.kind() {
            Kind::StorageFull | Kind::QuotaExceeded | Kind::FileTooLarge => Fault::Full,
            Kind::PermissionDenied | Kind::ReadOnlyFilesystem => Fault::Denied,
            Kind::NotFound => Fault::Missing,
            Kind::AlreadyExists => Fault::Exists,
            Kind::StaleNetworkFileHandle
            | Kind::NetworkUnreachable
            | Kind::HostUnreachable
            | Kind::NotConnected
            | Kind::ConnectionRefused
            | Kind::ConnectionReset
            | Kind::ConnectionAborted
            | Kind::TimedOut => Fault::Unreachable,
            _ => Fault::Failed,
        };
        Self::new(store, doing, place, fault).because(source)
    }

    /// The store is another installation's.
    pub fn foreign(store: &Slug, owner: InstallationId) -> Self {
        Self::new(store, "claiming the store", "", Fault::Foreign { owner })
    }

    pub fn fault(&self) -> &Fault {
        &self.fault
    }

    pub fn store(&self) -> &Slug {
        &self.store
    }

    /// Whether a new attempt (which uses a new key) cannot succeed before a person has acted. A full store is not
    /// among them: retention may free space meanwhile.
    pub fn is_permanent(&self) -> bool {
        match self.fault {
            Fault::Denied
            | Fault::NoBucket
            | Fault::Public { .. }
            | Fault::Missing
            | Fault::Foreign { .. }
            | Fault::Corrupt { .. }
            | Fault::Reserved => true,
            Fault::Full
            | Fault::Unreachable
            | Fault::Exists
            | Fault::Incomplete { .. }
            | Fault::Lagging { .. }
            | Fault::Locked { .. }
            | Fault::Cancelled
            | Fault::Failed => false,
        }
    }

    /// A stable word for records, events and metrics.
    pub fn code(&self) -> &'static str {
        match self.fault {
            Fault::Full => "store_full",
            Fault::Unreachable => "store_unreachable",
            Fault::Denied => "store_denied",
            Fault::Missing => "object_missing",
            Fault::Exists => "object_exists",
            Fault::Foreign { .. } => "foreign_installation",
            Fault::Corrupt { .. } => "object_corrupt",
            Fault::Incomplete { .. } => "upload_incomplete",
            Fault::NoBucket => "store_missing",
            Fault::Public { .. } => "store_public",
            Fault::Locked { .. } => "object_locked",
            Fault::Reserved => "key_reserved",
            Fault::Lagging { .. } => "store_lagging",
            Fault::Cancelled => "cancelled",
            Fault::Failed => "store_failed",
        }
    }
}
