//! Stored objects as text, for people.

use crate::FormatError;

/// The text form of an object.
pub fn describe(name: &str, bytes: &[u8]) -> Result<String, FormatError> {
    let _ = (name, bytes);
    Ok(String::new())
}
