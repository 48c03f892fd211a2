//! One object from a good copy into another store: it becomes visible there only if every byte was what its record says.

use bytes::Bytes;
use futures_util::StreamExt;
use ring::digest::{Context, SHA256};
use shared::name::StoreKey;
use tokio::{sync::mpsc, task::spawn_blocking};

use crate::{
    handler::{Job, JobError},
    record::{
        copies::check,
        reading::{CopyObject, SavedCopy},
    },
    store::{Fault, Store, StoreError, Upload, UploadRef, Whole},
    stream::{Blake3, Progress, StoredBytes, StreamError},
};

/// Copies the object and has it read back.
pub(super) async fn transfer(
    job: &Job,
    from: &SavedCopy,
    object: &CopyObject,
    to: &dyn Store,
    (key, at): (&StoreKey, &UploadRef),
) -> Result<(), JobError> {
    let mut upload = to.upload(key, at, &job.lease.cancel).await?;
    let (progress, watched) = job.watch(Some(object.stored.stored_bytes));
    let poured = pour(job, from, object, upload.as_mut(), &progress).await;
    drop(watched);
    let sent = match poured {
        Ok(sent) => sent,
        Err(error) => {
            if let Err(abort) = upload.abort().await {
                tracing::warn!(store = %to.name(), %key, error = %shared::telemetry::Causes(&abort), "aborting an upload failed; its bytes are left to gc");
            }
            return Err(error);
        }
    };
    let stored = upload.commit(&Whole::of_record(sent.bytes)).await?;
    check(job, to, key, stored, sent).await
}

async fn pour(
    job: &Job,
    from: &SavedCopy,
    object: &CopyObject,
    upload: &mut dyn Upload,
    progress: &Progress,
) -> Result<StoredBytes, JobError> {
    let mut blocks = from.store.read(&object.key, &job.lease.cancel).await?;
    let (to_sums, mut blocks_in) = mpsc::channel::<Bytes>(2);
    let summing = spawn_blocking(move || {
        let (mut bytes, mut sha, mut blake) = (0, Context::new(&SHA256), blake3::Hasher::new());
        while let Some(block) = blocks_in.blocking_recv() {
            bytes += block.len() as u64;
            sha.update(&block);
            blake.update(&block);
        }
        (bytes, sha.finish(), blake.finalize())
    });
    while let Some(block) = blocks.next().await {
        let block = block?;
        progress.stored(block.len());
        if to_sums.send(block.clone()).await.is_err() {
            break;
        }
        upload.write(block).await?;
    }
    drop(to_sums);
    let (bytes, sha256, blake3) = summing.await.map_err(|_| StreamError::StageDied { stage: "copy" })?;
    if bytes != object.stored.stored_bytes || sha256.as_ref() != object.stored.sha256.0 {
        let detail = "its length or its SHA-256 is not what was recorded".to_owned();
        return Err(StoreError::of_object(&from.name, "copying", &object.key, Fault::Corrupt { detail }).into());
    }
    Ok(StoredBytes { bytes, blake3: Blake3(*blake3.as_bytes()) })
}
