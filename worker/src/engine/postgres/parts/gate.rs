//! What stands between the checked bytes and a `pg_restore` that reads only what it needs.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use tokio::io::AsyncWrite;

use super::{Part, patch::Patch};

/// Passes an archive on with its patches, up to the one byte without which the tool cannot finish. That byte goes out on
/// shutdown, once the release has been awaited, and what follows it never: the tool does not want it. At the release the
/// tool is in its transaction, or comes to it, and cannot have ended it.
///
/// Who writes calls shutdown only when every byte of the archive has been checked; otherwise drops it, and the tool's
/// transaction with it.
pub(crate) struct Gate<'a, W> {
    inner: W,
    patches: std::vec::IntoIter<Patch>,
    /// The patch that comes next or is being written.
    patch: Option<Patch>,
    /// Bytes of its replacement that are written.
    replaced: usize,
    /// Bytes of the archive that were taken.
    at: u64,
    hold: u64,
    held: Option<u8>,
    release: Option<Pin<Box<dyn Future<Output = io::Result<()>> + Send + 'a>>>,
}

impl<'a, W> Gate<'a, W> {
    pub(crate) fn new(inner: W, part: &Part, release: impl Future<Output = io::Result<()>> + Send + 'a) -> Self {
        let mut patches = part.patches.clone();
        patches.sort_by_key(|patch| patch.range.start);
        let mut patches = patches.into_iter();
        Self {
            inner,
            patch: patches.next(),
            patches,
            replaced: 0,
            at: 0,
            hold: part.hold,
            held: None,
            release: Some(Box::pin(release)),
        }
    }

    /// How many bytes from here on are of one kind, at most `most`.
    fn up_to(&self, end: u64, most: usize) -> usize {
        usize::try_from(end.saturating_sub(self.at)).unwrap_or(usize::MAX).min(most)
    }
}

impl<W: AsyncWrite + Unpin> AsyncWrite for Gate<'_, W> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        let Some(first) = bytes.first() else { return Poll::Ready(Ok(0)) };
        if this.at >= this.hold {
            if this.at == this.hold {
                this.held = Some(*first);
            }
            this.at += bytes.len() as u64;
            return Poll::Ready(Ok(bytes.len()));
        }
        let Some(patch) = &this.patch else {
            let n = this.up_to(this.hold, bytes.len());
            let written = ready!(Pin::new(&mut this.inner).poll_write(cx, bytes.get(..n).unwrap_or(bytes)))?;
            this.at += written as u64;
            return Poll::Ready(Ok(written));
        };
        let (start, end) = (patch.range.start, patch.range.end);
        if this.at < start {
            let n = this.up_to(start.min(this.hold), bytes.len());
            let written = ready!(Pin::new(&mut this.inner).poll_write(cx, bytes.get(..n).unwrap_or(bytes)))?;
            this.at += written as u64;
            return Poll::Ready(Ok(written));
        }
        // The replacement goes out before the first byte that it replaces is taken.
        while let Some(rest) = this.patch.as_ref().and_then(|patch| patch.with.get(this.replaced..))
            && !rest.is_empty()
        {
            let written = ready!(Pin::new(&mut this.inner).poll_write(cx, rest))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            this.replaced += written;
        }
        let n = this.up_to(end, bytes.len());
        this.at += n as u64;
        if this.at >= end {
            this.patch = this.patches.next();
            this.replaced = 0;
        }
        Poll::Ready(Ok(n))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if let Some(release) = &mut this.release {
            ready!(release.as_mut().poll(cx))?;
            this.release = None;
        }
        if let Some(byte) = this.held {
            if ready!(Pin::new(&mut this.inner).poll_write(cx, &[byte]))? == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            this.held = None;
        }
        Pin::new(&mut this.inner).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncWriteExt as _;

    use super::*;

    fn part(hold: u64, patches: &[(u64, u64, &str)]) -> Part {
        let patches =
            patches.iter().map(|(start, end, with)| Patch { range: *start..*end, with: with.as_bytes().to_vec() });
        Part {
            list: vec![1],
            patches: patches.collect(),
            hold,
            holds_in_data: true,
            clean: true,
            if_exists: false,
            warnings: Vec::new(),
        }
    }

    async fn through(part: &Part, bytes: &[u8], piece: usize) -> (Vec<u8>, Vec<u8>) {
        let mut out = Vec::new();
        let mut gate = Gate::new(&mut out, part, std::future::ready(Ok(())));
        for piece in bytes.chunks(piece) {
            gate.write_all(piece).await.unwrap();
        }
        let before = gate.inner.clone();
        gate.shutdown().await.unwrap();
        (before, out)
    }

    #[tokio::test]
    async fn what_is_held_goes_out_at_the_end_alone() {
        let part = part(6, &[(1, 3, "XYZ"), (3, 4, ""), (4, 5, "-")]);
        for piece in 1..11 {
            let (before, after) = through(&part, b"abcdefghij", piece).await;
            assert_eq!(String::from_utf8(before).unwrap(), "aXYZ-f", "pieces of {piece}");
            assert_eq!(String::from_utf8(after).unwrap(), "aXYZ-fg", "pieces of {piece}");
        }
    }

    #[tokio::test]
    async fn without_the_release_nothing_more_goes_out() {
        let mut out = Vec::new();
        let refused = async { Err(io::Error::other("no")) };
        let part = part(3, &[]);
        let mut gate = Gate::new(&mut out, &part, refused);
        gate.write_all(b"abcdef").await.unwrap();
        assert!(gate.shutdown().await.is_err());
        assert_eq!(out, b"abc");
    }

    #[tokio::test]
    async fn without_the_end_the_last_byte_never_goes_out() {
        let (before, _) = through(&part(3, &[]), b"abcd", 2).await;
        assert_eq!(before, b"abc");
        // An archive that ends before the place has nothing that could be held, or let go.
        let (_, after) = through(&part(30, &[]), b"abcd", 2).await;
        assert_eq!(after, b"abcd");
    }
}
