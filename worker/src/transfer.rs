//! Bytes for people and from them (design §2): a ticket that the API wrote is spent here, once, and is good for what it was
//! written for. `port.rs` speaks HTTP; what flows is made here.

pub mod content;
mod layout;
pub mod range;
mod sending;

use shared::{
    db::{
        DbError, saves,
        tickets::{self, Errand, Ticket},
    },
    save::SaveState,
};
use sqlx::Connection;

use crate::{context::Context, handler::JobError, store::StoreError};

/// Why a transfer did not begin.
#[derive(Debug, thiserror::Error)]
pub enum TransferError {
    /// Never written, spent, too old, or for something else: nobody is told which.
    #[error("there is no such transfer")]
    NoTicket,
    /// What the ticket is for is not there any more.
    #[error("{0}")]
    Gone(String),
    #[error("the store cannot be read")]
    Store(#[from] StoreError),
    #[error(transparent)]
    Record(#[from] JobError),
    #[error(transparent)]
    Db(#[from] DbError),
}

impl TransferError {
    /// Whether the same request would fail again.
    pub fn is_permanent(&self) -> bool {
        match self {
            Self::NoTicket | Self::Gone(_) | Self::Record(_) => true,
            Self::Store(error) => error.is_permanent(),
            Self::Db(error) => !error.is_transient(),
        }
    }

    /// A stable word.
    pub fn code(&self) -> &'static str {
        match self {
            Self::NoTicket => "ticket_unknown",
            Self::Gone(_) => "gone",
            Self::Store(error) => error.code(),
            Self::Record(_) => "record_unreadable",
            Self::Db(_) => "database_failed",
        }
    }
}

impl From<sqlx::Error> for TransferError {
    fn from(error: sqlx::Error) -> Self {
        Self::Db(error.into())
    }
}

/// Spends a ticket as it was shown. A save that it names is in use from here on: refused where it is not available.
pub async fn spend(ctx: &Context, shown: &str) -> Result<Ticket, TransferError> {
    let mut ticket = [0; 32];
    hex::decode_to_slice(shown, &mut ticket).map_err(|_| TransferError::NoTicket)?;
    let hash = crate::stream::sha256(&ticket).0;
    let mut conn = ctx.pool.acquire().await?;
    let mut tx = conn.begin().await?;
    let spent = tickets::spend(&mut tx, &hash, ctx.settings.name.as_str(), ctx.settings.lease).await?;
    let ticket = spent.ok_or(TransferError::NoTicket)?;
    let mut gone = None;
    if let Errand::Content { save_id, .. } = &ticket.errand.0 {
        // A deletion holds the save's row while it looks for users: it sees this one, or this one sees the deletion.
        let save = saves::lock_to_read(&mut tx, *save_id).await?;
        if save.is_none_or(|save| save.state != SaveState::Available) {
            tickets::end(&mut tx, ticket.id).await?;
            gone = Some(TransferError::Gone(format!("save {save_id} is not available any more")));
        }
    }
    tx.commit().await?;
    gone.map_or(Ok(ticket), Err)
}
