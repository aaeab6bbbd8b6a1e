//! The header.
//!
//! ```text
//!   0 magic "QFI\xfb"     4 version            8 offset of the backing file's name, 16 its length
//!  20 cluster bits       24 size of the disk  32 encryption
//!  36 L1 entries         40 offset of the L1 table                  48 refcounts and snapshots, not looked at
//!  72 features that must be understood (version 3 on)             100 length of the header
//! 104 compression, if the feature says so: 1 is zstd
//! ```

use std::{fs::File, os::unix::fs::FileExt};

use crate::{ImageError, damaged, refused};

/// How an image begins.
pub(crate) const MAGIC: [u8; 4] = *b"QFI\xfb";

/// The header of version 2, and that of version 3 without compression.
const V2_BYTES: usize = 72;
const V3_BYTES: u32 = 104;
/// As much as is looked at.
const READ_BYTES: usize = 112;
/// Clusters of 512 bytes to 2 MiB, as qemu has them.
const CLUSTER_BITS: std::ops::RangeInclusive<u32> = 9..=21;
/// The most L1 entries: 32 MiB of them, as qemu has it.
const L1_ENTRIES_MAX: u64 = 4 << 20;
/// The longest name of a backing file.
const NAME_BYTES_MAX: usize = 1023;

/// Features that must be understood.
const DIRTY: u64 = 1 << 0;
const CORRUPT: u64 = 1 << 1;
const EXTERNAL_DATA: u64 = 1 << 2;
const COMPRESSION: u64 = 1 << 3;
const EXTENDED_L2: u64 = 1 << 4;
const KNOWN: u64 = DIRTY | CORRUPT | EXTERNAL_DATA | COMPRESSION | EXTENDED_L2;

/// How clusters are compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Compression {
    Deflate,
    Zstd,
}

/// A header that was checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Header {
    /// 2 or 3.
    pub(super) version: u32,
    pub(super) cluster_bits: u32,
    pub(super) size_bytes: u64,
    /// Of the L1 table, which covers the disk and lies in the file.
    pub(super) l1_offset: u64,
    pub(super) compression: Compression,
}

/// Bytes that are known to be there.
struct Fields([u8; READ_BYTES]);

impl Fields {
    fn u32(&self, at: usize) -> u32 {
        u32::from_be_bytes(std::array::from_fn(|byte| self.0[at + byte]))
    }

    fn u64(&self, at: usize) -> u64 {
        u64::from_be_bytes(std::array::from_fn(|byte| self.0[at + byte]))
    }
}

impl Header {
    pub(super) fn read(file: &File, file_bytes: u64) -> Result<Header, ImageError> {
        let mut fields = Fields([0; READ_BYTES]);
        if file_bytes < V2_BYTES as u64 {
            return Err(damaged(
                "the header",
                format!("{V2_BYTES} bytes"),
                format!("a file of {file_bytes}"),
            ));
        }
        let length = READ_BYTES.min(usize::try_from(file_bytes).unwrap_or(READ_BYTES));
        file.read_exact_at(&mut fields.0[..length], 0)?;
        if fields.0[..4] != MAGIC {
            return Err(damaged("the magic", "QFI\\xfb", format!("{:02x?}", &fields.0[..4])));
        }
        let version = fields.u32(4);
        if !(2..=3).contains(&version) {
            return Err(damaged("the version", "2 or 3", version.to_string()));
        }
        check_outside(&fields, file, file_bytes)?;
        let compression = if version == 3 { features(&fields, length)? } else { Compression::Deflate };
        let cluster_bits = fields.u32(20);
        if !CLUSTER_BITS.contains(&cluster_bits) {
            return Err(damaged("the cluster bits", "9 to 21", cluster_bits.to_string()));
        }
        let header = Header {
            version,
            cluster_bits,
            size_bytes: fields.u64(24),
            l1_offset: fields.u64(40),
            compression,
        };
        header.check_l1(fields.u32(36).into(), file_bytes)?;
        Ok(header)
    }

