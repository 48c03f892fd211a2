//! Saves and their copies and objects: the states (design §4) and the words that describe them.

use serde::{Deserialize, Serialize};

words! {
    /// The life of a save. Available means that at least the required number of copies is good.
    SaveState { Pending = "pending", Available = "available", Failed = "failed", Deleting = "deleting", Deleted = "deleted" }
}
words! {
    /// The life of a copy: a save in one store.
    CopyState {
        Uploading = "uploading", Good = "good",
        /// The bytes are not there, be it that they never came or that they were lost.
        Missing = "missing",
        Corrupt = "corrupt", Deleting = "deleting", Deleted = "deleted",
    }
}
words! {
    /// The life of an object. The row comes before the first byte and outlives the last.
    ObjectState { Uploading = "uploading", Stored = "stored", Deleting = "deleting", Deleted = "deleted" }
}
words! {
    /// Whether a save holds its whole database. Policies look at full saves alone.
    Scope { Full = "full", Partial = "partial" }
}
words! {
    /// Why a save was made.
    Origin { Schedule = "schedule", Manual = "manual", Safety = "safety", Import = "import", Copy = "copy" }
}
words! {
    /// What of the database was dumped.
    #[derive(Default)]
    Mode {
        #[default]
        All = "all",
        Schema = "schema",
        Data = "data",
    }
}
