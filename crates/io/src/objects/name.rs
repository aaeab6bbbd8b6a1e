//! What is accepted as the name of an object, the same for every store.

use super::{Range, Result, StoreError, StoreErrorKind};

/// The longest name: S3's limit, less room for the pool's prefix.
const NAME_BYTES_MAX: usize = 900;

/// Names are parts of `[A-Za-z0-9._@-]` with `/` between them. No part is empty or starts with a dot:
/// that leaves `.` and `..` out, and `.tmp` to the file store.
pub(super) fn check_object(operation: &'static str, name: &str) -> Result<()> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-' | b'@');
    let part_is_good = |part: &str| !part.is_empty() && !part.starts_with('.') && part.bytes().all(plain);
    if name.len() <= NAME_BYTES_MAX && name.split('/').all(part_is_good) {
        return Ok(());
    }
    let message = format!(
        "not an object name: expected up to {NAME_BYTES_MAX} bytes, parts of [A-Za-z0-9._@-] \
                           that do not start with a dot, and / between them"
    );
    Err(StoreError::new(StoreErrorKind::Permanent, operation, name, message))
}

/// A prefix is empty, or a name and a `/`.
pub(super) fn check_prefix(operation: &'static str, prefix: &str) -> Result<()> {
    if prefix.is_empty() {
        return Ok(());
    }
    let name = prefix.strip_suffix('/').ok_or_else(|| {
        StoreError::new(StoreErrorKind::Permanent, operation, prefix, "a prefix is empty or ends with /")
    })?;
    check_object(operation, name)
}

/// The object ends before the range does: not what the caller was told of it.
pub(super) fn beyond_end(name: &str, range: Range, size: u64) -> StoreError {
    let message = format!("expected {range:?}, found an object of {size} bytes");
    StoreError::new(StoreErrorKind::Protocol, "get", name, message)
}
