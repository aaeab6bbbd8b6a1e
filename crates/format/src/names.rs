//! The names of all objects of a pool; made and read nowhere else.
//!
//! ```text
//! pool                                            the pool record
//! names/NAME/NUMBER                               a chain that binds a name: of a volume, or VOLUME@SNAPSHOT
//! volumes/VOLUME/heads/NUMBER                     a volume's heads
//! writers/00000001                                who won a writer number
//! groups/GROUP                                    what became of a group of snapshots
//! segments/SS/WWWWWW-CCCCCC                       SS spreads the load over the store's partitions
//! pages/PP/PACK                                   a pack of pages; PP = its first two digits
//! bundles/PP/BUNDLE                               rewritten segments; PP likewise
//! table/NUMBER                                    the chain that says where rewritten segments are
//! rounds/NUMBER                                   the rounds of reclaim
//! quarantine/VOLUME                               a volume that cannot be read, and does not stop reclaim
//! probe/RUN/WHAT                                  the probe of the store; deleted again
//! ```
//! `NUMBER` is `u64::MAX − n` in 20 digits, so that an ordered LIST shows the newest first (rule H9). What must be
//! listed has a plain prefix; what is only fetched is spread (rule H10).

use crate::ids::excerpt;
use crate::{BundleId, FormatError, GroupId, PackId, RunId, SegmentId, VolumeId};

/// The longest name of a volume, in bytes.
pub const VOLUME_NAME_BYTES_MAX: usize = 128;
/// The longest name of a snapshot with its volume's: a part of an object's name is a file's name where the store is one
/// of files.
pub const NAME_BYTES_MAX: usize = 255;
const NUMBER_DIGITS: usize = 20;

fn number(n: u64) -> String {
    format!("{:0NUMBER_DIGITS$}", u64::MAX - n)
}

/// The pool record.
pub fn pool() -> String {
    "pool".into()
}

/// The prefix of all name records.
pub fn names() -> String {
    "names/".into()
}

/// The prefix of one name's records.
pub fn name_chain(name: &str) -> String {
    format!("names/{name}/")
}

/// A name record.
pub fn name(name: &str, n: u64) -> String {
    format!("names/{name}/{}", number(n))
}

/// The prefix of all volumes.
pub fn volumes() -> String {
    "volumes/".into()
}

/// The prefix of a volume's heads.
pub fn heads(volume: VolumeId) -> String {
    format!("volumes/{volume}/heads/")
}

/// A head.
pub fn head(volume: VolumeId, n: u64) -> String {
    format!("volumes/{volume}/heads/{}", number(n))
}

/// The prefix of all writer records.
pub fn writers() -> String {
    "writers/".into()
}

/// A writer record.
pub fn writer(n: u32) -> String {
    format!("writers/{n:08}")
}

/// The prefix of all group records.
pub fn groups() -> String {
    "groups/".into()
}

/// A group record.
pub fn group(id: GroupId) -> String {
    format!("groups/{id}")
}

/// A segment.
pub fn segment(id: SegmentId) -> String {
    let words = (u64::from(id.writer) << 32 | u64::from(id.counter)).to_le_bytes();
    format!("segments/{:02x}/{id}", blake3::hash(&words).as_bytes()[0])
}

/// The prefix of all segments.
pub fn segments() -> String {
    "segments/".into()
}

/// A pack of pages.
pub fn pack(id: PackId) -> String {
    format!("pages/{:02x}/{id}", id.0[0])
}

/// The prefix of all packs.
pub fn packs() -> String {
    "pages/".into()
}

/// A bundle of rewritten segments.
pub fn bundle(id: BundleId) -> String {
    format!("bundles/{:02x}/{id}", id.0[0])
}

/// The prefix of all bundles.
pub fn bundles() -> String {
    "bundles/".into()
}

/// A record of the segment table.
pub fn table(n: u64) -> String {
    format!("table/{}", number(n))
}

/// The prefix of the segment table's records.
pub fn tables() -> String {
    "table/".into()
}

/// A round of reclaim.
pub fn round(n: u64) -> String {
    format!("rounds/{}", number(n))
}

/// The prefix of all rounds.
pub fn rounds() -> String {
    "rounds/".into()
}

/// The quarantine of a volume.
pub fn quarantine(volume: VolumeId) -> String {
    format!("quarantine/{volume}")
}

/// The prefix of all quarantines.
pub fn quarantines() -> String {
    "quarantine/".into()
}

/// An object of the probe.
pub fn probe(run: &RunId, what: &str) -> String {
    format!("probe/{run}/{what}")
}

