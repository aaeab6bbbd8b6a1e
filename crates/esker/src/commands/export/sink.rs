//! Where an image goes: a file, in which what is not written is a hole, or a pipe.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, ErrorKind, Stdout, Write},
    os::unix::fs::FileExt,
    path::Path,
};

use anyhow::{Context, ensure};

/// Zeros to send.
static ZEROS: [u8; 64 << 10] = [0; 64 << 10];

pub(super) enum Sink {
    File(File),
    Pipe { out: Stdout, at: u64 },
}

impl Sink {
    /// An empty file of the disk's size.
    pub(super) fn create(path: &Path, size_bytes: u64, force: bool) -> anyhow::Result<Sink> {
        let mut options = OpenOptions::new();
        options.write(true).create(true).create_new(!force);
        let file = match options.open(path) {
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                anyhow::bail!("{} exists already; --force overwrites it", path.display())
            }
            opened => opened.with_context(|| format!("cannot make {}", path.display()))?,
        };
        // On anything else what is not written would not be zeros.
        ensure!(file.metadata()?.is_file(), "{} is not a regular file", path.display());
        file.set_len(0)?;
        file.set_len(size_bytes).with_context(|| format!("cannot make {} so large", path.display()))?;
        Ok(Sink::File(file))
    }

    /// The file of an interrupted export, if it is still what that one made.
    pub(super) fn reopen(path: &Path, size_bytes: u64) -> Option<Sink> {
        let same = fs::metadata(path).is_ok_and(|found| found.is_file() && found.len() == size_bytes);
        let file = same.then(|| OpenOptions::new().write(true).open(path));
        Some(Sink::File(file?.ok()?))
    }

    /// Standard output.
    pub(super) fn pipe() -> Sink {
        Sink::Pipe { out: io::stdout(), at: 0 }
    }

    /// Writes data; what lies between this and what was written before is zeros.
    pub(super) fn write(&mut self, offset: u64, data: &[u8]) -> anyhow::Result<()> {
        match self {
            Sink::File(file) => file.write_all_at(data, offset).context("cannot write the image"),
            Sink::Pipe { out, at } => {
                fill(out, at, offset)?;
                send(out, at, data)
            }
        }
    }

    /// Makes durable what was written.
    pub(super) fn sync(&mut self) -> anyhow::Result<()> {
        match self {
            Sink::File(file) => file.sync_all().context("cannot sync the image"),
            Sink::Pipe { .. } => Ok(()),
        }
    }

    /// The disk ends at `size_bytes`.
    pub(super) fn finish(&mut self, size_bytes: u64) -> anyhow::Result<()> {
        if let Sink::Pipe { out, at } = self {
            fill(out, at, size_bytes)?;
            out.flush().map_err(broken)?;
        }
        self.sync()
    }
}

fn fill(out: &mut Stdout, at: &mut u64, to: u64) -> anyhow::Result<()> {
    while *at < to {
        let bytes = (to - *at).min(ZEROS.len() as u64) as usize;
        send(out, at, &ZEROS[..bytes])?;
    }
    Ok(())
}

fn send(out: &mut Stdout, at: &mut u64, data: &[u8]) -> anyhow::Result<()> {
    out.write_all(data).map_err(broken)?;
    *at += data.len() as u64;
    Ok(())
}

/// A reader that has gone is a failure here: it did not get the whole image.
fn broken(error: io::Error) -> anyhow::Error {
    anyhow::anyhow!("cannot write to standard output: {error}")
}
