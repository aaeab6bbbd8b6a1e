//! Objects in an S3 bucket, by way of `object_store` with its own retries off.
//!
//! A retry that nobody sees makes a PUT's own success look like "exists"; ours is in
//! [`Retry`](super::Retry), for the requests where it does no harm.

mod answer;
mod body;
mod failure;
mod settings;

use std::time::Duration;

use bytes::Bytes;
use futures_util::TryStreamExt;
use object_store::{
    GetOptions, GetRange, ObjectStore, ObjectStoreExt, PutMode, PutPayload, aws::AmazonS3, path::Path,
};

use super::{Listed, Objects, Range, Result, StoreError, StoreErrorKind, name};
use crate::{BoxFuture, sync::Arc};
use failure::Failure;

/// What a request may take beside the time for its bytes.
const REQUEST_TIME: Duration = Duration::from_secs(20);
/// The slowest link that is waited for.
const BYTES_PER_SECOND_MIN: u64 = 256 << 10;
/// What a GET of a whole object is given time for: the size is not known before.
const WHOLE_BYTES: u64 = 32 << 20;
/// What a LIST may take, over all its pages.
const LIST_TIME: Duration = Duration::from_secs(60);

/// Objects in a bucket, below a prefix. Needs a tokio runtime.
pub struct S3Objects {
    store: Arc<AmazonS3>,
    label: String,
    /// Empty, or ending with a slash.
    prefix: String,
}

impl S3Objects {
    /// The store in `bucket` below `prefix` (which may be empty), with credentials, region and endpoint
    /// from the `AWS_*` environment. The error says what is wrong there.
    pub fn from_env(bucket: &str, prefix: &str) -> std::result::Result<Self, String> {
        if bucket.is_empty() {
            return Err("expected s3://BUCKET/PREFIX, found no bucket".to_owned());
        }
        if !prefix.is_empty() {
            name::check_object("prefix", prefix).map_err(|error| error.to_string())?;
        }
        let store = settings::from_env(bucket)?;
        let label = format!("s3://{bucket}/{prefix}");
        let prefix = if prefix.is_empty() { String::new() } else { format!("{prefix}/") };
        Ok(Self { store: Arc::new(store), label: label.trim_end_matches('/').to_owned(), prefix })
    }

    fn path(&self, operation: &'static str, name: &str) -> Result<Path> {
        name::check_object(operation, name)?;
        Path::parse(format!("{}{name}", self.prefix))
            .map_err(|error| StoreError::new(StoreErrorKind::Permanent, operation, name, error.to_string()))
    }

    async fn put(&self, name: &str, body: Bytes) -> Result<()> {
        let path = self.path("put", name)?;
        let limit = time_for(body.len() as u64);
        let put = self.store.put_opts(&path, PutPayload::from_bytes(body), PutMode::Create.into());
        within(limit, put).await.map_err(|failure| failure.of_put(name))?;
        Ok(())
    }

    async fn read(&self, name: &str, range: Range) -> Result<Bytes> {
        let path = self.path("get", name)?;
        let (range, bytes) = match range {
            Range::All => (None, WHOLE_BYTES),
            Range::Bytes { start, end } if start > end => {
                let message = format!("a range of bytes {start}..{end}");
                return Err(StoreError::new(StoreErrorKind::Permanent, "get", name, message));
            }
            // HTTP cannot ask for nothing. What remains of the question is whether the object is there.
            Range::Bytes { start, end } if start == end => {
                return self.read_nothing(name, &path, start).await;
            }
            Range::Suffix(0) => return self.read_nothing(name, &path, 0).await,
            Range::Bytes { start, end } => (Some(GetRange::Bounded(start..end)), end - start),
            Range::Suffix(bytes) => (Some(GetRange::Suffix(bytes)), bytes.min(WHOLE_BYTES)),
        };
        let asked = match &range {
            Some(GetRange::Bounded(range)) => Some(range.end - range.start),
            _ => None,
        };
        let suffix = matches!(range, Some(GetRange::Suffix(_)));
        let get = async {
            let options = GetOptions::new().with_range(range);
            let answer = self.store.get_opts(&path, options).await?;
            let promised = answer.range.end - answer.range.start;
            Ok((promised, body::collect(answer, promised).await?))
        };
        match within(time_for(bytes), get).await {
            Ok((promised, body)) => checked(name, asked.unwrap_or(promised), body),
            // The last bytes of an empty object: S3 says "not satisfiable".
            Err(failure) if suffix && failure.status() == Some(416) => Ok(Bytes::new()),
            // Some stores send all of an empty object, which is right and yet not the answer to a range.
            Err(failure @ Failure::Senseless(_)) if suffix => {
                match within(REQUEST_TIME, self.store.head(&path)).await {
                    Ok(data) if data.size == 0 => Ok(Bytes::new()),
                    _ => Err(failure.of_get(name)),
                }
            }
            Err(failure) => Err(failure.of_get(name)),
        }
    }

