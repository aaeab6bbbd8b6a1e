//! The disk itself: write + fdatasync of a file whose blocks were written before.

use std::{
    fs::File,
    os::unix::fs::FileExt,
    path::Path,
    time::{Duration, Instant},
};

use anyhow::Result;

use crate::{block::BLOCK_BYTES, load::Outcome};

const FILE_BYTES: usize = 64 << 20;

/// A file that is written again and again.
pub struct RawDisk {
    file: File,
    writers: usize,
    at: u64,
}

impl RawDisk {
    /// A file in `directory`; `writers` blocks are written before each sync, as if their writers had met.
    pub fn new(directory: &Path, writers: usize) -> Result<Self> {
        std::fs::create_dir_all(directory)?;
        let file = File::create(directory.join("file"))?;
        let part = vec![0xA5; 1 << 20];
        for at in (0..FILE_BYTES).step_by(part.len()) {
            file.write_all_at(&part, at as u64)?;
        }
        file.sync_all()?;
        Ok(Self { file, writers, at: 0 })
    }

    /// Writes and syncs for so long.
    pub fn run(&mut self, duration: Duration) -> Result<Outcome> {
        let data = vec![0x5A; BLOCK_BYTES * self.writers];
        let (begun, mut outcome) = (Instant::now(), Outcome::default());
        while begun.elapsed() < duration {
            let before = Instant::now();
            self.file.write_all_at(&data, self.at)?;
            self.file.sync_data()?;
            let next = self.at + data.len() as u64;
            self.at = if next + data.len() as u64 > FILE_BYTES as u64 { 0 } else { next };
            outcome.requests += self.writers as u64;
            outcome.latencies.record(before.elapsed());
        }
        outcome.elapsed = begun.elapsed();
        Ok(outcome)
    }
}
