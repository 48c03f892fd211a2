//! A copy as somebody fetches it: which bytes, how many, and what they are called.

use std::{io, sync::Arc};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use shared::{
    db::{
        saves,
        tickets::{Errand, Ticket},
    },
    manifest,
    save::CopyState,
    shutdown::Shutdown,
};
use tokio::sync::mpsc;

use super::{
    TransferError,
    layout::Layout,
    range::Asked,
    sending::{Sending, release},
};
use crate::{context::Context, record::reading::SavedCopy};

/// What can be fetched with a spent ticket.
#[derive(Debug)]
pub struct Content {
    ctx: Arc<Context>,
    ticket: Ticket,
    layout: Layout,
    copy: SavedCopy,
    /// Strong, quoted.
    pub etag: String,
    pub content_type: &'static str,
    pub file_name: String,
    /// `Repr-Digest` of one object.
    pub digest: Option<String>,
}

impl Content {
    /// Looks up what a ticket is for. The ticket must have been [spent](super::spend).
    pub async fn open(ctx: Arc<Context>, ticket: Ticket) -> Result<Self, TransferError> {
        match Self::find(&ctx, &ticket).await {
            Ok((layout, copy, file_name, content_type)) => {
                let is_tar = layout.segments.len() > 1;
                Ok(Self {
                    etag: format!("\"{}\"", layout.tag),
                    digest: (!is_tar).then(|| format!("sha-256=:{}:", STANDARD.encode(layout.tag.0))),
                    ctx,
                    ticket,
                    layout,
                    copy,
                    content_type,
                    file_name,
                })
            }
            Err(error) => {
                release(&ctx, ticket.id).await;
                Err(error)
            }
        }
    }

    async fn find(ctx: &Context, ticket: &Ticket) -> Result<(Layout, SavedCopy, String, &'static str), TransferError> {
        let Errand::Content { save_id, store, part } = &ticket.errand.0 else { return Err(TransferError::NoTicket) };
        let gone = |what: &str| {
            TransferError::Gone(format!("{what} of save {save_id} in store {store} is not there any more"))
        };
        let mut conn = ctx.pool.acquire().await?;
        let save = saves::get(&mut conn, *save_id).await?.ok_or_else(|| gone("the row"))?;
        let manifest = save.manifest.ok_or_else(|| gone("the manifest"))?.0;
        let rows = saves::copies(&mut conn, *save_id).await?;
        let row = rows.into_iter().find(|row| row.store == store.as_str() && row.state == CopyState::Good);
        let row = row.ok_or_else(|| gone("the copy"))?;
        let copy = SavedCopy::of_row(&mut conn, ctx, &manifest, row).await?.ok_or_else(|| gone("the copy"))?;
        let name = format!("{}-{}-v{}", manifest.service, manifest.target, save.version);
        if let Some(part) = part {
            let object = copy.objects.iter().find(|object| object.part == *part).ok_or_else(|| gone("the object"))?;
            let kind = if *part == manifest::PART { "application/json" } else { "application/octet-stream" };
            return Ok((Layout::object(object.clone()), copy, format!("{name}-{part}"), kind));
        }
        let mtime = u64::try_from(manifest.finished_at.timestamp()).unwrap_or_default();
        // A name in a tar has 100 bytes.
        let directory = if name.len() <= 70 { name.clone() } else { save_id.to_string() };
        let layout = Layout::tar(&directory, mtime, copy.objects.clone())?;
        Ok((layout, copy, format!("{name}.tar"), "application/x-tar"))
    }

    /// How many bytes all of it has.
    pub fn length(&self) -> u64 {
        self.layout.length
    }

    /// The store that the copy lies in.
    pub fn store(&self) -> &str {
        self.copy.name.as_str()
    }

    /// Sends nothing, as nothing was asked for.
    pub async fn close(self) {
        release(&self.ctx, self.ticket.id).await;
    }

    /// Sends what was asked for. What is received ends with an error unless it is whole.
    pub async fn send(
        self,
        asked: Asked,
        shutdown: &Shutdown,
    ) -> Result<mpsc::Receiver<io::Result<Bytes>>, TransferError> {
        let range = match asked {
            Asked::Whole => (0, self.layout.length),
            Asked::Part { from, until } => (from, until),
            Asked::Beyond => (0, 0),
        };
        let id = self.ticket.id;
        match Sending::open(Arc::clone(&self.ctx), id, self.layout, self.copy.store, range).await {
            Ok(sending) => Ok(sending.start(shutdown.hard().clone(), shutdown.tasks())),
            Err(error) => {
                release(&self.ctx, id).await;
                Err(error.into())
            }
        }
    }
}