    pub(super) fn cluster_bytes(&self) -> u64 {
        1 << self.cluster_bits
    }

    /// Entries of an L2 table.
    pub(super) fn table_entries(&self) -> u64 {
        self.cluster_bytes() / 8
    }

    /// The L1 table has an entry for each L2 table that the disk needs, and lies in the file.
    fn check_l1(&self, entries: u64, file_bytes: u64) -> Result<(), ImageError> {
        let needed = self.size_bytes.div_ceil(self.cluster_bytes() * self.table_entries());
        if entries < needed || entries > L1_ENTRIES_MAX {
            let expected = format!("{needed} to {L1_ENTRIES_MAX}, for a disk of {} bytes", self.size_bytes);
            return Err(damaged("the number of L1 entries", expected, entries.to_string()));
        }
        let end = self.l1_offset.checked_add(entries * 8);
        if !self.l1_offset.is_multiple_of(self.cluster_bytes()) || end.is_none_or(|end| end > file_bytes) {
            let expected = format!("a whole cluster's, with {entries} entries in {file_bytes} bytes of file");
            return Err(damaged("the offset of the L1 table", expected, self.l1_offset.to_string()));
        }
        Ok(())
    }
}

/// Refuses an image whose contents are not in this file, or not readable.
fn check_outside(fields: &Fields, file: &File, file_bytes: u64) -> Result<(), ImageError> {
    let (offset, length) = (fields.u64(8), fields.u32(16) as usize);
    if offset != 0 {
        let mut name = vec![0; length.min(NAME_BYTES_MAX)];
        let inside = offset.checked_add(name.len() as u64).is_some_and(|end| end <= file_bytes);
        if inside {
            file.read_exact_at(&mut name, offset)?;
        } else {
            name = b"?".to_vec();
        }
        let name = name.escape_ascii();
        return Err(refused(format!(
            "it is only what differs from its backing file \"{name}\": flatten it with qemu-img convert -O qcow2 IMAGE FLAT"
        )));
    }
    match fields.u32(32) {
        0 => Ok(()),
        method => Err(refused(format!(
            "it is encrypted (method {method}): decrypt it with qemu-img convert, with --image-opts for its key"
        ))),
    }
}

/// Refuses features that change what clusters mean; returns the compression.
fn features(fields: &Fields, read: usize) -> Result<Compression, ImageError> {
    let header_bytes = fields.u32(100);
    if header_bytes < V3_BYTES || read < V3_BYTES as usize {
        return Err(damaged("the length of the header", "104 or more", header_bytes.to_string()));
    }
    let features = fields.u64(72);
    if features & (DIRTY | CORRUPT) != 0 {
        return Err(refused(
            "it was not closed in order, or is marked as corrupt: repair it with qemu-img check -r all IMAGE"
                .to_owned(),
        ));
    }
    if features & EXTERNAL_DATA != 0 {
        return Err(refused(
            "its data is in another file: put it into one with qemu-img convert -O qcow2 IMAGE WHOLE"
                .to_owned(),
        ));
    }
    if features & EXTENDED_L2 != 0 {
        return Err(refused(
            "it has extended L2 entries, which are not read here: qemu-img convert -O qcow2 IMAGE PLAIN makes one without"
                .to_owned(),
        ));
    }
    if features & !KNOWN != 0 {
        return Err(refused(format!("it needs features that are not known here: {:#x}", features & !KNOWN)));
    }
    if features & COMPRESSION == 0 {
        return Ok(Compression::Deflate);
    }
    let kind =
        if header_bytes > V3_BYTES && read > V3_BYTES as usize { fields.0[V3_BYTES as usize] } else { 0 };
    match kind {
        1 => Ok(Compression::Zstd),
        kind => Err(damaged("the kind of compression", "1, for zstd", kind.to_string())),
    }
}
