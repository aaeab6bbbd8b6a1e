//! From a URL to a store.

use std::path::Path;

use super::{
    FileObjects, MemoryObjects, Objects,
    cloud::{CloudObjects, Provider},
};
use crate::sync::Arc;

/// Why a URL opens no store.
#[derive(Debug, Clone, thiserror::Error)]
#[error("store {url}: {message}")]
pub struct OpenError {
    /// The URL, without anything that may be a password.
    pub url: String,
    /// What is wrong and what would be right.
    pub message: String,
}

impl OpenError {
    fn new(url: &str, message: impl Into<String>) -> Self {
        Self { url: without_secrets(url), message: message.into() }
    }
}

/// The URLs that [`open`] takes.
pub const URLS: &str =
    "file://PATH, s3://BUCKET/PREFIX, gs://BUCKET/PREFIX, az://CONTAINER/PREFIX or memory://NAME";

/// Opens the store at `url`: `file://PATH`, `s3://BUCKET/PREFIX`, `gs://BUCKET/PREFIX`, `az://CONTAINER/PREFIX`
/// (settings from the `AWS_*`, `GOOGLE_*`, `AZURE_*` environment) or `memory://NAME`. Sends no request; a directory is
/// made.
pub fn open(url: &str) -> Result<Arc<dyn Objects>, OpenError> {
    let failed = |message: String| OpenError::new(url, message);
    let Some((scheme, rest)) = url.split_once("://") else {
        return Err(failed(format!("expected SCHEME://…; for a directory, file://{}", without_secrets(url))));
    };
    match scheme {
        "file" if rest.is_empty() => Err(failed("expected file://PATH, found no path".to_owned())),
        "file" => {
            let objects = FileObjects::open(Path::new(rest)).map_err(|error| failed(error.to_string()))?;
            Ok(Arc::new(objects))
        }
        "memory" => Ok(MemoryObjects::shared(rest)),
        _ => match Provider::of_scheme(scheme) {
            Some(provider) => {
                let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
                let objects = CloudObjects::from_env(provider, bucket, prefix.trim_matches('/'));
                Ok(Arc::new(objects.map_err(failed)?))
            }
            None => Err(failed(format!("unknown scheme {scheme}; expected {URLS}"))),
        },
    }
}

/// The URL with `…` for what stands before an `@` and behind a `?`: it may be a password.
pub fn without_secrets(url: &str) -> String {
    let (scheme, rest) = match url.split_once("://") {
        Some((scheme, rest)) => (format!("{scheme}://"), rest),
        None => (String::new(), url),
    };
    let (rest, query) = match rest.split_once('?') {
        Some((rest, _)) => (rest, "?…"),
        None => (rest, ""),
    };
    match rest.rsplit_once('@') {
        Some((_, rest)) => format!("{scheme}…@{rest}{query}"),
        None => format!("{scheme}{rest}{query}"),
    }
}
