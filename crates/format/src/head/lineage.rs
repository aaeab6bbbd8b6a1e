//! Where a volume comes from, and what people call it: the same in every head of a volume, but for the labels.
//!
//! ```text
//!   source: u8 0, or u8 1 │ volume 16 │ head u64
//!   group: u8 0, or u8 1 │ 16
//!   labels: count u8 │ { key length u8 │ key │ value length u16 │ value } …      keys ascend
//! ```
//! A fork and a snapshot alike are born in two heads, so that no late request brings one to life whose data is gone
//! (rule R6): number 1 is *unborn* and names the whole state of its source, which from then on is held; then somebody
//! looks whether the source is still there; then number 2 is *released*, a fork, or *frozen*, a snapshot. A deletion in
//! its place buries what was not born.

use super::{Head, HeadKind, KIND};
use crate::error::ensure;
use crate::ids::excerpt;
use crate::wire::{Put, Reader};
use crate::{FormatError, GroupId, VolumeId};

/// The most labels.
pub const LABELS_MAX: usize = 32;
/// The longest key of a label, in bytes.
pub const LABEL_KEY_BYTES_MAX: usize = 64;
/// The longest value of a label, in bytes.
pub const LABEL_VALUE_BYTES_MAX: usize = 256;
const LABEL_BYTES_MIN: usize = 1 + 1 + 2;

/// The state that a volume began with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Source {
    /// Whose.
    pub volume: VolumeId,
    /// As of which of its heads.
    pub head: u64,
}

/// A volume's descent, and its labels.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Lineage {
    /// What it was made from; none for a volume that began empty.
    pub source: Option<Source>,
    /// The group of snapshots that it is born with, if it is one of several (rule W12).
    pub group: Option<GroupId>,
    /// Keys and values, by key.
    pub labels: Vec<(String, String)>,
}

impl Lineage {
    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        out.put_u8(u8::from(self.source.is_some()));
        if let Some(source) = &self.source {
            out.put(&source.volume.0);
            out.put_u64(source.head);
        }
        out.put_u8(u8::from(self.group.is_some()));
        if let Some(group) = &self.group {
            out.put(&group.0);
        }
        assert!(self.labels.len() <= LABELS_MAX, "checked where labels are set");
        out.put_u8(self.labels.len() as u8);
        for (key, value) in &self.labels {
            valid_label(key, value).expect("checked where labels are set");
            out.put_u8(key.len() as u8);
            out.put(key.as_bytes());
            out.put_u16(value.len() as u16);
            out.put(value.as_bytes());
        }
    }

    pub(super) fn parse(from: &mut Reader<'_>) -> Result<Lineage, FormatError> {
        let what = KIND.what;
        let source = match from.u8("source")? {
            0 => None,
            1 => Some(Source {
                volume: VolumeId(from.array("source volume")?),
                head: from.u64("source head")?,
            }),
            kind => return Err(FormatError::newer(what, "source", "0 or 1", kind)),
        };
        let group = match from.u8("group")? {
            0 => None,
            1 => Some(GroupId(from.array("group")?)),
            kind => return Err(FormatError::newer(what, "group", "0 or 1", kind)),
        };
        let count = usize::from(from.u8("count of labels")?);
        from.warranted("count of labels", count, LABEL_BYTES_MIN)?;
        ensure(count <= LABELS_MAX, what, "labels", "at most 32", count)?;
        let mut labels: Vec<(String, String)> = Vec::with_capacity(count);
        for _ in 0..count {
            let length = usize::from(from.u8("label key length")?);
            let key = text(from.take("label key", length)?)?;
            let length = usize::from(from.u16("label value length")?);
            let value = text(from.take("label value", length)?)?;
            valid_label(&key, &value)?;
            let ascends = labels.last().is_none_or(|(before, _)| *before < key);
            ensure(ascends, what, "labels", "ascending keys", excerpt(&key))?;
            labels.push((key, value));
        }
        Ok(Lineage { source, group, labels })
    }
}

impl Head {
    /// What is unborn or frozen says so in all of its parts.
    pub(super) fn check_lineage(&self) -> Result<(), FormatError> {
        let what = KIND.what;
        let unborn = self.kind == HeadKind::Unborn;
        ensure(!unborn || self.number == 1, what, "kind", "unborn, of head 1 only", self.number)?;
        ensure(!unborn || self.lineage.source.is_some(), what, "source", "one, of an unborn head", "none")?;
        let frozen = self.kind == HeadKind::Frozen;
        ensure(!frozen || self.number > 1, what, "kind", "frozen, above head 1", self.number)?;
        ensure(
            !(unborn || frozen) || self.pieces.is_empty(),
            what,
            "pieces",
            "none where nobody writes (rule H7)",
            self.pieces.len(),
        )
    }
}

/// Checks a label: a key of 1 to 64 of `a-z 0-9 . _ - /`, a value of at most 256 bytes without control characters.
pub fn valid_label(key: &str, value: &str) -> Result<(), FormatError> {
    let allowed = |byte: u8| {
        byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'.' | b'_' | b'-' | b'/')
    };
    let fits = (1..=LABEL_KEY_BYTES_MAX).contains(&key.len()) && key.bytes().all(allowed);
    ensure(fits, "label", "key", "1 to 64 of a-z, 0-9, '.', '_', '-' and '/'", excerpt(key))?;
    let plain = value.len() <= LABEL_VALUE_BYTES_MAX && !value.chars().any(char::is_control);
    ensure(plain, "label", "value", "at most 256 bytes without control characters", excerpt(value))
}

fn text(bytes: &[u8]) -> Result<String, FormatError> {
    match std::str::from_utf8(bytes) {
        Ok(text) => Ok(text.to_owned()),
        Err(_) => {
            Err(FormatError::new(KIND.what, "label", "UTF-8", excerpt(&String::from_utf8_lossy(bytes))))
        }
    }
}
