//! From a failure of a request to what a caller can do about it.

use std::{error::Error, time::Duration};

use object_store::client::HttpError;

use super::{
    super::{Result, StoreError, StoreErrorKind},
    answer::Answer,
};

/// Words for a conflict that passes.
const ASKS_AGAIN: [&str; 6] = [
    "ConditionalRequestConflict",
    "OperationAborted",
    "AccountBeingCreated",
    "ContainerBeingCreated",
    "ContainerBeingDeleted",
    "ContainerDisabled",
];

/// A request that brought no good answer.
#[derive(Debug)]
pub(super) enum Failure {
    /// The store refused it.
    Refused(Answer),
    /// No answer came, or half of one.
    Broken(String),
    /// An answer came that makes no sense.
    Senseless(String),
    /// It was never sent.
    Unsent(String),
    /// "Not modified", which some stores say when a condition fails.
    Exists(String),
}

impl From<object_store::Error> for Failure {
    fn from(error: object_store::Error) -> Self {
        let text = without_queries(&error.to_string());
        if let Some(answer) = in_chain::<Answer>(&error) {
            return Self::Refused(answer.clone());
        }
        // From here on: what did not come through our client as a refusal.
        match &error {
            object_store::Error::AlreadyExists { .. } | object_store::Error::Precondition { .. } => {
                Self::Exists(text)
            }
            object_store::Error::NotFound { .. } => refused(404, text),
            object_store::Error::PermissionDenied { .. } => refused(403, text),
            object_store::Error::Unauthenticated { .. } => refused(401, text),
            object_store::Error::InvalidPath { .. }
            | object_store::Error::NotSupported { .. }
            | object_store::Error::NotImplemented { .. }
            | object_store::Error::UnknownConfigurationKey { .. } => Self::Unsent(text),
            _ if in_chain::<HttpError>(&error).is_some() => Self::Broken(text),
            _ => Self::Senseless(text),
        }
    }
}

/// A library's words for people, without what stands behind a `?` in a URL: with Azure it may be a signature.
fn without_queries(text: &str) -> String {
    let words = text.split(' ').map(|word| match word.split_once('?') {
        Some((url, _)) if url.contains("://") => format!("{url}?…"),
        _ => word.to_owned(),
    });
    words.collect::<Vec<_>>().join(" ")
}

fn refused(status: u16, message: String) -> Failure {
    Failure::Refused(Answer { status, code: String::new(), message, retry_after: None })
}

/// The first error of this type among the causes of `error`.
fn in_chain<'a, T: Error + 'static>(error: &'a (dyn Error + 'static)) -> Option<&'a T> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(found) = error.downcast_ref::<T>() {
            return Some(found);
        }
        next = error.source();
    }
    None
}

impl Failure {
    pub(super) fn timed_out(limit: Duration) -> Self {
        Self::Broken(format!("no answer within {limit:?}"))
    }

    /// The HTTP status, if the store gave one.
    pub(super) fn status(&self) -> Option<u16> {
        match self {
            Self::Refused(answer) => Some(answer.status),
            _ => None,
        }
    }

    pub(super) fn of_put(self, name: &str) -> StoreError {
        let kind = match &self {
            Self::Exists(_) => StoreErrorKind::Exists,
            Self::Refused(answer) => match answer.status {
                412 => StoreErrorKind::Exists,
                // Of a bucket that comes or goes, or of two requests that met: nothing is known to exist.
                409 if ASKS_AGAIN.contains(&answer.code.as_str()) => StoreErrorKind::Transient,
                409 => StoreErrorKind::Exists,
                // What Azure says of a taken name to those who may create but not replace.
                403 if answer.code == "UnauthorizedBlobOverwrite" => StoreErrorKind::Exists,
                _ => self.kind(),
            },
            // The answer to a PUT carries nothing that is needed, but what it says is not known.
            Self::Senseless(_) => StoreErrorKind::Transient,
            _ => self.kind(),
        };
        self.error(kind, "put", name)
    }

    pub(super) fn of_get(self, name: &str) -> StoreError {
        let kind = match &self {
            Self::Refused(answer) if answer.status == 404 && !answer.no_bucket() => StoreErrorKind::NotFound,
            Self::Refused(answer) if answer.status == 416 => StoreErrorKind::Protocol,
            _ => self.kind(),
        };
        self.error(kind, "get", name)
    }

    pub(super) fn of_list(self, prefix: &str) -> StoreError {
        let kind = self.kind();
        self.error(kind, "list", prefix)
    }

    /// Some stores mind when an object to be deleted is not there. We do not.
    pub(super) fn of_delete(self, name: &str) -> Result<()> {
        match &self {
            Self::Refused(answer) if answer.status == 404 && !answer.no_bucket() => Ok(()),
            _ => {
                let kind = self.kind();
                Err(self.error(kind, "delete", name))
            }
        }
    }

    /// What the failure means whatever was asked for.
    fn kind(&self) -> StoreErrorKind {
        match self {
            Self::Broken(_) => StoreErrorKind::Transient,
            Self::Senseless(_) | Self::Exists(_) => StoreErrorKind::Protocol,
            Self::Unsent(_) => StoreErrorKind::Permanent,
            Self::Refused(answer) => match (answer.status, answer.code.as_str()) {
                // Of a body that was damaged or cut off on its way.
                (400, "BadDigest" | "Md5Mismatch" | "IncompleteBody" | "RequestTimeout") => {
                    StoreErrorKind::Transient
                }
                (400, "XAmzContentSHA256Mismatch" | "XAmzContentChecksumMismatch") => {
                    StoreErrorKind::Transient
                }
                // Until they are renewed the store is as good as away.
                (400 | 401 | 403, "ExpiredToken" | "TokenRefreshRequired") => StoreErrorKind::Transient,
                (429, _) | (503, "SlowDown" | "ServerBusy" | "TooManyRequests") => {
                    StoreErrorKind::Throttled(answer.retry_after.unwrap_or_default())
                }
                (408 | 409 | 425, _) => StoreErrorKind::Transient,
                (501 | 505, _) => StoreErrorKind::Permanent,
                (400..=499, _) => StoreErrorKind::Permanent,
                _ => StoreErrorKind::Transient,
            },
        }
    }

    fn error(self, kind: StoreErrorKind, operation: &'static str, name: &str) -> StoreError {
        let message = match self {
            Self::Refused(answer) => answer.to_string(),
            Self::Broken(text) | Self::Senseless(text) | Self::Unsent(text) | Self::Exists(text) => text,
        };
        StoreError::new(kind, operation, name, message)
    }
}
