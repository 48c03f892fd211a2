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

/// The relations of a database before a transaction that replaces them, by their oids: a committed one has made them anew.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Evidence {
    pub relations: Vec<u32>,
}

/// What is about to be made final.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "step", rename_all = "snake_case")]
pub enum Step {
    Swap(Swap),
    /// The last block is about to be given to a restore tool that works inside the database, in one transaction.
    Direct {
        database: DatabaseName,
        before: Evidence,
    },
    /// The same, of a tool whose transaction is known: the server tells what became of it.
    Transaction {
        database: DatabaseName,
        /// The whole transaction id (`xid8`) in digits.
        id: String,
    },
}

/// The note. Its job is from then on resolved, not repeated.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Journal {
    #[serde(flatten)]
    pub step: Step,
    /// What the job's result will be if the step was done.
    pub result: serde_json::Value,
}
