//! Objects in a bucket of S3 or Google Cloud Storage, or in a container of Azure, by way of `object_store` with its
//! own retries off.
//!
//! A retry that nobody sees makes a PUT's own success look like "exists"; ours is in
//! [`Retry`](super::Retry), for the requests where it does no harm.
//!
//! What differs between the three is in their modules: where settings come from, and how it is made sure that the
//! store received what was sent (rule W10).
//!
//! | | create if absent | received what was sent | last bytes |
//! |---|---|---|---|
//! | S3 | `If-None-Match: *` | SHA-256 in the request, checked by the store | one request |
//! | GCS | `x-goog-if-generation-match: 0` | `Content-MD5`, checked by the store | one request |
//! | Azure | `If-None-Match: *` | [`Proof`]: `Content-MD5` where the signature lets us, else the checksum in the answer | the size first |

mod answer;
mod azure;
mod body;
mod failure;
mod gcs;
mod proof;
mod s3;
mod settings;

use std::time::Duration;

use bytes::Bytes;
use futures_util::TryStreamExt;
use object_store::{
    GetOptions, GetRange, ObjectStore, ObjectStoreExt, PutMode, PutOptions, PutPayload, path::Path,
};

use super::{Listed, Objects, Range, Result, StoreError, StoreErrorKind, name};
use crate::{BoxFuture, sync::Arc};
use failure::Failure;
use proof::Proof;

/// What a request may take beside the time for its bytes.
const REQUEST_TIME: Duration = Duration::from_secs(20);
/// The slowest link that is waited for.
const BYTES_PER_SECOND_MIN: u64 = 256 << 10;
/// What a GET of a whole object is given time for: the size is not known before.
const WHOLE_BYTES: u64 = 32 << 20;
/// What a LIST may take, over all its pages.
const LIST_TIME: Duration = Duration::from_secs(60);

/// Whose store it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Provider {
    /// Amazon's S3 and what speaks like it.
    S3,
    /// Google Cloud Storage.
    Gcs,
    /// Azure's blob storage.
    Azure,
}

impl Provider {
    /// The provider that a URL's scheme means.
    pub(super) fn of_scheme(scheme: &str) -> Option<Self> {
        [Self::S3, Self::Gcs, Self::Azure].into_iter().find(|provider| provider.scheme() == scheme)
    }

    fn scheme(self) -> &'static str {
        match self {
            Self::S3 => "s3",
            Self::Gcs => "gs",
            Self::Azure => "az",
        }
    }

    /// What it calls a set of objects.
    fn bucket(self) -> &'static str {
        match self {
            Self::S3 | Self::Gcs => "bucket",
            Self::Azure => "container",
        }
    }
}

/// A configured client, and what it can do.
#[derive(Debug)]
struct Client {
    store: Arc<dyn ObjectStore>,
    /// PUTs carry a [`Proof`]. Otherwise `object_store` puts a checksum into them.
    proves: bool,
    /// GETs can ask for the last bytes.
    suffixes: bool,
}

/// Objects in a bucket or container, below a prefix. Needs a tokio runtime.
pub struct CloudObjects {
    client: Client,
    label: String,
    /// Empty, or ending with a slash.
    prefix: String,
}

impl CloudObjects {
    /// The store in `bucket` below `prefix` (which may be empty), with credentials and endpoint from the `AWS_*`,
    /// `GOOGLE_*` or `AZURE_*` environment. The error says what is wrong there.
    pub fn from_env(provider: Provider, bucket: &str, prefix: &str) -> std::result::Result<Self, String> {
        if bucket.is_empty() {
            let (scheme, word) = (provider.scheme(), provider.bucket());
            return Err(format!("expected {scheme}://{}/PREFIX, found no {word}", word.to_uppercase()));
        }
        if !prefix.is_empty() {
            name::check_object("prefix", prefix).map_err(|error| error.to_string())?;
        }
        let client = match provider {
            Provider::S3 => s3::from_env(bucket)?,
            Provider::Gcs => gcs::from_env(bucket)?,
            Provider::Azure => azure::from_env(bucket)?,
        };
        Ok(Self::with_client(client, &format!("{}://{bucket}/{prefix}", provider.scheme()), prefix))
    }

    fn with_client(client: Client, label: &str, prefix: &str) -> Self {
        let prefix = if prefix.is_empty() { String::new() } else { format!("{prefix}/") };
        Self { client, label: label.trim_end_matches('/').to_owned(), prefix }
    }