/// What an object's name says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ObjectName {
    /// The pool record.
    Pool,
    /// A name record.
    Name {
        /// The volume's name.
        name: String,
        /// The record's number in the chain.
        number: u64,
    },
    /// A head.
    Head {
        /// The volume.
        volume: VolumeId,
        /// The head's number.
        number: u64,
    },
    /// A writer record.
    Writer(u32),
    /// A group record.
    Group(GroupId),
    /// A segment.
    Segment(SegmentId),
    /// A pack of pages.
    Pack(PackId),
    /// A bundle of rewritten segments.
    Bundle(BundleId),
    /// A record of the segment table.
    Table(u64),
    /// A round of reclaim.
    Round(u64),
    /// A volume's quarantine.
    Quarantine(VolumeId),
    /// A left-over of a probe.
    Probe,
}

/// Reads a name; `None` when it is not exactly one that this module makes.
pub fn parse(text: &str) -> Option<ObjectName> {
    let (first, rest) = text.split_once('/').unwrap_or((text, ""));
    let parsed = match first {
        "pool" => ObjectName::Pool,
        "names" => {
            let (name, digits) = rest.split_once('/')?;
            valid_name(name).ok()?;
            ObjectName::Name { name: name.into(), number: parse_number(digits)? }
        }
        "volumes" => {
            let (volume, digits) = rest.split_once("/heads/")?;
            ObjectName::Head { volume: volume.parse().ok()?, number: parse_number(digits)? }
        }
        "writers" => ObjectName::Writer(rest.parse().ok().filter(|n| (1..SegmentId::WRITERS).contains(n))?),
        "groups" => ObjectName::Group(rest.parse().ok()?),
        "segments" => ObjectName::Segment(rest.split_once('/')?.1.parse().ok()?),
        "pages" => ObjectName::Pack(rest.split_once('/')?.1.parse().ok()?),
        "bundles" => ObjectName::Bundle(rest.split_once('/')?.1.parse().ok()?),
        "table" => ObjectName::Table(parse_number(rest)?),
        "quarantine" => ObjectName::Quarantine(rest.parse().ok()?),
        "rounds" => ObjectName::Round(parse_number(rest)?),
        "probe" => {
            let (run, what) = rest.split_once('/')?;
            run.parse::<RunId>().ok()?;
            return (!what.is_empty()).then_some(ObjectName::Probe);
        }
        _ => return None,
    };
    // Two spellings of one name would be two objects, so only the one made here counts.
    (parsed.made().as_deref() == Some(text)).then_some(parsed)
}

impl ObjectName {
    /// The name as this module makes it; `None` for the probe, whose name is not kept.
    pub fn made(&self) -> Option<String> {
        Some(match self {
            ObjectName::Pool => pool(),
            ObjectName::Name { name: text, number } => name(text, *number),
            ObjectName::Head { volume, number } => head(*volume, *number),
            ObjectName::Writer(n) => writer(*n),
            ObjectName::Group(id) => group(*id),
            ObjectName::Segment(id) => segment(*id),
            ObjectName::Pack(id) => pack(*id),
            ObjectName::Bundle(id) => bundle(*id),
            ObjectName::Table(n) => table(*n),
            ObjectName::Round(n) => round(*n),
            ObjectName::Quarantine(volume) => quarantine(*volume),
            ObjectName::Probe => return None,
        })
    }
}

fn parse_number(digits: &str) -> Option<u64> {
    let plain = digits.len() == NUMBER_DIGITS && digits.bytes().all(|byte| byte.is_ascii_digit());
    if !plain {
        return None;
    }
    digits.parse().ok().map(|n: u64| u64::MAX - n)
}

/// The parts of a snapshot's name, `VOLUME@SNAPSHOT`.
pub fn snapshot_parts(name: &str) -> Option<(&str, &str)> {
    name.split_once('@')
}

/// The name of a snapshot of the volume with this name.
pub fn snapshot_name(volume: &str, snapshot: &str) -> String {
    format!("{volume}@{snapshot}")
}

/// The prefix of the names of all snapshots of the volume with this name.
pub fn snapshots_of(volume: &str) -> String {
    format!("names/{volume}@")
}

/// Checks the name of a volume or a snapshot: one or two that [`valid_volume_name`] allows, joined by `@`, at most 255
/// bytes.
pub fn valid_name(name: &str) -> Result<(), FormatError> {
    if name.len() > NAME_BYTES_MAX {
        return Err(FormatError::new("name", "length", "at most 255 bytes", name.len()));
    }
    match snapshot_parts(name) {
        None => valid_volume_name(name),
        Some((volume, snapshot)) => valid_volume_name(volume).and_then(|()| valid_volume_name(snapshot)),
    }
}

/// Checks the name of a volume: 1 to 128 of `a-z 0-9 . _ -`, the first a letter or digit.
pub fn valid_volume_name(name: &str) -> Result<(), FormatError> {
    let allowed =
        |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'.' | b'_' | b'-');
    let first = name.bytes().next().is_some_and(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit());
    if first && name.len() <= VOLUME_NAME_BYTES_MAX && name.bytes().all(allowed) {
        return Ok(());
    }
    Err(FormatError::new(
        "volume name",
        "text",
        "1 to 128 of a-z, 0-9, '.', '_' and '-', beginning with a letter or digit",
        excerpt(name),
    ))
}