    /// An empty range at `offset` of an object that must exist and reach that far.
    async fn read_nothing(&self, name: &str, path: &Path, offset: u64) -> Result<Bytes> {
        let data =
            within(REQUEST_TIME, self.store.head(path)).await.map_err(|failure| failure.of_get(name))?;
        match offset <= data.size {
            true => Ok(Bytes::new()),
            false => Err(name::beyond_end(name, Range::Bytes { start: offset, end: offset }, data.size)),
        }
    }

    async fn list_all(&self, prefix: &str) -> Result<Vec<Listed>> {
        name::check_prefix("list", prefix)?;
        let full = format!("{}{prefix}", self.prefix);
        let path = Path::parse(full.trim_end_matches('/'))
            .map_err(|error| StoreError::new(StoreErrorKind::Permanent, "list", prefix, error.to_string()))?;
        let collect = async {
            let mut list = Vec::new();
            let mut pages = self.store.list(Some(&path));
            while let Some(object) = pages.try_next().await? {
                let Some(name) = object.location.as_ref().strip_prefix(&self.prefix) else { continue };
                // What the store's own tools leave in a bucket (folder marks, say) is none of ours.
                if name.starts_with(prefix) && name::check_object("list", name).is_ok() {
                    list.push(Listed { name: name.to_owned(), bytes: object.size });
                }
            }
            Ok(list)
        };
        let mut list = within(LIST_TIME, collect).await.map_err(|failure| failure.of_list(prefix))?;
        // S3 Express lists in no order.
        list.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(list)
    }

    async fn remove(&self, name: &str) -> Result<()> {
        let path = self.path("delete", name)?;
        match within(REQUEST_TIME, self.store.delete(&path)).await {
            Err(failure) => failure.of_delete(name),
            Ok(()) => Ok(()),
        }
    }
}

impl Objects for S3Objects {
    fn put_new<'a>(&'a self, name: &'a str, body: Bytes) -> BoxFuture<'a, Result<()>> {
        Box::pin(self.put(name, body))
    }

    fn get<'a>(&'a self, name: &'a str, range: Range) -> BoxFuture<'a, Result<Bytes>> {
        Box::pin(self.read(name, range))
    }

    fn list<'a>(&'a self, prefix: &'a str) -> BoxFuture<'a, Result<Vec<Listed>>> {
        Box::pin(self.list_all(prefix))
    }

    fn delete<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<()>> {
        Box::pin(self.remove(name))
    }

    fn describe(&self) -> String {
        self.label.clone()
    }
}

/// How long a request with this many bytes is waited for.
fn time_for(bytes: u64) -> Duration {
    REQUEST_TIME + Duration::from_secs(bytes / BYTES_PER_SECOND_MIN)
}

/// Waits for a request, but not for ever: a connection can die without a word.
async fn within<T>(
    limit: Duration,
    request: impl Future<Output = object_store::Result<T>>,
) -> std::result::Result<T, Failure> {
    match tokio::time::timeout(limit, request).await {
        Ok(answer) => answer.map_err(Failure::from),
        Err(_) => Err(Failure::timed_out(limit)),
    }
}

/// The body, if it has the length that was asked for or promised.
fn checked(name: &str, expected: u64, body: Bytes) -> Result<Bytes> {
    if body.len() as u64 == expected {
        return Ok(body);
    }
    let message = format!("expected {expected} bytes, found {}", body.len());
    Err(StoreError::new(StoreErrorKind::Protocol, "get", name, message))
}

#[cfg(test)]
mod tests;