    fn store(&self) -> &dyn ObjectStore {
        &*self.client.store
    }

    fn path(&self, operation: &'static str, name: &str) -> Result<Path> {
        name::check_object(operation, name)?;
        Path::parse(format!("{}{name}", self.prefix))
            .map_err(|error| StoreError::new(StoreErrorKind::Permanent, operation, name, error.to_string()))
    }

    async fn put(&self, name: &str, body: Bytes) -> Result<()> {
        let path = self.path("put", name)?;
        let limit = time_for(body.len() as u64);
        let mut options = PutOptions::from(PutMode::Create);
        let proof = self.client.proves.then(|| Proof::of(body.clone()));
        if let Some(proof) = &proof {
            options.extensions.insert(proof.clone());
        }
        let put = self.store().put_opts(&path, PutPayload::from_bytes(body), options);
        within(limit, put).await.map_err(|failure| failure.of_put(name))?;
        match proof {
            Some(proof) if !proof.holds() => self.read_back(name, proof.body()).await,
            _ => Ok(()),
        }
    }

    /// Nothing said what the store received: look.
    async fn read_back(&self, name: &str, sent: &Bytes) -> Result<()> {
        let unclear = |message: String| StoreError::new(StoreErrorKind::Transient, "put", name, message);
        match self.read(name, Range::All).await {
            Ok(held) if held == *sent => Ok(()),
            Ok(_) => Err(unclear("the store holds other bytes than were sent".to_owned())),
            Err(error) => {
                Err(unclear(format!("what the store received could not be seen: {}", error.message)))
            }
        }
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
            Range::Suffix(bytes) if !self.client.suffixes => return self.read_end(name, &path, bytes).await,
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
            let answer = self.store().get_opts(&path, options).await?;
            let promised = answer.range.end - answer.range.start;
            Ok((promised, body::collect(answer, promised).await?))
        };
        match within(time_for(bytes), get).await {
            Ok((promised, body)) => checked(name, asked.unwrap_or(promised), body),
            // The last bytes of an empty object: S3 says "not satisfiable".
            Err(failure) if suffix && failure.status() == Some(416) => Ok(Bytes::new()),
            // Some stores send all of an empty object, which is right and yet not the answer to a range.
            Err(failure @ Failure::Senseless(_)) if suffix => {
                match within(REQUEST_TIME, self.store().head(&path)).await {
                    Ok(data) if data.size == 0 => Ok(Bytes::new()),
                    _ => Err(failure.of_get(name)),
                }
            }
            Err(failure) => Err(failure.of_get(name)),
        }
    }

    /// The last bytes, from a store that does not know where an object ends when it is asked for them.
    async fn read_end(&self, name: &str, path: &Path, bytes: u64) -> Result<Bytes> {
        let size = self.size(name, path).await?;
        let range = size.saturating_sub(bytes)..size;
        if range.is_empty() {
            return Ok(Bytes::new());
        }
        let expected = range.end - range.start;
        let body = within(time_for(expected), self.store().get_range(path, range)).await;
        checked(name, expected, body.map_err(|failure| failure.of_get(name))?)
    }

    async fn size(&self, name: &str, path: &Path) -> Result<u64> {
        let data = within(REQUEST_TIME, self.store().head(path)).await;
        Ok(data.map_err(|failure| failure.of_get(name))?.size)
    }

    /// An empty range at `offset` of an object that must exist and reach that far.
    async fn read_nothing(&self, name: &str, path: &Path, offset: u64) -> Result<Bytes> {
        let size = self.size(name, path).await?;
        match offset <= size {
            true => Ok(Bytes::new()),
            false => Err(name::beyond_end(name, Range::Bytes { start: offset, end: offset }, size)),
        }
    }

    async fn list_all(&self, prefix: &str) -> Result<Vec<Listed>> {
        name::check_prefix("list", prefix)?;
        let full = format!("{}{prefix}", self.prefix);
        let path = Path::parse(full.trim_end_matches('/'))
            .map_err(|error| StoreError::new(StoreErrorKind::Permanent, "list", prefix, error.to_string()))?;
        let collect = async {
            let mut list = Vec::new();
            let mut pages = self.store().list(Some(&path));
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
        match within(REQUEST_TIME, self.store().delete(&path)).await {
            Err(failure) => failure.of_delete(name),
            Ok(()) => Ok(()),
        }
    }
}

impl Objects for CloudObjects {
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
