//! What is wrong with some bytes: what, where, expected, found.

/// Bytes that are not what they should be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what}: {field}: expected {expected}, found {found}")]
pub struct FormatError {
    /// The stored thing, e.g. `segment trailer`.
    pub what: &'static str,
    /// The part of it that is wrong.
    pub field: &'static str,
    /// What a good one holds there.
    pub expected: String,
    /// What is there.
    pub found: String,
}

impl FormatError {
    /// An error of the four facts.
    pub fn new(
        what: &'static str,
        field: &'static str,
        expected: impl ToString,
        found: impl ToString,
    ) -> FormatError {
        FormatError { what, field, expected: expected.to_string(), found: found.to_string() }
    }

    /// Fewer bytes than the thing needs.
    pub fn short(what: &'static str, field: &'static str, needed: usize, present: usize) -> FormatError {
        FormatError::new(what, field, format_args!("{needed} bytes"), format_args!("{present}"))
    }

    /// Something that this version does not know: a version, a flag, a kind.
    pub fn newer(
        what: &'static str,
        field: &'static str,
        known: impl ToString,
        found: impl std::fmt::Display,
    ) -> FormatError {
        FormatError::new(what, field, known, format_args!("{found}, written by a newer Esker"))
    }
}

/// Returns an error unless two facts agree.
pub(crate) fn same<T: PartialEq + ToString>(
    what: &'static str,
    field: &'static str,
    expected: T,
    found: T,
) -> Result<(), FormatError> {
    if expected == found { Ok(()) } else { Err(FormatError::new(what, field, expected, found)) }
}

/// Returns an error unless a condition holds; `found` is rendered only then.
pub(crate) fn ensure(
    good: bool,
    what: &'static str,
    field: &'static str,
    expected: &str,
    found: impl ToString,
) -> Result<(), FormatError> {
    if good { Ok(()) } else { Err(FormatError::new(what, field, expected, found)) }
}
