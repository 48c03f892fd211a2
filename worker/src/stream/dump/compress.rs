//! The zstd stage: whole blocks in, whole blocks out.

use bytes::Bytes;
use tokio::sync::mpsc::{Receiver, Sender};
use zstd::stream::raw::{CParameter, Encoder, InBuffer, Operation, OutBuffer};

use crate::stream::progress::Watch;
use crate::stream::{Block, BlockPool, StageTime, StreamError};

pub(super) fn compress(
    level: i32,
    mut input: Receiver<Bytes>,
    outputs: Vec<Sender<Bytes>>,
    pool: BlockPool,
) -> Result<StageTime, StreamError> {
    let mut watch = Watch::of_thread("zstd");
    let mut encoder = Encoder::new(level).map_err(StreamError::Compress)?;
    // So that `zstd -d` alone notices damage.
    encoder.set_parameter(CParameter::ChecksumFlag(true)).map_err(StreamError::Compress)?;
    let mut out = Packer { pool, block: None, outputs };
    watch.was_busy();
    while let Some(raw) = input.blocking_recv() {
        watch.was_waiting();
        let mut source = InBuffer::around(&raw[..]);
        while source.pos() < raw.len() {
            if !out.step(&mut watch, |target| encoder.run(&mut source, target))?.1 {
                return Ok(watch.time());
            }
        }
    }
    watch.was_waiting();
    loop {
        let (left, open) = out.step(&mut watch, |target| encoder.finish(target, true))?;
        if left == 0 || !open {
            break;
        }
    }
    if let Some(block) = out.block.take().filter(|block| !block.is_empty()) {
        // Closed means that the copies failed, which they report themselves.
        out.send(&block.freeze());
    }
    watch.was_waiting();
    Ok(watch.time())
}

/// Fills whole blocks with what zstd produces.
struct Packer {
    pool: BlockPool,
    block: Option<Block>,
    /// One for each form in which the bytes are stored.
    outputs: Vec<Sender<Bytes>>,
}

impl Packer {
    /// `false` when nobody takes the output any more.
    fn send(&mut self, block: &Bytes) -> bool {
        self.outputs.retain(|output| output.blocking_send(block.clone()).is_ok());
        !self.outputs.is_empty()
    }

    /// One step of the encoder into the current block; `false` when nobody takes the output any more.
    fn step(
        &mut self,
        watch: &mut Watch,
        encode: impl FnOnce(&mut OutBuffer<'_, [u8]>) -> std::io::Result<usize>,
    ) -> Result<(usize, bool), StreamError> {
        let mut block = if let Some(block) = self.block.take() {
            block
        } else {
            let block = self.pool.blocking_take();
            watch.was_waiting();
            block
        };
        let mut target = OutBuffer::around(block.spare());
        let left = encode(&mut target).map_err(StreamError::Compress)?;
        let written = target.pos();
        block.advance(written);
        watch.was_busy();
        if !block.is_full() {
            self.block = Some(block);
            return Ok((left, true));
        }
        let open = self.send(&block.freeze());
        watch.was_waiting();
        Ok((left, open))
    }
}
