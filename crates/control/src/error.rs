//! Failures as they travel.

use hyper::StatusCode;
use serde::{Deserialize, Serialize};

/// What a caller can do about a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ErrorKind {
    /// The request makes no sense.
    Invalid,
    /// There is no such volume or endpoint.
    NotFound,
    /// The endpoint does not take this method.
    MethodNotAllowed,
    /// The name is taken.
    Exists,
    /// Another host has the volume.
    Fenced,
    /// The request's body is longer than any that makes sense.
    TooLarge,
    /// Something did not come in time.
    Timeout,
    /// The daemon or the store cannot do it now.
    Unavailable,
    /// Stored bytes or the log are not what they should be.
    Damaged,
    /// Anything else.
    #[serde(other)]
    Internal,
}

impl ErrorKind {
    /// The status code of an answer.
    pub fn status(self) -> StatusCode {
        match self {
            ErrorKind::Invalid => StatusCode::BAD_REQUEST,
            ErrorKind::NotFound => StatusCode::NOT_FOUND,
            ErrorKind::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
            ErrorKind::Exists | ErrorKind::Fenced => StatusCode::CONFLICT,
            ErrorKind::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            ErrorKind::Timeout => StatusCode::REQUEST_TIMEOUT,
            ErrorKind::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
            ErrorKind::Damaged | ErrorKind::Internal => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }
}

/// A failure: its kind, and a message for people.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{message}")]
pub struct ApiError {
    /// What can be done about it.
    pub kind: ErrorKind,
    /// What happened, where, what was expected, what to do next.
    pub message: String,
}

impl ApiError {
    /// A failure.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into() }
    }
}

/// The body of an answer that reports a failure.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct ErrorBody {
    pub(crate) error: ApiError,
}
