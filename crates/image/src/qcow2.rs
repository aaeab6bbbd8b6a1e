//! qcow2 images, versions 2 and 3, for reading.
//!
//! ```text
//! header ──▶ L1 table ──▶ L2 tables ──▶ clusters: plain, compressed (deflate or zstd), zero, or not there
//!            8 bytes for each L2 table; an L2 table is one cluster of 8-byte entries
//!
//! L1 entry     0..9 zero | offset of the L2 table 9..56 | zero 56..63 | used once 63
//! plain L2     zero cluster 0 | zero 1..9 | offset 9..56 | zero 56..62 | 0 | used once 63
//! compressed   offset 0..x | sectors of 512 bytes after the first x..62 | 1 | 0      x = 70 − cluster bits
//! ```
//!
//! Numbers are big-endian. Two levels, whatever a file says: a walk cannot go round in circles. What a file claims is
//! checked against the file's length and against the bounds in `header.rs` before anything is read or allocated: at
//! most one L2 table, one cluster and one compressed cluster are in memory, each of 4 MiB or less.
//!
//! Refused, with what to do instead: backing files, external data files, encryption, extended L2 entries, and images
//! that were not closed in order. Internal snapshots are not looked at.
//!
//! Source: `docs/interop/qcow2.txt` of qemu.

mod cluster;
mod header;
#[cfg(test)]
mod tests;

use std::{fs::File, os::unix::fs::FileExt};

use crate::{Image, ImageError, Piece, damaged, file_bytes};
use cluster::Cluster;
use header::Header;
pub(crate) use header::MAGIC;

/// A qcow2 image.
pub struct Qcow2 {
    file: File,
    file_bytes: u64,
    header: Header,
    /// The L2 table that was used last: which it is, and its entries.
    table: Option<(u64, Vec<u8>)>,
    /// The cluster that was decompressed last: which it is, and its contents.
    unpacked: Option<(u64, Vec<u8>)>,
}

impl Qcow2 {
    /// The image in this file.
    ///
    /// # Errors
    /// It is no qcow2 image, or one that cannot be read here.
    pub fn new(mut file: File) -> Result<Qcow2, ImageError> {
        let file_bytes = file_bytes(&mut file)?;
        let header = Header::read(&file, file_bytes)?;
        Ok(Qcow2 { file, file_bytes, header, table: None, unpacked: None })
    }

    /// What the cluster of this number is; none when its whole L2 table is not there.
    fn cluster(&mut self, number: u64) -> Result<Option<Cluster>, ImageError> {
        let entries = self.header.table_entries();
        let (table, entry) = (number / entries, number % entries);
        if self.table.as_ref().is_none_or(|(held, _)| *held != table) {
            let mut word = [0; 8];
            // The header was checked: the L1 table covers the disk and lies in the file.
            self.file.read_exact_at(&mut word, self.header.l1_offset + table * 8)?;
            let Some(offset) = cluster::table_offset(u64::from_be_bytes(word), &self.header)? else {
                return Ok(None);
            };
            let mut words = vec![0; self.header.cluster_bytes() as usize];
            self.inside("an L2 table", offset, words.len() as u64)?;
            self.file.read_exact_at(&mut words, offset)?;
            self.table = Some((table, words));
        }
        let (_, words) = self.table.as_ref().expect("it was read above");
        let at = entry as usize * 8;
        let word = u64::from_be_bytes(std::array::from_fn(|byte| words[at + byte]));
        cluster::parse(word, &self.header).map(Some)
    }

    /// Checks that a range lies in the file.
    fn inside(&self, what: &'static str, offset: u64, bytes: u64) -> Result<(), ImageError> {
        match offset.checked_add(bytes) {
            Some(end) if end <= self.file_bytes => Ok(()),
            _ => {
                let found = format!("{bytes} bytes at {offset}");
                Err(damaged(what, format!("a range in a file of {} bytes", self.file_bytes), found))
            }
        }
    }

    /// The contents of a compressed cluster.
    fn unpack(&mut self, number: u64, offset: u64, bytes: u64) -> Result<&[u8], ImageError> {
        if self.unpacked.as_ref().is_none_or(|(held, _)| *held != number) {
            self.inside("a compressed cluster", offset, 1)?;
            // The length counts whole sectors, so the last one may reach beyond the end of the file.
            let bytes = bytes.min(self.file_bytes - offset);
            let mut packed = vec![0; bytes as usize];
            self.file.read_exact_at(&mut packed, offset)?;
            let contents = cluster::decompress(&packed, &self.header)?;
            self.unpacked = Some((number, contents));
        }
        Ok(&self.unpacked.as_ref().expect("it was made above").1)
    }
}

impl Image for Qcow2 {
    fn size_bytes(&self) -> Option<u64> {
        Some(self.header.size_bytes)
    }

    fn read(&mut self, offset: u64, buffer: &mut [u8]) -> Result<Piece, ImageError> {
        let size_bytes = self.header.size_bytes;
        if offset >= size_bytes {
            return Ok(Piece::End);
        }
        let cluster_bytes = self.header.cluster_bytes();
        let (number, inside) = (offset / cluster_bytes, offset % cluster_bytes);
        // To the end of the cluster, or of the disk.
        let left = (cluster_bytes - inside).min(size_bytes - offset);
        let length = buffer.len().min(left as usize);
        match self.cluster(number)? {
            None => {
                let below = cluster_bytes * self.header.table_entries();
                return Ok(Piece::Hole((below - offset % below).min(size_bytes - offset)));
            }
            Some(Cluster::Zero) => return Ok(Piece::Hole(left)),
            Some(Cluster::Plain(at)) => {
                self.inside("a cluster", at, inside + length as u64)?;
                self.file.read_exact_at(&mut buffer[..length], at + inside)?;
            }
            Some(Cluster::Compressed { offset: at, bytes }) => {
                let contents = self.unpack(number, at, bytes)?;
                buffer[..length].copy_from_slice(&contents[inside as usize..inside as usize + length]);
            }
        }
        Ok(Piece::Data(length))
    }
}
