//! A body as it comes: one that stands still is not waited for, however much of it there is.

use std::time::Duration;

use bytes::Bytes;
use futures_util::TryStreamExt;
use object_store::{
    GetResult,
    client::{HttpError, HttpErrorKind},
};

/// How long the next part of a body may take. The whole request has its limit besides, by its size.
const STANDSTILL: Duration = Duration::from_secs(10);
/// More room is not made before the bytes are there.
const ROOM_BYTES_MAX: u64 = 4 << 20;

#[derive(Debug, thiserror::Error)]
#[error("the body stands still: no byte in {STANDSTILL:?}, {received} of {promised} bytes have come")]
struct StandsStill {
    received: usize,
    promised: u64,
}

/// Waits for all of a body.
pub(super) async fn collect(answer: GetResult, promised: u64) -> object_store::Result<Bytes> {
    let mut parts = answer.into_stream();
    let mut body = Vec::with_capacity(promised.min(ROOM_BYTES_MAX) as usize);
    loop {
        match tokio::time::timeout(STANDSTILL, parts.try_next()).await {
            Ok(Ok(Some(part))) => body.extend_from_slice(&part),
            Ok(Ok(None)) => return Ok(body.into()),
            Ok(Err(error)) => return Err(error),
            Err(_) => {
                let stands = StandsStill { received: body.len(), promised };
                let source = Box::new(HttpError::new(HttpErrorKind::Timeout, stands));
                return Err(object_store::Error::Generic { store: "cloud", source });
            }
        }
    }
}
