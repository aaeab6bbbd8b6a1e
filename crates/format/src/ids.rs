//! Names of things, as numbers: 16 random bytes for what must never be met twice, small numbers where a pool counts.

use std::fmt;
use std::str::FromStr;

use crate::FormatError;

fn write_hex(bytes: &[u8], to: &mut fmt::Formatter<'_>) -> fmt::Result {
    bytes.iter().try_for_each(|byte| write!(to, "{byte:02x}"))
}

/// Exactly `2 * N` lower-case hex digits.
fn parse_hex<const N: usize>(what: &'static str, text: &str) -> Result<[u8; N], FormatError> {
    let wrong =
        || FormatError::new(what, "text", format_args!("{} lower-case hex digits", 2 * N), excerpt(text));
    let digit = |byte: u8| match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        _ => None,
    };
    if text.len() != 2 * N {
        return Err(wrong());
    }
    let mut out = [0; N];
    for (byte, pair) in out.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
        let (Some(high), Some(low)) = (digit(pair[0]), digit(pair[1])) else { return Err(wrong()) };
        *byte = high << 4 | low;
    }
    Ok(out)
}

/// The start of a text of any length, quoted, fit for a message.
pub(crate) fn excerpt(text: &str) -> String {
    const CHARS_MAX: usize = 80;
    match text.char_indices().nth(CHARS_MAX) {
        None => format!("{text:?}"),
        Some((end, _)) => format!("{:?}… ({} bytes)", &text[..end], text.len()),
    }
}

macro_rules! hex_newtype {
    ($(#[$doc:meta])* $name:ident, $bytes:literal, $what:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub [u8; $bytes]);

        impl fmt::Display for $name {
            fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
                write_hex(&self.0, to)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
                write_hex(&self.0, to)
            }
        }

        impl FromStr for $name {
            type Err = FormatError;

            fn from_str(text: &str) -> Result<$name, FormatError> {
                parse_hex($what, text).map($name)
            }
        }
    };
}

hex_newtype!(
    /// A pool, drawn when it is created.
    PoolId, 16, "pool id"
);
hex_newtype!(
    /// A volume; never reused, also after its deletion (rule H6).
    VolumeId, 16, "volume id"
);
hex_newtype!(
    /// A local log, drawn when it is started; heads carry it (rule H5).
    LogId, 16, "log id"
);
hex_newtype!(
    /// One start of a daemon.
    RunId, 16, "run id"
);
hex_newtype!(
    /// One attempt to write an object; the same bytes carry the same attempt (rule H4).
    AttemptId, 16, "attempt id"
);
hex_newtype!(
    /// A local directory, so that a run knows its own predecessor (rule H1).
    DirectoryId, 16, "directory id"
);
hex_newtype!(
    /// A pack of pages; drawn, never derived from content (rule G6).
    PackId, 16, "pack id"
);
hex_newtype!(
    /// Snapshots of several volumes at one point (rule W12).
    GroupId, 16, "group id"
);
hex_newtype!(
    /// A bundle of rewritten segments; drawn, so that nobody's late one takes the place of another (rule G2).
    BundleId, 16, "bundle id"
);
hex_newtype!(
    /// A BLAKE3 hash.
    Hash, 32, "hash"
);

impl Hash {
    /// The hash of some bytes.
    pub fn of(bytes: &[u8]) -> Hash {
        Hash(*blake3::hash(bytes).as_bytes())
    }
}

/// The number of a record in a volume's history; dense, from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Sequence(pub u64);

impl fmt::Display for Sequence {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(to)
    }
}

/// A byte of a log, counted from the log's beginning and never reused (rule W9). Below 2^62.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct LogPosition(pub u64);

impl LogPosition {
    /// One past the highest position.
    pub const END: u64 = 1 << 62;
}

impl fmt::Display for LogPosition {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(to)
    }
}

/// A segment: the writer number of the run that sealed it, and that run's counter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SegmentId {
    /// The writer number: 22 bit, from 1.
    pub writer: u32,
    /// The writer's counter: 24 bit.
    pub counter: u32,
}

impl SegmentId {
    /// One past the highest writer number.
    pub const WRITERS: u32 = 1 << 22;
    /// One past the highest counter.
    pub const COUNTERS: u32 = 1 << 24;

    /// `None` when a number is out of range; writers count from 1, counters from 0.
    pub const fn new(writer: u32, counter: u32) -> Option<SegmentId> {
        if writer == 0 || writer >= SegmentId::WRITERS || counter >= SegmentId::COUNTERS {
            return None;
        }
        Some(SegmentId { writer, counter })
    }

    /// The id from its two stored words.
    pub(crate) fn from_words(
        what: &'static str,
        writer: u32,
        counter: u32,
    ) -> Result<SegmentId, FormatError> {
        SegmentId::new(writer, counter).ok_or_else(|| {
            FormatError::new(
                what,
                "segment id",
                "writer 1 to 2^22, counter below 2^24",
                format_args!("{writer:x}-{counter:x}"),
            )
        })
    }
}

impl fmt::Display for SegmentId {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(to, "{:06x}-{:06x}", self.writer, self.counter)
    }
}

impl FromStr for SegmentId {
    type Err = FormatError;

    fn from_str(text: &str) -> Result<SegmentId, FormatError> {
        let wrong =
            || FormatError::new("segment id", "text", "six hex digits, -, six hex digits", excerpt(text));
        let (writer, counter) = text.split_once('-').ok_or_else(wrong)?;
        let word =
            |part: &str| parse_hex::<3>("segment id", part).map(|[a, b, c]| u32::from_be_bytes([0, a, b, c]));
        SegmentId::from_words(
            "segment id",
            word(writer).map_err(|_| wrong())?,
            word(counter).map_err(|_| wrong())?,
        )
    }
}
