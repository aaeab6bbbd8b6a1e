//! The engine's errors as the control API's.

use esker_control::{ApiError, ErrorKind};
use esker_engine::EngineError;

/// An engine's error with the kind that a caller of the API can act on.
pub(crate) fn api(error: &EngineError) -> ApiError {
    let kind = match error {
        EngineError::Store(_) | EngineError::Unknown { .. } | EngineError::Closing(_) => {
            ErrorKind::Unavailable
        }
        EngineError::Disk(_) | EngineError::Stopped { .. } => ErrorKind::Internal,
        EngineError::Damaged { .. } | EngineError::Missing { .. } | EngineError::LogDamaged { .. } => {
            ErrorKind::Damaged
        }
        EngineError::Format(_) | EngineError::Invalid(_) => ErrorKind::Invalid,
        EngineError::NotFound(_) => ErrorKind::NotFound,
        EngineError::Exists(_) => ErrorKind::Exists,
        EngineError::Fenced { .. } => ErrorKind::Fenced,
    };
    ApiError::new(kind, error.to_string())
}

/// Whether what failed may succeed later without anybody's doing.
pub(crate) fn may_pass(error: &EngineError) -> bool {
    match error {
        EngineError::Store(error) => error.kind.may_pass(),
        EngineError::Unknown { .. } => true,
        EngineError::Disk(error) => error.no_space,
        _ => false,
    }
}
