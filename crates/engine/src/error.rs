//! What can go wrong in the engine, as few kinds that a caller can act on.

use esker_format::error::FormatError;
use esker_io::{StoreError, disk::DiskError};

/// An error of the engine.
#[derive(Debug, Clone, thiserror::Error)]
pub enum EngineError {
    /// The object store failed and retries did not help.
    #[error("object store: {0}")]
    Store(#[from] StoreError),
    /// The local disk failed.
    #[error("local disk: {0}")]
    Disk(#[from] DiskError),
    /// Stored bytes are not what they should be.
    #[error("{object} is damaged: {message}")]
    Damaged {
        /// The object or file, with a position where there is one.
        object: String,
        /// What was expected and found.
        message: String,
    },
    /// An object that others name is not there. The reader of remote bytes asks once more where it is, and then says
    /// [`EngineError::Damaged`].
    #[error("{object} is missing: {message}")]
    Missing {
        /// The object.
        object: String,
        /// Who lacks it.
        message: String,
    },
    /// A value could not be read or was refused.
    #[error(transparent)]
    Format(#[from] FormatError),
    /// The local log lacks records that are known to have been synced.
    #[error(
        "the log of volume {volume} is damaged at {position}: expected record {expected}, and records up to \
         {synced} had been synced; to go on without what lies behind it: esker recover VOLUME \
         --discard-after {position}"
    )]
    LogDamaged {
        /// The volume.
        volume: String,
        /// Logical log position of the first missing record.
        position: u64,
        /// Sequence of the first missing record.
        expected: u64,
        /// Highest sequence known to have been synced.
        synced: u64,
    },
    /// No such volume, pool or object.
    #[error("{0} does not exist")]
    NotFound(String),
    /// A name is taken.
    #[error("{0} exists already")]
    Exists(String),
    /// The request makes no sense: bad name, size, range.
    #[error("{0}")]
    Invalid(String),
    /// Another run became the volume's writer (or the volume was deleted).
    #[error("this run is no longer the writer of volume {volume}: {reason}")]
    Fenced {
        /// The volume.
        volume: String,
        /// Who or what took over.
        reason: String,
    },
    /// The volume stopped itself after a failed sync or log write; it must be opened again from disk.
    #[error(
        "volume {volume} has stopped: {reason}; what was flushed before is safe; restart to open it again"
    )]
    Stopped {
        /// The volume.
        volume: String,
        /// The first failure.
        reason: String,
    },
    /// The volume is being closed.
    #[error("volume {0} is closing")]
    Closing(String),
    /// A create or commit was sent and its outcome cannot be learnt now.
    #[error("the outcome of writing {object} is unknown: {message}")]
    Unknown {
        /// The object.
        object: String,
        /// The last answer.
        message: String,
    },
}

/// The result of an engine operation.
pub type Result<T> = std::result::Result<T, EngineError>;
