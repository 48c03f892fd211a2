//! What a job writes down before its point of no return, so that whoever comes after it can see on the target whether it
//! was passed (design §4, phase `committing`).

use serde::{Deserialize, Serialize};

use crate::{id::KeptId, name::DatabaseName};

/// A database by its name and its oid, which tells it from any other that was ever called so.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Placed {
    pub name: DatabaseName,
    pub oid: u32,
}

/// Two databases that are about to change places, in one transaction on the server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Swap {
    /// The name that is at stake.
    pub database: DatabaseName,
    /// What gets it, and the name under which it waits.
    pub incoming: Placed,
    /// What has it, and the name it gets instead. None: nothing has it.
    pub outgoing: Option<Placed>,
    /// The row that what makes way gets, and how many seconds it is kept.
    pub keep_id: KeptId,
    pub keep_old_s: u32,
    /// The row of what comes in, where it is a database that was kept.
    pub kept_id: Option<KeptId>,
}

/// A collection of a MongoDB database whose name changes hands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Move {
    /// The name that is at stake.
    pub name: String,
    /// What gets it: the name under which it waits, and the collection's UUID where the server tells it. None: nothing.
    pub incoming: Option<Waiting>,
    /// The name that whatever has it gets instead.
    pub aside: String,
    /// Whether something had it when the journal was written.
    pub had: bool,
}

/// A collection that waits for its name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Waiting {
    pub name: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uuid: Option<String>,
}

/// A view: nothing but its definition, so it is dropped and made again instead of renamed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct View {
    pub name: String,
    /// Its options as BSON in base64: JSON would not keep the order of their fields, which says what a stage does.
    pub options: String,
}

/// A time series that has its name from the beginning, as MongoDB renames none: it is no more ours when its marker is gone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Given {
    pub name: String,
    /// The collection that marks it.
    pub marker: String,
}

/// Collections of one MongoDB database that are about to change names, one after another: no transaction holds them together,
/// but from the names that are there one sees at every moment how far it came, and each step has a way back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Renames {
    pub database: DatabaseName,
    /// Whether what stands under a name is put aside. If not, a name that is taken stops it all.
    pub replaces: bool,
    /// Whether it is all of the database, or some of its collections.
    pub whole: bool,
    pub moves: Vec<Move>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub series: Vec<Given>,
    /// The views that are to be dropped, and those that are to be made.
    pub views_out: Vec<View>,
    pub views_in: Vec<View>,
    /// What all names begin with under which something is put aside.
    pub aside_prefix: DatabaseName,
    /// The row that what makes way gets, and how many seconds it is kept.
    pub keep_id: KeptId,
    pub keep_old_s: u32,
    /// The row of what comes in, where it was kept.
    pub kept_id: Option<KeptId>,
}

/// A collection that is emptied.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Emptied {
    pub name: String,
    /// How it is made anew, where documents cannot be deleted from it. None: they are deleted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub made: Option<Made>,
}

/// A collection that is dropped and made anew, empty.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Made {
    /// The UUID of the one that goes, where the server tells it: another one is the one that was made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uuid: Option<String>,
    /// Its options as BSON in base64, as of a [`View`].
    pub options: String,
    /// Its indexes but for that of `_id`: a document with the array `indexes`, as BSON in base64.
    pub indexes: String,
}

/// Collections of one MongoDB database that are emptied one after another: no transaction holds them together, and none can be
/// filled again from here, but to empty what is left is as good the second time as the first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Emptying {
    pub database: DatabaseName,
    pub collections: Vec<Emptied>,
}

/// What is about to be made final.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "step", rename_all = "snake_case")]
pub enum Step {
    Swap(Swap),
    /// A transaction inside the database is about to be committed, by a restore tool that gets what it needs for that, or by a
    /// wipe: the server tells what became of it.
    Transaction {
        database: DatabaseName,
        /// The whole transaction id (`xid8`) in digits.
        id: String,
    },
    Renames(Renames),
    /// Collections that wait under the names that are called `aside` here, until an undo brings them in. Nothing was renamed.
    Waits(Renames),
    Emptying(Emptying),
}

/// The note. Its job is from then on resolved, not repeated.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Journal {
    #[serde(flatten)]
    pub step: Step,
    /// What the job's result will be if the step was done.
    pub result: serde_json::Value,
}
